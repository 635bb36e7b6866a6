// crema ctl status, hints, sync-point, repair; those about the topology are in topology_command.cpp
#include "apps/commands.hpp"
#include "apps/ctl_client.hpp"
#include "apps/status_table.hpp"
#include "apps/topology_command.hpp"
#include "apps/topology_table.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <iostream>
#include <iterator>
#include <memory>
#include <thread>

namespace crema::cli {

namespace {

/// The status of one node. @returns nothing, and the reason in `why`, if it cannot be had.
std::optional<answer> status_of(const std::string& where, std::string& why) {
  return ask_at(where, {"KV.STATUS"}, why);
}

int status(const ctl_options& options) {
  std::string why, no_topology;
  auto found = status_of(options.where, why);
  if (!found)
    return failed(why);
  if (options.json) {
    std::cout << found->text << "\n";
    return exit_ok;
  }
  show_drained(found->tree);
  if (auto topology = ask_at(options.where, {"KV.TOPOLOGY", "SHOW"}, no_topology))
    add_topology(found->tree, topology->tree);
  std::cout << format_status(found->tree);
  return exit_ok;
}

struct member {
  std::string name, where;
};
std::vector<member> members_in(const nlohmann::json& status) {
  std::vector<member> members;
  for (const auto& m : list_in(status, "members")) {
    auto host = text_in(m, "host");
    if (host.find(':') != std::string::npos)
      host = fmt::format("[{}]", host);
    members.push_back({text_in(m, "name"), host + ":" + text_in(m, "resp_port")});
  }
  return members;
}

/// Any member knows where the one is that is meant.
int drain_or_not(const ctl_options& options, const char* word, const char* text) {
  std::string why;
  auto first = status_of(options.where, why);
  if (!first)
    return failed(why);
  auto members = members_in(first->tree);
  auto found = std::find_if(members.begin(), members.end(), [&](const member& m) { return m.name == options.node; });
  if (found == members.end()) {
    std::string names;
    for (const auto& m : members)
      names += (names.empty() ? "" : ", ") + m.name;
    return failed(fmt::format("there is no node {} (allowed: {})", options.node, names));
  }
  auto told = ask_at(found->where, {"KV.TOPOLOGY", word}, why);
  if (!told)
    return failed(fmt::format("{}: {}", options.node, why.rfind("ERR ", 0) == 0 ? why.substr(4) : why));
  if (options.json)
    std::cout << told->text << "\n";
  else
    std::cout << fmt::format(fmt::runtime(text), options.node, harmless(text_in(told->tree, "others"))) << "\n";
  return exit_ok;
}

int drain(const ctl_options& options) {
  return drain_or_not(options, "DRAIN",
                      "{0} is drained: its clients are sent to {1}; its data stays and is in use. `crema ctl undrain "
                      "{0}`, or a restart, ends it");
}

int undrain(const ctl_options& options) {
  return drain_or_not(options, "UNDRAIN", "{0} takes requests of clients again");
}

/// Of every member that the asked node knows.
int hints(const ctl_options& options) {
  std::string why;
  auto first = status_of(options.where, why);
  if (!first)
    return failed(why);
  auto all = nlohmann::json::array();
  auto code = exit_ok;
  for (const auto& [name, where] : members_in(first->tree)) {
    auto status = name == text_in(first->tree, "node") ? first : status_of(where, why);
    if (!status) {
      code = failed(fmt::format("{} is not asked: {}", name, why));
      continue;
    }
    for (auto hint : list_in(status->tree, "hints")) {
      hint["on"] = name;
      all.push_back(std::move(hint));
    }
  }
  if (options.json)
    std::cout << dump(all);
  else
    std::cout << (all.empty() ? "no writes are held for owners that could not be reached\n" : format_hints(all));
  return code;
}

/// One member's part of a sync point.
class waiting_member {
public:
  explicit waiting_member(member m) : m_(std::move(m)) {}

