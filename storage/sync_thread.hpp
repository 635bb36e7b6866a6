// Does syncs in the background. Requests that come while one is running share the next one.
#pragma once

#include <condition_variable>
#include <functional>
#include <mutex>
#include <thread>

namespace crema::storage {

class sync_thread {
public:
  explicit sync_thread(std::function<void()> sync) : sync_(std::move(sync)), thread_([this] { run(); }) {}
  /// Finishes what was requested.
  ~sync_thread();
  sync_thread(const sync_thread&) = delete;
  sync_thread& operator=(const sync_thread&) = delete;

  void request();

private:
  void run();

  std::function<void()> sync_;
  std::mutex mutex_;
  std::condition_variable changed_;
  bool requested_ = false;
  bool stopping_ = false;
  std::thread thread_; ///< Last: it uses all of the above.
};

} // namespace crema::storage
