#include "apps/topology_command.hpp"

#include "apps/commands.hpp"
#include "apps/status_table.hpp"
#include "apps/topology_table.hpp"
#include "config/topology_changes.hpp"
#include "config/topology_difference.hpp"

#include <fmt/format.h>

#include <iostream>
#include <sys/ioctl.h>
#include <thread>
#include <unistd.h>
#include <utility>

namespace crema::cli {

namespace {

constexpr std::chrono::seconds commit_timeout{30}; // Nodes try for 15 s to find a majority.

void tell_refusal(const std::string& why) { failed(harmless(why.rfind("ERR ", 0) == 0 ? why.substr(4) : why)); }

} // namespace

std::optional<answer> topology_order_at(const ctl_options& options, const std::vector<std::string>& words) {
  std::string why;
  std::vector<std::string> all{"KV.TOPOLOGY"};
  all.insert(all.end(), words.begin(), words.end());
  auto told = ask_at(options.where, all, why, commit_timeout);
  if (!told)
    tell_refusal(why);
  return told;
}

std::optional<answer> commit_at(const ctl_options& options) {
  constexpr std::chrono::milliseconds between{500};
  constexpr std::chrono::seconds patience{10};
  auto end = std::chrono::steady_clock::now() + patience;
  auto waits = false;
  for (std::string why;;) {
    if (auto told = ask_at(options.where, {"KV.TOPOLOGY", "COMMIT"}, why, commit_timeout))
      return told;
    auto may_come = why.find(" cannot vote") != std::string::npos || why.find(" was never heard") != std::string::npos;
    if (may_come && !std::exchange(waits, true))
      std::cerr << fmt::format("waiting for members that have just been started, {} s at most\n", patience.count());
    if (!may_come || std::chrono::steady_clock::now() > end) {
      tell_refusal(why);
      return std::nullopt;
    }
    std::this_thread::sleep_for(between);
  }
}

std::optional<std::string> changes_in_words(const std::vector<std::string>& words) {
  auto changes = config::topology_changes_from_words(words);
  if (auto* no = std::get_if<protocol::refused>(&changes)) {
    failed(no->why);
    return std::nullopt;
  }
  auto text = dump(std::get<nlohmann::json>(changes));
  auto checked = config::topology_changes_from_json(text);
  if (auto* no = std::get_if<protocol::refused>(&checked)) {
    failed(no->why);
    return std::nullopt;
  }
  return text;
}

namespace {

/// @param text what is shown to people. @returns the exit code.
int show(const ctl_options& options, const std::optional<answer>& told, std::string (*text)(const nlohmann::json&)) {
  if (!told)
    return exit_failure;
  std::cout << (options.json ? told->text + "\n" : text(told->tree));
  return exit_ok;
}

int show_plan(const ctl_options& options, const std::string& changes) {
  auto code = show(options, topology_order_at(options, {"PLAN", changes}), format_plan);
  if (code == exit_ok && !options.json)
    std::cout << fmt::format("nothing is done yet: `crema ctl commit{}`\n",
                             options.where == ctl_options{}.where ? "" : " --address " + options.where);
  return code;
}

int plan(const ctl_options& options) {
  auto changes = changes_in_words(options.changes);
  return changes ? show_plan(options, *changes) : exit_usage;
}

bool confirmed() {
  std::cout << "do it? [y/N] " << std::flush;
  std::string line;
  std::getline(std::cin, line);
  return line == "y" || line == "Y" || line == "yes";
}

/// Shows what it would mean, asks, and does exactly that.
int force_epoch(const ctl_options& options) {
  std::vector<std::string> wanted;
  for (size_t i = 1; i < options.changes.size(); ++i)
    wanted.insert(wanted.end(), {i > 1 ? "+" : "", "remove", options.changes[i]});
  if (options.changes.size() < 2 || options.changes.front() != "remove") {
    failed("which members are gone for good? (allowed: force-epoch remove NODE [NODE]...)");
    return exit_usage;
  }
  wanted.erase(wanted.begin());
  auto changes = changes_in_words(wanted);
  if (!changes)
    return exit_usage;
  auto shown = topology_order_at(options, {"FORCE", *changes});
  if (!shown)
    return exit_failure;
  if (!options.json)
    std::cout << format_plan(shown->tree);
  else if (!options.yes)
    std::cout << shown->text + "\n";
  if (!options.yes && (options.json || isatty(STDIN_FILENO) == 0)) {
    if (!options.json)
      return failed("nothing is done: say --yes, or answer on a terminal");
    return exit_ok;
  }
  if (!options.yes && !confirmed())
    return failed("nothing is done");
  return show(options,
              topology_order_at(options, {"FORCE", *changes, std::to_string(number_in(shown->tree, "next_epoch"))}),
              [](const nlohmann::json& told) {
                return fmt::format("epoch {}: forced; `crema ctl jobs --watch` shows how far the copies are\n",
                                   number_in(told, "epoch"));
              });
}

/// Shows what has to be changed for the cluster to be as a file says.
int apply(const ctl_options& options) {
  auto loaded = config::load_config(options.file);
  if (!loaded.config) {
    for (const auto& p : loaded.problems)
      failed(config::to_string(options.file, p));
    return exit_usage;
  }
  auto now = topology_order_at(options, {"SHOW"});
  if (!now)
    return exit_failure;
  auto compared = config::topology_difference_of(*loaded.config, now->tree, options.drop);
  if (auto* no = std::get_if<protocol::refused>(&compared))
    return failed(harmless(no->why));
  const auto& difference = std::get<config::topology_difference>(compared);
  if (!options.json)
    for (const auto& note : difference.notes)
      std::cout << harmless(note) << "\n";
  if (difference.changes.empty()) {
    std::cout << (options.json ? dump(nullptr) : "the cluster is as the file says\n");
    return exit_ok;
  }
  return show_plan(options, dump(difference.changes));
}

int commit(const ctl_options& options) {
  return show(options, commit_at(options), [](const nlohmann::json& told) {
    return fmt::format("epoch {}: agreed; `crema ctl jobs --watch` shows how far it is\n", number_in(told, "epoch"));
  });
}

/// @param word CANCEL, PAUSE, RESUME: of the change that is under way, if it is the one that is meant.
int change_job(const ctl_options& options, const char* word, std::string (*text)(const nlohmann::json&)) {
  if (options.job) {
    auto now = topology_order_at(options, {"SHOW"});
    if (!now)
      return exit_failure;
    auto job = now->tree.find("job");
    auto id = job != now->tree.end() && job->is_object() ? std::optional{number_in(*job, "id")} : std::nullopt;
    if (id != options.job)
      return failed(id ? fmt::format("job {} is not under way (allowed: {})", *options.job, *id)
                       : fmt::format("job {} is not under way (allowed: none is)", *options.job));
  }
  return show(options, topology_order_at(options, {word}), text);
}

int cancel(const ctl_options& options) {
  return change_job(options, "CANCEL", [](const nlohmann::json& told) {
    return fmt::format("epoch {}: cancelled, owners are those of before\n", number_in(told, "epoch"));
  });
}

int pause(const ctl_options& options) {
  return change_job(options, "PAUSE", [](const nlohmann::json& told) {
    return fmt::format("epoch {}: paused until `crema ctl resume`\n", number_in(told, "epoch"));
  });
}

int resume(const ctl_options& options) {
  return change_job(options, "RESUME", [](const nlohmann::json& told) {
    return fmt::format("epoch {}: goes on\n", number_in(told, "epoch"));
  });
}

int ring(const ctl_options& options) {
  return show(options, topology_order_at(options, {"SHOW"}), options.partitions ? format_partitions : format_ring);
}

/// Of the terminal; a longer line could not be overwritten.
size_t line_width() {
  winsize size{};
  auto known = ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 1;
  return known ? size.ws_col - size_t{1} : 79;
}

nlohmann::json job_json(const nlohmann::json& topology) {
  auto job = topology.find("job");
  return {{"epoch", number_in(topology, "epoch")},
          {"phase", text_in(topology, "phase")},
          {"job", job != topology.end() ? *job : nlohmann::json(nullptr)}};
}

/// Of the node that was asked, in its own words; empty: it is no member any more.
std::string own_state(const nlohmann::json& topology) {
  for (const auto& m : topology.value("members", nlohmann::json::array()))
    if (text_in(m, "name") == text_in(topology, "node"))
      return text_in(m, "state");
  return {};
}

/// Follows one change until it is over, and a majority of the members knows that.
class job_watch {
public:
  job_watch(const ctl_options& options, nlohmann::json first) : options_(options), now_(std::move(first)) {}

