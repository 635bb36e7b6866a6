// A conversation without sockets, against a backend whose answers the test gives by hand.
#pragma once

#include "gateway/resp/conversation.hpp"

#include <map>
#include <optional>
#include <string>
#include <vector>

namespace crema::gateway::resp {

constexpr uint64_t test_now_ms = 1'700'000'000'000;

inline options test_options() {
  options opts;
  opts.cluster = "test";
  opts.node = "n1";
  opts.version = "1.2.3";
  opts.threads = 1;
  opts.partitions = 16;
  config::bucket_config plain, carts;
  plain.name = "default";
  carts.name = "carts";
  carts.id = carts.db = 1;
  carts.conflict = conflict_rule::siblings;
  opts.cluster_now.buckets = {plain, carts};
  opts.wall_clock_ms = [] { return test_now_ms; };
  return opts;
}

/// Keeps what was asked until the test answers.
class scripted_port : public request_port {
public:
  struct asked {
    conversation* from;
    uint64_t sequence;
    uint32_t part;
    client_request request;
  };
  struct question {
    conversation* from;
    uint64_t sequence;
    std::optional<bucket_id> count_of;
    std::optional<uint64_t> sync_point;
    std::optional<repair_order> repair;
    std::optional<topology_order> topology; ///< All unset: the status.
  };

  void submit(conversation& from, uint64_t sequence, uint32_t part, client_request&& request) override {
    open.push_back({&from, sequence, part, std::move(request)});
  }
  void ask_status(conversation& from, uint64_t sequence) override {
    questions.push_back({&from, sequence, {}, {}, {}, {}});
  }
  void sync_point(conversation& from, uint64_t sequence, uint64_t id) override {
    questions.push_back({&from, sequence, {}, id, {}, {}});
  }
  void repair(conversation& from, uint64_t sequence, const repair_order& order) override {
    questions.push_back({&from, sequence, {}, {}, order, {}});
  }
  void topology(conversation& from, uint64_t sequence, topology_order order) override {
    questions.push_back({&from, sequence, {}, {}, {}, std::move(order)});
  }
  void count_keys(conversation& from, uint64_t sequence, bucket_id bucket) override {
    questions.push_back({&from, sequence, bucket, {}, {}, {}});
  }

  /// Answers the `i`th open request.
  void answer(size_t i, client_reply reply) {
    auto x = std::move(open.at(i));
    open.erase(open.begin() + static_cast<std::ptrdiff_t>(i));
    x.from->on_reply(x.sequence, x.part, std::move(reply));
  }

  std::vector<asked> open;
  std::vector<question> questions;
};

inline client_reply value_reply(std::string value, protocol::expiry_ms expires_at = 0) {
  client_reply reply;
  reply.values.push_back({std::move(value), expires_at, 0});
  return reply;
}

inline client_reply error_reply(errc status, std::string why = "") {
  client_reply reply;
  reply.status = status;
  reply.error = std::move(why);
  return reply;
}

inline std::string encoded(const std::vector<std::string>& args) {
  std::string out = "*" + std::to_string(args.size()) + "\r\n";
  for (const auto& x : args)
    out += "$" + std::to_string(x.size()) + "\r\n" + x + "\r\n";
  return out;
}

inline client_info test_client(uint64_t id, std::string address = "1.2.3.4:5") {
  client_info info;
  info.id = id;
  info.address = std::move(address);
  info.local_address = "l";
  return info;
}

/// One client's side of a conversation.
class dialogue {
public:
  explicit dialogue(options opts = test_options())
      : env(std::move(opts)), talk(env, env.of_thread(0), port, test_client(env.clients.next_id())) {}

  void send(const std::vector<std::string>& args) { send_bytes(encoded(args)); }
  void send_bytes(std::string_view bytes) {
    input_ += bytes;
    go_on();
  }
  /// What a socket does after anything has changed: takes in what may be taken in.
  void go_on() {
    while (!input_.empty() && talk.wants_input()) {
      auto used = talk.consume(input_);
      input_.erase(0, used);
      if (used == 0)
        break;
    }
  }
  void answer(size_t i, client_reply reply) {
    port.answer(i, std::move(reply));
    go_on();
  }
  /// What the client has been told since the last call.
  std::string heard() {
    std::string text(talk.unsent());
    talk.sent(text.size());
    go_on();
    return text;
  }
  /// Sends a command that is answered at once.
  std::string call(const std::vector<std::string>& args) {
    send(args);
    return heard();
  }
  size_t waiting() const { return input_.size(); }

  environment env;
  scripted_port port;
  conversation talk;

private:
  std::string input_;
};

} // namespace crema::gateway::resp
