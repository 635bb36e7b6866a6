// What the ring manager does for operators (plans, changes, force), and for nodes that want to join.
#include "actors/errors.hpp"
#include "actors/handshake.hpp"
#include "actors/ring_manager_state.hpp"
#include "protocol/topology_force.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace crema {

namespace {

protocol::planning given(const ring_manager_state& st) {
  protocol::planning result;
  result.origin = st.env->origin;
  result.directories = st.first_met;
  for (const auto& [node, directory] : st.state.directories)
    result.directories[node] = directory;
  result.state = st.state;
  result.bytes = protocol::bytes_per_partition(st.ring(), st.usage);
  return result;
}

uint64_t bytes_per_second_max(const ring_manager_state& st) { return uint64_t{st.env->config.sync.mb_per_s_max} << 20; }

/// Of the members of a plan, those that wait to become some among them.
std::map<node_id, protocol::node_usage> usage_in(const ring_manager_state& st, const protocol::topology_plan& plan) {
  auto usage = st.usage;
  for (const auto& m : plan.after.members)
    if (auto waits = st.candidates.find(m.name); waits != st.candidates.end() && st.ring().find(m.id) == nullptr)
      usage[m.id].disk_free = waits->second.disk_free;
  return usage;
}

nlohmann::json show(const ring_manager_state& st, protocol::topology_plan& plan) {
  auto usage = usage_in(st, plan);
  for (auto& warning : protocol::warn_of_room(plan, usage))
    plan.warnings.push_back(std::move(warning));
  return to_json(plan, st.ring(), usage, bytes_per_second_max(st));
}

/// What a plan says only by name: nodes that wait to become members.
std::string fill_in(const ring_manager_state& st, std::vector<protocol::topology_change>& changes) {
  std::string error;
  auto fill = [&](protocol::new_node& node) {
    if (!node.host.empty())
      return;
    auto found = st.candidates.find(node.name);
    if (found == st.candidates.end()) {
      std::string waiting;
      for (const auto& [name, c] : st.candidates)
        waiting += (waiting.empty() ? "" : ", ") + name;
      error = fmt::format("no node {} waits at {} to become a member: start it with `crema node --config FILE --join "
                          "HOST:PORT`, the address of {} (allowed now: {})",
                          node.name, st.env->name, st.env->name, waiting.empty() ? "none waits" : waiting);
      return;
    }
    auto group = node.group;
    node = found->second.node;
    if (!group.empty())
      node.group = group;
  };
  for (auto& change : changes) {
    if (auto* join = std::get_if<protocol::join_node>(&change))
      fill(join->node);
    else if (auto* replace = std::get_if<protocol::replace_node>(&change))
      fill(replace->by);
  }
  return error;
}

bool gains(const protocol::ring& after, node_id node) {
  for (size_t p = 0; p < after.next.size(); ++p) {
    auto is_in = [node](const auto& row) { return std::find(row.begin(), row.end(), node) != row.end(); };
    if (is_in(after.next[p]) && !is_in(after.owners[p]))
      return true;
  }
  return false;
}

/// Who leaves is waited for until it has handed over what it has, and who gets something until it has that.
void warn_of_absent(const ring_manager_state& st, protocol::topology_plan& plan) {
  for (const auto& m : plan.after.members) {
    if (m.id == st.env->self || st.peers.count(m.id) > 0 || m.state == protocol::member_state::gone)
      continue;
    auto waits = st.ring().find(m.id) == nullptr && st.candidates.count(m.name) > 0;
    if (m.state == protocol::member_state::leaving)
      plan.warnings.push_back(fmt::format("{} cannot be reached from {}: the change is not over before it has handed "
                                          "over what it has. If it is dead for good, say so: remove {}, or replace {} "
                                          "... gone",
                                          m.name, st.env->name, m.name, m.name));
    else if (!waits && gains(plan.after, m.id))
      plan.warnings.push_back(fmt::format("{} cannot be reached from {}: the change is not over before it has got what "
                                          "it is to get. Start it; if it is dead for good, say so: remove {}",
                                          m.name, st.env->name, m.name));
  }
}

/// Members that nobody has ever heard. In epoch 1 they have no name that a vote could count for.
std::string never_heard(const ring_manager_state& st) {
  auto known = given(st).directories;
  std::string names;
  for (const auto& m : st.ring().members)
    if (m.directory == 0 && known.count(m.id) == 0)
      names += (names.empty() ? "" : ", ") + m.name;
  return names;
}

/// Why a ring cannot even be proposed; empty: it can.
/// @param alone it would not help to leave out those that are missing: this node has no vote without them.
std::string not_proposable(const protocol::ring& next, bool alone) {
  std::string names;
  for (const auto& m : next.members)
    if (m.directory == 0 && m.state != protocol::member_state::gone && m.state != protocol::member_state::joining)
      names += (names.empty() ? "" : ", ") + m.name;
  if (names.empty())
    return {};
  return fmt::format("{0} was never heard, so a vote of it could not be told from one of another data directory "
                     "(allowed: start it, and commit again; if it will never be there, {1})",
                     names, alone ? "crema ctl force-epoch remove " + names : "plan to remove it in this change");
}

protocol::force_given given_to_force(const ring_manager_state& st) {
  protocol::force_given result;
  result.plan = given(st);
  result.reachable.insert(st.env->self);
  for (const auto& [node, peer] : st.peers)
    result.reachable.insert(node);
  auto failed_lately = st.no_majority && st.now() - *st.no_majority < ring_manager_state::failure_counts;
  for (const auto& m : st.ring().members) {
    auto runs_with = result.plan.directories.find(m.id);
    auto forgot = st.ring().epoch > 1 && runs_with != result.plan.directories.end() && runs_with->second != m.directory;
    if (result.reachable.count(m.id) > 0 && !forgot && !failed_lately) // Whose votes did not do are no majority.
      result.voting.insert(m.id);
  }
  result.number = [&st](const protocol::ring& draft) { return st.agreed->forced_number(protocol::encode_ring(draft)); };
  return result;
}

/// Shows what it would mean that a majority is gone for good, or if that is confirmed, goes on without.
nlohmann::json force(ring_manager_self self, const topology_order& order) {
  auto& st = self->state;
  std::vector<std::string> lost;
  for (const auto& change : order.changes) {
    const auto* removal = std::get_if<protocol::remove_node>(&change);
    if (removal == nullptr)
      return error_json(fmt::format("{}: cannot be forced (allowed: remove)", protocol::to_words(change)));
    lost.push_back(removal->name);
  }
  auto result = protocol::plan_force(st.ring(), lost, given_to_force(st));
  if (auto* no = std::get_if<protocol::refused>(&result))
    return error_json(no->why);
  auto& plan = std::get<protocol::topology_plan>(result);
  if (!order.confirmed) {
    auto shown = show(st, plan);
    shown["forced"] = lost;
    return shown;
  }
  auto epoch = plan.after.epoch;
  if (*order.confirmed != epoch)
    return error_json(fmt::format("what would be done is not what was shown any more (epoch {}, not {}): look at it "
                                  "again",
                                  epoch, *order.confirmed));
  st.env->log->warn("epoch {} is forced, on the word of an operator: {}", epoch, describe(plan.after));
  if (!st.agreed->force(epoch, protocol::encode_ring(plan.after), st))
    return error_json(st.env->name + " cannot write to its disk");
  return {{"epoch", epoch}};
}

} // namespace

