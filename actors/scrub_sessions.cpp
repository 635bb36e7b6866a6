// Scrubs: do owners hold what their clocks say (docs/protocol.md, "Scrub")? The vnodes that this node is the first
// complete owner of, one after another, range by range.
//
//   look here ──▶ look there ──▶ same: next range
//                     │ a shorter range, or all hashes again if somebody stopped earlier
//                     ▼ differs
//              list everywhere ──▶ wait ──▶ read everywhere ──▶ judge ──▶ repair those who are wrong ──▶ next range
//                     ▲                                          │ unsure
//                     └──────────────────────────────────────────┘ a few times, then it is busy
#include "actors/handoff_state.hpp"

#include "protocol/scrub.hpp"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <algorithm>

namespace crema {

namespace {

/// One vnode of a scrub.
struct comparison {
  uint64_t job = 0;
  vnode_id vnode;
  conflict_rule rule = conflict_rule::lww;
  std::vector<node_id> owners; // Those compared; this node is the first.
  bool partial = false;

  // The range:
  std::string after, until; // The latter is empty: to the end. Then there is no next one, and the former is.
  uint64_t expires_ms = 0;
  scrub_found here;
  size_t tries = 0;
  size_t shortened = 0;

  // Of one in which owners differ:
  std::vector<std::map<std::string, listed_key>> listed; // By owner, as the two below.
  std::vector<protocol::dot_clock> first_clocks;
  std::vector<std::string> keys;            // Not read again yet.
  std::set<std::string> unsure;             // Of those that have been.
  std::set<std::string> wrong;              // In this range, whether or not all of it could be repaired.
  std::map<node_id, uint64_t> repaired;     // Keys, in this range.
  std::vector<std::vector<key_repair>> due; // Repairs of the keys just judged.
};
using comparison_ptr = std::shared_ptr<comparison>;

void next_vnode(handoff_self self);
void look_here(handoff_self self, const comparison_ptr& c);
void look_again(handoff_self self, const comparison_ptr& c);
void list_everywhere(handoff_self self, const comparison_ptr& c);
void read_everywhere(handoff_self self, const comparison_ptr& c);
void next_range(handoff_self self, const comparison_ptr& c);

std::string place(const handoff_state& st, vnode_id id) {
  const auto* bucket = st.ring->find_bucket(id.bucket);
  return fmt::format("bucket {} partition {}", bucket != nullptr ? bucket->name : "?", id.partition);
}

bool is_current(const handoff_state& st, const comparison_ptr& c) { return st.scrub.running && st.scrub.id == c->job; }

/// Unless it was cancelled meanwhile; when it is resumed, if it is paused.
void go_on(handoff_self self, const comparison_ptr& c, std::function<void()> next) {
  auto& st = self->state;
  if (!is_current(st, c))
    return;
  if (st.scrub.paused)
    st.scrub.rest = std::move(next);
  else
    next();
}

void finish_vnode(handoff_self self, const comparison_ptr& c) {
  auto& job = self->state.scrub;
  ++job.vnodes_done;
  job.partial += c->partial ? 1 : 0;
  self->send(self, resume_session{[self, c] { go_on(self, c, [self] { next_vnode(self); }); }});
}

// -- Questions to owners --------------------------------------------------------------------------------------------

/// An owner did not answer: it is left out from now on, and the range begun again.
void leave_out(handoff_self self, const comparison_ptr& c, const std::vector<std::pair<size_t, std::string>>& failed) {
  auto& st = self->state;
  c->partial = true;
  ++st.scrub_errors;
  for (auto i = failed.rbegin(); i != failed.rend(); ++i) {
    st.env->log->warn("scrub of {}: {} is left out: {}", place(st, c->vnode), st.env->name_of(c->owners[i->first]),
                      i->second);
    if (i->first == 0)
      return finish_vnode(self, c);
    c->owners.erase(c->owners.begin() + static_cast<std::ptrdiff_t>(i->first));
  }
  if (c->owners.size() == 1)
    return finish_vnode(self, c);
  look_again(self, c);
}

/// Sends each of the owners (by index) its request, and goes on when all have answered; `next` gets the answers in
/// the same order. `check` says what is wrong with one.
template <class Reply, class Request>
void ask(handoff_self self, const comparison_ptr& c, std::vector<std::pair<size_t, Request>> requests,
         std::function<std::string(size_t owner, const Reply&)> check, std::function<void(std::vector<Reply>)> next) {
  struct gathering {
    std::vector<Reply> replies;
    std::vector<std::pair<size_t, std::string>> failed;
    size_t waiting = 0;
  };
  auto all = std::make_shared<gathering>();
  all->replies.resize(requests.size());
  all->waiting = requests.size();
  auto arrived = [self, c, all, next](size_t owner, const std::string& error) {
    if (!error.empty())
      all->failed.emplace_back(owner, error);
    if (--all->waiting > 0 || !is_current(self->state, c))
      return;
    std::sort(all->failed.begin(), all->failed.end());
    if (all->failed.empty())
      next(std::move(all->replies));
    else
      leave_out(self, c, all->failed);
  };
  for (size_t i = 0; i < requests.size(); ++i) {
    auto owner = requests[i].first;
    const auto* target = replica_of(self->state, c->owners[owner], c->vnode.partition);
    if (target == nullptr) { // Answered later, like all others.
      self->send(self, resume_session{[arrived, owner] { arrived(owner, "not linked"); }});
      continue;
    }
    auto& request = requests[i].second.about(self->state.ring->epoch, c->vnode);
    request.version = spoken_with(self->state, c->owners[owner]);
    self->request(*target, handoff_state::page_timeout, std::move(request))
        .then(
            [all, arrived, check, i, owner](Reply& reply) {
              auto error = check(owner, reply);
              all->replies[i] = std::move(reply);
              arrived(owner, error);
            },
            [arrived, owner](const caf::error& e) { arrived(owner, text_of(e)); });
  }
}

template <class Request>
std::vector<std::pair<size_t, Request>> to_owners(const comparison_ptr& c, size_t from, size_t to,
                                                  const Request& request) {
  std::vector<std::pair<size_t, Request>> all;
  for (size_t i = from; i < std::min(to, c->owners.size()); ++i)
    all.emplace_back(i, request);
  return all;
}

/// @param room how many times what a range may have.
scrub_request looking(const comparison_ptr& c, uint32_t room) {
  scrub_request request;
  request.after = c->after;
  request.until = c->until;
  request.keys_max = room * handoff_state::scrub_keys_max;
  request.bytes_max = room * handoff_state::scrub_bytes_max;
  request.expires_ms = c->expires_ms;
  return request;
}

/// What is wrong with the answer of an owner; empty: nothing.
std::string check_found(const comparison_ptr& c, const scrub_found& found) {
  auto within = [&](const std::string& key) { return key > c->after && (c->until.empty() || key <= c->until); };
  if ((!found.end && (!within(found.until) || found.until.size() > key_bytes_max)) || found.listed.size() > found.keys)
    return "an impossible answer";
  const std::string* before = nullptr;
  for (const auto& k : found.listed) {
    if (!within(k.key) || k.key.size() > key_bytes_max || (before != nullptr && k.key <= *before))
      return "an impossible list of keys";
    before = &k.key;
  }
  return {};
}

// -- One range ------------------------------------------------------------------------------------------------------

/// Somebody has more keys than a range may have: the range ends where the first one stopped.
/// @returns whether it does.
bool shorten(const comparison_ptr& c, const std::vector<scrub_found>& found) {
  bool shorter = false;
  for (const auto& f : found)
    if (!f.end && (c->until.empty() || f.until < c->until)) {
      c->until = f.until;
      shorter = true;
    }
  return shorter;
}

/// At first nothing: mostly owners know the same, and the readings tell so.
std::chrono::milliseconds between_readings(const handoff_state& st, size_t tries) {
  return tries == 0 ? std::chrono::milliseconds{0} : st.env->config.sync.interval * (1 << (tries - 1));
}

/// Whatever expires before the second reading counts as gone.
void set_expiry(handoff_self self, const comparison_ptr& c) {
  auto soon = handoff_state::scrub_remains + between_readings(self->state, handoff_state::scrub_tries_max);
  // By the latest clock: what has expired by it may have been removed, also if it has been set back since.
  auto now_ms = std::max(self->state.env->wall_ms(), self->state.planner->latest_ms());
  c->expires_ms = now_ms + static_cast<uint64_t>(soon.count());
}

/// Twice or three times, in health.
void look_at_less(handoff_self self, const comparison_ptr& c) {
  if (++c->shortened <= handoff_state::scrub_shortened_max)
    return look_here(self, c);
  c->partial = true;
  ++self->state.scrub_errors;
  self->state.env->log->warn("scrub of {} is given up: owners do not agree on a range", place(self->state, c->vnode));
  finish_vnode(self, c);
}

void look_there(handoff_self self, const comparison_ptr& c) {
  ask<scrub_found>(
      self, c, to_owners(c, 1, SIZE_MAX, looking(c, 2)),
      [c](size_t, const scrub_found& found) { return check_found(c, found); },
      [self, c](const std::vector<scrub_found>& found) {
        if (shorten(c, found))
          return look_at_less(self, c);
        auto same = std::all_of(found.begin(), found.end(),
                                [&c](const scrub_found& f) { return f.end && f.hash == c->here.hash; });
        same ? next_range(self, c) : list_everywhere(self, c);
      });
}

/// The range is begun, or begun again: how far it goes is not known.
void look_again(handoff_self self, const comparison_ptr& c) {
  c->until.clear();
  look_here(self, c);
}

void look_here(handoff_self self, const comparison_ptr& c) {
  set_expiry(self, c);
  ask<scrub_found>(
      self, c, to_owners(c, 0, 1, looking(c, c->until.empty() ? 1 : 2)),
      [c](size_t, const scrub_found& found) { return check_found(c, found); },
      [self, c](const std::vector<scrub_found>& found) {
        c->here = found.front();
        shorten(c, found);
        look_there(self, c);
      });
}

/// The keys whose visible content is not the same everywhere.
std::vector<std::string> differing(const comparison& c) {
  std::vector<std::string> keys;
  auto visible = [&](size_t owner, const std::string& key) {
    auto found = c.listed[owner].find(key);
    return found == c.listed[owner].end() ? 0 : found->second.visible;
  };
  std::set<std::string> all;
  for (const auto& owner : c.listed)
    for (const auto& [key, hashes] : owner)
      all.insert(key);
  for (const auto& key : all)
    for (size_t i = 1; i < c.listed.size(); ++i)
      if (visible(i, key) != visible(0, key)) {
        keys.push_back(key);
        break;
      }
  return keys;
}

/// If the last try did not tell, the second reading comes when what was under way has arrived, and owners have caught
/// up.
void wait_and_read(handoff_self self, const comparison_ptr& c) {
  auto wait = between_readings(self->state, c->tries);
  self->delayed_send(self, wait, resume_session{[self, c] {
                       auto& s = self->state;
                       if (s.scrub.paused) // What was listed would be old when it is resumed.
                         return go_on(self, c, [self, c] { look_again(self, c); });
                       if (is_current(s, c))
                         read_everywhere(self, c);
                     }});
}

void list_everywhere(handoff_self self, const comparison_ptr& c) {
  set_expiry(self, c);
  auto request = looking(c, 3);
  request.list = true;
  ask<scrub_found>(
      self, c, to_owners(c, 0, SIZE_MAX, request),
      [c](size_t, const scrub_found& found) {
        return protocol::dot_clock::decode(found.clock) ? check_found(c, found) : "a clock that does not decode";
      },
      [self, c](const std::vector<scrub_found>& found) {
        if (shorten(c, found))
          return look_at_less(self, c);
        c->listed.clear();
        c->first_clocks.clear();
        for (const auto& f : found) {
          auto& keys = c->listed.emplace_back();
          for (const auto& k : f.listed)
            keys.emplace(k.key, k);
          c->first_clocks.push_back(*protocol::dot_clock::decode(f.clock));
        }
        c->keys = differing(*c);
        c->unsure.clear();
        c->keys.empty() ? next_range(self, c) : wait_and_read(self, c);
      });
}

/// All keys that differed have been judged.
void after_reading(handoff_self self, const comparison_ptr& c) {
  auto& st = self->state;
  if (!c->unsure.empty() && ++c->tries < handoff_state::scrub_tries_max)
    return list_everywhere(self, c);
  st.scrub.busy += c->unsure.size();
  st.scrub_busy += c->unsure.size();
  if (!c->unsure.empty())
    st.env->log->debug("scrub of {}: {} keys are being written, and wait for the next one", place(st, c->vnode),
                       c->unsure.size());
  next_range(self, c);
}

void repair(handoff_self self, const comparison_ptr& c) {
  std::vector<std::pair<size_t, key_repairs>> requests;
  for (size_t i = 0; i < c->due.size(); ++i) {
    if (c->due[i].empty())
      continue;
    key_repairs request;
    request.clock = c->first_clocks[i].encode();
    request.keys = c->due[i];
    requests.emplace_back(i, std::move(request));
  }
  if (requests.empty())
    return read_everywhere(self, c);
  ask<keys_repaired>(
      self, c, std::move(requests),
      [self, c](size_t owner, const keys_repaired& done) { // Counted even if another owner does not answer.
        auto& st = self->state;
        for (auto i : done.refused)
          if (i < c->due[owner].size())
            c->unsure.insert(c->due[owner][i].key);
        c->repaired[c->owners[owner]] += done.repaired;
        st.scrub.repaired += is_current(st, c) ? done.repaired : 0;
        st.scrub_repaired += done.repaired;
        return std::string{};
      },
      [self, c](const std::vector<keys_repaired>&) { read_everywhere(self, c); });
}

/// Of the first keys, as far as every owner has told of them.
void judge(handoff_self self, const comparison_ptr& c, std::vector<scrub_states> states) {
  auto& st = self->state;
  std::vector<protocol::scrub_clocks> clocks;
  auto count = c->keys.size();
  for (size_t i = 0; i < states.size(); ++i) {
    clocks.push_back({c->first_clocks[i], *protocol::dot_clock::decode(states[i].clock)});
    count = std::min(count, states[i].objects.size());
  }
  protocol::scrub_judge judging{c->rule, st.planner->owners_of(c->vnode).size(), std::move(clocks), c->expires_ms};
  c->due.assign(states.size(), {});
  for (size_t k = 0; k < count; ++k) {
    const auto& key = c->keys[k];
    std::vector<protocol::scrub_copy> copies;
    for (size_t i = 0; i < states.size(); ++i) {
      auto before = c->listed[i].find(key);
      copies.push_back({before == c->listed[i].end() ? 0 : before->second.held, std::move(states[i].objects[k])});
    }
    auto verdict = judging.judge(copies);
    if (verdict.what == protocol::scrub_verdict::kind::unsure)
      c->unsure.insert(key);
    if (verdict.what == protocol::scrub_verdict::kind::differs)
      c->wrong.insert(key);
    for (auto owner : verdict.wrong)
      c->due[owner].push_back({key, copies[owner].held_first, verdict.right});
  }
  c->keys.erase(c->keys.begin(), c->keys.begin() + static_cast<std::ptrdiff_t>(count));
  repair(self, c);
}

void read_everywhere(handoff_self self, const comparison_ptr& c) {
  if (c->keys.empty())
    return after_reading(self, c);
  scrub_read request;
  auto count = std::min(c->keys.size(), handoff_state::scrub_reads_max);
  request.keys.assign(c->keys.begin(), c->keys.begin() + static_cast<std::ptrdiff_t>(count));
  request.bytes_max = handoff_state::scrub_bytes_max;
  ask<scrub_states>(
      self, c, to_owners(c, 0, SIZE_MAX, request),
      [count](size_t, const scrub_states& states) {
        auto good = !states.objects.empty() && states.objects.size() <= count &&
                    protocol::dot_clock::decode(states.clock).has_value();
        return std::string{good ? "" : "an impossible answer"};
      },
      [self, c](std::vector<scrub_states> states) {
        size_t bytes = 0;
        for (const auto& o : states.front().objects)
          bytes += o.size();
        self->state.bytes_scrubbed += bytes;
        pay(self, bytes, [self, c, states = std::move(states)]() mutable {
          if (is_current(self->state, c)) // Not when it is resumed: what was read would be old by then.
            judge(self, c, std::move(states));
        });
      });
}

/// What is done by itself is to be felt by nobody.
void pay_for_range(handoff_self self, size_t bytes, std::function<void()> next) {
  auto& st = self->state;
  st.bytes_scrubbed += bytes;
  if (!st.scrub.by_itself)
    return pay(self, bytes, std::move(next));
  auto rest = std::chrono::microseconds{bytes * 1'000'000 / std::max<uint64_t>(pace(self), 1) *
                                        (handoff_state::scrub_by_itself_share - 1)};
  pay(self, bytes, [self, rest, next = std::move(next)]() mutable {
    self->delayed_send(self, rest, resume_session{std::move(next)});
  });
}

void next_range(handoff_self self, const comparison_ptr& c) {
  auto& st = self->state;
  ++st.scrub_ranges;
  st.scrub_keys += c->here.keys;
  st.scrub.keys += c->here.keys;
  st.scrub.differences += c->wrong.size();
  st.scrub_differences += c->wrong.size();
  for (const auto& [node, keys] : c->repaired)
    if (keys > 0)
      st.env->log->warn("scrub of {}: {} keys of {} were not what they should be, and are repaired",
                        place(st, c->vnode), keys, st.env->name_of(node));
  c->repaired.clear();
  c->wrong.clear();
  c->tries = c->shortened = 0;
  c->after = std::exchange(c->until, {});
  pay_for_range(self, c->here.bytes, [self, c] {
    go_on(self, c, [self, c] { c->after.empty() ? finish_vnode(self, c) : look_here(self, c); });
  });
}

// -- All of them ----------------------------------------------------------------------------------------------------

/// From now on the next one is due in the usual time.
void note_scrubbed(handoff_self self) {
  auto& st = self->state;
  st.scrubbed_ms = st.env->wall_ms();
  if (st.scrub_due)
    st.scrub_due = self->clock().now() + std::chrono::hours{24} * st.env->config.sync.scrub_days;
  keep(self, handoff_state::scrub_number, *st.scrubbed_ms);
}

void end_scrub(handoff_self self, bool cancelled) {
  auto& st = self->state;
  auto& job = st.scrub;
  job.running = job.paused = false;
  job.cancelled = cancelled;
  job.rest = nullptr;
  job.due.clear();
  st.env->log->info("scrub {}: {} of {} vnodes compared ({} not with all owners), {} keys, {} differed, {} repaired, "
                    "{} busy",
                    cancelled ? "cancelled" : "finished", job.vnodes_done, job.vnodes, job.partial, job.keys,
                    job.differences, job.repaired, job.busy);
  if (job.whole())
    note_scrubbed(self);
}

void next_vnode(handoff_self self) {
  auto& st = self->state;
  auto& job = st.scrub;
  if (job.due.empty())
    return end_scrub(self, false);
  auto c = std::make_shared<comparison>();
  c->job = job.id;
  c->vnode = job.now = job.due.front();
  job.due.pop_front();
  const auto* bucket = st.ring->find_bucket(c->vnode.bucket);
  if (bucket == nullptr) // It was dropped meanwhile.
    return finish_vnode(self, c);
  c->rule = bucket->conflict;
  c->owners = st.planner->complete_owners(c->vnode);
  auto here = std::find(c->owners.begin(), c->owners.end(), st.env->self);
  c->partial = c->owners.size() < st.planner->owners_of(c->vnode).size();
  if (here == c->owners.end() || c->owners.size() == 1) // Nobody to compare with.
    return finish_vnode(self, c);
  std::rotate(c->owners.begin(), here, here + 1);
  look_here(self, c);
}

void begin_scrub(handoff_self self, const repair_order& order, bool by_itself) {
  auto& st = self->state;
  auto id = st.scrub.id + 1;
  st.scrub = {};
  auto& job = st.scrub;
  job.id = id;
  job.running = true;
  job.by_itself = by_itself;
  job.bucket = order.bucket;
  job.partition = order.partition;
  for (auto vnode : st.planner->owned()) {
    auto owners = st.planner->complete_owners(vnode);
    if (!owners.empty() && owners.front() == st.env->self && vnode.bucket == order.bucket.value_or(vnode.bucket) &&
        vnode.partition == order.partition.value_or(vnode.partition))
      job.due.push_back(vnode);
  }
  job.vnodes = job.due.size();
  st.env->log->info("scrub of {} vnodes begins{}", job.vnodes, by_itself ? ", it is due" : "");
  self->send(self, resume_session{[self, id] {
               if (self->state.scrub.running && self->state.scrub.id == id)
                 next_vnode(self);
             }});
}

nlohmann::json progress(const handoff_state& st) {
  const auto& job = st.scrub;
  nlohmann::json result{{"id", job.id},
                        {"state", job.paused      ? "paused"
                                  : job.running   ? "running"
                                  : job.cancelled ? "cancelled"
                                  : job.id != 0   ? "finished"
                                                  : "none"},
                        {"by_itself", job.by_itself},
                        {"vnodes", job.vnodes},
                        {"vnodes_done", job.vnodes_done},
                        {"partial", job.partial},
                        {"keys", job.keys},
                        {"differences", job.differences},
                        {"repaired", job.repaired},
                        {"busy", job.busy}};
  if (job.running)
    result["now"] = place(st, job.now);
  if (st.scrubbed_ms)
    result["last_ms"] = *st.scrubbed_ms;
  return result;
}

void resume(handoff_state::scrub_job& job) {
  job.paused = false;
  if (auto rest = std::exchange(job.rest, nullptr))
    rest();
}

/// @returns why the order cannot be carried out; empty: it has been.
std::string carry_out(handoff_self self, const repair_order& order) {
  auto& st = self->state;
  auto& job = st.scrub;
  switch (order.what) {
  case repair_order::kind::status:
    return {};
  case repair_order::kind::start:
    if (order.partition && *order.partition >= st.ring->partitions())
      return fmt::format("there are partitions 0 to {}", st.ring->partitions() - 1);
    if (job.running && !job.by_itself && job.bucket == order.bucket && job.partition == order.partition) {
      resume(job); // Whoever asks again sees it go on.
      return {};
    }
    if (job.running && !job.by_itself)
      return "another repair runs; wait for it, or cancel it (KV.REPAIR CANCEL)";
    begin_scrub(self, order, false);
    return {};
  case repair_order::kind::pause:
    if (!job.running)
      return "no repair runs";
    job.paused = true;
    return {};
  case repair_order::kind::resume:
    if (!job.running)
      return "no repair runs";
    resume(job);
    return {};
  case repair_order::kind::cancel:
    if (job.running)
      end_scrub(self, true);
    return {};
  }
  return "unknown order";
}

} // namespace

void answer_repair(handoff_self self, const repair_query& query) {
  auto error = carry_out(self, query.order);
  auto answer = error.empty() ? progress(self->state) : nlohmann::json{{"error", error}};
  query.answer(answer.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace));
}

