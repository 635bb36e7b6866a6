#include "protocol/quorum_level.hpp"

#include <algorithm>
#include <charconv>

namespace crema::protocol {

namespace {

bool same_word(std::string_view text, std::string_view lower_case) {
  auto lower = [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; };
  return std::equal(text.begin(), text.end(), lower_case.begin(), lower_case.end(),
                    [&](char x, char y) { return lower(x) == y; });
}

} // namespace

std::optional<quorum_level> quorum_level::parse(std::string_view text) {
  if (same_word(text, "one"))
    return quorum_level{kind::one, 0};
  if (same_word(text, "quorum"))
    return quorum_level{kind::quorum, 0};
  if (same_word(text, "all"))
    return quorum_level{kind::all, 0};
  uint32_t number = 0;
  const auto* end = text.data() + text.size();
  auto [stopped, error] = std::from_chars(text.data(), end, number); // No sign, no blanks.
  if (error != std::errc{} || stopped != end || number == 0)
    return std::nullopt;
  return quorum_level{kind::number, number};
}

std::optional<uint32_t> quorum_level::resolve(uint32_t n, uint32_t fallback) const {
  switch (level) {
  case kind::bucket_default:
    return fallback;
  case kind::one:
    return 1;
  case kind::quorum:
    return n / 2 + 1;
  case kind::all:
    return n;
  case kind::number:
    break;
  }
  return count <= n ? std::optional(count) : std::nullopt;
}

} // namespace crema::protocol
