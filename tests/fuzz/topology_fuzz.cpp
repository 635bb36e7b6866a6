// libFuzzer: no bytes make the parser of topology changes crash, hang or throw; what it accepts has words.
#include "config/topology_changes.hpp"

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>
#include <variant>

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace crema;
  std::string_view text{reinterpret_cast<const char*>(data), size};
  auto result = config::topology_changes_from_json(text);
  if (auto* no = std::get_if<protocol::refused>(&result)) {
    if (no->why.empty() || no->why.size() > 10000)
      std::abort(); // A message that repeats the input helps nobody.
    return 0;
  }
  const auto& changes = std::get<std::vector<protocol::topology_change>>(result);
  if (changes.empty() || changes.size() > config::topology_changes_max)
    std::abort();
  for (const auto& change : changes)
    if (protocol::to_words(change).empty())
      std::abort();
  return 0;
}
