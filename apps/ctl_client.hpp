// How `crema ctl` asks nodes, and reads what they answer: JSON of unchecked origin, in which nothing may be as
// expected.
#pragma once

#include "apps/resp_client.hpp"

#include <nlohmann/json.hpp>

#include <chrono>
#include <optional>
#include <string>
#include <vector>

namespace crema::cli {

struct ctl_options {
  std::string where = "127.0.0.1:6401";
  bool json = false;
  uint32_t timeout_s = 60;
  std::string order = "start"; // repair; so are the two below.
  std::string bucket, partition;
  std::vector<std::string> changes; // plan, force-epoch
  bool yes = false;                 // force-epoch, bucket
  std::string node;                 // drain, undrain
  std::optional<uint64_t> job;      // cancel, pause, resume
  std::string file;                 // apply; so is the one below.
  bool drop = false;
  bool watch = false;      // jobs
  bool partitions = false; // ring
};

struct answer {
  std::string text; ///< As it came.
  nlohmann::json tree;
};

constexpr std::chrono::seconds call_timeout{5};

/// Asks a node something that is answered with a JSON object. @returns nothing, and the reason in `why`, if it is not.
std::optional<answer> ask(resp_client& client, const std::vector<std::string>& words, std::string& why);
/// The same on a connection of its own.
std::optional<answer> ask_at(const std::string& where, const std::vector<std::string>& words, std::string& why,
                             std::chrono::seconds timeout = call_timeout);

/// The objects of a list.
std::vector<nlohmann::json> list_in(const nlohmann::json& tree, const char* name);
std::string text_in(const nlohmann::json& tree, const char* name);
std::vector<std::string> texts_in(const nlohmann::json& tree, const char* name);
/// 0 if there is no such number.
uint64_t number_in(const nlohmann::json& tree, const char* name);

/// One line.
std::string dump(const nlohmann::json& tree);

} // namespace crema::cli