  /// @returns false, and error() says why, if it cannot be asked.
  bool begin() {
    if (client_.connect(parse_address(m_.where).value_or(address{})))
      return take({"KV.SYNCPOINT"});
    error_ = client_.error();
    return false;
  }
  bool ask_again() { return take({"KV.SYNCPOINT", id_}); }

  const std::string& name() const { return m_.name; }
  const std::string& error() const { return error_; }
  bool reached() const { return reached_; }
  /// Who lacks what of that which it has.
  const std::vector<nlohmann::json>& waiting_for() const { return waiting_for_; }

private:
  bool take(const std::vector<std::string>& words) {
    auto told = ask(client_, words, error_);
    if (told && told->tree.contains("error"))
      error_ = text_in(told->tree, "error");
    if (!told || !error_.empty())
      return false;
    id_ = text_in(told->tree, "id");
    reached_ = text_in(told->tree, "reached") == "true";
    waiting_for_ = list_in(told->tree, "waiting_for");
    return true;
  }

  member m_;
  resp_client client_{call_timeout};
  std::string id_, error_;
  bool reached_ = false;
  std::vector<nlohmann::json> waiting_for_;
};

std::string lacking(const std::vector<std::unique_ptr<waiting_member>>& members) {
  std::string text;
  for (const auto& m : members)
    if (!m->reached() && m->waiting_for().empty())
      text += fmt::format("{} is still writing to its disk\n", m->name());
    else
      for (const auto& w : m->waiting_for())
        text += fmt::format("{} lacks {} writes that {} has{}\n", text_in(w, "node"), text_in(w, "writes"), m->name(),
                            text_in(w, "linked") == "false" ? ", and cannot be reached" : "");
  return text;
}

/// Waits until everything that was written before is on the disks of all its owners.
int sync_point(const ctl_options& options) {
  constexpr std::chrono::milliseconds between{200};
  auto begun = std::chrono::steady_clock::now();
  std::string why;
  auto first = status_of(options.where, why);
  if (!first)
    return failed(why);
  std::vector<std::unique_ptr<waiting_member>> members;
  std::string unknown; // Members that cannot tell what they have.
  for (auto& m : members_in(first->tree)) {
    auto one = std::make_unique<waiting_member>(std::move(m));
    if (one->begin())
      members.push_back(std::move(one));
    else
      unknown +=
          fmt::format("{} cannot be asked, so what only it has is not waited for: {}\n", one->name(), one->error());
  }
  auto waits = [&] { return std::any_of(members.begin(), members.end(), [](const auto& m) { return !m->reached(); }); };
  auto shown = begun;
  while (waits() && std::chrono::steady_clock::now() - begun < std::chrono::seconds{options.timeout_s}) {
    std::this_thread::sleep_for(between);
    for (auto& m : members)
      if (!m->reached() && !m->ask_again())
        return failed(fmt::format("{}: {}", m->name(), m->error()));
    if (auto now = std::chrono::steady_clock::now(); !options.json && now - shown > std::chrono::seconds{2}) {
      shown = now;
      std::cerr << lacking(members);
    }
  }
  auto reached = !waits() && unknown.empty();
  auto seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begun).count();
  if (options.json) {
    auto all = nlohmann::json::array();
    for (const auto& m : members)
      for (auto w : m->waiting_for()) {
        w["of"] = m->name();
        all.push_back(std::move(w));
      }
    std::cout << dump({{"reached", reached}, {"seconds", seconds}, {"waiting_for", all}});
  }
  if (reached && !options.json)
    std::cout << fmt::format("everything written before is on the disks of all its owners ({:.1f} s)\n", seconds);
  if (waits())
    std::cerr << fmt::format("not reached within {} s:\n{}", options.timeout_s, lacking(members));
  std::cerr << unknown;
  return reached ? exit_ok : exit_failure;
}

/// One member's part of a repair: the vnodes that it is the first to compare.
class repairing_member {
public:
  explicit repairing_member(member m) : m_(std::move(m)) {}

