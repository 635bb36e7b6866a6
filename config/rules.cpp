#include "config/rules.hpp"

#include "config/json_reader.hpp"

#include <algorithm>
#include <cctype>
#include <filesystem>
#include <map>

namespace crema::config {

namespace {

bool is_one_of(char c, const char* more) {
  return std::isalnum(static_cast<unsigned char>(c)) != 0 || std::string_view{more}.find(c) != std::string_view::npos;
}

std::string node_path(size_t index) { return "nodes[" + std::to_string(index) + "]"; }

std::string lower(std::string text) {
  for (auto& c : text)
    c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return text;
}

bool is_wildcard(const std::string& host) { return host == "0.0.0.0" || host == "::"; }

/// One spelling per address, as far as that can be told without asking the network.
std::string canonical(const std::string& host) {
  auto result = lower(host);
  return result == "localhost" ? "127.0.0.1" : result;
}

/// Nodes with the same result run on the same machine. The converse need not hold: one machine may have many addresses.
std::string machine(const node_config& node) {
  auto host = canonical(node.host);
  bool loopback = host == "::1" || host.rfind("127.", 0) == 0;
  return loopback || is_wildcard(host) ? "127.0.0.1" : host;
}

bool overlap(const std::string& a, const std::string& b) {
  return canonical(a) == canonical(b) || is_wildcard(a) || is_wildcard(b);
}

struct listener {
  std::string path;
  const std::string* host;
  uint16_t port;
};

/// The listeners of one machine, by port, so that many nodes do not mean a quadratic number of comparisons.
using listeners = std::map<std::pair<std::string, uint16_t>, std::vector<listener>>;

void check_listener(const node_config& node, const listener& added, listeners& all, std::vector<problem>& problems) {
  if (node.host.empty() || added.host->empty() || added.port == 0)
    return;
  auto& others = all[{machine(node), added.port}];
  auto other =
      std::find_if(others.begin(), others.end(), [&](const listener& x) { return overlap(*x.host, *added.host); });
  if (other == others.end()) {
    others.push_back(added);
    return;
  }
  auto where = *other->host == *added.host ? std::string{} : " on " + quoted(*other->host);
  problems.push_back(
      {added.path,
       "port " + std::to_string(added.port) + " on " + quoted(*added.host) + " is taken by " + other->path + where,
       "a different port for each use of a host"});
}

void check_listeners(const cluster_config& config, std::vector<problem>& problems) {
  listeners all;
  for (size_t i = 0; i < config.nodes.size(); ++i) {
    const auto& node = config.nodes[i];
    check_listener(node, {node_path(i) + ".peer_port", &node.host, node.peer_port}, all, problems);
    check_listener(node, {node_path(i) + ".resp_port", &node.host, node.resp_port}, all, problems);
    check_listener(node, {node_path(i) + ".http_port", &node.http_host, node.http_port}, all, problems);
  }
}

bool is_below(const std::filesystem::path& inner, const std::filesystem::path& outer) {
  return std::mismatch(outer.begin(), outer.end(), inner.begin(), inner.end()).first == outer.end();
}

void check_data_dirs(const cluster_config& config, std::vector<problem>& problems) {
  // By machine: the normalized directories seen so far. Neighbours in the order of paths are all that must be compared,
  // because whatever lies below a directory follows it immediately.
  std::map<std::string, std::map<std::filesystem::path, size_t>> seen;
  for (size_t i = 0; i < config.nodes.size(); ++i) {
    const auto& node = config.nodes[i];
    if (node.host.empty() || node.data_dir.empty())
      continue;
    auto dir = (std::filesystem::path{"working directory"} / node.data_dir / "").lexically_normal().parent_path();
    auto& others = seen[machine(node)];
    auto next = others.lower_bound(dir);
    auto clash = others.end();
    if (next != others.end() && is_below(next->first, dir))
      clash = next;
    else if (next != others.begin() && is_below(dir, std::prev(next)->first))
      clash = std::prev(next);
    if (clash != others.end())
      problems.push_back({node_path(i) + ".data_dir",
                          quoted(node.data_dir) + (clash->first == dir ? " is also that of " : " overlaps that of ") +
                              node_path(clash->second),
                          "a directory of its own for each node of a host"});
    else
      others.emplace(std::move(dir), i);
  }
}

/// Reports the second and later of equal values.
template <class Value>
class uniqueness {
public:
  uniqueness(std::vector<problem>& problems, std::string allowed) : problems_(problems), allowed_(std::move(allowed)) {}

