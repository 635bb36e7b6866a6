// A load like that of redis-benchmark, of which every answer is checked: scripts/bench --topology.
//
// Each key has versions 1, 2, 3, ...; at most one write of it is under way at a time. So for each read it is known
// which version was acknowledged when it was sent (an older one is wrong), and which the newest is that was ever sent.
// It is told what to do on its standard input, and answers each line with one of JSON:
//
//   preload 6401              each key is written once
//   run 6401 6402 6403        random reads and writes through these, from now on; also while they run
//   phase                     what has been measured since the last one
//   stop                      all that is under way is waited for
//   verify 6402               each key is read
#include <nlohmann/json.hpp>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <iostream>
#include <map>
#include <random>
#include <sstream>
#include <string>
#include <vector>

namespace {

using monotonic = std::chrono::steady_clock;
using nlohmann::json;

constexpr size_t shown_max = 5;
constexpr std::chrono::seconds silence_max{15};  // No request takes so long: its deadline is two seconds.
constexpr size_t bulk_pipeline = 64;             // Of preload and verify,
constexpr size_t bulk_bytes = size_t{256} << 10; // and at most so much.

struct options {
  uint32_t keys = 200'000;
  size_t value_bytes = 100;
  uint32_t connections = 10;
  uint32_t pipeline = 1;
  uint32_t reads_percent = 50;
  uint64_t seed = 1;
};

std::string key_of(uint32_t key) {
  auto digits = std::to_string(key);
  return "key:" + std::string(12 - std::min<size_t>(12, digits.size()), '0') + digits;
}

/// "key:000000000017:3:" and bytes that cannot be compressed.
std::string value_of(uint32_t key, uint32_t version, size_t bytes) {
  auto value = key_of(key) + ":" + std::to_string(version) + ":";
  auto at = value.size();
  value.resize(std::max(bytes, at));
  uint64_t x = (uint64_t{key} << 32 | version) + 0x9E3779B97F4A7C15;
  while (at < value.size()) {
    x ^= x << 13; // Marsaglia's xorshift64.
    x ^= x >> 7;
    x ^= x << 17;
    auto count = std::min(sizeof x, value.size() - at);
    std::memcpy(value.data() + at, &x, count);
    at += count;
  }
  return value;
}

/// What each key may be read as.
class ledger {
public:
  explicit ledger(const options& o) : bytes_(o.value_bytes), keys_(o.keys) {}

  bool busy(uint32_t key) const { return keys_[key].busy; }
  uint32_t acked(uint32_t key) const { return keys_[key].acked; }
  uint32_t begin_write(uint32_t key) {
    keys_[key].busy = true;
    return ++keys_[key].tried;
  }
  void acknowledged(uint32_t key, uint32_t version) {
    keys_[key].busy = false;
    keys_[key].acked = version;
  }
  void failed(uint32_t key, uint32_t version, bool nothing_written) {
    keys_[key].busy = false;
    (nothing_written ? refused_ : unknown_)[key].push_back(version);
  }

  /// @returns what is wrong with this answer to a read that was sent when `at_least` was acknowledged; or "".
  std::string complaint(uint32_t key, const std::string* value, uint32_t at_least) const {
    if (value == nullptr)
      return at_least == 0 ? "" : key_of(key) + ": nothing, but " + std::to_string(at_least) + " was acknowledged";
    auto begin = key_of(key).size() + 1;
    auto version = value->size() > begin ? static_cast<uint32_t>(std::strtoul(value->c_str() + begin, nullptr, 10)) : 0;
    if (*value != value_of(key, version, bytes_))
      return key_of(key) + ": foreign value " + value->substr(0, begin + 8);
    if (version > keys_[key].tried || has(refused_, key, version))
      return key_of(key) + ": version " + std::to_string(version) + ", which was never written";
    if (version < at_least && !has(unknown_, key, version))
      return key_of(key) + ": version " + std::to_string(version) + ", but " + std::to_string(at_least) +
             " was acknowledged";
    return {};
  }

private:
  using versions = std::map<uint32_t, std::vector<uint32_t>>;
  static bool has(const versions& of, uint32_t key, uint32_t version) {
    auto found = of.find(key);
    return found != of.end() && std::find(found->second.begin(), found->second.end(), version) != found->second.end();
  }
  struct state {
    uint32_t acked = 0, tried = 0;
    bool busy = false; // A write of it is under way.
  };
  size_t bytes_;
  std::vector<state> keys_;
  versions unknown_, refused_; // Writes that failed, and may happen yet; and those that may not.
};

struct request {
  uint32_t key = 0;
  uint32_t version = 0; // Of a read: what was acknowledged when it was sent.
  bool write = false;
};

/// What happened since the last phase.
struct numbers {
  monotonic::time_point begun = monotonic::now();
  std::vector<uint32_t> micros;
  std::vector<size_t> seconds; // Where in `micros` each second begins.
  uint64_t writes = 0, failed = 0, unknown = 0, broken = 0, wrong = 0;
  std::vector<std::string> shown; // The first failures and wrong values.

