// Catch-up and refill of this node's vnodes: ask a peer's replica for a page, hand it to our own, ask for the next. One
// page is under way per session. A session that fails is forgotten; the planner names its task again.
//
//   catch-up   our clock ──▶ [page from the peer ──▶ applied here, new clock ──▶] ... until nothing is missing
//   refill     begin ──▶ data pages ──▶ log pages ──▶ what changed meanwhile, until one page has it all
#include "actors/handoff_state.hpp"

namespace crema {

struct sync_session {
  vnode_id vnode;
  node_id from{};
  uint64_t requests = 0; // So far.
  bool waiting = false;  // For `from` to answer the last one,
  bool stuck = false;    // for long.
  // Refill only:
  copy_progress copy;
  bool filling = false; // The copy has been begun, and is not whole.
  size_t tries = 0;     // Of this part.
};

namespace {

using session_ptr = std::shared_ptr<sync_session>;

void finish(handoff_self self, const session_ptr& s, const std::string& error) {
  auto& st = self->state;
  st.sessions.erase(s->vnode);
  st.refilling.erase(s->vnode);
  st.resting.insert(s->vnode);
  if (s->filling)
    self->send(*replica_of(st, st.env->self, s->vnode.partition), fill_abandon{s->vnode});
  if (!error.empty()) {
    ++st.sessions_failed;
    st.planner->failed(s->vnode);
    st.env->log->debug("sync of bucket {} partition {} from {} stopped: {}", s->vnode.bucket, s->vnode.partition,
                       st.env->name_of(s->from), error);
  }
  self->send(self, resume_session{[self] { start_sessions(self); }}); // There is room for the next one.
}

void fetch_part(handoff_self self, const session_ptr& s);

/// Who has the vnode no more by the newest epoch, or is gone, gives no copy of it, nor may ever be heard again.
bool may_still_give(handoff_self self, const sync_session& s) {
  auto& st = self->state;
  const auto* member = st.ring->find(s.from);
  const auto* bucket = st.ring->find_bucket(s.vnode.bucket);
  return member != nullptr && member->state != protocol::member_state::gone && bucket != nullptr &&
         st.ring->holds(s.from, s.vnode.partition, *bucket);
}

/// A copy that is half made is worth some patience; anything else is begun again by the next plan.
void give_up_or_wait(handoff_self self, const session_ptr& s, const std::string& why) {
  if (!s->filling || s->tries >= handoff_state::fill_tries_max || !may_still_give(self, *s))
    return finish(self, s, why);
  ++s->tries;
  self->delayed_send(self, handoff_state::fill_retry_after, resume_session{[self, s] { fetch_part(self, s); }});
}

void no_answer(handoff_self self, const session_ptr& s, const std::string& why) {
  ++s->requests; // Should it come after all.
  s->waiting = s->stuck = false;
  auto from = self->state.peers.find(s->from);
  if (from != self->state.peers.end()) // It may have been too much for the link.
    from->second.page_bytes = std::max(from->second.page_bytes / 2, handoff_state::page_bytes_min);
  give_up_or_wait(self, s, why);
}

/// Has what `s` waits for been lost? Whoever answers this has answered that before, since pages and parts of copies are
/// made one after the other. Where the vnode is copied from, it keeps the log from being trimmed as well.
void ask_again(handoff_self self, const session_ptr& s) {
  auto& st = self->state;
  const auto* source = replica_of(st, s->from, s->vnode.partition);
  if (source == nullptr)
    return;
  if (auto from = st.peers.find(s->from); from != st.peers.end())
    from->second.stuck = self->clock().now();
  auto question = fill_request{}.about(st.ring->epoch, s->vnode);
  question.version = spoken_with(st, s->from);
  question.stage = fill_stage::begin;
  auto answered = [self, s, number = s->requests] {
    if (s->requests == number && s->waiting)
      no_answer(self, s, "no answer");
  };
  self->request(*source, handoff_state::page_timeout_max, std::move(question))
      .then([answered](const fill_page&) { answered(); },
            [answered](const caf::error& e) {
              if (e != caf::sec::request_timeout)
                answered();
            });
}

/// A key is sent whole, however large, and nothing else comes over the connection before the end of it. So it is waited
/// for until something comes that was sent later. Others need not wait with it.
void wait_on(handoff_self self, const session_ptr& s) {
  s->stuck = true;
  ask_again(self, s);
  start_sessions(self);
}

/// One request of a session to a replica, here or there; nearly any error ends the session.
template <class Reply, class Request, class Next>
void step(handoff_self self, const session_ptr& s, node_id to, Request request, Next next) {
  auto& st = self->state;
  const auto* target = replica_of(st, to, s->vnode.partition);
  if (target == nullptr)
    return give_up_or_wait(self, s, st.env->name_of(to) + " is not linked");
  auto number = ++s->requests;
  s->waiting = to == s->from;
  if (s->waiting) {
    self->delayed_send(self, handoff_state::page_timeout, resume_session{[self, s, number] {
                         if (s->requests == number && s->waiting)
                           wait_on(self, s);
                       }});
  }
  if constexpr (std::is_base_of_v<vnode_request<Request>, Request>)
    request.version = spoken_with(st, to);
  auto timeout = s->waiting ? handoff_state::page_timeout_max : handoff_state::page_timeout;
  self->request(*target, timeout, std::move(request))
      .then(
          [s, next, number](const Reply& reply) {
            if (s->requests != number)
              return;
            s->waiting = s->stuck = false;
            s->tries = 0;
            next(reply);
          },
          [self, s, to, number](const caf::error& e) {
            if (s->requests != number)
              return;
            if (errc_of(e) == errc::ok && to == s->from) // It has not said anything: it is slow, or it is ending.
              return no_answer(self, s, text_of(e));
            s->waiting = s->stuck = false;
            if (errc_of(e) == errc::behind)
              self->state.planner->found_behind(s->vnode, s->from);
            if (errc_of(e) == errc::clock_skew)
              self->state.planner->found_skewed(s->vnode, s->from);
            finish(self, s, text_of(e));
          });
}

/// Pages as large as the link carries quickly: twice the size after a quick one, half after a slow one.
class page_timer {
public:
  explicit page_timer(handoff_self self) : self_(self), sent_(self->clock().now()) {}
  void arrived(node_id from) const {
    auto found = self_->state.peers.find(from);
    if (found == self_->state.peers.end())
      return;
    auto took = self_->clock().now() - sent_;
    auto& size = found->second.page_bytes;
    if (took < std::chrono::milliseconds{50})
      size = std::min(size * 2, self_->state.env->pages.bytes_max);
    else if (took > std::chrono::milliseconds{500})
      size = std::max(size / 2, handoff_state::page_bytes_min);
  }

private:
  handoff_self self_;
  caf::actor_clock::time_point sent_;
};

uint32_t page_bytes(handoff_self self, node_id from) {
  auto found = self->state.peers.find(from);
  auto bytes = found == self->state.peers.end() ? handoff_state::page_bytes_first : found->second.page_bytes;
  return std::min(bytes, self->state.env->pages.bytes_max);
}

/// @param clock what a page costs beside its keys: it goes with the request and comes back.
uint32_t catch_up_bytes(handoff_self self, const sync_session& s, const std::string& clock) {
  uint64_t most = page_bytes(self, s.from) / handoff_state::page_bytes_part;
  const auto* bucket = self->state.ring->find_bucket(s.vnode.bucket);
  if (bucket == nullptr || bucket->durability == durability::fsync) // One fsync for each page.
    return static_cast<uint32_t>(most);
  auto paced = std::max<uint64_t>(pace(self) / handoff_state::pages_per_s, handoff_state::page_bytes_least);
  return static_cast<uint32_t>(std::min<uint64_t>(most, std::max<uint64_t>(paced, 2 * clock.size())));
}

void fetch_page(handoff_self self, const session_ptr& s, const std::string& clock) {
  auto& st = self->state;
  auto mine = protocol::dot_clock::decode(clock);
  if (!mine || !st.planner->has_news_for(s->from, s->vnode, *mine))
    return finish(self, s, {});
  auto request = page_request{}.about(st.ring->epoch, s->vnode);
  request.clock = clock;
  request.bytes_max = catch_up_bytes(self, *s, clock);
  page_timer timer{self};
  step<page_message>(self, s, s->from, std::move(request), [self, s, timer](const page_message& page) {
    timer.arrived(s->from);
    if (page.keys.empty())
      return finish(self, s, {}); // What was announced is known by now.
    auto bytes = page.bytes();
    auto& now = self->state;
    const auto* source = now.planner->mirrored(s->from, s->vnode);
    auto stood_in = source != nullptr && source->role == protocol::vnode_role::temporary;
    (stood_in ? now.bytes_handed_over : now.bytes_caught_up) += bytes;
    auto sent = page;
    sent.heard = self->clock().now().time_since_epoch().count();
    step<page_applied>(self, s, now.env->self, std::move(sent), [self, s, bytes](const page_applied& applied) {
      if (applied.dots_new == 0)
        return finish(self, s, {}); // They have come another way meanwhile.
      pay(self, bytes, [self, s, clock = applied.clock] { fetch_page(self, s, clock); });
    });
  });
}

/// The copy is whole, or what comes next follows from the page that has just been stored.
void after_part(handoff_self self, const session_ptr& s, const fill_page& page) {
  if (page.stage != fill_stage::rest || !page.done) {
    s->copy.advance(page);
    return fetch_part(self, s);
  }
  self->state.env->log->info("bucket {} partition {}: refilled from {}", s->vnode.bucket, s->vnode.partition,
                             self->state.env->name_of(s->from));
  s->filling = false;
  ++self->state.refills_done;
  self->state.planner->refilled(s->vnode);
  ask_for_reports(self); // It waits for rounds of its peers from now on.
  finish(self, s, {});
}

void fetch_part(handoff_self self, const session_ptr& s) {
  auto request = s->copy.next.about(self->state.ring->epoch, s->vnode);
  request.bytes_max = page_bytes(self, s->from);
  page_timer timer{self};
  step<fill_page>(self, s, s->from, std::move(request), [self, s, timer](const fill_page& page) {
    timer.arrived(s->from);
    if (!s->copy.expects(page))
      return finish(self, s, "an answer to another question");
    self->state.bytes_refilled += page.bytes();
    step<page_applied>(self, s, self->state.env->self, page, [self, s, page](const page_applied&) {
      pay(self, page.bytes(), [self, s, page] { after_part(self, s, page); });
    });
  });
}

/// Is it enough to ask `from` for one page at a time? All that is under way makes others wait.
bool is_slow(handoff_self self, node_id from) {
  auto peer = self->state.peers.find(from);
  return peer != self->state.peers.end() && peer->second.stuck &&
         self->clock().now() - *peer->second.stuck < handoff_state::slow_for;
}

/// Does whoever wants something from `from` wait until others have theirs?
bool is_busy(handoff_self self, node_id from) {
  const auto& sessions = self->state.sessions;
  auto slow = is_slow(self, from);
  return std::any_of(sessions.begin(), sessions.end(),
                     [&](const auto& x) { return x.second->from == from && (slow || x.second->stuck); });
}

/// Null: the vnode has a session, or had one since the last round.
session_ptr open_session(handoff_self self, vnode_id vnode, node_id from) {
  auto& st = self->state;
  if (st.resting.count(vnode) > 0 || st.sessions.count(vnode) > 0)
    return nullptr;
  auto s = std::make_shared<sync_session>();
  s->vnode = vnode;
  s->from = from;
  st.sessions.emplace(vnode, s);
  return s;
}

void start_catch_up(handoff_self self, const protocol::catch_up_task& task) {
  auto s = open_session(self, task.vnode, task.from);
  if (!s)
    return;
  ++self->state.catch_ups;
  step<clock_reply>(self, s, self->state.env->self, clock_request{}.about(self->state.ring->epoch, task.vnode),
                    [self, s](const clock_reply& mine) { fetch_page(self, s, mine.clock); });
}

void start_refill(handoff_self self, const protocol::refill_task& task) {
  const auto* source = self->state.planner->mirrored(task.from, task.vnode);
  auto s = source != nullptr ? open_session(self, task.vnode, task.from) : nullptr;
  if (!s)
    return;
  ++self->state.refills;
  self->state.refilling.insert(task.vnode);
  s->filling = task.behind; // If there is no answer: what the vnode needs in any case, the next one goes on with.
  step<fill_begun>(self, s, self->state.env->self, fill_begin{task}, [self, s](const fill_begun& begun) {
    s->filling = begun.progress.has_value();
    if (!s->filling)
      return finish(self, s, {});
    s->copy = *begun.progress;
    s->from = s->copy.from;
    fetch_part(self, s);
  });
}

} // namespace

std::chrono::nanoseconds book(handoff_self self, size_t bytes) {
  auto& st = self->state;
  auto now = self->clock().now();
  st.moved = now;
  return st.budget.take(bytes, now.time_since_epoch(), pace(self));
}

void pay(handoff_self self, size_t bytes, std::function<void()> next) {
  auto wait = book(self, bytes);
  if (wait < std::chrono::milliseconds{1})
    return next();
  self->delayed_send(self, wait, resume_session{std::move(next)});
}

bool waits_for_long(const handoff_state& st) {
  return std::any_of(st.sessions.begin(), st.sessions.end(), [](const auto& x) { return x.second->stuck; });
}

void ask_again(handoff_self self) {
  for (const auto& [vnode, s] : self->state.sessions)
    if (s->stuck)
      ask_again(self, s);
}

void stop_waiting_for(handoff_self self, node_id peer) {
  auto& st = self->state;
  auto forget = [peer](auto& due) {
    due.erase(std::remove_if(due.begin(), due.end(), [peer](const auto& t) { return t.from == peer; }), due.end());
  };
  forget(st.refills_due);
  forget(st.catch_ups_due);
  auto running = st.sessions; // Those that end leave it.
  for (const auto& [vnode, s] : running)
    if (s->waiting && s->from == peer)
      no_answer(self, s, "the connection was lost");
}

void start_sessions(handoff_self self) {
  auto& st = self->state;
  auto moving = [&st](bool only_refills) {
    return static_cast<size_t>(std::count_if(st.sessions.begin(), st.sessions.end(), [&](const auto& x) {
      return !x.second->stuck && (!only_refills || st.refilling.count(x.first) > 0);
    }));
  };
  auto has_room = [&] { return moving(false) < handoff_state::sessions_max; };
  auto start_due = [self](auto& due, auto may_start, auto start) {
    while (may_start()) {
      auto first = std::find_if(due.begin(), due.end(), [&](const auto& t) { return !is_busy(self, t.from); });
      if (first == due.end())
        return;
      auto task = std::move(*first);
      due.erase(first);
      start(self, task);
    }
  };
  start_due(
      st.refills_due, [&] { return moving(true) < handoff_state::refills_max && has_room(); }, start_refill);
  start_due(st.catch_ups_due, has_room, start_catch_up);
}

} // namespace crema
