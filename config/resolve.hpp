// Names to addresses, with a deadline: a name server that does not answer holds up a node's start and its stop.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <string>

#include <netdb.h>

namespace crema::config {

struct addresses {
  std::unique_ptr<addrinfo, decltype(&::freeaddrinfo)> list{nullptr, &::freeaddrinfo};
  int error = 0; ///< EAI_*; EAI_AGAIN also if it took too long.
};

/// For those who only want to know whether a name has an address.
constexpr std::chrono::milliseconds lookup_limit{1500};

/// Addresses for TCP.
/// @param flags AI_*.
/// @param cancelled is asked every 50 ms whether to go on; null: nobody cancels.
addresses resolve(const std::string& host, const std::string& service, int flags, std::chrono::milliseconds limit,
                  const std::function<bool()>& cancelled = nullptr);

} // namespace crema::config
