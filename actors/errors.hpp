// errc between actors: as a caf::error of its own category, so that it crosses nodes and can be told apart on arrival.
#pragma once

#include "protocol/types.hpp"

#include <caf/atom.hpp>
#include <caf/error.hpp>
#include <caf/make_message.hpp>

#include <string>

namespace crema {

constexpr caf::atom_value errc_category = caf::atom("crema");

inline caf::error make_errc(errc code, const std::string& text) {
  return caf::error{static_cast<uint8_t>(code), errc_category, caf::make_message(text)};
}

/// That a node is no member in the ring of this epoch, and not needed.
inline caf::error make_no_member(errc code, const std::string& text, uint64_t epoch) {
  return caf::error{static_cast<uint8_t>(code), errc_category, caf::make_message(text, epoch)};
}
/// Of make_no_member(); 0: it says none.
inline uint64_t epoch_of(const caf::error& e) {
  return e.context().match_elements<std::string, uint64_t>() ? e.context().get_as<uint64_t>(1) : 0;
}

/// errc::ok if `e` is none of ours (a timeout of CAF, say).
inline errc errc_of(const caf::error& e) {
  return e && e.category() == errc_category ? static_cast<errc>(e.code()) : errc::ok;
}

/// "behind: the log does not reach back far enough"
inline std::string text_of(const caf::error& e) {
  if (errc_of(e) == errc::ok)
    return caf::to_string(e);
  auto text = std::string{to_string(errc_of(e))};
  if (e.context().match_elements<std::string>() || epoch_of(e) != 0)
    text += ": " + e.context().get_as<std::string>(0);
  return text;
}

} // namespace crema