nlohmann::json outcome_json(const ring_manager_state& st, const protocol::agreement_outcome& x) {
  using result = protocol::agreement_outcome::result;
  if (x.what == result::chosen)
    return {{"epoch", x.number}};
  std::string missing;
  for (const auto& m : x.missing)
    missing += fmt::format("{}{} {}", missing.empty() ? ": " : ", ", st.env->name_of(m.node),
                           m.said ? "cannot vote" : "does not answer");
  switch (x.what) {
  case result::other:
    return error_json(fmt::format("another change was made meanwhile (epoch {}): plan again", x.number));
  case result::no_majority:
    if (auto names = never_heard(st); st.ring().epoch == 1 && !names.empty())
      missing +=
          fmt::format("; {0} was never heard, and before the first change members vote only when almost all have "
                      "met: start {0}, with the file that all have; if it will never be there, force it: crema "
                      "ctl force-epoch remove {0}",
                      names);
    return error_json("nothing was changed: no majority of the members votes" + missing +
                      " (bring them back, try again in some seconds if they have just been started, or see `crema ctl "
                      "force-epoch --help`)");
  case result::unknown:
    return error_json("outcome unknown, the change may still happen: see `crema ctl status`" + missing);
  case result::busy:
    return error_json("another change is being agreed on: try again");
  case result::disk_failed:
    return error_json(st.env->name + " cannot write to its disk");
  default:
    return error_json("refused: this node's version of the change is not one that follows the present epoch");
  }
}

