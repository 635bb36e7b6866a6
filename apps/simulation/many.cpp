#include "apps/simulation/many.hpp"

#include "apps/simulation/history.hpp"

#include <fmt/format.h>

#include <poll.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstring>

namespace crema::simulation {

namespace {

using std::chrono::steady_clock;

/// What a worker says after each seed, followed by `text_size` bytes: checker, a zero, what it saw.
struct record {
  uint64_t seed = 0;
  uint64_t messages = 0, steps = 0, operations = 0, lost = 0;
  int64_t simulated_ns = 0;
  int64_t failed_at_ns = 0;
  uint32_t failed = 0;
  uint32_t text_size = 0;
};

bool write_all(int fd, const void* data, size_t size) {
  const auto* at = static_cast<const char*>(data);
  while (size > 0) {
    auto n = ::write(fd, at, size);
    if (n <= 0)
      return false;
    at += n;
    size -= static_cast<size_t>(n);
  }
  return true;
}

/// A process that runs seeds first, first + step, ... and tells of each.
struct worker {
  uint64_t next = 0, step = 1; // `next`: the seed it is at.
  pid_t pid = -1;
  int fd = -1;
  std::string buffer;
};

[[noreturn]] void work(const many_options& o, uint64_t first, uint64_t step, int fd) {
  for (auto seed = first; seed <= o.last; seed += step) {
    auto one = o.run;
    one.seed = seed;
    auto result = run(one);
    record r;
    r.seed = seed;
    r.messages = result.messages;
    r.steps = result.steps;
    r.operations = result.operations;
    r.lost = result.lost;
    r.simulated_ns = result.simulated.count();
    std::string text;
    if (result.failure) {
      r.failed = 1;
      r.failed_at_ns = result.failure->at.count();
      text = result.failure->checker + '\0' + result.failure->what;
    }
    r.text_size = static_cast<uint32_t>(text.size());
    if (!write_all(fd, &r, sizeof(r)) || !write_all(fd, text.data(), text.size()))
      break;
  }
  ::_exit(0);
}

double cpu_seconds_of_children() {
  rusage usage{};
  ::getrusage(RUSAGE_CHILDREN, &usage);
  return static_cast<double>(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
         static_cast<double>(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

class runner {
public:
  explicit runner(const many_options& o) : o_(o), workers_(std::max<size_t>(1, o.jobs)) {}

  many_result run() {
    for (size_t i = 0; i < workers_.size(); ++i) {
      workers_[i].next = o_.first + i;
      workers_[i].step = workers_.size();
      start(workers_[i]);
    }
    while (running() > 0 && !stop_)
      wait_for_one();
    for (auto& w : workers_)
      end(w);
    summary();
    return result_;
  }

private:
  size_t running() const {
    return static_cast<size_t>(
        std::count_if(workers_.begin(), workers_.end(), [](const auto& w) { return w.fd >= 0; }));
  }

  void start(worker& w) {
    if (w.next > o_.last || w.next < o_.first) // Done; the second for ranges that end at the largest number.
      return;
    std::fflush(nullptr);
    int ends[2];
    if (::pipe(ends) != 0)
      throw std::runtime_error(fmt::format("no pipe for a worker: {}", std::strerror(errno)));
    w.pid = ::fork();
    if (w.pid < 0)
      throw std::runtime_error(fmt::format("no process for a worker: {}", std::strerror(errno)));
    if (w.pid == 0) {
      ::close(ends[0]);
      work(o_, w.next, w.step, ends[1]);
    }
    ::close(ends[1]);
    w.fd = ends[0];
    w.buffer.clear();
  }

  /// Of one worker of ours, by its own id.
  int end(worker& w) {
    if (w.fd < 0)
      return 0;
    ::close(w.fd);
    w.fd = -1;
    if (stop_)
      ::kill(w.pid, SIGTERM);
    int status = 0;
    ::waitpid(w.pid, &status, 0);
    return status;
  }

  void wait_for_one() {
    std::vector<pollfd> fds;
    for (auto& w : workers_)
      fds.push_back({w.fd, POLLIN, 0}); // Negative ones are ignored.
    if (::poll(fds.data(), fds.size(), 1000) < 0 && errno != EINTR)
      throw std::runtime_error(std::strerror(errno));
    for (size_t i = 0; i < fds.size(); ++i)
      if ((fds[i].revents & (POLLIN | POLLHUP)) != 0)
        read_from(workers_[i]);
    progress();
  }

  void read_from(worker& w) {
    char bytes[65536];
    auto n = ::read(w.fd, bytes, sizeof(bytes));
    if (n > 0) {
      w.buffer.append(bytes, static_cast<size_t>(n));
      return take_records(w);
    }
    auto status = end(w);
    if (w.next > o_.last)
      return;
    // It died: an assertion, or worse, in the code under test.
    auto how = WIFSIGNALED(status) ? fmt::format("signal {} ({})", WTERMSIG(status), strsignal(WTERMSIG(status)))
                                   : fmt::format("exit code {}", WEXITSTATUS(status));
    ++result_.seeds;
    failed(w.next, {"no crash", "the simulation itself ended by " + how, {}});
    w.next += w.step;
    start(w);
  }

  void take_records(worker& w) {
    record r;
    while (w.buffer.size() >= sizeof(r)) {
      std::memcpy(&r, w.buffer.data(), sizeof(r));
      if (w.buffer.size() < sizeof(r) + r.text_size)
        return;
      auto text = w.buffer.substr(sizeof(r), r.text_size);
      w.buffer.erase(0, sizeof(r) + r.text_size);
      ++result_.seeds;
      messages_ += r.messages;
      operations_ += r.operations;
      lost_ += r.lost;
      runs_with_lost_ += r.lost > 0 ? 1 : 0;
      simulated_ += sim_time{r.simulated_ns};
      w.next = r.seed + w.step;
      if (r.failed != 0) {
        auto middle = text.find('\0');
        failed(r.seed, {text.substr(0, middle), text.substr(middle + 1), sim_time{r.failed_at_ns}});
      }
    }
  }

  void failed(uint64_t seed, const violation& v) {
    ++result_.failed;
    if (result_.first_failed == 0 || seed - o_.first + 1 < result_.first_failed)
      result_.first_failed = seed - o_.first + 1;
    auto one = o_.run;
    one.seed = seed;
    clear_progress();
    fmt::print("{}", report_of(one, v));
    std::fflush(stdout);
    if (o_.shrink_attempts > 0 && v.checker != "no crash")
      print_smaller(one);
    stop_ = o_.fail_fast;
  }

  /// In a process of its own: a smaller run may crash.
  void print_smaller(const run_options& failing) {
    auto pid = ::fork();
    if (pid == 0) {
      fmt::print("  smaller: {}\n", command_of(shrink(failing, o_.shrink_attempts)));
      std::fflush(stdout);
      ::_exit(0);
    }
    int status = 0;
    if (pid < 0 || ::waitpid(pid, &status, 0) != pid || status != 0)
      fmt::print("  smaller: not found, a smaller run crashed, or there was no process for it\n");
  }

  void clear_progress() {
    if (!o_.quiet && ::isatty(STDERR_FILENO) != 0)
      fmt::print(stderr, "\r\033[K");
  }

  void progress() {
    auto tty = ::isatty(STDERR_FILENO) != 0;
    auto now = steady_clock::now();
    if (o_.quiet || now - shown_ < std::chrono::seconds{tty ? 1 : 30})
      return;
    shown_ = now;
    auto seconds = std::chrono::duration<double>(now - begin_).count();
    fmt::print(stderr, "{}{} of {} seeds, {} failed, {:.1f} seeds/s{}", tty ? "\r\033[K" : "", result_.seeds,
               o_.last - o_.first + 1, result_.failed, static_cast<double>(result_.seeds) / seconds, tty ? "" : "\n");
    std::fflush(stderr);
  }

  void summary() {
    clear_progress();
    auto cpu = std::max(1e-3, cpu_seconds_of_children());
    auto hours = std::chrono::duration<double, std::ratio<3600>>(simulated_).count();
    fmt::print(
        "{} seeds, {} failed; {:.1f} simulated hours, {:.0f} per core-hour; {} client operations; {:.0f} messages "
        "per second and core; {} lost writes closed in {} runs\n",
        result_.seeds, result_.failed, hours, hours / (cpu / 3600), operations_, static_cast<double>(messages_) / cpu,
        lost_, runs_with_lost_);
  }

  const many_options& o_;
  std::vector<worker> workers_;
  many_result result_;
  uint64_t messages_ = 0, operations_ = 0, lost_ = 0, runs_with_lost_ = 0;
  sim_time simulated_{};
  bool stop_ = false;
  steady_clock::time_point begin_ = steady_clock::now(), shown_ = begin_;
};

} // namespace

std::string report_of(const run_options& options, const violation& failure) {
  return fmt::format("seed {} failed at {}: {}\n  {}\n  again: {}\n", options.seed, show(failure.at), failure.checker,
                     failure.what, command_of(options));
}

many_result run_many(const many_options& options) { return runner{options}.run(); }

} // namespace crema::simulation
