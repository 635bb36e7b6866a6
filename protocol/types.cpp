#include "protocol/types.hpp"

namespace crema {

std::string_view to_string(errc code) {
  switch (code) {
  case errc::ok:
    return "ok";
  case errc::timeout:
    return "timeout";
  case errc::no_quorum:
    return "no_quorum";
  case errc::busy:
    return "busy";
  case errc::too_big:
    return "too_big";
  case errc::invalid_context:
    return "invalid_context";
  case errc::too_many_siblings:
    return "too_many_siblings";
  case errc::storage_failure:
    return "storage_failure";
  case errc::stale_epoch:
    return "stale_epoch";
  case errc::not_owner:
    return "not_owner";
  case errc::clock_skew:
    return "clock_skew";
  case errc::unknown_version:
    return "unknown_version";
  case errc::shutting_down:
    return "shutting_down";
  case errc::unknown_outcome:
    return "unknown_outcome";
  case errc::incomplete:
    return "incomplete";
  case errc::behind:
    return "behind";
  case errc::late:
    return "late";
  case errc::removed:
    return "removed";
  }
  return "unknown";
}

} // namespace crema
