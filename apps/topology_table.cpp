#include "apps/topology_table.hpp"

#include "apps/ctl_client.hpp"
#include "apps/status_table.hpp"
#include "protocol/topology_costs.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>
#include <map>

namespace crema::cli {

namespace {

using nlohmann::json;
using row = std::vector<std::string>;

constexpr size_t ring_bar_width = 40;
constexpr uint64_t job_bar_width = 24;

std::string joined(const std::vector<std::string>& words, const char* between) {
  std::string text;
  for (const auto& word : words)
    text += (text.empty() ? "" : between) + word;
  return text;
}

std::string indented(const std::string& table) {
  std::string text = "  ";
  for (size_t i = 0; i < table.size(); ++i) {
    text += table[i];
    if (table[i] == '\n' && i + 1 < table.size())
      text += "  ";
  }
  return text;
}

std::string plural(uint64_t n, const char* one, const char* many) {
  return fmt::format("{} {}", n, n == 1 ? one : many);
}

const json& job_of(const json& topology) {
  static const json nothing;
  auto found = topology.find("job");
  return found != topology.end() && found->is_object() ? *found : nothing;
}

std::string phase_of(const json& topology) {
  auto paused = text_in(job_of(topology), "paused") == "true";
  return text_in(topology, "phase") + (paused ? ", paused" : "");
}

/// "24 of 96 vnodes copied"; of what is only handed over: "12 vnodes to hand over".
std::string done_of(const json& job) {
  auto to_get = number_in(job, "vnodes_to_get");
  auto text = to_get > 0
                  ? fmt::format("{} of {} copied", number_in(job, "vnodes_got"), plural(to_get, "vnode", "vnodes"))
                  : std::string();
  if (auto bytes = number_in(job, "bytes_to_get"); to_get > 0 && bytes > 0)
    text += fmt::format(", about {} of {}", protocol::bytes_in_words(number_in(job, "bytes_got")),
                        protocol::bytes_in_words(bytes));
  if (auto former = number_in(job, "vnodes_to_hand_over"); former > 0)
    text += (text.empty() ? "" : ", ") + plural(former, "vnode", "vnodes") + " to hand over";
  return text;
}

/// ", 2.5 vnodes/s, about 9 s left"; empty as long as nobody knows.
std::string pace_of(const json& job) {
  auto pace = job.find("vnodes_per_second"), left = job.find("ms_left");
  if (pace == job.end() || !pace->is_number() || left == job.end() || !left->is_number_unsigned())
    return "";
  return fmt::format(", {:.1f} vnodes/s, about {} left", pace->get<double>(),
                     format_duration(std::max<uint64_t>(left->get<uint64_t>(), 1000)));
}

std::string waiting_of(const json& job) {
  auto why = text_in(job, "waits_for");
  return why.empty() || why == "paused" ? "" : "waiting: " + why; // That it is paused is said elsewhere.
}

/// Names of owners, by partition; what is not as it should be is left empty.
std::vector<row> table_in(const json& topology, const char* name) {
  std::vector<row> table;
  auto found = topology.find(name);
  if (found == topology.end() || !found->is_array())
    return table;
  for (const auto& owners : *found) {
    auto& names = table.emplace_back();
    if (!owners.is_array())
      continue;
    for (const auto& owner : owners)
      names.push_back(owner.is_string() ? owner.get<std::string>() : "?");
  }
  return table;
}

struct share {
  uint64_t kept = 0, gained = 0, given = 0; ///< Partitions.
};
std::map<std::string, share> shares_of(const json& topology) {
  std::map<std::string, share> shares;
  auto owners = table_in(topology, "owners"), next = table_in(topology, "next");
  auto contains = [](const row& names, const std::string& name) {
    return std::find(names.begin(), names.end(), name) != names.end();
  };
  for (size_t p = 0; p < owners.size(); ++p) {
    for (const auto& name : owners[p])
      ++(p >= next.size() || contains(next[p], name) ? shares[name].kept : shares[name].given);
    if (p < next.size())
      for (const auto& name : next[p])
        shares[name].gained += contains(owners[p], name) ? 0 : 1;
  }
  return shares;
}

std::string stripes(uint64_t count, uint64_t most, char c) {
  auto width = most <= ring_bar_width ? count : (count * ring_bar_width + most - 1) / most; // No share looks like none.
  return std::string(static_cast<size_t>(width), c);
}

void add_list(std::string& text, const char* title, const std::vector<std::string>& lines) {
  if (!lines.empty())
    text += std::string(title) + "\n";
  for (const auto& line : lines)
    text += "  " + harmless(line) + "\n";
}

} // namespace

std::string progress_bar(uint64_t done, uint64_t all) {
  done = std::min(done, all);
  auto full = all > 0 ? done * job_bar_width / all : 0;
  return fmt::format("[{}{}] {:3} %", std::string(full, '#'), std::string(job_bar_width - full, '-'),
                     all > 0 ? done * 100 / all : 0);
}

std::string format_plan(const json& plan) {
  auto text = fmt::format("plan: epoch {} -> {}{}\n", number_in(plan, "epoch"), number_in(plan, "next_epoch"),
                          plan.contains("forced") ? ", without a majority" : "");
  add_list(text, "changes", texts_in(plan, "changes"));
  auto transfers = list_in(plan, "transfers");
  auto bytes_known =
      std::any_of(transfers.begin(), transfers.end(), [](const json& t) { return number_in(t, "bytes") > 0; });
  std::vector<row> moves{{"from", "to", "partitions"}};
  if (bytes_known)
    moves.back().emplace_back("bytes");
  for (const auto& t : transfers) {
    moves.push_back({text_in(t, "from"), text_in(t, "to"), text_in(t, "partitions")});
    if (bytes_known)
      moves.back().push_back(protocol::bytes_in_words(number_in(t, "bytes")));
  }
  if (!transfers.empty())
    text += "copies\n" + indented(format_table(moves));
  std::vector<row> nodes{{"name", "partitions", "then", ""}};
  if (bytes_known)
    nodes.back().insert(nodes.back().end(), {"stored", "gets", "free on disk"});
  auto size_in = [](const json& tree, const char* name) {
    auto bytes = number_in(tree, name);
    return bytes > 0 ? protocol::bytes_in_words(bytes) : std::string();
  };
  for (const auto& n : list_in(plan, "nodes")) {
    auto before = number_in(n, "before"), after = number_in(n, "after");
    nodes.push_back({text_in(n, "name"), std::to_string(before), std::to_string(after),
                     before == after  ? ""
                     : before < after ? fmt::format("+{}", after - before)
                                      : fmt::format("-{}", before - after)});
    if (bytes_known)
      nodes.back().insert(nodes.back().end(),
                          {size_in(n, "stored"), size_in(n, "bytes_to_get"), size_in(n, "disk_free")});
  }
  text += "nodes\n" + indented(format_table(nodes));
  auto moved = number_in(plan, "moved"), added = number_in(plan, "added"), least = number_in(plan, "added_at_least");
  text += moved == 0 ? "nothing is copied" : plural(moved, "copy", "copies") + " of a partition to make";
  if (added != moved)
    text += fmt::format(", {} of them beyond the change under way", added);
  if (moved > 0)
    text += added <= least ? "; no plan needs fewer" : fmt::format("; at least {} however it is dealt out", least);
  text += "\n";
  if (auto seconds = number_in(plan, "seconds"); seconds > 0)
    text +=
        fmt::format("about {} to copy, {} at the least: each node takes at most {}/s (sync.mb_per_s_max), less while "
                    "clients need it\n",
                    protocol::bytes_in_words(number_in(plan, "bytes")), format_duration(seconds * 1000),
                    protocol::bytes_in_words(number_in(plan, "bytes_per_second_max")));
  add_list(text, "warnings", texts_in(plan, "warnings"));
  auto lost = number_in(plan, "lost");
  text += lost > 0
              ? fmt::format("DATA IS LOST: {} whose owners are all gone\n", plural(lost, "partition", "partitions"))
              : "no partition is lost\n";
  return text;
}

std::string format_ring(const json& topology) {
  auto shares = shares_of(topology);
  auto moving = text_in(topology, "phase") == "moving";
  uint64_t most = 1;
  for (const auto& [name, s] : shares)
    most = std::max(most, s.kept + s.gained + s.given);
  auto text =
      fmt::format("epoch {}, {}: {}\n", number_in(topology, "epoch"), phase_of(topology),
                  plural(topology.contains("owners") ? topology["owners"].size() : 0, "partition", "partitions"));
  auto& job = job_of(topology);
  add_list(text, "changes", texts_in(job, "changes"));
  std::map<std::string, std::string> groups;
  for (const auto& g : list_in(topology, "groups"))
    for (const auto& node : texts_in(g, "nodes"))
      groups[node] = text_in(g, "name");
  row head{"name", "state", "zone", "weight", "owns"};
  if (!groups.empty())
    head.insert(head.begin() + 2, "group");
  if (moving)
    head.insert(head.end(), {"gets", "gives"});
  std::vector<row> rows{head};
  rows.back().emplace_back();
  for (const auto& m : list_in(topology, "members")) {
    auto name = text_in(m, "name");
    const auto& s = shares[name];
    row cells{name, text_in(m, "state"), text_in(m, "zone"), text_in(m, "weight"), std::to_string(s.kept + s.given)};
    if (!groups.empty())
      cells.insert(cells.begin() + 2, groups[name]);
    if (moving)
      cells.insert(cells.end(), {std::to_string(s.gained), std::to_string(s.given)});
    cells.push_back(stripes(s.kept, most, '#') + stripes(s.gained, most, '+') + stripes(s.given, most, '-'));
    rows.push_back(std::move(cells));
  }
  text += format_table(rows);
  return text + (moving ? "# stays, + is to come, - is to go\n" : "");
}

std::string format_partitions(const json& topology) {
  auto owners = table_in(topology, "owners"), next = table_in(topology, "next");
  std::vector<row> rows{{"partitions", "owners"}};
  auto then = [&](size_t p) { return p < next.size() ? next[p] : owners[p]; };
  for (size_t p = 0; p < owners.size();) {
    auto end = p + 1;
    while (end < owners.size() && owners[end] == owners[p] && then(end) == then(p))
      ++end;
    rows.push_back({end == p + 1 ? std::to_string(p) : fmt::format("{}-{}", p, end - 1),
                    joined(owners[p], " ") + (then(p) != owners[p] ? " -> " + joined(then(p), " ") : "")});
    p = end;
  }
  return format_table(rows);
}

std::string format_job(const json& topology) {
  const auto& job = job_of(topology);
  auto epoch = number_in(topology, "epoch");
  if (!job.is_object())
    return fmt::format("no change is under way (epoch {})\n", epoch);
  auto text = fmt::format("job {} (epoch {}, {}): {}\n", number_in(job, "id"), epoch, phase_of(topology),
                          harmless(joined(texts_in(job, "changes"), ", ")));
  auto done = done_of(job);
  if (auto to_get = number_in(job, "vnodes_to_get"); to_get > 0)
    text += progress_bar(number_in(job, "vnodes_got"), to_get) + "  ";
  if (!done.empty())
    text += done + pace_of(job) + "\n";
  if (auto waiting = waiting_of(job); !waiting.empty())
    text += harmless(waiting) + "\n";
  return text;
}

void show_drained(json& status) {
  if (auto members = status.find("members"); members != status.end() && members->is_array())
    for (auto& m : *members)
      if (m.is_object()) {
        if (text_in(m, "drained") == "true")
          m["state"] = text_in(m, "state") + ", drained";
        m.erase("drained");
      }
}

void add_topology(json& status, const json& topology) {
  std::map<std::string, std::string> states;
  for (const auto& m : list_in(topology, "members"))
    states[text_in(m, "name")] = text_in(m, "state");
  if (auto members = status.find("members"); members != status.end() && members->is_array())
    for (auto& m : *members)
      if (auto state = m.is_object() ? states[text_in(m, "name")] : ""; !state.empty() && state != "member")
        m["state"] = text_in(m, "state") + ", " + state;
  const auto& job = job_of(topology);
  if (!job.is_object())
    return;
  status["change"] =
      fmt::format("{} (job {}, {})", joined(texts_in(job, "changes"), ", "), number_in(job, "id"), phase_of(topology));
  auto done = done_of(job), waiting = waiting_of(job);
  auto to_get = number_in(job, "vnodes_to_get");
  auto bar = to_get > 0 ? progress_bar(number_in(job, "vnodes_got"), to_get) + "  " : "";
  if (auto text = bar + done + pace_of(job) + (done.empty() || waiting.empty() ? "" : "; ") + waiting; !text.empty())
    status["progress"] = text;
}

std::string format_progress(const json& topology) {
  const auto& job = job_of(topology);
  auto text = fmt::format("epoch {}, {}", number_in(topology, "epoch"), phase_of(topology));
  auto to_get = number_in(job, "vnodes_to_get");
  if (to_get > 0)
    text += " " + progress_bar(number_in(job, "vnodes_got"), to_get);
  if (auto done = done_of(job); !done.empty())
    text += (to_get > 0 ? "  " : ": ") + done;
  text += pace_of(job);
  auto waiting = waiting_of(job);
  return harmless(text + (waiting.empty() ? "" : "; " + waiting));
}

} // namespace crema::cli
