// libFuzzer: no bytes of a client make the parser or the commands crash, hang or hold memory that was only announced;
// and how the bytes are split into reads does not change what is answered.
#include "gateway/resp/conversation.hpp"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

namespace {

using namespace crema;
using namespace crema::gateway::resp;

/// Answers every request with something that depends on its key only.
class fuzz_port : public request_port {
public:
  void submit(conversation& from, uint64_t sequence, uint32_t part, client_request&& request) override {
    if (request.key.empty() || request.key.size() > key_bytes_max || request.value.size() > value_bytes_max)
      std::abort();
    client_reply reply;
    auto first = static_cast<unsigned char>(request.key.front());
    reply.status = static_cast<errc>(first % 16 < 14 ? 0 : first % 14);
    reply.error = request.key.substr(0, 20);
    reply.existed = first % 2 == 0;
    if (first % 3 == 0)
      reply.values.push_back({request.key, first, 0});
    open_.push_back({&from, sequence, part, std::move(reply)});
  }
  void ask_status(conversation& from, uint64_t sequence) override { open_.push_back({&from, sequence, 0, {}}); }
  void sync_point(conversation& from, uint64_t sequence, uint64_t) override {
    open_.push_back({&from, sequence, 0, {}});
  }
  void repair(conversation& from, uint64_t sequence, const repair_order&) override {
    open_.push_back({&from, sequence, 0, {}});
  }
  void count_keys(conversation& from, uint64_t sequence, bucket_id) override {
    open_.push_back({&from, sequence, 0, {}});
  }
  /// Answers the newest request first. @returns false if there is none.
  bool answer() {
    if (open_.empty())
      return false;
    auto x = std::move(open_.back());
    open_.pop_back();
    x.from->on_reply(x.sequence, x.part, std::move(x.reply));
    return true;
  }

private:
  struct asked {
    conversation* from;
    uint64_t sequence;
    uint32_t part;
    client_reply reply;
  };
  std::vector<asked> open_;
};

gateway::options fuzz_options() {
  gateway::options opts;
  opts.threads = 1;
  opts.version = "0";
  config::bucket_config plain, carts;
  plain.name = "default";
  carts.name = "carts";
  carts.id = carts.db = 1;
  carts.conflict = conflict_rule::siblings;
  opts.cluster_now.buckets = {plain, carts};
  opts.wall_clock_ms = [] { return uint64_t{1'700'000'000'000}; };
  return opts;
}

std::string converse(std::string_view stream, size_t step) {
  environment env(fuzz_options());
  fuzz_port port;
  std::string input, told;
  conversation talk(env, env.of_thread(0), port, {});
  for (size_t at = 0; at < stream.size() && !talk.closing(); at += step) {
    input += stream.substr(at, step);
    for (bool more = true; more;) {
      auto used = talk.wants_input() ? talk.consume(input) : 0;
      if (used > input.size())
        std::abort();
      input.erase(0, used);
      told += talk.unsent();
      talk.sent(talk.unsent().size());
      more = (!talk.wants_input() && !talk.closing() && port.answer()) || (used > 0 && !input.empty());
    }
  }
  while (port.answer()) {
    input.erase(0, talk.wants_input() ? talk.consume(input) : 0);
    told += talk.unsent();
    talk.sent(talk.unsent().size());
  }
  if (!talk.idle() || talk.outstanding() != 0)
    std::abort(); // Something was never answered.
  return told;
}

// What a stream is answered must not depend on the counters of the process.
bool tells_of_the_process(std::string_view stream) {
  std::string lower(stream);
  std::transform(lower.begin(), lower.end(), lower.begin(), [](char c) { return static_cast<char>(c | 0x20); });
  return lower.find("info") != std::string::npos;
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  std::string_view stream(reinterpret_cast<const char*>(data), size);
  auto whole = converse(stream, std::max<size_t>(1, size));
  auto split = converse(stream, 1 + (size > 0 ? data[0] % 7 : 0));
  if (whole != split && !tells_of_the_process(stream))
    std::abort();
  return 0;
}
