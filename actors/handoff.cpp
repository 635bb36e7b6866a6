#include "actors/interfaces.hpp"

#include <deque>
#include <set>

namespace crema {

// Catch-up of one key, for reads that found owners differing: ask the stale owner what it knows, fetch from the source
// the key's state with the dots that are missing there, hand it over. Bounded in number and in flight; what does not
// fit is dropped and counted, for the next read that notices the difference asks again.
struct handoff_state {
  static inline constexpr const char* name = "handoff";
  static constexpr size_t queue_max = 10'000;
  static constexpr size_t running_max = 64;
  static constexpr std::chrono::seconds step_timeout{2};

  struct job {
    repair_wanted what;
    auto key() const { return std::tie(what.vnode, what.key, what.stale, what.source); }
    friend bool operator<(const job& a, const job& b) { return a.key() < b.key(); }
  };
  env_ptr env;
  protocol::ring_ptr ring;
  std::map<node_id, std::vector<caf::actor>> replicas; // Of this node and of linked peers.
  std::deque<job> queue;
  std::set<job> known; // Queued or running: each once.
  size_t running = 0;
  bool dispatching = false; // In run_next: a job that ends at once must not start the next one from within.
  uint64_t done = 0, failed = 0, dropped = 0, dots = 0;
};
using handoff_self = caf::stateful_actor<handoff_state>*;

namespace {

void run_next(handoff_self self);

void finish(handoff_self self, const handoff_state::job& job, const std::string& error) {
  auto& st = self->state;
  st.known.erase(job);
  --st.running;
  ++(error.empty() ? st.done : st.failed);
  if (!error.empty())
    st.env->log->debug("read repair of {} from {} failed: {}", st.env->name_of(job.what.stale),
                       st.env->name_of(job.what.source), error);
  run_next(self);
}

const caf::actor* replica_of(handoff_state& st, node_id node, partition_id partition) {
  auto found = st.replicas.find(node);
  if (found == st.replicas.end() || found->second.empty())
    return nullptr;
  return &found->second[partition % found->second.size()];
}

/// Sends one request of a job; any error ends the job.
template <class Reply, class Request, class Next>
void step(handoff_self self, const handoff_state::job& job, node_id to, Request request, Next next) {
  auto& st = self->state;
  const auto* target = replica_of(st, to, job.what.vnode.partition);
  if (target == nullptr)
    return finish(self, job, st.env->name_of(to) + " is not linked");
  self->request(*target, handoff_state::step_timeout, std::move(request))
      .then([next](const Reply& reply) { next(reply); },
            [self, job](const caf::error& e) { finish(self, job, self->system().render(e)); });
}

void run(handoff_self self, const handoff_state::job& job) {
  auto epoch = self->state.ring->epoch;
  clock_request ask;
  ask.epoch = epoch;
  ask.bucket = job.what.vnode.bucket;
  ask.partition = job.what.vnode.partition;
  step<clock_reply>(self, job, job.what.stale, ask, [self, job, epoch](const clock_reply& known) {
    page_request fetch;
    fetch.epoch = epoch;
    fetch.bucket = job.what.vnode.bucket;
    fetch.partition = job.what.vnode.partition;
    fetch.key = job.what.key;
    fetch.clock = known.clock;
    step<page_message>(self, job, job.what.source, std::move(fetch), [self, job](const page_message& page) {
      if (page.dots.empty())
        return finish(self, job, {}); // It has learned them meanwhile.
      step<page_applied>(self, job, job.what.stale, page, [self, job](const page_applied& applied) {
        self->state.dots += applied.dots_new;
        finish(self, job, {});
      });
    });
  });
}

void run_next(handoff_self self) {
  auto& st = self->state;
  if (st.dispatching)
    return;
  st.dispatching = true;
  while (!st.queue.empty() && st.running < handoff_state::running_max) {
    auto job = std::move(st.queue.front());
    st.queue.pop_front();
    ++st.running;
    run(self, job);
  }
  st.dispatching = false;
}

caf::behavior handoff(handoff_self self, env_ptr env, std::vector<caf::actor> local_replicas) {
  auto& st = self->state;
  st.env = env;
  drop_unexpected(self, env);
  st.ring = env->first_ring;
  st.replicas[env->self] = std::move(local_replicas);
  return {
      [self](repair_wanted& wanted) {
        auto& s = self->state;
        handoff_state::job job{std::move(wanted)};
        if (s.queue.size() >= handoff_state::queue_max) {
          ++s.dropped;
          return;
        }
        if (!s.known.insert(job).second)
          return;
        s.queue.push_back(std::move(job));
        run_next(self);
      },
      [self](const peer_linked& x) { self->state.replicas[x.node] = x.handles.replicas; },
      [self](const peer_unlinked& x) { self->state.replicas.erase(x.node); },
      [self](const ring_published& x) { self->state.ring = x.ring; },
      [self](stats_request) {
        const auto& s = self->state;
        return stats{{{"repairs_done", s.done},
                      {"repairs_failed", s.failed},
                      {"repairs_dropped", s.dropped},
                      {"repairs_waiting", s.queue.size() + s.running},
                      {"repaired_dots", s.dots}}};
      },
      [self](stop_request) { self->quit(caf::exit_reason::user_shutdown); },
  };
}

} // namespace

caf::actor spawn_handoff(caf::actor_system& system, env_ptr env, std::vector<caf::actor> local_replicas) {
  return system.spawn(handoff, std::move(env), std::move(local_replicas));
}

} // namespace crema
