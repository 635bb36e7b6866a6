#include "config/resolve.hpp"

#include <sys/socket.h>

#include <condition_variable>
#include <mutex>
#include <optional>
#include <system_error>
#include <thread>

namespace crema::config {

namespace {

addresses ask(const std::string& host, const std::string& service, int flags) {
  addrinfo hints{};
  hints.ai_family = AF_UNSPEC;
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = flags;
  addresses result;
  addrinfo* list = nullptr;
  result.error = ::getaddrinfo(host.c_str(), service.empty() ? nullptr : service.c_str(), &hints, &list);
  result.list.reset(list);
  return result;
}

addresses nothing_now() {
  addresses result;
  result.error = EAI_AGAIN;
  return result;
}

/// Shared with the thread that asks: nobody can tell it to stop, so it may outlive the question.
struct lookup {
  std::mutex mutex;
  std::condition_variable answered;
  std::optional<addresses> answer;
};

} // namespace

addresses resolve(const std::string& host, const std::string& service, int flags, std::chrono::milliseconds limit,
                  const std::function<bool()>& cancelled) {
  constexpr std::chrono::milliseconds slice{50};
  if (auto result = ask(host, service, flags | AI_NUMERICHOST); result.error != EAI_NONAME)
    return result; // An address: nobody else is asked.
  auto shared = std::make_shared<lookup>();
  try {
    std::thread{[shared, host, service, flags] {
      auto answer = ask(host, service, flags);
      std::lock_guard<std::mutex> lock{shared->mutex};
      shared->answer = std::move(answer);
      shared->answered.notify_one();
    }}.detach();
  } catch (const std::system_error&) {
    return nothing_now(); // No thread to be had.
  }
  auto deadline = std::chrono::steady_clock::now() + limit;
  std::unique_lock<std::mutex> lock{shared->mutex};
  while (!shared->answered.wait_for(lock, slice, [&] { return shared->answer.has_value(); })) {
    if (std::chrono::steady_clock::now() >= deadline || (cancelled && cancelled())) {
      return nothing_now();
    }
  }
  return std::move(*shared->answer);
}

} // namespace crema::config
