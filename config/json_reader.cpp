#include "config/json_reader.hpp"

#include <algorithm>
#include <cstdio>
#include <iterator>
#include <memory>
#include <utility>

namespace crema::config {

namespace {

using nlohmann::json;

constexpr size_t quoted_bytes_max = 60;

/// "line 3, column 14", both from 1; columns count bytes.
std::string line_and_column(std::string_view text, size_t position) {
  position = std::min(position, text.size());
  auto before = text.substr(0, position);
  auto line = 1 + std::count(before.begin(), before.end(), '\n');
  auto newline = before.rfind('\n');
  auto column = newline == std::string_view::npos ? position + 1 : position - newline;
  return "line " + std::to_string(line) + ", column " + std::to_string(column);
}

/// The text of a syntax error may repeat raw bytes of the file.
std::string printable_ascii(std::string_view text) {
  std::string result;
  for (char c : text) {
    auto byte = static_cast<unsigned char>(c);
    if (byte >= 0x20 && byte < 0x7f) {
      result.push_back(c);
    } else {
      char escaped[8];
      std::snprintf(escaped, sizeof escaped, "\\x%02x", byte);
      result += escaped;
    }
  }
  return result;
}

/// Tells the handler how far the parser has read.
class tracked_iterator {
public:
  using iterator_category = std::input_iterator_tag;
  using value_type = char;
  using difference_type = std::ptrdiff_t;
  using pointer = const char*;
  using reference = const char&;

  tracked_iterator(const char* at, const char** furthest) : at_(at), furthest_(furthest) {}
  reference operator*() const { return *at_; }
  tracked_iterator& operator++() {
    *furthest_ = ++at_;
    return *this;
  }
  friend bool operator!=(const tracked_iterator& a, const tracked_iterator& b) { return a.at_ != b.at_; }

private:
  const char* at_;
  const char** furthest_;
};

/// Builds the tree. The library's own tree builder keeps the last of two equal keys and says nothing.
class tree_builder final : public nlohmann::json_sax<json> {
public:
  tree_builder(std::string_view text, const char* const* position, std::vector<problem>& problems)
      : text_(text), position_(position), problems_(problems) {}

  json take() { return std::move(root_); }

  bool null() override { return add(nullptr); }
  bool boolean(bool x) override { return add(x); }
  bool number_integer(int64_t x) override { return add(x); }
  bool number_unsigned(uint64_t x) override { return add(x); }
  bool number_float(double x, const std::string&) override { return add(x); }
  bool string(std::string& x) override { return add(std::move(x)); }
  bool binary(binary_t&) override { return false; } // Not in text.
  bool start_object(size_t) override { return open(json::object()); }
  bool end_object() override { return close(); }
  bool start_array(size_t) override { return open(json::array()); }
  bool end_array() override { return close(); }
  bool key(std::string& x) override {
    key_ = std::move(x);
    duplicate_ = open_.back().value->contains(key_);
    if (duplicate_)
      problems_.push_back({member_path(open_.back().path, key_),
                           "is given a second time at " + line_and_column(text_, here()), "each field once"});
    return problems_.size() < problems_max;
  }
  bool parse_error(size_t position, const std::string&, const nlohmann::detail::exception& ex) override {
    // "[json.exception.parse_error.101] parse error at line 1, column 2: syntax error ...": our own line and column
    // come first, so cut the library's.
    std::string_view why = ex.what();
    if (auto tag = why.find("] "); tag != std::string_view::npos)
      why.remove_prefix(tag + 2);
    if (auto place = why.find(": "); place != std::string_view::npos && why.substr(0, 11) == "parse error")
      why.remove_prefix(place + 2);
    problems_.push_back({"", line_and_column(text_, position > 0 ? position - 1 : 0) + ": " + printable_ascii(why),
                         "one JSON object in UTF-8, without comments"});
    return false;
  }

private:
  struct level {
    json* value;
    std::string path;
  };

  size_t here() const { return static_cast<size_t>(*position_ - text_.data()) - 1; }

  /// Puts a value where the parser is. The second value of a key goes nowhere.
  json* place(json&& value) {
    if (open_.empty()) {
      root_ = std::move(value);
      return &root_;
    }
    auto& parent = *open_.back().value;
    if (parent.is_array()) {
      parent.push_back(std::move(value));
      return &parent.back();
    }
    if (duplicate_) {
      ignored_.push_back(std::make_unique<json>(std::move(value)));
      return ignored_.back().get();
    }
    return &(parent[key_] = std::move(value));
  }

  bool add(json&& value) {
    place(std::move(value));
    return true;
  }

  bool open(json&& empty) {
    if (open_.size() == nesting_max) {
      problems_.push_back({"", line_and_column(text_, here()) + ": nested too deeply",
                           "at most " + std::to_string(nesting_max) + " levels of objects and arrays"});
      return false;
    }
    std::string path;
    if (!open_.empty()) {
      const auto& parent = open_.back();
      path = parent.value->is_array() ? parent.path + "[" + std::to_string(parent.value->size()) + "]"
                                      : member_path(parent.path, key_);
    }
    auto* value = place(std::move(empty));
    open_.push_back({value, std::move(path)});
    return true;
  }

  bool close() {
    open_.pop_back();
    return true;
  }

  std::string_view text_;
  const char* const* position_;
  std::vector<problem>& problems_;
  json root_;
  std::vector<level> open_; ///< Pointers stay valid: a container grows only while it is the innermost.
  std::string key_;
  bool duplicate_ = false; ///< key_ is in the object already.
  std::vector<std::unique_ptr<json>> ignored_;
};

bool is_plain_word(const std::string& name) {
  return !name.empty() && name.size() <= quoted_bytes_max && std::all_of(name.begin(), name.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '-';
  });
}

} // namespace

std::optional<json> read_json(std::string_view text, std::vector<problem>& problems) {
  // The parser takes a NUL for the end of the text and would not look at what follows.
  if (auto nul = text.find('\0'); nul != std::string_view::npos) {
    problems.push_back({"", line_and_column(text, nul) + ": a NUL byte", "JSON text in UTF-8"});
    return std::nullopt;
  }
  const char* position = text.data();
  tree_builder builder{text, &position, problems};
  tracked_iterator first{text.data(), &position};
  tracked_iterator last{text.data() + text.size(), &position};
  if (!json::sax_parse(first, last, &builder, nlohmann::detail::input_format_t::json, true, false))
    return std::nullopt;
  return builder.take();
}

std::string member_path(const std::string& object_path, const std::string& name) {
  auto shown = is_plain_word(name) ? name : quoted(name);
  return object_path.empty() ? shown : object_path + "." + shown;
}

std::string quoted(const std::string& text) {
  auto shown = text;
  if (shown.size() > quoted_bytes_max) {
    auto end = quoted_bytes_max;
    while (end > 0 && (static_cast<unsigned char>(shown[end]) & 0xc0) == 0x80)
      --end; // Not inside a character.
    shown.resize(end);
    shown += "...";
  }
  return json(shown).dump(-1, ' ', false, json::error_handler_t::replace);
}

} // namespace crema::config
