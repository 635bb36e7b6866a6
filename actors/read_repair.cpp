// Catch-up of one key, for reads that found owners differing: ask the stale owner what it knows, fetch from the source
// the key's state with the dots that are missing there, hand it over. Bounded in number and in flight; what does not
// fit is dropped and counted, for the next read that notices the difference asks again.
#include "actors/handoff_state.hpp"

namespace crema {

namespace {

using job = handoff_state::repair_job;

void run_next(handoff_self self);

void tell(handoff_self self, const job& j, bool done) {
  if (j.waiter)
    self->send(caf::actor_cast<caf::actor>(j.waiter), repair_done{j.what.request, j.what.stale, j.what.source, done});
}

void finish(handoff_self self, const job& done, const std::string& error, size_t bytes = 0) {
  auto& st = self->state;
  st.known_repairs.erase(done);
  tell(self, done, error.empty());
  ++(error.empty() ? st.repairs_done : st.repairs_failed);
  if (!error.empty())
    st.env->log->debug("read repair of {} from {} failed: {}", st.env->name_of(done.what.stale),
                       st.env->name_of(done.what.source), error);
  if (bytes > 0)
    book(self, bytes); // Somebody may wait for it: it goes at once, and what nobody waits for goes slower.
  --st.repairs_running;
  run_next(self);
}

/// Sends one request of a job; any error ends the job.
template <class Reply, class Request, class Next>
void step(handoff_self self, const job& j, node_id to, Request request, Next next) {
  auto& st = self->state;
  const auto* target = replica_of(st, to, j.what.vnode.partition);
  if (target == nullptr)
    return finish(self, j, st.env->name_of(to) + " is not linked");
  request.version = spoken_with(st, to);
  self->request(*target, handoff_state::step_timeout, std::move(request))
      .then([next](const Reply& reply) { next(reply); },
            [self, j](const caf::error& e) { finish(self, j, text_of(e)); });
}

/// The newest time of its clock that is known here.
int64_t heard_of(handoff_self self, node_id node) {
  auto& st = self->state;
  return node == st.env->self ? self->clock().now().time_since_epoch().count() : st.times[node];
}

void run(handoff_self self, const job& j) {
  auto epoch = self->state.ring->epoch;
  step<clock_reply>(
      self, j, j.what.stale, clock_request{}.about(epoch, j.what.vnode), [self, j, epoch](const clock_reply& known) {
        auto fetch = page_request{}.about(epoch, j.what.vnode);
        fetch.key = j.what.key;
        fetch.clock = known.clock;
        auto asked = self->clock().now();
        step<page_message>(self, j, j.what.source, std::move(fetch), [self, j, asked](const page_message& page) {
          if (page.keys.empty())
            return finish(self, j, {}); // It has learned them meanwhile.
          if (self->clock().now() - asked > handoff_state::step_timeout)
            return finish(self, j, "an answer from before a standstill");
          auto sent = page;
          sent.heard = heard_of(self, j.what.stale);
          self->state.bytes_read_repaired += page.bytes();
          step<page_applied>(self, j, j.what.stale, std::move(sent),
                             [self, j, bytes = page.bytes()](const page_applied& applied) {
                               self->state.repaired_dots += applied.dots_new;
                               finish(self, j, {}, bytes);
                             });
        });
      });
}

void run_next(handoff_self self) {
  auto& st = self->state;
  if (st.dispatching)
    return;
  st.dispatching = true;
  while (!st.repairs.empty() && st.repairs_running < handoff_state::repairs_running_max) {
    auto next = std::move(st.repairs.front());
    st.repairs.pop_front();
    ++st.repairs_running;
    run(self, next);
  }
  st.dispatching = false;
}

} // namespace

void want_repair(handoff_self self, repair_wanted wanted) {
  auto& st = self->state;
  auto waits = wanted.request != 0;
  job j{std::move(wanted), waits ? self->current_sender() : nullptr};
  if (st.repairs.size() >= handoff_state::repairs_queued_max) {
    ++st.repairs_dropped;
    return tell(self, j, false);
  }
  if (!st.known_repairs.insert(j).second)
    return;
  st.repairs.push_back(std::move(j));
  run_next(self);
}

} // namespace crema
