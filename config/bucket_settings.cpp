#include "config/bucket_settings.hpp"

#include "config/rules.hpp"

namespace crema::config {

namespace {

std::optional<uint32_t> copies_in(object_reader& reader, const std::string& name) {
  uint32_t value = 0;
  reader.integer(name, value, 1, protocol::copies_max, "a number of copies");
  return reader.has(name) ? std::optional{value} : std::nullopt;
}

template <class T>
std::optional<T> choice_in(object_reader& reader, const std::string& name,
                           std::initializer_list<std::pair<const char*, T>> choices) {
  T value{};
  reader.choice(name, value, choices);
  return reader.has(name) ? std::optional{value} : std::nullopt;
}

} // namespace

std::string check_bucket_name(const std::string& name) {
  if (!name.empty() && std::all_of(name.begin(), name.end(), [](char c) { return c >= '0' && c <= '9'; }))
    return "is a number, and SELECT takes numbers for dbs";
  return check_name(name);
}

protocol::bucket_settings read_bucket_settings(object_reader& reader) {
  protocol::bucket_settings x;
  x.n = copies_in(reader, "n");
  x.r = copies_in(reader, "r");
  x.w = copies_in(reader, "w");
  bool sloppy = true;
  reader.boolean("sloppy", sloppy);
  if (reader.has("sloppy"))
    x.sloppy = sloppy;
  x.durability =
      choice_in<durability>(reader, "durability", {{"interval", durability::interval}, {"fsync", durability::fsync}});
  x.read_repair = choice_in<protocol::read_repair>(
      reader, "read_repair",
      {{"background", protocol::read_repair::background}, {"foreground", protocol::read_repair::foreground}});
  return x;
}

nlohmann::json settings_of(const protocol::bucket& bucket) {
  return {{"n", bucket.n},
          {"r", bucket.r},
          {"w", bucket.w},
          {"sloppy", bucket.sloppy},
          {"durability", bucket.durability == durability::fsync ? "fsync" : "interval"},
          {"read_repair", bucket.read_repair == protocol::read_repair::foreground ? "foreground" : "background"}};
}

void read_bucket_kind(object_reader& reader, bucket_mode& mode, conflict_rule& conflict) {
  reader.choice(
      "mode", mode,
      {{"eventual", bucket_mode::eventual}, {"causal", bucket_mode::causal}, {"strong", bucket_mode::strong}});
  if (mode != bucket_mode::eventual)
    reader.report("mode",
                  mode == bucket_mode::causal ? "\"causal\" is not available yet" : "\"strong\" is not available yet",
                  "\"eventual\"");
  reader.choice("conflict", conflict, {{"lww", conflict_rule::lww}, {"siblings", conflict_rule::siblings}});
}

} // namespace crema::config