  void check(const Value& value, const std::string& shown, const std::string& path) {
    auto [first, added] = seen_.emplace(value, path);
    if (!added)
      problems_.push_back({path, shown + " is also " + first->second, allowed_});
  }

private:
  std::vector<problem>& problems_;
  std::string allowed_;
  std::map<Value, std::string> seen_;
};

/// Placement `groups` is for all nodes or none, and every group has room for all copies.
void check_groups(const cluster_config& config, std::vector<problem>& problems) {
  std::map<std::string, std::vector<size_t>> groups;
  for (size_t i = 0; i < config.nodes.size(); ++i)
    groups[config.nodes[i].group].push_back(i);
  if (groups.empty() || groups.rbegin()->first.empty()) // Nobody has one.
    return;
  auto named = groups.rbegin();
  for (auto i : groups[""]) {
    auto path = node_path(i) + ".group";
    if (std::none_of(problems.begin(), problems.end(), [&](const problem& p) { return p.path == path; }))
      problems.push_back({path,
                          "is absent, but " + node_path(named->second.front()) + " is in group " + quoted(named->first),
                          "a group for each node, or for none"});
  }
  groups.erase("");
  uint32_t most = 0;
  for (const auto& bucket : config.buckets)
    most = std::max(most, bucket.n);
  for (const auto& [name, nodes] : groups)
    if (nodes.size() < most)
      problems.push_back({node_path(nodes.front()) + ".group",
                          "group " + quoted(name) + " has " + std::to_string(nodes.size()) + " of " +
                              std::to_string(most) + " nodes for all copies of a bucket",
                          "groups of at least " + std::to_string(most) + " nodes, or buckets with a smaller n"});
}

} // namespace

std::string check_name(const std::string& name) {
  if (name.empty())
    return "is empty";
  if (name.size() > 64)
    return "is too long";
  if (!std::all_of(name.begin(), name.end(), [](char c) { return is_one_of(c, "._-"); }))
    return "has a character that is not allowed";
  if (name == "." || name == "..")
    return "cannot be part of a path";
  return {};
}

std::string check_host(const std::string& host) {
  if (host.empty())
    return "is empty";
  if (host.size() > 253)
    return "is too long";
  if (host.find(' ') != std::string::npos)
    return "has a space";
  if (!std::all_of(host.begin(), host.end(), [](char c) { return is_one_of(c, ".:_%-"); }))
    return "has a character that is not allowed";
  if (std::count(host.begin(), host.end(), ':') == 1)
    return "has a port";
  return {};
}

void resolve_quorum(const given_quorum& given, size_t nodes, const std::string& bucket_path, bucket_config& bucket,
                    std::vector<problem>& problems) {
  bool alone = nodes == 1;
  bucket.n = given.n.value_or(static_cast<uint32_t>(std::clamp<size_t>(nodes, 1, 3)));
  if (bucket.n > nodes && nodes > 1)
    problems.push_back({bucket_path + ".n",
                        std::to_string(bucket.n) + " copies need as many nodes, and there are " + std::to_string(nodes),
                        "1 to " + std::to_string(std::min<size_t>(nodes, 16))});
  auto majority = bucket.n / 2 + 1;
  auto check = [&](const char* name, std::optional<uint32_t> value, uint32_t& target) {
    target = value.value_or(majority);
    // A file for one node may ask for two of the three copies that it would have with more: not if n is absent, though.
    if (bucket.n != 0 && target > bucket.n && !(alone && !given.n))
      problems.push_back({bucket_path + "." + name,
                          std::to_string(target) + " is more than n, " + std::to_string(bucket.n),
                          "1 to " + std::to_string(bucket.n)});
  };
  check("r", given.r, bucket.r);
  check("w", given.w, bucket.w);
  if (alone)
    bucket.n = bucket.r = bucket.w = 1;
}

void check_clashes(const cluster_config& config, std::vector<problem>& problems) {
  uniqueness<std::string> node_names{problems, "a name of its own for each node"};
  for (size_t i = 0; i < config.nodes.size(); ++i)
    if (const auto& name = config.nodes[i].name; !name.empty())
      node_names.check(name, quoted(name), node_path(i) + ".name");
  for (size_t i = 0; i < config.nodes.size(); ++i)
    if (const auto& host = config.nodes[i].host; config.nodes.size() > 1 && is_wildcard(host))
      problems.push_back({node_path(i) + ".host", quoted(host) + " is an address that no other node can dial",
                          "the name or address by which the other nodes reach this one"});
  check_listeners(config, problems);
  check_data_dirs(config, problems);
  check_groups(config, problems);

  uniqueness<std::string> bucket_names{problems, "a name of its own for each bucket"};
  uniqueness<bucket_id> dbs{problems, "a number of its own for each bucket (default: its place in the list, from 0)"};
  for (size_t i = 0; i < config.buckets.size(); ++i) {
    const auto& bucket = config.buckets[i];
    auto path = "buckets[" + std::to_string(i) + "]";
    if (!bucket.name.empty())
      bucket_names.check(bucket.name, quoted(bucket.name), path + ".name");
    if (bucket.db != no_db)
      dbs.check(bucket.db, std::to_string(bucket.db), path + ".db");
  }
}

} // namespace crema::config