  /// @returns false, and error() says why, if the member cannot be asked or refuses.
  bool order(const std::vector<std::string>& words) {
    if (client_.connect(parse_address(m_.where).value_or(address{})))
      return take(words);
    error_ = client_.error();
    return false;
  }
  bool ask_again() {
    auto id = text_in(state_, "id");
    if (!take({"KV.REPAIR", "STATUS"}))
      return false;
    if (text_in(state_, "id") != id)
      error_ = "its repair is gone: the node was restarted, or another one was begun";
    return error_.empty();
  }

  const std::string& name() const { return m_.name; }
  const std::string& error() const { return error_; }
  const nlohmann::json& state() const { return state_; }
  bool runs() const { return error_.empty() && (is("running") || is("paused")); }
  bool is(const std::string& word) const { return text_in(state_, "state") == word; }
  uint64_t number(const char* name) const { return number_in(state_, name); }

private:
  bool take(const std::vector<std::string>& words) {
    auto told = ask(client_, words, error_);
    if (told && told->tree.contains("error"))
      error_ = text_in(told->tree, "error");
    if (!told || !error_.empty())
      return false;
    state_ = std::move(told->tree);
    return true;
  }

  member m_;
  resp_client client_{call_timeout};
  std::string error_;
  nlohmann::json state_ = nlohmann::json::object();
};
using repairing_members = std::vector<std::unique_ptr<repairing_member>>;

std::string format_repair(const repairing_member& m) {
  if (!m.error().empty())
    return fmt::format("{}: {}\n", m.name(), m.error());
  if (m.is("none"))
    return fmt::format("{}: nothing was compared since its start\n", m.name());
  return fmt::format("{}: {}{}, {} of {} vnodes, {} keys, {} differed, {} repaired, {} busy{}\n", m.name(),
                     text_in(m.state(), "state"), text_in(m.state(), "by_itself") == "true" ? " by itself" : "",
                     m.number("vnodes_done"), m.number("vnodes"), m.number("keys"), m.number("differences"),
                     m.number("repaired"), m.number("busy"), m.runs() ? "; now " + text_in(m.state(), "now") : "");
}

std::string format_repair(const repairing_members& members) {
  std::string text;
  for (const auto& m : members)
    text += format_repair(*m);
  return text;
}

/// Until it has ended everywhere; shows how far it is.
void watch_repair(const repairing_members& members, bool show) {
  constexpr std::chrono::milliseconds between{200};
  constexpr std::chrono::seconds between_lines{2};
  auto shown = std::chrono::steady_clock::now();
  while (std::any_of(members.begin(), members.end(), [](const auto& m) { return m->runs(); })) {
    std::this_thread::sleep_for(between);
    for (const auto& m : members)
      if (m->runs())
        m->ask_again();
    if (auto now = std::chrono::steady_clock::now(); show && now - shown > between_lines) {
      shown = now;
      std::cerr << format_repair(members);
    }
  }
}

/// Asks every member to compare what its vnodes hold with their other owners, and waits for the end.
int repair(const ctl_options& options) {
  std::string why;
  auto first = status_of(options.where, why);
  if (!first)
    return failed(why);
  std::vector<std::string> words{"KV.REPAIR", options.order};
  if (options.order == "start" && !options.bucket.empty())
    words.insert(words.end(), {"BUCKET", options.bucket});
  if (options.order == "start" && !options.partition.empty())
    words.insert(words.end(), {"PARTITION", options.partition});
  repairing_members members;
  for (auto& m : members_in(first->tree)) {
    members.push_back(std::make_unique<repairing_member>(std::move(m)));
    members.back()->order(words);
  }
  if (options.order == "start")
    watch_repair(members, !options.json);
  auto all = nlohmann::json::array();
  bool good = true, left_out = false;
  for (const auto& m : members) {
    auto one = m->state();
    one["node"] = m->name();
    if (!m->error().empty())
      one["error"] = m->error();
    all.push_back(std::move(one));
    auto whole = options.order != "start" || (m->is("finished") && m->number("partial") == 0);
    left_out = left_out || (m->error().empty() && !whole);
    good = good && m->error().empty() && whole;
  }
  std::cout << (options.json ? dump(all) : format_repair(members));
  if (left_out && !options.json)
    std::cerr << "not everything was compared: the log of each node says what was left out\n";
  return good ? exit_ok : exit_failure;
}

} // namespace

