#include "protocol/bucket_change.hpp"

namespace crema::protocol {

namespace {

std::string to_words(const bucket_settings& x) {
  std::string text;
  auto add = [&text](const std::string& setting) { text += (text.empty() ? "" : ", ") + setting; };
  auto number = [&](const char* name, const std::optional<uint32_t>& value) {
    if (value)
      add(name + (" " + std::to_string(*value)));
  };
  number("n", x.n);
  number("r", x.r);
  number("w", x.w);
  if (x.sloppy)
    add(*x.sloppy ? "sloppy" : "strict");
  if (x.durability)
    add(*x.durability == durability::fsync ? "durability fsync" : "durability interval");
  if (x.read_repair)
    add(*x.read_repair == read_repair::foreground ? "read repair in the foreground" : "read repair in the background");
  return text;
}

} // namespace

std::string to_words(const create_bucket& x) {
  auto settings = to_words(x.settings);
  if (x.conflict == conflict_rule::siblings)
    settings = "siblings" + (settings.empty() ? "" : ", " + settings);
  return "create bucket " + x.name + (settings.empty() ? "" : " (" + settings + ")");
}

std::string to_words(const set_bucket& x) { return "set bucket " + x.name + " to " + to_words(x.settings); }

std::string to_words(const drop_bucket& x) { return "drop bucket " + x.name; }

} // namespace crema::protocol