  void show(std::string text) {
    if (shown.size() < shown_max)
      shown.push_back(std::move(text));
  }
  static double milliseconds(std::vector<uint32_t> of, double part) {
    if (of.empty())
      return 0;
    auto at = std::min(of.size() - 1, static_cast<size_t>(part * static_cast<double>(of.size())));
    std::nth_element(of.begin(), of.begin() + static_cast<std::ptrdiff_t>(at), of.end());
    return of[at] / 1000.0;
  }
  json to_json() const {
    auto by_second = json::array();
    for (size_t i = 0; i + 1 < seconds.size(); ++i)
      by_second.push_back(milliseconds({micros.begin() + static_cast<std::ptrdiff_t>(seconds[i]),
                                        micros.begin() + static_cast<std::ptrdiff_t>(seconds[i + 1])},
                                       0.99));
    std::chrono::duration<double> took = monotonic::now() - begun;
    return {{"seconds", took.count()},
            {"requests", micros.size()},
            {"writes", writes},
            {"failed", failed},
            {"unknown", unknown},
            {"broken", broken},
            {"wrong", wrong},
            {"p50_ms", milliseconds(micros, 0.5)},
            {"p99_ms", milliseconds(micros, 0.99)},
            {"max_ms", milliseconds(micros, 1)},
            {"p99_ms_by_second", by_second},
            {"shown", shown}};
  }
};

class load {
public:
  explicit load(options o)
      : options_(o), ledger_(o), random_(o.seed), epoll_(epoll_create1(EPOLL_CLOEXEC)), connections_(o.connections) {
    watch(STDIN_FILENO, connections_.size());
  }

  void run() {
    while (!ended_) {
      epoll_event events[64];
      auto count = epoll_wait(epoll_, events, 64, 100);
      for (int i = 0; i < count; ++i) {
        if (events[i].data.u64 == connections_.size())
          read_commands();
        else
          receive(connections_[events[i].data.u64]);
      }
      for (auto& c : connections_)
        look_after(c);
      while (numbers_.begun + std::chrono::seconds{numbers_.seconds.size()} <= monotonic::now())
        numbers_.seconds.push_back(numbers_.micros.size());
      if (!answer_.empty() && idle()) {
        say(answer_);
        answer_.clear();
      }
    }
  }

private:
  struct connection {
    int socket = -1;
    uint16_t port = 0;
    std::string in;
    std::deque<request> waiting;
    monotonic::time_point sent, retry_at;
  };
  enum class work { nothing, random, preload, verify };

  // -- What to do --

  void read_commands() {
    char buffer[4096];
    auto got = read(STDIN_FILENO, buffer, sizeof buffer);
    if (got <= 0) {
      ended_ = true;
      return;
    }
    commands_.append(buffer, static_cast<size_t>(got));
    for (auto end = commands_.find('\n'); end != std::string::npos; end = commands_.find('\n')) {
      std::istringstream words{commands_.substr(0, end)};
      commands_.erase(0, end + 1);
      std::string word;
      words >> word;
      if (word == "phase") {
        say(word);
        continue;
      }
      if (word != "stop") {
        ports_.clear();
        for (uint16_t port = 0; words >> port;)
          ports_.push_back(port);
      }
      work_ = word == "run"       ? work::random
              : word == "preload" ? work::preload
              : word == "verify"  ? work::verify
                                  : work::nothing;
      next_key_ = 0;
      if (word == "run")
        std::cout << json{{"told", word}} << std::endl;
      else
        answer_ = word; // When it is done.
    }
  }

