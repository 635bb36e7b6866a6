// Commands on keys that Redis has too.
#include "gateway/resp/commands.hpp"
#include "protocol/types.hpp"

#include <charconv>
#include <limits>
#include <string>
#include <unordered_set>

namespace crema::gateway::resp {

namespace {

constexpr int64_t int64_limit = std::numeric_limits<int64_t>::max();

bool is_siblings(call& c) { return c.self.bucket().conflict == conflict_rule::siblings; }

void needs_strong_bucket(call& c, std::string_view what) {
  c.reply.error("ERR " + std::string(what) + " needs a strong bucket");
}

std::string upper_name(call& c) {
  std::string name(c.spec.name);
  for (auto& x : name)
    x = static_cast<char>(x >= 'a' && x <= 'z' ? x - 'a' + 'A' : x);
  return name;
}

client_request read_of(call& c, std::string_view key) {
  client_request request;
  request.what = client_request::kind::get;
  request.bucket = c.self.bucket().id;
  request.key = key;
  return request;
}

// A command that reads one key and shows something of it.
void read_one(call& c, shape how) {
  if (check_key(c, c.args[1]))
    c.self.ask(read_of(c, c.args[1]), how);
}

void put_one(call& c, std::string_view key, std::string_view value, uint64_t ttl_ms) {
  if (!check_key(c, key) || !check_value(c, value))
    return;
  client_request request;
  request.what = client_request::kind::put;
  request.bucket = c.self.bucket().id;
  request.key = key;
  request.value = value;
  request.ttl_ms = ttl_ms;
  request.read_first = is_siblings(c); // Replaces what a quorum read sees.
  c.self.ask(std::move(request), shape::set_ok);
}

// One item for each key from the first argument on, `step` arguments apart; with step 2 a value follows each key.
// @param once only the last of several equal keys counts.
std::unique_ptr<wide_command> gather(call& c, size_t step, bool once) {
  auto wide = std::make_unique<wide_command>();
  wide->bucket = c.self.bucket().id;
  size_t bytes = 0;
  for (size_t i = 1; i < c.args.size(); ++i) {
    bytes += c.args[i].size();
    if ((i - 1) % step == 0 ? !check_key(c, c.args[i]) : !check_value(c, c.args[i]))
      return nullptr;
  }
  std::vector<size_t> chosen;
  std::unordered_set<std::string_view> seen;
  for (auto i = c.args.size(); i > step; i -= step)
    if (!once || seen.insert(c.args[i - step]).second)
      chosen.push_back(i - step);
  wide->bytes.reserve(bytes);
  wide->items.reserve(chosen.size());
  for (auto i = chosen.rbegin(); i != chosen.rend(); ++i) {
    auto key = c.args[*i];
    auto value = step > 1 ? c.args[*i + 1] : std::string_view();
    auto offset = static_cast<uint32_t>(wide->bytes.size());
    auto key_size = static_cast<uint32_t>(key.size());
    wide->items.push_back({offset, key_size, offset + key_size, static_cast<uint32_t>(value.size())});
    wide->bytes.append(key).append(value);
  }
  return wide;
}

struct set_options {
  uint64_t ttl_ms = 0;
  std::string refused; ///< The first option that an eventual bucket cannot honour.
};

// @returns false with the error written.
bool parse_set_options(call& c, set_options& result) {
  bool nx = false, xx = false, keep_ttl = false, expires = false;
  for (size_t i = 3; i < c.args.size(); ++i) {
    auto option = to_lower(c.args[i].substr(0, 8));
    if (option == "ex" || option == "px" || option == "exat" || option == "pxat") {
      if (expires || i + 1 == c.args.size())
        return syntax_error(c), false;
      expires = true;
      if (!parse_expiry(c, option, c.args[++i], result.ttl_ms))
        return false;
      continue;
    }
    nx = nx || option == "nx";
    xx = xx || option == "xx";
    keep_ttl = keep_ttl || option == "keepttl";
    if (option != "nx" && option != "xx" && option != "keepttl" && option != "get")
      return syntax_error(c), false;
    if (result.refused.empty())
      result.refused = option;
  }
  if ((nx && xx) || (keep_ttl && expires))
    return syntax_error(c), false;
  return true;
}

} // namespace

bool check_key(call& c, std::string_view key) {
  if (key.empty())
    c.reply.error("ERR empty key");
  else if (key.size() > key_bytes_max)
    c.reply.error("TOOBIG key of " + std::to_string(key.size()) + " bytes, at most " + std::to_string(key_bytes_max) +
                  " are allowed");
  else
    return true;
  return false;
}

bool check_value(call& c, std::string_view value) {
  if (value.size() <= value_bytes_max)
    return true;
  c.reply.error("TOOBIG value of " + std::to_string(value.size()) + " bytes, at most " +
                std::to_string(value_bytes_max) + " are allowed");
  return false;
}

bool parse_integer(call& c, std::string_view text, int64_t& number) {
  const auto* end = text.data() + text.size();
  auto [stop, failure] = std::from_chars(text.data(), end, number);
  if (!text.empty() && failure == std::errc{} && stop == end)
    return true;
  c.reply.error("ERR value is not an integer or out of range");
  return false;
}

bool parse_expiry(call& c, std::string_view option, std::string_view text, uint64_t& ttl_ms) {
  int64_t number = 0;
  if (!parse_integer(c, text, number))
    return false;
  auto now = static_cast<int64_t>(c.self.env().now_ms());
  bool seconds = option.substr(0, 2) == "ex";
  bool absolute = option.size() == 4;
  if (number <= 0 || (seconds && number > int64_limit / 1000) ||
      (!absolute && number * (seconds ? 1000 : 1) > int64_limit - now)) {
    c.reply.error("ERR invalid expire time in '" + std::string(c.spec.name) + "' command");
    return false;
  }
  auto ms = number * (seconds ? 1000 : 1);
  if (absolute)
    ms = ms > now ? ms - now : 1; // In the past: written, and gone at once.
  ttl_ms = static_cast<uint64_t>(ms);
  return true;
}

void run_get(call& c) { read_one(c, shape::value); }
void run_strlen(call& c) { read_one(c, shape::length); }
void run_type(call& c) { read_one(c, shape::type); }
void run_ttl(call& c) { read_one(c, c.spec.name == "ttl" ? shape::ttl_s : shape::ttl_ms); }

void run_set(call& c) {
  set_options options;
  if (!parse_set_options(c, options))
    return;
  if (!options.refused.empty()) {
    for (auto& x : options.refused)
      x = static_cast<char>(x - 'a' + 'A');
    return needs_strong_bucket(c, "SET with " + options.refused);
  }
  put_one(c, c.args[1], c.args[2], options.ttl_ms);
}

void run_setex(call& c) {
  uint64_t ttl_ms = 0;
  if (parse_expiry(c, c.spec.name == "setex" ? "ex" : "px", c.args[2], ttl_ms))
    put_one(c, c.args[1], c.args[3], ttl_ms);
}

void run_del(call& c) {
  if (c.args.size() == 2) {
    if (!check_key(c, c.args[1]))
      return;
    auto request = read_of(c, c.args[1]);
    request.what = client_request::kind::remove;
    request.read_first = true; // To tell whether the key existed, and in a siblings bucket to know what it deletes.
    return c.self.ask(std::move(request), shape::existed);
  }
  auto wide = gather(c, 1, true);
  if (!wide)
    return;
  wide->what = client_request::kind::remove;
  wide->read_first = true;
  c.self.ask(std::move(wide), shape::existed);
}

void run_exists(call& c) {
  if (c.args.size() == 2)
    return read_one(c, shape::found);
  if (auto wide = gather(c, 1, false))
    c.self.ask(std::move(wide), shape::found);
}

void run_mget(call& c) {
  auto wide = gather(c, 1, false);
  if (!wide)
    return;
  wide->values.resize(wide->items.size());
  c.self.ask(std::move(wide), shape::values);
}

void run_mset(call& c) {
  if (c.args.size() % 2 == 0)
    return wrong_arity(c, c.spec.name);
  auto wide = gather(c, 2, true);
  if (!wide)
    return;
  wide->what = client_request::kind::put;
  wide->read_first = is_siblings(c);
  c.self.ask(std::move(wide), shape::set_ok);
}

void run_refused(call& c) { needs_strong_bucket(c, upper_name(c)); }

void run_dbsize(call& c) { c.self.ask_count(); }

} // namespace crema::gateway::resp
