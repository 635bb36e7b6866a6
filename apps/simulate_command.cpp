// crema sim
#include "apps/commands.hpp"
#include "apps/simulation/faults.hpp"
#include "apps/simulation/history.hpp"
#include "apps/simulation/many.hpp"
#include "protocol/planted.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <iostream>
#include <memory>
#include <sstream>

namespace crema::cli {

namespace {

using namespace crema::simulation;

struct sim_options {
  uint64_t seed = 1;
  std::string seeds;
  size_t nodes = 5, clients = 8, jobs = 1, shrink_attempts = 60;
  uint64_t minutes = 10, operations = 0, fault_events = 0;
  std::string faults = "all", buckets = "all", trace, bug;
  bool shrink = false, fail_fast = false, quiet = false;
};

std::vector<std::string> words_of(const std::string& list) {
  std::vector<std::string> result;
  std::istringstream in{list};
  for (std::string word; std::getline(in, word, ',');)
    if (!word.empty())
      result.push_back(word);
  return result;
}

std::string check_words(const std::string& list, const std::vector<std::string>& known) {
  auto words = words_of(list);
  if (words.empty())
    return fmt::format("an empty list; there are {}", fmt::join(known, ", "));
  for (const auto& word : words) {
    if (std::find(known.begin(), known.end(), word) == known.end())
      return fmt::format("\"{}\" is none of {}", word, fmt::join(known, ", "));
    if ((word == "all" || word == "none") && words.size() > 1)
      return fmt::format("\"{}\" stands alone", word);
  }
  return {};
}

/// CLI11 reads "-1" as the largest number there is.
std::string check_digits(const std::string& text) {
  auto digits = text.find_first_not_of("0123456789") == std::string::npos && !text.empty();
  return digits ? std::string{} : fmt::format("\"{}\" is no number from 0 on", text);
}

std::vector<std::string> fault_words() {
  std::vector<std::string> words{"all", "none"};
  for (auto f : all_faults())
    words.emplace_back(to_string(f));
  return words;
}

std::vector<std::string> bucket_words() {
  auto words = bucket_names();
  words.emplace_back("all");
  return words;
}

/// "7..90" @returns false if it is none.
bool parse_range(const std::string& text, uint64_t& first, uint64_t& last) {
  auto dots = text.find("..");
  if (dots == std::string::npos)
    return false;
  auto from = text.substr(0, dots), to = text.substr(dots + 2);
  return check_digits(from).empty() && check_digits(to).empty() && CLI::detail::lexical_cast(from, first) &&
         CLI::detail::lexical_cast(to, last) && first <= last && last < UINT64_MAX / 2;
}

run_options run_of(const sim_options& o) {
  run_options r;
  r.seed = o.seed;
  r.nodes = o.nodes;
  r.clients = o.clients;
  r.duration = std::chrono::minutes{o.minutes};
  r.operations_max = o.operations;
  r.fault_events_max = o.fault_events;
  r.planted = o.bug;
  r.trace_file = o.trace;
  for (const auto& word : words_of(o.faults))
    if (word == "all")
      r.faults.insert(all_faults().begin(), all_faults().end());
    else if (auto kind = parse_fault(word))
      r.faults.insert(*kind);
  for (const auto& word : words_of(o.buckets))
    if (word != "all")
      r.buckets.push_back(word);
  return r;
}

/// @returns what is wrong; empty: nothing.
std::string check_writable(const std::string& file) {
  std::unique_ptr<std::FILE, int (*)(std::FILE*)> opened{std::fopen(file.c_str(), "w"), std::fclose};
  return opened ? std::string{} : std::strerror(errno);
}

int one_seed(const sim_options& o) {
  auto options = run_of(o);
  auto begin = std::chrono::steady_clock::now();
  auto result = run(options);
  auto took = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  fmt::print("seed {}: {} client operations, {} writes acknowledged, {} faults, {} messages, {} lost writes closed, {} "
             "simulated; trace {:016x}\n",
             options.seed, result.operations, result.acknowledged, result.faults, result.messages, result.lost,
             show(result.simulated), result.trace_hash);
  std::fflush(stdout);
  if (!o.quiet)
    fmt::print(stderr, "{:.0f} simulated seconds and {:.0f} messages per second\n",
               std::chrono::duration<double>(result.simulated).count() / took,
               static_cast<double>(result.messages) / took);
  if (!result.failure)
    return exit_ok;
  fmt::print("{}", report_of(options, *result.failure));
  if (o.shrink)
    fmt::print("  smaller: {}\n", command_of(simulation::shrink(options, o.shrink_attempts)));
  return exit_failure;
}

int simulate(const sim_options& o) {
  if (!o.bug.empty() && !protocol::bugs_available) {
    std::cerr << "crema: --bug needs a build with planted bugs (cmake --preset bugs; docs/simulation.md)\n";
    return exit_usage;
  }
  if (!o.bug.empty() && !protocol::plant(o.bug)) {
    std::cerr << fmt::format("crema: there is no bug \"{}\"; there are {}\n", o.bug,
                             fmt::join(protocol::bug_names.begin() + 1, protocol::bug_names.end(), ", "));
    return exit_usage;
  }
  if (!o.trace.empty())
    if (auto wrong = check_writable(o.trace); !wrong.empty()) {
      std::cerr << fmt::format("crema: cannot write the trace {}: {}\n", o.trace, wrong);
      return exit_usage;
    }
  if (o.seeds.empty())
    return one_seed(o);
  many_options many;
  many.run = run_of(o);
  parse_range(o.seeds, many.first, many.last);
  many.jobs = o.jobs;
  many.fail_fast = o.fail_fast;
  many.shrink_attempts = o.shrink ? o.shrink_attempts : 0;
  many.quiet = o.quiet;
  auto result = run_many(many);
  if (result.first_failed != 0)
    fmt::print("the first to fail was number {} of the range\n", result.first_failed);
  return result.failed == 0 ? exit_ok : exit_failure;
}

} // namespace

void add_sim_command(CLI::App& app, action& chosen) {
  auto o = std::make_shared<sim_options>();
  auto* command = app.add_subcommand(
      "sim", "Run a whole cluster under a seed, in one thread and virtual time, with faults and checkers");
  auto* seed = command->add_option("--seed", o->seed, "Everything that happens follows from it")
                   ->capture_default_str()
                   ->check(check_digits);
  auto* seeds = command->add_option("--seeds", o->seeds, "Many runs: FIRST..LAST")->excludes(seed);
  seeds->check([](const std::string& text) {
    uint64_t first = 0, last = 0;
    return parse_range(text, first, last) ? "" : "must be FIRST..LAST, as in 1..1000";
  });
  command->add_option("--nodes", o->nodes, "Size of the cluster")->capture_default_str()->check(CLI::Range(1, 32));
  command->add_option("--minutes", o->minutes, "Virtual time under load and faults")
      ->capture_default_str()
      ->check(CLI::Range(1, 100'000));
  command->add_option("--clients", o->clients, "How many clients at once")
      ->capture_default_str()
      ->check(CLI::Range(1, 1000));
  command
      ->add_option("--faults", o->faults,
                   fmt::format("Which may strike, separated by commas: {}", fmt::join(fault_words(), ", ")))
      ->capture_default_str()
      ->check([](const std::string& text) { return check_words(text, fault_words()); });
  command
      ->add_option("--buckets", o->buckets,
                   fmt::format("Which are used, separated by commas: {}", fmt::join(bucket_words(), ", ")))
      ->capture_default_str()
      ->check([](const std::string& text) { return check_words(text, bucket_words()); });
  command->add_option("--operations", o->operations, "End the load after so many client operations (0: no limit)")
      ->check(check_digits);
  command->add_option("--fault-events", o->fault_events, "End the faults after so many (0: no limit)")
      ->check(check_digits);
  command->add_option("--trace", o->trace, "Write everything that happens into this file")->excludes(seeds);
  command->add_option("--jobs", o->jobs, "Worker processes for --seeds")
      ->capture_default_str()
      ->check(CLI::Range(1, 256));
  command->add_flag("--shrink", o->shrink, "Look for a smaller run that fails in the same way");
  command->add_option("--shrink-attempts", o->shrink_attempts, "How many runs that may cost")
      ->capture_default_str()
      ->check(check_digits);
  command->add_flag("--fail-fast", o->fail_fast, "Stop at the first seed that fails");
  command->add_flag("--quiet", o->quiet, "No progress on standard error");
  command->add_option("--bug", o->bug, "Plant a bug, in builds that have them: what do the checkers say?");
  command->footer("Examples:\n"
                  "  crema sim --seed 42\n"
                  "  crema sim --seeds 1..1000 --jobs 2\n"
                  "  crema sim --seed 42 --nodes 3 --minutes 2 --faults partition,crash --trace trace.txt\n"
                  "A seed that fails is printed with the command that repeats it; exit code 1.");
  command->callback([o, &chosen] { chosen = [o] { return simulate(*o); }; });
}

} // namespace crema::cli