  bool idle() const {
    auto under_way =
        std::any_of(connections_.begin(), connections_.end(), [](const auto& c) { return !c.waiting.empty(); });
    return !under_way && (work_ == work::nothing || next_key_ == options_.keys);
  }

  void say(const std::string& told) {
    auto result = numbers_.to_json();
    result["told"] = told;
    std::cout << result << std::endl;
    numbers_ = {};
    if (told != "phase")
      work_ = work::nothing;
  }

  // -- Requests --

  bool next_request(request& next) {
    if (work_ == work::random) {
      next.write = random_() % 100 >= options_.reads_percent;
      do
        next.key = static_cast<uint32_t>(random_() % options_.keys);
      while (next.write && ledger_.busy(next.key));
    } else {
      if (work_ == work::nothing || next_key_ == options_.keys)
        return false;
      next.write = work_ == work::preload;
      next.key = next_key_++;
    }
    next.version = next.write ? ledger_.begin_write(next.key) : ledger_.acked(next.key);
    return true;
  }

  void send_more(connection& c) {
    std::string out;
    auto bulk = std::max<size_t>(1, std::min(bulk_pipeline, bulk_bytes / std::max<size_t>(1, options_.value_bytes)));
    auto pipeline = work_ == work::random ? options_.pipeline : bulk;
    request next;
    while (c.waiting.size() < pipeline && next_request(next)) {
      auto key = key_of(next.key);
      auto value = next.write ? value_of(next.key, next.version, options_.value_bytes) : std::string{};
      out += next.write ? "*3\r\n$3\r\nSET\r\n" : "*2\r\n$3\r\nGET\r\n";
      out += "$" + std::to_string(key.size()) + "\r\n" + key + "\r\n";
      if (next.write)
        out += "$" + std::to_string(value.size()) + "\r\n" + value + "\r\n";
      c.waiting.push_back(next);
    }
    if (out.empty())
      return;
    c.sent = monotonic::now();
    for (size_t done = 0; done < out.size();) { // Blocks: the peer reads, or is gone.
      auto count = send(c.socket, out.data() + done, out.size() - done, MSG_NOSIGNAL);
      if (count <= 0)
        return lost(c);
      done += static_cast<size_t>(count);
    }
  }

  void receive(connection& c) {
    char buffer[1 << 16];
    auto got = recv(c.socket, buffer, sizeof buffer, MSG_DONTWAIT);
    if (got < 0 && (errno == EAGAIN || errno == EINTR))
      return;
    if (got <= 0)
      return lost(c);
    c.in.append(buffer, static_cast<size_t>(got));
    size_t at = 0;
    while (!c.waiting.empty() && take_reply(c, at))
      ;
    c.in.erase(0, at);
  }

  /// @returns false if the reply has not come in full.
  bool take_reply(connection& c, size_t& at) {
    auto end = c.in.find("\r\n", at);
    if (end == std::string::npos)
      return false;
    auto line = c.in.substr(at + 1, end - at - 1);
    auto kind = c.in[at];
    std::string value;
    auto next = end + 2;
    auto is_value = kind == '$' && line != "-1";
    if (is_value) {
      auto size = std::strtoul(line.c_str(), nullptr, 10);
      if (c.in.size() < next + size + 2)
        return false;
      value = c.in.substr(next, size);
      next += size + 2;
    }
    at = next;
    auto done = c.waiting.front();
    c.waiting.pop_front();
    auto took = std::chrono::duration_cast<std::chrono::microseconds>(monotonic::now() - c.sent);
    numbers_.micros.push_back(static_cast<uint32_t>(took.count()));
    if (kind == '-')
      failed(c, done, line);
    else if (done.write)
      written(done);
    else if (auto wrong = ledger_.complaint(done.key, is_value ? &value : nullptr, done.version); !wrong.empty()) {
      ++numbers_.wrong;
      numbers_.show("through " + std::to_string(c.port) + ": " + wrong);
    }
    return true;
  }

  void written(const request& done) {
    ++numbers_.writes;
    ledger_.acknowledged(done.key, done.version);
  }