void add_ctl_commands(CLI::App& app, action& chosen) {
  auto options = std::make_shared<ctl_options>();
  auto* family = app.add_subcommand("ctl", "Ask a running node");
  family->require_subcommand(1);
  family->footer("Example:\n  crema ctl status --address 127.0.0.1:6402");
  auto add = [&](const char* name, const char* what, int (*run)(const ctl_options&)) {
    auto* command = family->add_subcommand(name, what);
    command->add_option("--address", options->where, "host:port of a node")
        ->capture_default_str()
        ->check([](const std::string& text) { return parse_address(text) ? "" : "must be host:port"; });
    command->add_flag("--json", options->json, "For programs");
    command->callback([options, run, &chosen] { chosen = [options, run] { return run(*options); }; });
    return command;
  };
  add("status", "Show a node's view of the cluster: epoch, members, buckets, sync, counters", status)
      ->footer("Example:\n  crema ctl status --json | jq .members");
  auto of_node = [&](CLI::App* command, const char* footer) {
    command->add_option("NODE", options->node, "Name of a member")->required();
    command->footer(footer);
  };
  of_node(
      add("drain", "Send the clients of a node to others; no data moves", drain),
      "Each connection is closed behind the reply to its next command, or when it was idle for a second; on new ones "
      "only operators are\nanswered. Until `undrain`, or the node's restart. A node that is stopped in good order "
      "(SIGTERM) does the same by itself.\nExample:\n  crema ctl drain n2");
  of_node(add("undrain", "Let a node that is drained take clients again", undrain), "Example:\n  crema ctl undrain n2");
  add("hints", "List what nodes hold for owners that could not be reached: for whom, how much, since when", hints)
      ->footer("All members are asked; 1 is returned if one does not answer.\nExample:\n  crema ctl hints --address "
               "127.0.0.1:6402");
  auto* point = add("sync-point", "Wait until everything written before is on the disks of all its owners", sync_point);
  point->add_option("--timeout", options->timeout_s, "Seconds to wait")->capture_default_str();
  point->footer("Returns 1, and says who lacks how much, if that is not so in time, or if a member cannot be asked.\n"
                "Example, before a node is taken away:\n  crema ctl sync-point --timeout 600");
  auto* scrub =
      add("repair", "Compare what owners hold, also where their clocks agree, and repair what is wrong", repair);
  scrub->add_option("--bucket", options->bucket, "Only this bucket (name or db)");
  scrub->add_option("--partition", options->partition, "Only this partition");
  auto* orders = scrub->add_option_group("orders");
  auto order = [&](const char* flag, const char* word, const char* what) {
    orders->add_flag_callback(
        flag, [options, word] { options->order = word; }, what);
  };
  order("--status", "status", "Show how far it is");
  order("--pause", "pause", "Stop until --resume");
  order("--resume", "resume", "Go on");
  order("--cancel", "cancel", "End it");
  orders->require_option(0, 1);
  scrub->footer("Every member compares its part. Returns 1 if a member cannot be asked, or if a vnode was not compared "
                "with all of its owners. Interrupted, it goes on on the nodes.\nExample:\n  crema ctl repair --bucket "
                "default");
  add_topology_commands(add, options);
  add_bucket_command(add, options);
}

} // namespace crema::cli
