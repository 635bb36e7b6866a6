#include "storage/sync_thread.hpp"

namespace crema::storage {

sync_thread::~sync_thread() {
  {
    std::lock_guard<std::mutex> lock{mutex_};
    stopping_ = true;
  }
  changed_.notify_one();
  thread_.join();
}

void sync_thread::request() {
  {
    std::lock_guard<std::mutex> lock{mutex_};
    if (requested_)
      return;
    requested_ = true;
  }
  changed_.notify_one();
}

void sync_thread::run() {
  std::unique_lock<std::mutex> lock{mutex_};
  for (;;) {
    changed_.wait(lock, [this] { return requested_ || stopping_; });
    if (!requested_)
      return;
    requested_ = false;
    lock.unlock();
    sync_();
    lock.lock();
  }
}

} // namespace crema::storage
