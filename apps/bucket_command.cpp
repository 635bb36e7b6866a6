// crema ctl bucket: buckets come, change and go while the cluster runs.
#include "apps/commands.hpp"
#include "apps/status_table.hpp"
#include "apps/topology_command.hpp"
#include "apps/topology_table.hpp"
#include "config/topology_changes.hpp"

#include <fmt/format.h>

#include <iostream>
#include <thread>
#include <unistd.h>

namespace crema::cli {

namespace {

std::string numbers_of(const nlohmann::json& x) {
  return fmt::format("{} {} {}", number_in(x, "n"), number_in(x, "r"), number_in(x, "w"));
}

std::string format_buckets(const nlohmann::json& topology) {
  auto text = fmt::format("{:<20} {:>4}  {:<10} {:<9} {:<10} {:<7} {}\n", "bucket", "db", "n r w", "conflict",
                          "durability", "quorum", "read repair");
  for (const auto& b : list_in(topology, "buckets")) {
    auto next = b.find("next");
    auto becomes = next != b.end() && next->is_object() ? " -> " + numbers_of(*next) : std::string();
    text += fmt::format("{:<20} {:>4}  {:<10} {:<9} {:<10} {:<7} {}\n", harmless(text_in(b, "name")),
                        number_in(b, "db"), numbers_of(b) + becomes, text_in(b, "conflict"), text_in(b, "durability"),
                        text_in(b, "quorum"), text_in(b, "read_repair"));
  }
  return text;
}

/// Until all members that can be reached know the epoch: whoever asks one of them then finds the bucket as it is to be.
/// @returns those that do not know it.
std::vector<std::string> wait_until_known(const ctl_options& options, uint64_t epoch) {
  constexpr std::chrono::milliseconds between{50};
  constexpr std::chrono::seconds patience{5};
  auto end = std::chrono::steady_clock::now() + patience;
  for (std::string why;;) {
    std::vector<std::string> unaware;
    if (auto told = ask_at(options.where, {"KV.TOPOLOGY", "SHOW"}, why)) {
      for (const auto& m : list_in(told->tree, "members"))
        if (number_in(m, "epoch") < epoch)
          unaware.push_back(text_in(m, "name"));
      if (unaware.empty() && number_in(told->tree, "epoch") >= epoch)
        return {};
    }
    if (std::chrono::steady_clock::now() > end)
      return unaware;
    std::this_thread::sleep_for(between);
  }
}

bool confirmed(const ctl_options& options, const std::string& name) {
  if (options.yes || options.json)
    return options.yes;
  if (isatty(STDIN_FILENO) == 0)
    return false;
  std::cout << fmt::format("Drop bucket {} with all that is in it, for good? Type its name: ", name) << std::flush;
  std::string typed;
  std::getline(std::cin, typed);
  return typed == name;
}

/// Plans the change and does it at once.
int change(const ctl_options& options) {
  if (options.changes.empty()) {
    failed("the name of the bucket is missing (crema ctl bucket --help)");
    return exit_usage;
  }
  if (options.order == "drop" && !confirmed(options, options.changes.front())) {
    failed(fmt::format("nothing was dropped: not confirmed (crema ctl bucket drop {} --yes)", options.changes.front()));
    return exit_usage;
  }
  std::vector<std::string> words{options.order + "-bucket"};
  words.insert(words.end(), options.changes.begin(), options.changes.end());
  auto changes = changes_in_words(words);
  if (!changes)
    return exit_usage;
  auto planned = topology_order_at(options, {"PLAN", *changes});
  if (!planned)
    return exit_failure;
  auto agreed = commit_at(options);
  if (!agreed)
    return exit_failure;
  auto epoch = number_in(agreed->tree, "epoch");
  auto unaware = wait_until_known(options, epoch);
  if (options.json) {
    std::cout << dump({{"epoch", epoch}, {"plan", planned->tree}, {"not_known_to", unaware}});
    return exit_ok;
  }
  for (const auto& warning : texts_in(planned->tree, "warnings"))
    std::cout << harmless(warning) << "\n";
  std::cout << fmt::format("epoch {}: agreed", epoch);
  std::string names;
  for (const auto& name : unaware)
    names += (names.empty() ? "" : ", ") + harmless(name);
  std::cout << (unaware.empty() ? ", and known to all members\n" : "; not known yet to " + names + "\n");
  if (!texts_in(planned->tree, "changes").empty())
    std::cout << "`crema ctl jobs --watch` shows how far it is\n";
  return exit_ok;
}

int bucket(const ctl_options& options) {
  if (options.order != "list")
    return change(options);
  auto told = topology_order_at(options, {"SHOW"});
  if (!told)
    return exit_failure;
  std::cout << (options.json ? dump(told->tree["buckets"]) : format_buckets(told->tree));
  return exit_ok;
}

} // namespace

void add_bucket_command(const add_ctl_command& add, const std::shared_ptr<ctl_options>& options) {
  auto* command = add("bucket", "Create, set, drop or list buckets, while the cluster runs", bucket);
  command->add_option("ORDER", options->order, "create, set, drop or list")
      ->required()
      ->check(CLI::IsMember({"create", "set", "drop", "list"}));
  command->add_option("NAME", options->changes, "The bucket, and what it is to be: FIELD=VALUE ...");
  command->add_flag("--yes", options->yes, "drop: do not ask");
  command->footer(
      "Fields, as in the configuration file: n, r, w, sloppy, durability, read_repair; of a new one also db and "
      "conflict.\nWhat is left out stays as it is; of a new one: n=3 (or as many as there are nodes), r and w a "
      "majority of n, the lowest\nfree db. r and w follow n if they were a majority of it. Another n adds or removes "
      "copies, as a job (crema ctl jobs);\nthe bucket is used meanwhile.\nExamples:\n  crema ctl bucket create carts "
      "conflict=siblings\n  crema ctl bucket set carts n=5 w=4 r=2\n  crema ctl bucket drop carts");
}

} // namespace crema::cli
