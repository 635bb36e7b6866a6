// Reading the fields of one JSON object: each call names a field, its type and its bounds, and reports what is wrong
// with its path. A field that is absent keeps the value it has (the default).
//
//   object_reader node{value, "nodes[1]", problems};
//   node.require("host", "a host name or address");
//   node.integer("peer_port", result.peer_port, 1, 65535, "a port number");
//   node.report_unknown();
#pragma once

#include "config/json_reader.hpp"

#include <algorithm>
#include <chrono>
#include <initializer_list>
#include <iterator>
#include <limits>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

namespace crema::config {

class object_reader {
public:
  /// Reports a value that is no object; all its fields are absent then.
  object_reader(const nlohmann::json& value, std::string path, std::vector<problem>& problems);

  /// Reports an absent field.
  void require(const std::string& name, const std::string& allowed);
  bool has(const std::string& name) const { return find(name) != nullptr; }
  std::string path_of(const std::string& name) const { return member_path(path_, name); }
  void report(const std::string& name, std::string what, std::string allowed);

  /// Sets `target` to 0 if the field is wrong, so that later checks can leave it alone.
  /// @returns false if the field is wrong.
  template <class T>
  bool integer(const std::string& name, T& target, uint64_t min, uint64_t max, const std::string& unit) {
    static_assert(std::is_unsigned_v<T>);
    uint64_t value = target;
    auto right = read_integer(name, value, min, std::min<uint64_t>(max, std::numeric_limits<T>::max()), unit);
    target = static_cast<T>(value);
    return right;
  }
  void milliseconds(const std::string& name, std::chrono::milliseconds& target, uint64_t min, uint64_t max);
  void boolean(const std::string& name, bool& target);
  /// Sets `target` to "" if the field is wrong.
  /// @param is_allowed @returns what is wrong with the value ("has a space"), or "".
  void string(const std::string& name, std::string& target, std::string (*is_allowed)(const std::string&),
              const std::string& allowed);

  template <class T>
  void choice(const std::string& name, T& target, std::initializer_list<std::pair<const char*, T>> choices) {
    std::vector<std::string> words;
    for (const auto& [word, value] : choices)
      words.emplace_back(word);
    auto index = read_choice(name, words);
    if (index < choices.size())
      target = std::next(choices.begin(), static_cast<std::ptrdiff_t>(index))->second;
  }

  /// @returns the field's value, or null if it is absent. The caller must look at its type.
  const nlohmann::json* any(const std::string& name);

  /// To be called last: every field that no call above has named is unknown.
  void report_unknown();

private:
  const nlohmann::json* find(const std::string& name) const;
  bool read_integer(const std::string& name, uint64_t& value, uint64_t min, uint64_t max, const std::string& unit);
  size_t read_choice(const std::string& name, const std::vector<std::string>& words);

  const nlohmann::json* object_ = nullptr; ///< Null if the value is no object.
  std::string path_;
  std::vector<problem>& problems_;
  std::vector<std::string> known_; ///< The names of all calls, in order.
};

/// "\"7101\" is a string, not an integer"
std::string wrong_type(const nlohmann::json& value, const std::string& expected);

/// The candidate with the fewest edits (insert, delete, replace, swap neighbours), without regard to case and dashes;
/// "" if none is near.
std::string nearest(const std::string& word, const std::vector<std::string>& candidates);

} // namespace crema::config
