#include "config/resolve.hpp"

#include <sys/socket.h>

namespace crema::config {

namespace {

struct lookup {
  std::string host, service;
  addrinfo hints{};
  gaicb what{};
};

} // namespace

addresses resolve(const std::string& host, const std::string& service, int flags, std::chrono::milliseconds limit,
                  const std::function<bool()>& cancelled) {
  constexpr std::chrono::milliseconds slice{50};
  addresses result;
  auto own = std::make_unique<lookup>();
  own->host = host;
  own->service = service;
  own->hints.ai_family = AF_UNSPEC;
  own->hints.ai_socktype = SOCK_STREAM;
  own->hints.ai_flags = flags;
  own->what.ar_name = own->host.c_str();
  own->what.ar_service = own->service.empty() ? nullptr : own->service.c_str();
  own->what.ar_request = &own->hints;
  gaicb* list[] = {&own->what};
  result.error = ::getaddrinfo_a(GAI_NOWAIT, list, 1, nullptr);
  if (result.error != 0)
    return result;
  auto deadline = std::chrono::steady_clock::now() + limit;
  while ((result.error = ::gai_error(&own->what)) == EAI_INPROGRESS) {
    if (std::chrono::steady_clock::now() >= deadline || (cancelled && cancelled())) {
      if (::gai_cancel(&own->what) == EAI_NOTCANCELED)
        static_cast<void>(own.release()); // The thread that looks it up still uses it, and nobody can tell it not to.
      result.error = EAI_AGAIN;
      return result;
    }
    timespec wait{0, std::chrono::nanoseconds{slice}.count()};
    ::gai_suspend(list, 1, &wait);
  }
  if (result.error == 0)
    result.list.reset(own->what.ar_result);
  return result;
}

} // namespace crema::config
