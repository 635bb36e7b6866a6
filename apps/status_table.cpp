#include "apps/status_table.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace crema::cli {

namespace {

using nlohmann::json;
using row = std::vector<std::string>;

std::string cell(const json& value) {
  return value.is_string() ? value.get<std::string>() : value.dump(-1, ' ', false, json::error_handler_t::replace);
}

/// The names in `first`, then all others: what the reader looks for comes first.
row ordered_names(const row& names, const row& first) {
  row result;
  for (const auto& name : first)
    if (std::find(names.begin(), names.end(), name) != names.end())
      result.push_back(name);
  for (const auto& name : names)
    if (std::find(first.begin(), first.end(), name) == first.end())
      result.push_back(name);
  return result;
}

std::string format_list(const json& list) {
  row names;
  for (const auto& element : list)
    if (element.is_object())
      for (const auto& [name, value] : element.items())
        if (std::find(names.begin(), names.end(), name) == names.end())
          names.push_back(name);
  names = ordered_names(names, {"name", "state", "db", "mode", "n", "r", "w", "host", "peer_port", "resp_port", "zone",
                                "weight", "partitions", "primaries", "peer"});
  std::vector<row> rows{names};
  for (const auto& element : list) {
    auto& cells = rows.emplace_back();
    if (!element.is_object()) {
      cells.push_back(cell(element));
      continue;
    }
    for (const auto& name : names)
      cells.push_back(element.contains(name) ? cell(element[name]) : "-");
  }
  if (names.empty())
    rows.erase(rows.begin());
  return format_table(rows);
}

std::string format_lines(const json& object) {
  std::vector<row> rows;
  for (const auto& [name, value] : object.items())
    rows.push_back({name, cell(value)});
  return format_table(rows);
}

} // namespace

std::string harmless(std::string text) {
  std::replace_if(
      text.begin(), text.end(), [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; }, '?');
  return text;
}

std::string format_table(const std::vector<row>& rows) {
  std::vector<size_t> widths;
  for (const auto& cells : rows)
    for (size_t i = 0; i < cells.size(); ++i) {
      widths.resize(std::max(widths.size(), i + 1));
      widths[i] = std::max(widths[i], cells[i].size());
    }
  std::string text;
  for (const auto& cells : rows) {
    std::string line;
    for (size_t i = 0; i < cells.size(); ++i)
      line += i + 1 < cells.size() ? fmt::format("{:<{}}  ", harmless(cells[i]), widths[i]) : harmless(cells[i]);
    line.erase(line.find_last_not_of(' ') + 1);
    text += line + "\n";
  }
  return text;
}

std::string format_duration(uint64_t ms) {
  auto s = ms / 1000;
  if (s == 0)
    return fmt::format("{} ms", ms);
  if (s < 60)
    return fmt::format("{} s", s);
  if (s < 3600)
    return fmt::format("{} min {} s", s / 60, s % 60);
  if (s < 86400)
    return fmt::format("{} h {} min", s / 3600, s / 60 % 60);
  return fmt::format("{} d {} h", s / 86400, s / 3600 % 24);
}

std::string format_hints(const json& hints) {
  std::vector<row> rows{{"on", "for", "bucket", "partition", "keys", "writes", "bytes", "age"}};
  for (const auto& h : hints) {
    auto& cells = rows.emplace_back();
    for (const char* name : {"on", "for", "bucket", "partition", "keys", "writes", "bytes"})
      cells.push_back(cell(h.value(name, json{})));
    auto age = h.value("age_ms", json{});
    cells.push_back(age.is_number_unsigned() ? format_duration(age.get<uint64_t>()) : cell(age));
  }
  return format_table(rows);
}

std::string format_status(const json& status) {
  if (!status.is_object())
    return harmless(cell(status)) + "\n";
  row plain, nested;
  for (const auto& [name, value] : status.items())
    if (name != "hints")
      (value.is_structured() ? nested : plain).push_back(name);
  std::vector<row> rows;
  for (const auto& name : ordered_names(plain, {"node", "cluster", "epoch", "change", "progress", "partitions"})) {
    const auto& value = status[name];
    if (name == "uptime_ms" && value.is_number_unsigned())
      rows.push_back({"uptime", format_duration(value.get<uint64_t>())});
    else
      rows.push_back({name, cell(value)});
  }
  auto text = format_table(rows);
  for (const auto& name : ordered_names(nested, {"members", "buckets", "sync"})) {
    const auto& value = status[name];
    text += "\n" + harmless(name) + "\n" + (value.is_array() ? format_list(value) : format_lines(value));
  }
  return text;
}

} // namespace crema::cli