caf::result<join_answer> on_join(ring_manager_self self, const join_request& x) {
  auto& st = self->state;
  const auto& ring = st.ring();
  auto refuse = [&](errc code, const std::string& why) {
    st.env->log->error("refused a node that wants to join: {}", why);
    return make_errc(code, why);
  };
  if (!st.env->speaks.include(x.version))
    return refuse(errc::unknown_version, fmt::format("it speaks messages of version {}, {} those of {}", x.version,
                                                     st.env->name, to_words(st.env->speaks)));
  if (x.cluster != st.env->config.cluster)
    return refuse(errc::not_owner, fmt::format("{} is to join cluster \"{}\", {} belongs to cluster \"{}\"", x.node,
                                               x.cluster, st.env->name, st.env->config.cluster));
  for (const auto& m : ring.removed)
    if (x.directory != 0 && m.directory == x.directory)
      return refuse(errc::removed, fmt::format("{} was removed from the cluster: its data directory must not be used "
                                               "again. Give it an empty data_dir",
                                               m.name));
  join_answer answer;
  answer.version = x.version;
  answer.shape = config::shape_of(st.env->config);
  const auto* member = ring.find(x.node);
  if (member == nullptr) {
    if (x.directory == 0)
      return answer;
    auto fresh = st.candidates.count(x.node) == 0;
    st.candidates[x.node] = {
        {x.node, x.host, x.peer_port, x.resp_port, x.zone, x.weight, x.directory, x.group}, x.disk_free, st.now()};
    if (fresh)
      st.env->log->info("{} at {}:{} waits to become a member: crema ctl plan join {}, then crema ctl commit", x.node,
                        x.host, x.peer_port, x.node);
    return answer;
  }
  if (member->host != x.host || member->peer_port != x.peer_port)
    return refuse(errc::not_owner,
                  fmt::format("{} is the name of a member already, at {}:{}: give the new node another name, or let it "
                              "take that one's place: crema ctl plan replace {} NEW_NAME",
                              x.node, member->host, member->peer_port, x.node));
  st.candidates.erase(x.node);
  answer.ring = protocol::encode_ring(ring);
  return answer;
}

void on_order(ring_manager_self self, topology_query& x) {
  auto& st = self->state;
  auto tell = [&x](const nlohmann::json& json) {
    x.answer(json.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace));
  };
  auto commit = [&](protocol::or_refused<protocol::ring> next, std::string what) {
    if (auto* no = std::get_if<protocol::refused>(&next))
      return tell(error_json(no->why));
    propose(self, std::get<protocol::ring>(next), std::move(what), x.answer);
  };
  using kind = topology_order::kind;
  switch (x.order.what) {
  case kind::show: {
    auto shown = to_json(st.ring(), st.state, st.env->config, st.usage, st.pace);
    shown["node"] = st.env->name;
    return tell(shown);
  }
  case kind::plan: {
    if (auto error = fill_in(st, x.order.changes); !error.empty())
      return tell(error_json(error));
    auto result = protocol::plan_topology(st.ring(), x.order.changes, given(st));
    if (auto* no = std::get_if<protocol::refused>(&result))
      return tell(error_json(no->why));
    st.plan = std::get<protocol::topology_plan>(std::move(result));
    warn_of_absent(st, *st.plan);
    return tell(show(st, *st.plan));
  }
  case kind::commit:
    if (!st.plan)
      return tell(error_json("there is nothing to commit: plan first (`crema ctl plan --help`); a plan is void as soon "
                             "as the epoch changes, and known to the node only that made it"));
    protocol::learn_directories(st.plan->after.members, given(st).directories); // Of who was met after the plan.
    if (auto why = not_proposable(st.plan->after, !st.agreed->may_vote()); !why.empty()) {
      if (!st.agreed->may_vote())
        st.no_majority = st.now();
      return tell(error_json(why));
    }
    return propose(self, st.plan->after, "commit", x.answer);
  case kind::cancel:
    return commit(protocol::cancel_change(st.ring()), "cancel");
  case kind::pause:
    return commit(protocol::pause_change(st.ring(), true), "pause");
  case kind::resume:
    return commit(protocol::pause_change(st.ring(), false), "resume");
  case kind::force:
    return tell(force(self, x.order));
  case kind::drain:
  case kind::undrain:
    return tell(error_json("not an order for the ring manager")); // The node carries it out itself.
  }
}

} // namespace crema