  int run() {
    constexpr std::chrono::milliseconds between{500};
    id_ = number_in(now_["job"], "id");
    if (!options_.json)
      std::cout << format_job(now_);
    auto ended = false, cancelled = false;
    // Who has left may be switched off when a majority knows. If that was asked itself, it is not told that.
    while (!ended || !(now_.value("majority_knows", true) || own_state(now_).empty())) {
      tell(ended);
      std::this_thread::sleep_for(between);
      if (!ask_again())
        return exit_failure;
      if (!ended && !runs()) {
        ended = true;
        cancelled = !settling_ && now_["owners"] == owners_ && now_["owners"] != next_;
      }
    }
    if (on_terminal_ && told_ > 0)
      std::cout << "\n";
    if (options_.json)
      std::cout << dump(job_json(now_));
    else
      std::cout << fmt::format(
          "job {} {} (epoch {}){}\n", id_, cancelled ? "was cancelled" : "is done", number_in(now_, "epoch"),
          own_state(now_).empty() ? "; the node that was asked has left, and stops by itself" : "");
    return cancelled ? exit_failure : exit_ok;
  }

private:
  bool runs() const {
    auto job = now_.find("job");
    return job != now_.end() && job->is_object() && number_in(*job, "id") == id_;
  }

  /// A node that is being restarted is waited for. @returns false, and says why, if it takes too long.
  bool ask_again() {
    constexpr std::chrono::seconds patience{20};
    constexpr std::chrono::milliseconds between{500};
    settling_ = settling_ || now_["phase"] == "settling";
    owners_ = std::move(now_["owners"]);
    next_ = std::move(now_["next"]);
    auto begun = std::chrono::steady_clock::now();
    std::string why;
    for (;;) {
      if (auto told = ask_at(options_.where, {"KV.TOPOLOGY", "SHOW"}, why)) {
        now_ = std::move(told->tree);
        return true;
      }
      if (std::chrono::steady_clock::now() - begun > patience)
        return failed(harmless(why) + (own_state(now_) == "leaving" ? "; it was leaving: ask another node" : "")) ==
               exit_ok;
      std::this_thread::sleep_for(between);
    }
  }

