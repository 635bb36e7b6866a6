#include "storage/identity_file.hpp"

#include "storage/database_format.hpp"
#include "storage/files.hpp"
#include "storage/keys.hpp"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <cinttypes>
#include <cstdio>

namespace crema::storage {

namespace {

using json = nlohmann::json;

/// Of the whole directory, so that another one is refused before anything in it, LOCK included, is touched.
constexpr int format = 2;
static_assert(format_version == "2");

constexpr const char* identity_file = "identity.json";

std::string to_hex(replica_id id) {
  if (id == 0)
    return "";
  char hex[17];
  std::snprintf(hex, sizeof hex, "%016" PRIx64, id);
  return hex;
}

/// @returns nothing unless these are 16 hexadecimal digits, or none.
std::optional<replica_id> from_hex(const std::string& text) {
  if (text.empty())
    return 0;
  if (text.size() != 16 || text.find_first_not_of("0123456789abcdef") != std::string::npos)
    return std::nullopt;
  return std::stoull(text, nullptr, 16);
}

json to_json(const identity_record& record) {
  json buckets = json::array();
  for (const auto& b : record.who.buckets)
    buckets.push_back({{"name", b.name}, {"db", b.id}, {"conflict", b.conflict}, {"n", b.n}});
  return {{"format", format},
          {"cluster", record.who.cluster},
          {"node", record.who.node},
          {"partitions", record.who.partitions},
          {"members", record.who.members},
          {"buckets", buckets},
          {"replica_id", to_hex(record.replica)},
          {"boot_id", record.boot_id},
          {"clean_stop", record.clean},
          {"copied", record.copied},
          {"members_agreed", record.members_agreed},
          {"born", record.born}};
}

/// Throws what nlohmann::json throws.
std::optional<identity_record> from_json(const json& in) {
  identity_record record;
  in.at("cluster").get_to(record.who.cluster);
  in.at("node").get_to(record.who.node);
  in.at("partitions").get_to(record.who.partitions);
  in.at("members").get_to(record.who.members);
  for (const auto& b : in.at("buckets"))
    record.who.buckets.push_back({b.at("name"), b.at("db"), b.at("conflict"), b.at("n")});
  in.at("boot_id").get_to(record.boot_id);
  in.at("clean_stop").get_to(record.clean);
  in.at("copied").get_to(record.copied);
  record.members_agreed = in.value("members_agreed", false);
  record.born = in.value("born", std::map<std::string, std::string>{{"LOCK", in.value("lock_born", "")}}); // As once.
  auto replica = from_hex(in.at("replica_id"));
  if (!replica)
    return std::nullopt;
  record.replica = *replica;
  return record;
}

status broken(const std::string& path, const std::string& why) {
  return {path + ": is damaged: " + why +
          ". It says which replica id names this node's writes, so it cannot be made anew around the data: restore the "
          "whole data directory from a copy (docs/storage.md, \"Restoring a copy\"), or move it away and let the node "
          "start empty."};
}

std::string quoted(const std::string& x) { return '"' + x + '"'; }

std::string list(const std::vector<std::string>& items) {
  std::string result;
  for (const auto& item : items)
    result += (result.empty() ? "" : ", ") + quoted(item);
  return result.empty() ? "none" : result;
}

std::string describe(const identity::bucket& b) {
  return "db " + std::to_string(b.id) + ", conflict " + quoted(b.conflict) + ", n " + std::to_string(b.n);
}

status differs(const std::string& directory, const std::string& field, const std::string& recorded,
               const std::string& expected, const std::string& hint) {
  return {directory + ": was made for " + field + " " + recorded + ", the configuration says " + expected + ". " +
          hint + " Use the configuration it was made with, or choose another data_dir."};
}

constexpr const char* bucket_hint =
    "The file says with which buckets the cluster began; they are changed while it runs "
    "(crema ctl bucket --help), and the file stays as it is.";

status compare_buckets(const std::string& directory, const identity& recorded, const identity& expected) {
  for (const auto& was : recorded.buckets) {
    auto same_name = [&](const identity::bucket& b) { return b.name == was.name; };
    auto now = std::find_if(expected.buckets.begin(), expected.buckets.end(), same_name);
    if (now == expected.buckets.end())
      return differs(directory, "a bucket", quoted(was.name) + " (" + describe(was) + ")", "nothing about it",
                     bucket_hint);
    if (!(*now == was))
      return differs(directory, "bucket " + quoted(was.name) + " with", describe(was), describe(*now), bucket_hint);
  }
  auto smaller = [](const identity::bucket& a, const identity::bucket& b) { return a.n < b.n; };
  auto most = std::max_element(recorded.buckets.begin(), recorded.buckets.end(), smaller);
  for (const auto& b : expected.buckets)
    if (most != recorded.buckets.end() && b.n > most->n) // The ring was dealt out for so many owners.
      return {directory + ": the bucket " + quoted(b.name) + " with n = " + std::to_string(b.n) +
              " cannot be added: the cluster was created for n up to " + std::to_string(most->n) +
              ". More copies are made while it runs (crema ctl bucket --help). Nothing was written."};
  return {};
}

} // namespace

std::string identity_path(const std::string& directory) { return directory + "/" + identity_file; }

identity_result read_identity(const std::string& directory) {
  auto path = identity_path(directory);
  auto content = read_file(path);
  if (!content.what.ok() || !content.bytes)
    return {std::nullopt, content.what};
  try {
    auto in = json::parse(*content.bytes);
    if (in.at("format") != format)
      return {std::nullopt, other_format(path, in.at("format").dump())};
    if (auto record = from_json(in))
      return {std::move(record), {}};
    return {std::nullopt, broken(path, "replica_id is not 16 hexadecimal digits")};
  } catch (const json::exception& e) {
    return {std::nullopt, broken(path, e.what())};
  }
}

status write_identity(const std::string& directory, const identity_record& record) {
  return write_file_atomically(identity_path(directory), [&](const std::string& born) {
    auto marked = record;
    marked.born[identity_file] = born;
    return to_json(marked).dump(2, ' ', false, json::error_handler_t::replace) + "\n";
  });
}

bool is_a_copy(const std::string& directory, const identity_record& record) {
  return std::any_of(record.born.begin(), record.born.end(), [&](const auto& file) {
    auto path = directory;
    auto now = birth_of(path.append("/").append(file.first));
    return !file.second.empty() && !now.empty() && file.second != now;
  });
}

status compare_identities(const std::string& directory, const identity_record& record, const identity& expected) {
  const auto& recorded = record.who;
  if (recorded.cluster != expected.cluster)
    return differs(directory, "cluster", quoted(recorded.cluster), quoted(expected.cluster),
                   "Data of one cluster cannot be used in another.");
  if (recorded.node != expected.node)
    return differs(directory, "node", quoted(recorded.node), quoted(expected.node),
                   "Two nodes cannot share a directory, and a node cannot be renamed yet.");
  if (recorded.partitions != expected.partitions)
    return differs(directory, "partitions", std::to_string(recorded.partitions), std::to_string(expected.partitions),
                   "The number of partitions is fixed when a cluster is created.");
  if (record.members_agreed)
    return {};
  if (recorded.members != expected.members)
    return differs(directory, "nodes (name, zone, weight, group)", list(recorded.members), list(expected.members),
                   "The file says with which nodes the cluster began; they are changed while it runs (crema ctl plan "
                   "--help), and the file stays as it is.");
  return compare_buckets(directory, recorded, expected);
}

} // namespace crema::storage