void schedule_scrub(handoff_self self) {
  auto& st = self->state;
  st.begun = self->clock().now();
  auto days = st.env->config.sync.scrub_days;
  if (days == 0)
    return;
  // Whatever the wall clock says now or said then: not later than if it had just been done.
  std::chrono::milliseconds between = std::chrono::hours{24} * days;
  auto now_ms = st.env->wall_ms();
  std::chrono::milliseconds ago{now_ms - std::min(now_ms, st.scrubbed_ms.value_or(now_ms))};
  st.scrub_due =
      st.begun + std::max<std::chrono::milliseconds>(between - std::min(ago, between), handoff_state::scrub_first);
}

void begin_scrub_if_due(handoff_self self) {
  auto& st = self->state;
  auto now = self->clock().now();
  if (!st.scrub_due)
    return;
  if (!st.scrubbed_ms && now - st.begun > handoff_state::scrub_noted)
    note_scrubbed(self); // Nothing was there to be scrubbed.
  if (now < *st.scrub_due || st.scrub.running)
    return;
  const auto& members = st.ring->members;
  auto all_there = st.planner->incomplete() == 0 && std::all_of(members.begin(), members.end(), [&st](const auto& m) {
                     return m.id == st.env->self || st.planner->is_linked(m.id);
                   });
  if (all_there || now - *st.scrub_due > handoff_state::scrub_postponed)
    begin_scrub(self, {}, true);
}

} // namespace crema
