#include "actors/errors.hpp"
#include "actors/interfaces.hpp"
#include "actors/shard.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <deque>
#include <functional>

namespace crema {

// A thin shell: messages into shard events, answers into one batch per sender and flush.
struct replica_state {
  static inline constexpr const char* name = "replica";
  static constexpr size_t answers_per_message_max = 1024;
  static constexpr size_t answer_bytes_per_message_max = size_t{512}
                                                         << 10; // A slow link must carry one within its timeout.

  struct sender {
    caf::strong_actor_ptr to;
    answer_batch out;
    uint16_t version = message_version_newest; // Of its last batch.
    size_t bytes = 0;
    size_t expected = 0; // Operations of its batches.
  };
  env_ptr env;
  std::unique_ptr<shard> work;
  std::vector<sender> senders; // Of the operations collected since the last flush.
  bool flush_pending = false;
  bool tick_pending = false;   // Interval durability: a sync is due.
  uint64_t synced_batches = 0; // How many batches the last one covered.
  caf::strong_actor_ptr report_to;
  /// Sync and scrub, in the order in which they came: between two of them requests of clients have their turn. But not
  /// the repair of one key, which a read may wait for.
  std::deque<std::function<void()>> background;
  bool background_due = false;
  uint64_t refused_late = 0;
  static constexpr size_t early_bytes_max = size_t{32} << 20; ///< Of those that wait for a ring.
  struct early_batch {
    caf::strong_actor_ptr from;
    replica_batch batch;
    size_t bytes = 0;
  };
  std::deque<early_batch> early; // Of rings that are not known here yet.
  size_t early_bytes = 0;
  caf::actor ring_manager; // Who has told a ring; null until then.
};
using replica_self = caf::stateful_actor<replica_state>*;

namespace {

void send_answers(replica_self self, replica_state::sender& s) {
  if (s.out.answers.empty())
    return;
  s.out.version = s.version;
  s.out.epoch = self->state.work->epoch();
  s.out.from = self->state.env->self;
  self->send(caf::actor_cast<caf::actor>(s.to), std::move(s.out));
  s.out = {};
  s.bytes = 0;
}

void answer(replica_self self, size_t source, replica_answer a) {
  auto& s = self->state.senders[source];
  s.bytes += a.data.size() + 64;
  if (s.out.answers.empty())
    s.out.answers.reserve(std::min(s.expected, replica_state::answers_per_message_max));
  s.out.answers.push_back(std::move(a));
  if (s.out.answers.size() >= replica_state::answers_per_message_max ||
      s.bytes >= replica_state::answer_bytes_per_message_max)
    send_answers(self, s);
}

shard::answer_fn answers(replica_self self) {
  return [self](size_t source, replica_answer a) { answer(self, source, std::move(a)); };
}

size_t source_of(replica_self self, const caf::strong_actor_ptr& sender) {
  auto& all = self->state.senders;
  for (size_t i = 0; i < all.size(); ++i)
    if (all[i].to == sender)
      return i;
  all.emplace_back();
  all.back().to = sender;
  return all.size() - 1;
}

void send_all(replica_self self) {
  for (auto& s : self->state.senders)
    send_answers(self, s);
}

/// The store cannot be trusted any more: the node goes down and says why.
void fail(replica_self self, const storage::status& what) {
  self->state.env->log->critical("the store failed: {}", what.error);
  self->quit(fatal_error(what.error));
}

/// The report goes out once what it says is on disk.
void report_if_durable(replica_self self) {
  auto& st = self->state;
  auto report = st.work->take_report();
  if (!report)
    return;
  self->send(caf::actor_cast<caf::actor>(st.report_to), std::move(*report));
  st.report_to = nullptr;
}

void do_flush(replica_self self) {
  auto& st = self->state;
  st.flush_pending = false;
  auto done = st.work->flush(answers(self));
  send_all(self); // Before the fsync: the other owners can work meanwhile.
  if (done.ok() && st.work->needs_sync()) {
    done = st.work->sync(answers(self));
    send_all(self);
  }
  st.senders.clear();
  if (done.ok())
    done = st.work->health(); // A sync in the background may have failed.
  if (!done.ok())
    return fail(self, done);
  report_if_durable(self);
  auto sync_due = st.synced_batches != st.work->batches() || st.work->report_waits();
  if (sync_due && !st.tick_pending) {
    st.tick_pending = true;
    self->delayed_send(self, st.env->config.durability_interval, tick{});
  }
}

void want_flush(replica_self self) {
  if (self->state.flush_pending)
    return;
  self->state.flush_pending = true;
  self->send(self, flush{});
}

caf::error to_error(const shard::failure& f) { return make_errc(f.why, f.text); }

template <class Request>
partition_id partition_of(const Request& x) {
  return x.partition;
}
/// Of many partitions each is looked at in its turn.
partition_id partition_of(const count_request& x) { return x.partitions.empty() ? 0 : x.partitions.front(); }

/// Control requests start with a version and an epoch as well.
template <class Request>
std::optional<shard::failure> check(replica_self self, const Request& x) {
  if (!self->state.env->speaks.include(x.version))
    return shard::failure{errc::unknown_version,
                          fmt::format("{} does not speak version {}", self->state.env->name, x.version)};
  if (self->state.work->stale(x.epoch, partition_of(x)))
    return shard::failure{errc::stale_epoch,
                          fmt::format("epoch {} is older than {}", x.epoch, self->state.work->epoch())};
  return {};
}

void want_background(replica_self self) {
  auto& st = self->state;
  if (st.background_due || st.background.empty())
    return;
  st.background_due = true;
  self->send(self, background_turn{});
}

/// Behind what is in the mailbox now, and behind all that was put off before.
void put_off(replica_self self, std::function<void()> job) {
  self->state.background.push_back(std::move(job));
  want_background(self);
}

/// One job, and a flush before the next.
void on_background_turn(replica_self self) {
  auto& st = self->state;
  st.background_due = false;
  auto job = std::move(st.background.front());
  st.background.pop_front();
  job(); // It may have written, or left something for the next flush.
  want_flush(self);
  want_background(self);
}

/// What `work` makes of the request, or why not; in its turn, unless it is to be at once.
template <class Reply, class Request, class Work>
caf::result<Reply> reply_to(replica_self self, Request& x, Work work, bool at_once = false) {
  auto promise = self->make_response_promise<Reply>();
  auto job = [self, promise, request = std::move(x), work]() mutable {
    Reply reply;
    reply.version = request.version;
    auto failed = check(self, request);
    if (!failed)
      failed = work(*self->state.work, request, reply);
    if (failed)
      promise.deliver(to_error(*failed));
    else
      promise.deliver(std::move(reply));
  };
  if (at_once) {
    job();
    want_flush(self);
  } else {
    put_off(self, std::move(job));
  }
  return promise;
}

/// Nobody waits any more for a write that has been on its way for long, and its dot may have been given up as lost.
/// @param heard the newest time of our clock that its sender had heard.
bool is_late(replica_self self, int64_t heard) {
  auto now = self->clock().now().time_since_epoch().count();
  return heard < 0 || heard > now || std::chrono::nanoseconds{now - heard} >= late_after(self->state.env->config);
}

/// Who sent it knows a ring that this node has not heard of yet, and counts on its being refused what is older. So it
/// waits for that ring, which is on its way.
void wait_for_ring(replica_self self, const caf::strong_actor_ptr& from, replica_batch batch) {
  auto& st = self->state;
  size_t bytes = 0;
  for (const auto& op : batch.ops)
    bytes += op.key.size() + op.data.size() + op.context.size() + 64;
  for (st.early_bytes += bytes; st.early_bytes > replica_state::early_bytes_max && !st.early.empty();) {
    st.early_bytes -= st.early.front().bytes;
    st.early.pop_front(); // Its requests end at their deadlines.
  }
  st.early.push_back({from, std::move(batch), bytes});
  if (st.ring_manager)
    self->send(st.ring_manager, ring_wanted{});
}

void on_batch(replica_self self, const caf::strong_actor_ptr& from, replica_batch& batch) {
  auto& st = self->state;
  if (!st.env->speaks.include(batch.version))
    return; // An answer would have to be in that version.
  if (batch.epoch > st.work->epoch())
    return wait_for_ring(self, from, std::move(batch));
  auto source = source_of(self, from);
  st.senders[source].version = batch.version;
  st.senders[source].expected += batch.ops.size();
  auto late = is_late(self, batch.heard);
  for (auto& op : batch.ops) {
    auto writes = op.what == replica_op::kind::put || op.what == replica_op::kind::apply;
    auto status = st.work->stale(batch.epoch, op.partition)         ? errc::stale_epoch
                  : late && writes                                  ? errc::late
                  : op.key.empty() || op.key.size() > key_bytes_max ? errc::too_big
                                                                    : errc::ok;
    if (status == errc::ok) {
      st.work->handle(source, std::move(op), answers(self));
      continue;
    }
    replica_answer a;
    a.request = op.request;
    a.status = status;
    a.data = fmt::format("{} refuses: {}", st.env->name, to_string(a.status));
    answer(self, source, std::move(a));
    st.refused_late += status == errc::late ? 1 : 0;
  }
  want_flush(self);
}

caf::behavior replica(caf::stateful_actor<replica_state>* self, const env_ptr& env, const replica_options& options) {
  auto& st = self->state;
  st.env = env;
  drop_unexpected(self, env);
  st.work = std::make_unique<shard>(env, options.store, options.id, options.index, options.count, *options.clocks,
                                    options.directory);
  return {
      [self](replica_batch& batch) { on_batch(self, self->current_sender(), batch); },
      [self](flush) { do_flush(self); },
      [self](background_turn) { on_background_turn(self); },
      [self, store = options.store](tick) {
        auto& s = self->state;
        s.tick_pending = false;
        s.synced_batches = s.work->batches();
        store->request_sync(); // In the background; what became of it the next tick or flush finds.
        if (auto health = s.work->health(); !health.ok())
          return fail(self, health);
        report_if_durable(self);
        if (s.work->report_waits()) { // For a sync that may be done by the next tick.
          s.tick_pending = true;
          self->delayed_send(self, s.env->config.durability_interval, tick{});
        }
      },
      [self](const clock_request& x) -> caf::result<clock_reply> {
        clock_reply reply;
        reply.version = x.version;
        auto failed = check(self, x);
        if (!failed)
          failed = self->state.work->clock_of({x.bucket, x.partition}, reply.clock);
        if (failed)
          return to_error(*failed);
        return reply;
      },
      [self](page_request& x) {
        auto asker = reinterpret_cast<uintptr_t>(self->current_sender().get());
        auto of_one_key = !x.key.empty();
        return reply_to<page_message>(
            self, x,
            [self, asker](shard& work, const page_request& request, page_message& page) {
              return work.make_page(request, page, answers(self), asker);
            },
            of_one_key);
      },
      [self](page_message& x) {
        auto of_one_key = x.keys.size() == 1;
        return reply_to<page_applied>(
            self, x,
            [self](shard& work, const page_message& page, page_applied& applied) {
              if (is_late(self, page.heard))
                return std::optional{shard::failure{errc::late, "the page may be old"}};
              return work.apply_page(page, applied, answers(self));
            },
            of_one_key);
      },
      [self](const fill_begin& x) -> caf::result<fill_begun> {
        auto promise = self->make_response_promise<fill_begun>();
        put_off(self, [self, promise, x]() mutable {
          promise.deliver(fill_begun{self->state.work->begin_fill(x.task, answers(self))});
        });
        return promise;
      },
      [self](const fill_abandon& x) {
        put_off(self, [self, x] { self->state.work->abandon_fill(x.vnode, answers(self)); });
      },
      [self](fill_request& x) {
        return reply_to<fill_page>(self, x, [self](shard& work, const fill_request& request, fill_page& page) {
          return work.make_fill_page(request, page, answers(self));
        });
      },
      [self](fill_page& x) {
        return reply_to<page_applied>(self, x, [self](shard& work, const fill_page& page, page_applied&) {
          return work.apply_fill_page(page, answers(self));
        });
      },
      [self](scrub_request& x) {
        return reply_to<scrub_found>(self, x, [self](shard& work, const scrub_request& request, scrub_found& found) {
          return work.look(request, found, answers(self));
        });
      },
      [self](scrub_read& x) {
        return reply_to<scrub_states>(self, x, [self](shard& work, const scrub_read& request, scrub_states& states) {
          return work.read_keys(request, states, answers(self));
        });
      },
      [self](key_repairs& x) {
        return reply_to<keys_repaired>(self, x, [self](shard& work, const key_repairs& repairs, keys_repaired& done) {
          return work.repair_keys(repairs, done, answers(self));
        });
      },
      [self](const kept_number& x) {
        self->state.work->put_number(x.name, x.number);
        want_flush(self);
      },
      [self](const births& x) {
        self->state.work->be_born(x.vnodes, answers(self));
        want_flush(self);
      },
      [self](const openings& x) {
        self->state.work->open(x.tasks, answers(self));
        want_flush(self);
      },
      [self](const settlement& x) {
        self->state.work->settle(x, answers(self));
        want_flush(self);
      },
      [self](const closing& x) {
        self->state.work->close_gaps(x.task, answers(self));
        want_flush(self);
      },
      [self](const drop_temporary& x) {
        self->state.work->drop(x.task, answers(self));
        want_flush(self);
      },
      [self](const report_request& x) {
        self->state.report_to = self->current_sender();
        self->state.work->begin_report(x, answers(self));
        want_flush(self);
      },
      [self](const count_request& x) -> caf::result<count_reply> {
        count_reply reply;
        reply.version = x.version;
        auto failed = check(self, x);
        for (size_t i = 0; !failed && i < x.partitions.size(); ++i)
          failed = self->state.work->count_keys({x.bucket, x.partitions[i]}, reply.keys);
        if (failed)
          return to_error(*failed);
        return reply;
      },
      [self](const ring_published& x) {
        auto& s = self->state;
        s.ring_manager = caf::actor_cast<caf::actor>(self->current_sender());
        s.work->on_ring(x.ring, answers(self));
        s.early_bytes = 0;
        for (auto& early : std::exchange(s.early, {})) // Some may have to wait for the next one.
          on_batch(self, early.from, early.batch);
        want_flush(self);
        self->send(s.ring_manager, ring_taken{x.ring->epoch});
      },
      [self](stats_request) {
        auto counters = self->state.work->counters();
        counters["refused_late"] = self->state.refused_late;
        return stats{std::move(counters), {}, {}};
      },
      [self](stop_request) {
        for (auto& job : self->state.background) // Who waits for it would not hear that nothing comes.
          job();
        self->state.background.clear();
        do_flush(self);
        auto closed = self->state.work->close();
        if (!closed.ok())
          return fail(self, closed);
        self->quit(caf::exit_reason::user_shutdown);
      },
  };
}

} // namespace

caf::actor spawn_replica(caf::actor_system& system, env_ptr env, replica_options options) {
  return env->own_threads ? system.spawn<caf::detached>(replica, env, options) : system.spawn(replica, env, options);
}

} // namespace crema
