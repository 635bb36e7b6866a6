// libFuzzer: no bytes make the configuration's parser crash, hang or throw; what it accepts it can use.
#include "config/cluster_config.hpp"

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace crema::config;
  auto result = parse_config({reinterpret_cast<const char*>(data), size}, "fuzz.json");
  if (result.config.has_value() != result.problems.empty())
    std::abort();
  for (const auto& p : result.problems)
    if (to_string("fuzz.json", p).size() > 10000)
      std::abort(); // A message that repeats the input helps nobody.
  if (result.config) {
    fingerprint(*result.config);
    for (const auto& node : result.config->nodes)
      if (result.config->find_node(node.name) != &node)
        std::abort();
    for (const auto& bucket : result.config->buckets)
      if (result.config->find_bucket(std::to_string(bucket.db)) != &bucket || bucket.r > bucket.n ||
          bucket.w > bucket.n)
        std::abort();
  }
  return 0;
}
