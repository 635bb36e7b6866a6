#include "config/schema.hpp"

#include <algorithm>
#include <cctype>

namespace crema::config {

namespace {

using nlohmann::json;

std::string fold(const std::string& word) {
  auto result = word;
  for (auto& c : result)
    c = c == '-' ? '_' : static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return result;
}

/// Optimal string alignment distance. Three rows suffice.
size_t edits(const std::string& a, const std::string& b) {
  std::vector<size_t> before_last(b.size() + 1);
  std::vector<size_t> last(b.size() + 1);
  std::vector<size_t> row(b.size() + 1);
  for (size_t j = 0; j <= b.size(); ++j)
    row[j] = j;
  for (size_t i = 1; i <= a.size(); ++i) {
    before_last.swap(last);
    last.swap(row);
    row[0] = i;
    for (size_t j = 1; j <= b.size(); ++j) {
      row[j] = std::min({last[j] + 1, row[j - 1] + 1, last[j - 1] + (a[i - 1] == b[j - 1] ? 0 : 1)});
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
        row[j] = std::min(row[j], before_last[j - 2] + 1);
    }
  }
  return row[b.size()];
}

std::string join(const std::vector<std::string>& words) {
  std::string result;
  for (const auto& word : words)
    result += (result.empty() ? "" : ", ") + word;
  return result;
}

std::string describe(const json& value) {
  switch (value.type()) {
  case json::value_t::null:
    return "null";
  case json::value_t::object:
    return "an object";
  case json::value_t::array:
    return "an array";
  case json::value_t::string:
    return quoted(value.get_ref<const std::string&>());
  default:
    return value.dump();
  }
}

} // namespace

std::string wrong_type(const json& value, const std::string& expected) {
  auto shown = describe(value);
  if (value.is_string())
    shown += " is a string,";
  else if (value.is_boolean())
    shown += " is a boolean,";
  else
    shown += " is";
  return shown + " not " + expected;
}

std::string nearest(const std::string& word, const std::vector<std::string>& candidates) {
  constexpr size_t word_bytes_max = 64; // The work is quadratic, and what is longer is no slip of the finger.
  if (word.size() > word_bytes_max)
    return {};
  std::string result;
  size_t fewest = std::string::npos;
  for (const auto& candidate : candidates) {
    auto distance = edits(fold(word), candidate);
    if (distance < fewest && distance <= std::max<size_t>(2, std::max(word.size(), candidate.size()) / 2)) {
      fewest = distance;
      result = candidate;
    }
  }
  return result;
}

object_reader::object_reader(const json& value, std::string path, std::vector<problem>& problems)
    : path_(std::move(path)), problems_(problems) {
  if (value.is_object())
    object_ = &value;
  else
    problems_.push_back({path_, wrong_type(value, "an object"), "an object {...}"});
}

void object_reader::require(const std::string& name, const std::string& allowed) {
  if (object_ != nullptr && !has(name))
    report(name, "is missing", allowed);
}

void object_reader::report(const std::string& name, std::string what, std::string allowed) {
  problems_.push_back({path_of(name), std::move(what), std::move(allowed)});
}

const json* object_reader::find(const std::string& name) const {
  if (object_ == nullptr)
    return nullptr;
  auto found = object_->find(name);
  return found == object_->end() ? nullptr : &*found;
}

const json* object_reader::any(const std::string& name) {
  known_.push_back(name);
  return find(name);
}

bool object_reader::read_integer(const std::string& name, uint64_t& value, uint64_t min, uint64_t max,
                                 const std::string& unit) {
  const auto* field = any(name);
  if (field == nullptr)
    return true;
  auto allowed = unit + ", " + std::to_string(min) + " to " + std::to_string(max);
  value = 0;
  if (!field->is_number_integer()) {
    report(name, wrong_type(*field, "an integer"), allowed);
  } else if (!field->is_number_unsigned() || field->get<uint64_t>() < min || field->get<uint64_t>() > max) {
    report(name, field->dump() + " is out of range", allowed);
  } else {
    value = field->get<uint64_t>();
    return true;
  }
  return false;
}

void object_reader::milliseconds(const std::string& name, std::chrono::milliseconds& target, uint64_t min,
                                 uint64_t max) {
  auto value = static_cast<uint64_t>(target.count());
  if (read_integer(name, value, min, max, "milliseconds"))
    target = std::chrono::milliseconds{value};
}

void object_reader::boolean(const std::string& name, bool& target) {
  const auto* field = any(name);
  if (field == nullptr)
    return;
  if (field->is_boolean())
    target = field->get<bool>();
  else
    report(name, wrong_type(*field, "a boolean"), "true or false");
}

void object_reader::string(const std::string& name, std::string& target, std::string (*is_allowed)(const std::string&),
                           const std::string& allowed) {
  const auto* field = any(name);
  if (field == nullptr)
    return;
  target.clear();
  if (!field->is_string()) {
    report(name, wrong_type(*field, "a string"), allowed);
    return;
  }
  const auto& value = field->get_ref<const std::string&>();
  if (auto why = is_allowed(value); !why.empty())
    report(name, quoted(value) + " " + why, allowed);
  else
    target = value;
}

size_t object_reader::read_choice(const std::string& name, const std::vector<std::string>& words) {
  const auto* field = any(name);
  if (field == nullptr)
    return words.size();
  auto allowed = "one of " + join(words);
  if (!field->is_string()) {
    report(name, wrong_type(*field, "a string"), allowed);
    return words.size();
  }
  const auto& value = field->get_ref<const std::string&>();
  auto found = std::find(words.begin(), words.end(), value);
  if (found == words.end()) {
    auto guess = nearest(value, words);
    report(name, quoted(value) + " is unknown" + (guess.empty() ? "" : ", did you mean \"" + guess + "\"?"), allowed);
  }
  return static_cast<size_t>(found - words.begin());
}

void object_reader::report_unknown() {
  if (object_ == nullptr)
    return;
  for (const auto& [name, value] : object_->items()) {
    if (std::find(known_.begin(), known_.end(), name) != known_.end())
      continue;
    if (problems_.size() >= problems_max)
      return;
    auto guess = nearest(name, known_);
    report(name, "unknown field" + (guess.empty() ? "" : ", did you mean \"" + guess + "\"?"),
           "one of " + join(known_));
  }
}

} // namespace crema::config
