// How messages of several versions travel (docs/adr/0011-message-versions.md). The version is the first field, and says
// which others follow: who sends sets it to what the receiver speaks, and fields that came later stay behind.
#pragma once

#include "protocol/message_version.hpp"

#include <caf/error.hpp>
#include <caf/meta/type_name.hpp>

#include <utility>

namespace crema {

/// A field that came with version `first`. In messages of older ones it does not travel, and arrives as it is by
/// default.
template <class T>
struct later_field {
  uint16_t first;
  const uint16_t& version;
  T& field;

  template <class Inspector>
  friend typename Inspector::result_type inspect(Inspector& f, later_field& x) {
    if (x.version < x.first)
      return typename Inspector::result_type();
    return f(x.field);
  }
};
template <class T>
later_field<T> since(uint16_t first, const uint16_t& version, T& field) {
  return {first, version, field};
}

/// What inspect does for a message from node to node. Of one in a version that is not known here nothing but that is
/// read: who handles it sees which one it is.
template <class Inspector, class... Fields>
typename Inspector::result_type inspect_versioned(Inspector& f, const char* name, uint16_t& version,
                                                  Fields&&... fields) {
  if constexpr (Inspector::reads_state) {
    return f(caf::meta::type_name(name), version, std::forward<Fields>(fields)...);
  } else {
    if (auto error = f(caf::meta::type_name(name), version))
      return error;
    return spoken_versions{}.include(version) ? f(std::forward<Fields>(fields)...) : caf::none;
  }
}

} // namespace crema
