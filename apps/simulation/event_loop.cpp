#include "apps/simulation/event_loop.hpp"

#include "messages/register.hpp"

#include <utility>

namespace crema::simulation {

namespace {

caf::actor_id id_of(caf::resumable* job) {
  auto is_actor = job->subtype() == caf::resumable::scheduled_actor; // dynamic_cast is slow here.
  return is_actor ? static_cast<caf::scheduled_actor*>(job)->id() : 0;
}

} // namespace

event_loop::config::config() {
  set("scheduler.policy", caf::atom("testing"));
  register_messages(*this);
}

event_loop::event_loop(random_stream& random, size_t nodes) : random_(random), system_(config_), nodes_(nodes) {
  origin_ = clock().now();
}

void event_loop::wind_up() {
  events_ = {};
  scheduler().run();
  clock().cancel_all();
}

void event_loop::after(sim_time delay, std::function<void()> what) {
  events_.push({now() + delay, next_event_++, std::move(what)});
}

void event_loop::after_steps(size_t node, uint64_t steps, std::function<void()> what) {
  nodes_[node].steps_left = steps;
  nodes_[node].when_done = std::move(what);
}

bool event_loop::run_until(sim_time until, const std::function<bool()>& ended) {
  while (!ended()) {
    if (step()) {
      ++steps_here_;
      continue;
    }
    steps_here_ = 0;
    auto& timers = clock().schedule();
    auto timer = timers.empty() ? sim_time::max() : timers.begin()->first - origin_;
    auto own = events_.empty() ? sim_time::max() : events_.top().at;
    if (std::min(timer, own) > until) {
      clock().current_time = origin_ + until;
      return true;
    }
    if (own > timer) {
      clock().trigger_timeout();
      continue;
    }
    clock().current_time = std::max(clock().current_time, origin_ + own);
    auto what = std::move(const_cast<event&>(events_.top()).what);
    events_.pop();
    what();
  }
  return false;
}

/// One message of one actor, any that can run. @returns false if none can.
bool event_loop::step() {
  auto& jobs = scheduler().jobs;
  while (!jobs.empty()) {
    std::swap(jobs.front(), jobs[random_.below(jobs.size())]);
    if (act(jobs.front()))
      return true;
  }
  return false;
}

/// @param job the first in the queue. @returns false if it cannot run now; then it waits elsewhere.
bool event_loop::act(caf::resumable* job) {
  auto& jobs = scheduler().jobs;
  auto owner = owners_.find(id_of(job));
  if (owner == owners_.end()) {
    scheduler().run_once();
    return true;
  }
  auto [id, index] = *owner;
  auto& n = nodes_[index];
  if (n.stopped) {
    jobs.pop_front();
    n.held.push_back(job);
    return false;
  }
  auto until = blocked_.find(id);
  if (until != blocked_.end() && until->second > now()) {
    jobs.pop_front();
    parked_[id] = job;
    after(until->second - now(), [this, who = id] { unpark(who); });
    return false;
  }
  if (n.when_done && n.steps_left-- == 0) {
    std::exchange(n.when_done, nullptr)();
    return true;
  }
  auto before = system_.latest_actor_id();
  acting_ = id;
  scheduler().run_once();
  if (n.busy_one_in > 0 && random_.one_in(n.busy_one_in))
    block(sim_time{random_.below(static_cast<uint64_t>(n.busy_up_to.count()))});
  acting_ = 0;
  ++steps_;
  own_new_actors(before, index);
  return true;
}

void event_loop::unpark(caf::actor_id id) {
  auto found = parked_.find(id);
  if (found == parked_.end())
    return;
  scheduler().jobs.push_back(found->second);
  parked_.erase(found);
}

void event_loop::own_new_actors(caf::actor_id before, size_t node) {
  for (auto id = before + 1; id <= system_.latest_actor_id(); ++id)
    owners_[id] = node;
}

// -- Nodes ------------------------------------------------------------------------------------------------------------

caf::actor event_loop::start(size_t node, const std::function<caf::actor()>& spawn) {
  auto before = system_.latest_actor_id();
  auto root = spawn();
  own_new_actors(before, node);
  scheduler().run_jobs_filtered([id = root.id()](caf::resumable* job) { return id_of(job) == id; });
  own_new_actors(before, node);
  return root;
}

void event_loop::kill(size_t node, std::vector<caf::actor> actors) {
  go_on(node);
  nodes_[node].when_done = nullptr;
  for (const auto& a : actors) {
    blocked_.erase(a.id());
    unpark(a.id());
    caf::anon_send_exit(a, caf::exit_reason::kill);
  }
  actors.clear();
  scheduler().run_jobs_filtered([this, node](caf::resumable* job) {
    auto owner = owners_.find(id_of(job));
    return owner != owners_.end() && owner->second == node;
  });
  for (auto i = owners_.begin(); i != owners_.end();)
    i = i->second == node ? owners_.erase(i) : std::next(i);
}

void event_loop::go_on(size_t node) {
  auto& n = nodes_[node];
  n.stopped = false;
  for (auto* job : n.held)
    scheduler().jobs.push_back(job);
  n.held.clear();
}

void event_loop::block(sim_time time) {
  if (acting_ != 0)
    block(acting_, time);
}

void event_loop::block(caf::actor_id who, sim_time time) {
  auto& until = blocked_[who];
  until = std::max(until, now() + time);
}

void event_loop::busy(size_t node, uint64_t one_in, sim_time up_to) {
  nodes_[node].busy_one_in = one_in;
  nodes_[node].busy_up_to = up_to;
}

} // namespace crema::simulation