  void failed(const connection& c, const request& done, const std::string& error) {
    auto unknown = error.find("outcome unknown") != std::string::npos;
    ++(unknown ? numbers_.unknown : numbers_.failed);
    numbers_.show("through " + std::to_string(c.port) + ": " + error);
    if (done.write)
      ledger_.failed(done.key, done.version, !unknown && error.rfind("TIMEOUT", 0) != 0);
  }

  // -- Connections --

  void watch(int socket, uint64_t number) const {
    epoll_event event{};
    event.events = EPOLLIN;
    event.data.u64 = number;
    epoll_ctl(epoll_, EPOLL_CTL_ADD, socket, &event);
  }

  void hang_up(connection& c) {
    if (c.socket >= 0)
      close(c.socket);
    c.socket = -1;
    c.in.clear();
  }

  /// What was under way goes with it, as if it had been asked again elsewhere by a client that knows nothing.
  void lost(connection& c) {
    for (const auto& x : c.waiting) {
      ++numbers_.broken;
      if (x.write)
        ledger_.failed(x.key, x.version, false);
    }
    c.waiting.clear();
    hang_up(c);
    c.port = 0;
  }

  void look_after(connection& c) {
    auto number = static_cast<size_t>(&c - connections_.data());
    auto now = monotonic::now();
    if (!c.waiting.empty()) {
      if (now - c.sent > silence_max) {
        numbers_.failed += c.waiting.size();
        numbers_.show("through " + std::to_string(c.port) + ": no answer");
        lost(c);
      }
      return;
    }
    if (work_ == work::nothing || ports_.empty())
      return;
    if (c.socket >= 0 && std::find(ports_.begin(), ports_.end(), c.port) == ports_.end())
      hang_up(c);
    if (c.socket >= 0 && home_of(number) != c.port && !away(home_of(number)))
      hang_up(c);
    if (c.socket < 0 && (now < c.retry_at || !dial(c, number)))
      return;
    send_more(c);
  }

  /// Where this connection belongs while all nodes can be reached.
  uint16_t home_of(size_t number) const { return ports_[number % ports_.size()]; }
  bool away(uint16_t port) const {
    auto found = away_until_.find(port);
    return found != away_until_.end() && monotonic::now() < found->second;
  }

  bool dial(connection& c, size_t number) {
    for (size_t i = 0; i < ports_.size(); ++i) {
      auto port = ports_[(number + i) % ports_.size()];
      if (away(port))
        continue;
      auto made = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
      sockaddr_in address{};
      address.sin_family = AF_INET;
      address.sin_port = htons(port);
      address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
      if (connect(made, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0) {
        int one = 1;
        setsockopt(made, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        c.socket = made;
        c.port = port;
        watch(made, number);
        return true;
      }
      close(made);
      away_until_[port] = monotonic::now() + std::chrono::seconds{1};
    }
    c.retry_at = monotonic::now() + std::chrono::milliseconds{20};
    return false;
  }

  options options_;
  ledger ledger_;
  std::mt19937_64 random_;
  int epoll_;
  std::vector<connection> connections_;
  std::vector<uint16_t> ports_;
  std::map<uint16_t, monotonic::time_point> away_until_; // Nodes that cannot be reached.
  numbers numbers_;
  work work_ = work::nothing;
  uint32_t next_key_ = 0;
  std::string commands_;
  std::string answer_; // To be given when all is done.
  bool ended_ = false;
};

} // namespace

int main(int argc, char** argv) {
  options o;
  std::map<std::string, uint64_t> given;
  for (int i = 1; i + 1 < argc; i += 2)
    given[argv[i]] = std::strtoull(argv[i + 1], nullptr, 10);
  auto number = [&](const char* name, uint64_t otherwise) { return given.count(name) > 0 ? given[name] : otherwise; };
  o.keys = static_cast<uint32_t>(number("--keys", o.keys));
  o.value_bytes = number("--value-bytes", o.value_bytes);
  o.connections = static_cast<uint32_t>(number("--connections", o.connections));
  o.pipeline = static_cast<uint32_t>(number("--pipeline", o.pipeline));
  o.reads_percent = static_cast<uint32_t>(number("--reads-percent", o.reads_percent));
  o.seed = number("--seed", o.seed);
  load{o}.run();
}
