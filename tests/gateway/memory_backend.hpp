// A backend that is one map, behind a real gateway. Answers at once, or when the test lets it.
#pragma once

#include "messages/client.hpp"

#include <condition_variable>
#include <map>
#include <mutex>
#include <utility>

namespace crema::gateway {

class memory_backend : public client_backend {
public:
  std::string status_json = R"({"node":"n1"})"; // To be set before anyone asks.
  std::string topology_json = R"({"epoch":1})";

  void submit(client_batch batch) override {
    std::unique_lock lock(mutex_);
    held_requests_ += batch.requests.size();
    held_.push_back(std::move(batch));
    if (!hold_)
      answer(lock);
    changed_.notify_all();
  }

  void status(std::function<void(std::string)> answer) override {
    std::lock_guard lock(mutex_);
    if (!hold_)
      answer(status_json);
  }

  void sync_point(uint64_t id, std::function<void(std::string)> answer) override {
    std::lock_guard lock(mutex_);
    answer(R"({"id":)" + std::to_string(id) + "}");
  }

  void repair(repair_order order, std::function<void(std::string)> answer) override {
    answer(R"({"order":)" + std::to_string(static_cast<int>(order.what)) + "}");
  }

  void topology(topology_order order, std::function<void(std::string)> answer) override {
    std::lock_guard lock(mutex_);
    answer(order.what == topology_order::kind::cancel ? R"({"error":"cancel: no change\nis under way"})"
                                                      : topology_json);
  }

  void count_keys(bucket_id bucket, std::function<void(std::optional<uint64_t>, std::string)> answer) override {
    std::lock_guard lock(mutex_);
    uint64_t count = 0;
    for (const auto& [key, value] : data_)
      count += key.first == bucket ? 1 : 0;
    answer(count, "");
  }

  /// From now on keeps requests until release().
  void hold() {
    std::lock_guard lock(mutex_);
    hold_ = true;
  }
  void release() {
    std::unique_lock lock(mutex_);
    hold_ = false;
    answer(lock);
  }
  /// Answers what is held now, and goes on holding.
  void answer_held() {
    std::unique_lock lock(mutex_);
    answer(lock);
  }
  /// Waits until at least `count` requests are held. @returns false after 30 seconds.
  bool wait_held(size_t count) {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, std::chrono::seconds(30), [&] { return held_requests_ >= count; });
  }
  size_t held() {
    std::lock_guard lock(mutex_);
    return held_requests_;
  }

private:
  void answer(std::unique_lock<std::mutex>& lock) {
    auto batches = std::exchange(held_, {});
    held_requests_ = 0;
    for (auto& batch : batches) {
      std::vector<client_reply> replies;
      for (auto& request : batch.requests)
        replies.push_back(carry_out(request));
      lock.unlock(); // As a sink may ask for more at once.
      batch.sink->deliver(std::move(replies));
      lock.lock();
    }
  }

  client_reply carry_out(client_request& request) {
    client_reply reply;
    reply.id = request.id;
    auto key = std::make_pair(request.bucket, request.key);
    auto found = data_.find(key);
    reply.existed = found != data_.end();
    if (request.what == client_request::kind::put)
      data_[key] = std::move(request.value);
    else if (request.what == client_request::kind::remove)
      data_.erase(key);
    else if (found != data_.end())
      reply.values.push_back({found->second, 0, 0});
    return reply;
  }

  std::mutex mutex_;
  std::condition_variable changed_;
  std::map<std::pair<bucket_id, std::string>, std::string> data_;
  std::vector<client_batch> held_;
  size_t held_requests_ = 0;
  bool hold_ = false;
};

} // namespace crema::gateway