  /// On a terminal one line that changes; elsewhere a line now and then.
  void tell(bool ended) {
    constexpr std::chrono::seconds between_lines{2};
    auto line = options_.json ? job_json(now_).dump() : format_progress(now_);
    if (ended && !options_.json)
      line += "; waiting: for a majority of the members to know it";
    auto now = std::chrono::steady_clock::now();
    if (line == last_ || (!on_terminal_ && told_ > 0 && now - told_at_ < between_lines))
      return;
    std::cout << (on_terminal_ ? "\r\x1b[K" + line.substr(0, line_width()) : line + "\n") << std::flush;
    last_ = line;
    told_at_ = now;
    ++told_;
  }

  const ctl_options& options_;
  nlohmann::json now_, owners_, next_; ///< The last two: of the answer before.
  uint64_t id_ = 0;
  bool settling_ = false; ///< It was: then it is not cancelled any more.
  bool on_terminal_ = !options_.json && isatty(STDOUT_FILENO) != 0;
  std::string last_;
  std::chrono::steady_clock::time_point told_at_;
  size_t told_ = 0;
};

int jobs(const ctl_options& options) {
  auto now = topology_order_at(options, {"SHOW"});
  if (!now)
    return exit_failure;
  if (options.watch && now->tree.contains("job") && now->tree["job"].is_object())
    return job_watch{options, std::move(now->tree)}.run();
  std::cout << (options.json ? dump(job_json(now->tree)) : format_job(now->tree));
  return exit_ok;
}

} // namespace

void add_topology_commands(const add_ctl_command& add, const std::shared_ptr<ctl_options>& options) {
  auto* planning = add("plan", "Show what changes of the members would do; nothing is done", plan);
  planning->add_option("CHANGE", options->changes, "What to do, in words; several with + between them")->required();
  std::string changes = "Changes:\n";
  for (const auto& usage : config::topology_change_usages())
    changes += "  " + usage + "\n";
  planning->footer(changes +
                   "A node that joins, or replaces another, has to run already and wait for it. `gone`: the process of "
                   "the replaced node\nis gone for good, like that of a removed one; else it hands over what it has.\n"
                   "Examples:\n  crema ctl plan join n5 + leave n2\n  crema ctl plan remove n4");
  auto* applying =
      add("apply", "Show what has to be changed for the cluster to be as a file says; nothing is done", apply);
  applying->add_option("FILE", options->file, "The configuration file as it is to be")->required();
  applying->add_flag("--drop", options->drop, "Also drop buckets that the file does not name");
  applying->footer(
      "Compared are nodes with their zones, weights and groups, and buckets. Nodes that the file does not "
      "name leave; new ones have\nto run already and wait (crema node --join).\nExample:\n  crema ctl apply "
      "cluster.json && crema ctl commit && crema ctl jobs --watch");
  add("commit", "Do what the last plan of the asked node says, if the topology is still the same", commit)
      ->footer("Goes on by itself, whoever is restarted meanwhile.\nExample:\n  crema ctl plan leave n4 && crema ctl "
               "commit && crema ctl jobs --watch");
  auto* forcing = add("force-epoch", "A majority of the members is gone for good: go on without it", force_epoch);
  forcing->add_option("CHANGE", options->changes, "remove NODE [NODE]...: those that are gone")->required();
  forcing->add_flag("--yes", options->yes, "Do not ask");
  forcing->footer(
      "Only if a majority is gone for good; else `plan remove` and `commit` do, and lose less. Shows what is lost, and "
      "asks before anything is\ndone. The named are no members from then on, stop when they hear of it, and must not "
      "come back with their data.\nPartitions get their copies again from who is left, and more nodes may join. With "
      "--json the plan alone is told;\n--json --yes does it.\nExample:\n  crema ctl force-epoch remove n3 n4 n5");
  auto of_job = [&](CLI::App* command, const char* example) {
    command->add_option("JOB", options->job, "Only if it is this one (`crema ctl jobs`)");
    command->footer(example);
  };
  of_job(add("cancel", "Go back to the owners of before the change that is under way", cancel),
         "Possible as long as data is moved.\nExample:\n  crema ctl cancel");
  of_job(add("pause", "Copy nothing more for the change that is under way, until `resume`", pause),
         "Example:\n  crema ctl pause");
  of_job(add("resume", "Let the change that is under way go on", resume), "Example:\n  crema ctl resume");
  auto* following = add("jobs", "Show the change that is under way, how far it is, and what it waits for", jobs);
  following->add_flag("--watch", options->watch, "Until it has ended, and a majority of the members knows that");
  following->footer("With --watch 0 is returned when the change is done, 1 if it was cancelled.\nExample:\n  crema ctl "
                    "jobs --watch");
  auto* drawing = add("ring", "Draw who owns how much, and what is to move", ring);
  drawing->add_flag("--partitions", options->partitions, "List the owners of each partition");
  drawing->footer("Example:\n  crema ctl ring --partitions");
}

} // namespace crema::cli
