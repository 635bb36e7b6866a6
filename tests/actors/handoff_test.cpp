#include "actors/handoff_state.hpp"
#include "protocol/sync_budget.hpp"
#include "test_cluster.hpp"

namespace crema::test {
namespace {

/// A handoff among actors of the test: its replica, its root, and the handoff of a peer.
class Handoff : public testing::Test {
protected:
  Handoff() : system_(config_) {
    cluster_.cluster = "test";
    cluster_.partitions = 8;
    cluster_.buckets = {bucket("default", 0, conflict_rule::lww, durability::interval, 2, 1, 1)};
    for (const auto* name : {"n1", "n2"}) {
      config::node_config n;
      n.name = n.host = name;
      cluster_.nodes.push_back(n);
    }
    auto store = storage::open_memory(storage::make_memory_disk());
    auto env = make_env(cluster_, "n1", load_or_claim_ring(*store, cluster_).ring);
    env->wall_micros = [] { return uint64_t{1'700'000'000'000'000}; };
    env->log = std::make_shared<spdlog::logger>("n1", std::make_shared<spdlog::sinks::ostream_sink_mt>(log_));
    handoff_ =
        spawn_handoff(system_, env, {caf::actor_cast<caf::actor>(replica_)}, caf::actor_cast<caf::actor>(root_), {});
    sched().run();
  }
  ~Handoff() override {
    caf::anon_send_exit(handoff_, caf::exit_reason::kill);
    sched().run();
    sched().clock().cancel_all();
  }

  caf::scheduler::test_coordinator& sched() {
    return dynamic_cast<caf::scheduler::test_coordinator&>(system_.scheduler());
  }
  template <class Message>
  void tell(Message m) {
    caf::anon_send(handoff_, std::move(m));
    sched().run();
  }
  bool round_is_begun() {
    bool begun = false;
    replica_->receive([&](const report_request&) { begun = true; }, caf::after(std::chrono::seconds{0}) >> [] {});
    return begun;
  }
  /// The last message of what the peer is told.
  sync_state told() {
    sync_state last;
    for (bool more = true; more;)
      peer_->receive([&](sync_state& x) { last = std::move(x); },
                     caf::after(std::chrono::seconds{0}) >> [&] { more = false; });
    return last;
  }

  uint64_t counter(const char* name) {
    caf::scoped_actor self{system_};
    uint64_t result = 0;
    self->send(handoff_, stats_request{});
    sched().run();
    self->receive([&](const stats& x) { result = x.counters.at(name); });
    return result;
  }

  config::cluster_config cluster_;
  std::ostringstream log_;
  deterministic_config config_;
  caf::actor_system system_;
  caf::scoped_actor replica_{system_}, root_{system_}, peer_{system_};
  caf::actor handoff_;
};

TEST_F(Handoff, AnswersAQuestionWithARoundThatBeganAfterIt) {
  ASSERT_TRUE(round_is_begun());
  tell(peer_linked{node_id{1}, {{}, caf::actor_cast<caf::actor>(peer_), {}, {}}});
  EXPECT_FALSE(round_is_begun()) << "one at a time";
  sync_state question;
  question.from = node_id{1};
  question.incarnation = 1;
  question.sequence = 1;
  question.full = true;
  question.asks = 5;
  tell(std::move(question));
  EXPECT_EQ(told().answers, 0U);
  tell(shard_report{0, {}, {}, 1});
  auto first = told();
  EXPECT_NE(first.latest, 0U);
  EXPECT_EQ(first.answers, 0U) << "the report may have been made before it was asked";
  EXPECT_GT(first.asks, 0U);
  ASSERT_TRUE(round_is_begun()) << "a peer was linked meanwhile";
  tell(sync_resend{message_version_newest, node_id{1}});
  auto again = told();
  EXPECT_TRUE(again.full);
  EXPECT_EQ(again.answers, 0U) << "that is still what was known before";
  tell(shard_report{0, {}, {}, 1});
  auto second = told();
  EXPECT_EQ(second.answers, 5U);
  EXPECT_GT(second.asks, first.asks);
  tell(peer_linked{node_id{1}, {{}, caf::actor_cast<caf::actor>(peer_), {}, {}}});
  auto relinked = told();
  EXPECT_EQ(relinked.answers, 0U) << "who was linked anew may be another process";
  EXPECT_TRUE(relinked.full);
  EXPECT_GT(relinked.sequence, second.sequence) << "or the same, which has not noticed that there is a new link";
}

// Or whoever waits until a node that lost its disk is whole again takes it for whole before it has begun.
TEST_F(Handoff, CallsNoVnodeCompleteBeforeTheShardsHaveTold) {
  ASSERT_TRUE(round_is_begun());
  EXPECT_EQ(counter("vnodes_incomplete"), cluster_.buckets.size() * cluster_.partitions) << "two nodes own everything";
  shard_report report{0, {}, {}, 1};
  for (auto state : {protocol::vnode_state::complete, protocol::vnode_state::unsure}) {
    protocol::vnode_note note;
    note.id.partition = report.changed.empty() ? 0 : 1;
    note.state = state;
    report.changed.emplace_back(note, protocol::vnode_facts{});
  }
  tell(std::move(report));
  EXPECT_EQ(counter("vnodes_incomplete"), 1U);
}

// The node that fetches has no clients, the one that gives has.
TEST_F(Handoff, GoesNoFasterThanTheClientsOfItsPeersBear) {
  ASSERT_TRUE(round_is_begun());
  auto pace = [&] { return counter("sync_bytes_per_s_max"); };
  auto alone = pace();
  tell(peer_linked{node_id{1}, {{}, caf::actor_cast<caf::actor>(peer_), {}, {}}});
  sync_state x;
  x.from = node_id{1};
  x.incarnation = 1;
  x.full = true;
  x.latest = 1;
  auto hear = [&](uint32_t bearable, bool moves) {
    ++x.sequence;
    x.bearable = bearable;
    x.moves = moves;
    tell(x);
    x.full = false;
  };
  constexpr auto whole = protocol::sync_budget::whole;
  hear(whole / 32, false);
  EXPECT_EQ(pace(), (uint64_t{cluster_.sync.mb_per_s_max} << 20) / 32);
  hear(0, false);
  EXPECT_GT(pace(), 0U);
  hear(whole, false);
  EXPECT_EQ(pace(), alone);

  auto second = [&](uint64_t requests, std::chrono::microseconds took) {
    foreground_load load;
    for (uint64_t i = 0; i < requests; ++i)
      load.took.add(took);
    tell(load);
    sched().advance_time(cluster_.sync.interval);
    sched().run();
    replica_->receive([](const report_request&) {});
    tell(shard_report{0, {}, {}, 1});
    return told().bearable;
  };
  tell(shard_report{0, {}, {}, 1});
  auto usual = told().bearable;
  EXPECT_EQ(second(100, std::chrono::milliseconds{1}), usual);
  EXPECT_EQ(second(100, std::chrono::milliseconds{9}), usual) << "nobody moves anything";
  hear(whole, true);
  auto low = second(100, std::chrono::milliseconds{9});
  EXPECT_LT(low, usual) << "the peer does, and our clients feel it";
  hear(whole / 64, false);
  EXPECT_LT(pace(), alone);
  for (int i = 0; i < 10; ++i)
    second(0, {});
  EXPECT_EQ(pace(), alone) << "who has not been heard for long says nothing";
}

// A key is sent whole, and over a slow link nothing else comes before its end.
TEST_F(Handoff, WaitsForAPageUntilSomethingLaterComes) {
  ASSERT_TRUE(round_is_begun());
  size_t pages = 0, questions = 0;
  bool answers = false;
  std::vector<caf::response_promise> held;
  std::vector<caf::response_promise> unanswered;
  auto far = system_.spawn([&](caf::event_based_actor* self) {
    return caf::behavior{[&, self](const page_request&) {
                           ++pages;
                           unanswered.push_back(self->make_response_promise());
                         },
                         [&, self](const fill_request& x) {
                           EXPECT_EQ(x.stage, fill_stage::begin);
                           ++questions;
                           auto promise = self->make_response_promise();
                           if (answers)
                             promise.deliver(fill_page{});
                           else
                             held.push_back(promise);
                         },
                         [&](const page_message& page) {
                           for (auto& x : unanswered)
                             x.deliver(page);
                           unanswered.clear();
                         }};
  });
  tell(peer_linked{node_id{1}, {{}, caf::actor_cast<caf::actor>(peer_), {}, {far}}});
  sync_state x;
  x.from = node_id{1};
  x.incarnation = x.sequence = x.latest = 1;
  x.full = true;
  shard_report report{0, {}, {}, 1};
  protocol::dot_clock theirs;
  theirs.add(dot{7, 1});
  for (partition_id p = 0; p < 8; ++p) {
    protocol::vnode_note mine;
    mine.id = {0, p};
    mine.state = protocol::vnode_state::complete;
    report.changed.emplace_back(mine, protocol::vnode_facts{});
    x.notes.push_back({0, p, static_cast<uint8_t>(mine.role), static_cast<uint8_t>(mine.state), theirs.encode()});
  }
  tell(std::move(report));
  tell(x);
  auto serve_shard = [&] {
    for (bool more = true; more;) {
      replica_->receive(
          [](const clock_request&) {
            return clock_reply{message_version_newest, protocol::dot_clock{}.encode()};
          },
          [&](const page_message&) {
            return page_applied{message_version_newest, 1, theirs.encode()};
          },
          [&](const report_request&) {
            caf::anon_send(handoff_, shard_report{0, {}, {}, 1});
          },
          [](const caf::message&) {}, caf::after(std::chrono::seconds{0}) >> [&] { more = false; });
      sched().run();
    }
  };
  auto asked = [&] { // Pages of the peer, and since the last time.
    serve_shard();
    return std::exchange(pages, 0);
  };
  auto second = [&] {
    sched().advance_time(std::chrono::seconds{1});
    sched().run();
    return asked();
  };
  auto asked_in = [&](int seconds) {
    size_t more = 0;
    for (int s = 0; s < seconds; ++s)
      more += second();
    return more;
  };
  constexpr auto all = handoff_state::sessions_max;
  EXPECT_EQ(asked(), all);
  EXPECT_EQ(asked_in(4), 0U);
  EXPECT_EQ(questions, 0U);
  EXPECT_EQ(asked_in(100), 0U);
  EXPECT_EQ(counter("syncs_running"), all) << "the connection carries something";
  EXPECT_GT(questions, 90 * all);
  answers = true;
  second();
  EXPECT_EQ(counter("syncs_failed"), all) << "the pages were lost";
  answers = false;
  asked_in(2);
  EXPECT_EQ(counter("syncs_running"), 1U) << "one at a time";
  EXPECT_EQ(asked_in(30), 0U);
  page_message page;
  page.keys.push_back({"k", {}, {7, 1}});
  caf::anon_send(far, page);
  sched().run();
  EXPECT_EQ(asked_in(2), 1U) << "the replica of this test forgets what it gets";
  EXPECT_EQ(counter("syncs_failed"), all);
  EXPECT_EQ(asked_in(10), 0U);
  caf::anon_send(far, page);
  sched().run();
  EXPECT_EQ(asked_in(2), 1U) << "still";
  size_t served = 0;
  for (size_t i = 0; i < 2 * all; ++i) { // A page comes, and the next vnode asks for its own: no time passes.
    caf::anon_send(far, page);
    sched().run();
    served += asked();
  }
  EXPECT_EQ(served, all - 1) << "each vnode in its turn, once a round";
  tell(peer_unlinked{node_id{1}, "gone"});
  EXPECT_EQ(counter("syncs_running"), 0U) << "nobody will answer";
  caf::anon_send_exit(far, caf::exit_reason::kill);
}

// Else the source trims what is left to copy, and the copy begins anew, again and again.
TEST_F(Handoff, HoldsACopyWhileAPartIsOnItsWay) {
  ASSERT_TRUE(round_is_begun());
  size_t asked = 0;
  std::vector<caf::response_promise> unanswered;
  auto far = system_.spawn([&](caf::event_based_actor* self) {
    return caf::behavior{[&, self](const fill_request& x) {
      ++asked;
      EXPECT_EQ(x.stage, fill_stage::begin);
      unanswered.push_back(self->make_response_promise());
    }};
  });
  tell(peer_linked{node_id{1}, {{}, caf::actor_cast<caf::actor>(peer_), {}, {far}}});
  protocol::vnode_note mine;
  shard_report report{0, {}, {}, 1};
  report.changed.emplace_back(mine, protocol::vnode_facts{});
  sync_state x;
  x.from = node_id{1};
  x.incarnation = x.sequence = x.latest = 1;
  x.full = true;
  protocol::dot_clock theirs;
  theirs.add(dot{7, 1});
  x.notes.push_back({0, 0, 0, static_cast<uint8_t>(protocol::vnode_state::complete), theirs.encode()});
  tell(std::move(report));
  tell(x);
  bool begun = false;
  auto asked_in = [&](int seconds) {
    auto before = asked;
    for (int s = 0; s < seconds; ++s) {
      for (bool more = true; more;)
        replica_->receive(
            [&](const fill_begin&) {
              begun = true;
              return fill_begun{copy_progress{node_id{1}, {}}};
            },
            [&](const report_request&) {
              caf::anon_send(handoff_, shard_report{0, {}, {}, 1});
            },
            [](const caf::message&) {}, caf::after(std::chrono::seconds{0}) >> [&] { more = false; });
      sched().run();
      sched().advance_time(std::chrono::seconds{1});
      sched().run();
    }
    return asked - before;
  };
  EXPECT_EQ(asked_in(4), 1U);
  EXPECT_TRUE(begun);
  EXPECT_GE(asked_in(10), 8U);
  EXPECT_EQ(counter("syncs_running"), 1U);
  caf::anon_send_exit(far, caf::exit_reason::kill);
}

// A node said that it was ready before its vnodes were, if a peer had told it all by then; and answered NOQUORUM.
TEST_F(Handoff, CountsNoVnodeAsCompleteBeforeTheShardsHaveTold) {
  tell(peer_linked{node_id{1}, {{}, caf::actor_cast<caf::actor>(peer_), {}, {}}});
  sync_state x;
  x.from = node_id{1};
  x.incarnation = x.sequence = x.latest = 1;
  x.full = true;
  tell(x);
  std::vector<size_t> told;
  for (bool more = true; more;)
    root_->receive([&](const vnodes_incomplete& n) { told.push_back(n.count); },
                   caf::after(std::chrono::seconds{0}) >> [&] { more = false; });
  EXPECT_EQ(told, std::vector<size_t>{8});
}

// Who has left was waited for as long as one that may come back: a quarter of a minute (`--seed 111 --nodes 5 --minutes
// 1
// --clients 20 --faults delay,partition,connection,crash,topology` of 2026-11-27).
TEST_F(Handoff, GivesACopyUpWhenItsSourceIsNoOwnerAnyMore) {
  for (auto leaves : {true, false}) {
    SCOPED_TRACE(leaves ? "it leaves" : "it is gone");
    ASSERT_TRUE(round_is_begun());
    auto far = system_.spawn([&](caf::event_based_actor* self) {
      return caf::behavior{[self](const fill_request&) { return self->make_response_promise(); }};
    });
    tell(peer_linked{node_id{1}, {{}, caf::actor_cast<caf::actor>(peer_), {}, {far}}});
    protocol::vnode_note mine;
    shard_report report{0, {}, {}, 1};
    report.changed.emplace_back(mine, protocol::vnode_facts{});
    tell(std::move(report));
    sync_state x;
    x.from = node_id{1};
    x.incarnation = leaves ? 1 : 2;
    x.sequence = x.latest = 1;
    x.full = true;
    protocol::dot_clock theirs;
    theirs.add(dot{7, 1});
    x.notes.push_back({0, 0, 0, static_cast<uint8_t>(protocol::vnode_state::complete), theirs.encode()});
    tell(x);
    auto begun = false;
    auto abandoned = false;
    auto run = [&] {
      for (bool more = true; more;)
        replica_->receive(
            [&](const fill_begin&) {
              begun = true;
              return fill_begun{copy_progress{node_id{1}, {}}};
            },
            [&](const fill_abandon&) { abandoned = true; }, [](const caf::message&) {},
            caf::after(std::chrono::seconds{0}) >> [&] { more = false; });
      sched().run();
    };
    run();
    ASSERT_TRUE(begun);
    tell(peer_unlinked{node_id{1}, "gone"});
    run();
    EXPECT_EQ(counter("syncs_running"), 1U) << "it may come back";
    auto ring = *load_or_claim_ring(*storage::open_memory(storage::make_memory_disk()), cluster_).ring;
    if (leaves)
      for (auto& row : ring.owners)
        row = {node_id{0}};
    else
      ring.members[1].state = protocol::member_state::gone;
    tell(ring_published{std::make_shared<const protocol::ring>(ring)});
    sched().advance_time(handoff_state::fill_retry_after);
    sched().run();
    run();
    EXPECT_TRUE(abandoned);
    EXPECT_EQ(counter("syncs_running"), 0U);
    for (auto& row : ring.owners)
      row = {node_id{0}, node_id{1}};
    ring.members[1].state = protocol::member_state::full;
    tell(ring_published{std::make_shared<const protocol::ring>(ring)});
    tell(shard_report{0, {}, {}, 1});
    run();
    sched().advance_time(cluster_.sync.interval);
    sched().run();
    caf::anon_send_exit(far, caf::exit_reason::kill);
  }
}

// The shard refuses what is meant for an older epoch than it knows, and then nothing has changed: to ask at once
// whether it has, and to order it again, kept a node busy for as long as its handoff had not heard of the epoch.
TEST_F(Handoff, AsksOnceWhetherAnOpeningWasTaken) {
  ASSERT_TRUE(round_is_begun());
  tell(peer_linked{node_id{1}, {{}, caf::actor_cast<caf::actor>(peer_), {}, {}}});
  protocol::vnode_note mine;
  mine.state = protocol::vnode_state::catching_up;
  shard_report report{0, {}, {}, 1};
  report.changed.emplace_back(mine, protocol::vnode_facts{});
  tell(std::move(report));
  auto asked = told().asks;
  size_t openings_seen = 0, rounds = 0;
  auto answer_rounds = [&] {
    openings_seen = rounds = 0;
    for (bool more = true; more && rounds < 100;) {
      replica_->receive([&](const openings&) { ++openings_seen; },
                        [&](const report_request&) {
                          ++rounds;
                          caf::anon_send(handoff_, shard_report{0, {}, {}, 1});
                        },
                        [](const caf::message&) {}, caf::after(std::chrono::seconds{0}) >> [&] { more = false; });
      sched().run();
    }
  };
  answer_rounds();
  EXPECT_EQ(openings_seen, 0U);
  sync_state x;
  x.from = node_id{1};
  x.incarnation = x.sequence = x.latest = x.epoch = 1;
  x.full = true;
  x.answers = asked;
  x.notes.push_back({0, 0, 0, static_cast<uint8_t>(protocol::vnode_state::complete), protocol::dot_clock{}.encode()});
  tell(x);
  answer_rounds();
  EXPECT_EQ(rounds, 1U);
  EXPECT_EQ(openings_seen, 2U);
  sched().advance_time(cluster_.sync.interval);
  sched().run();
  answer_rounds();
  EXPECT_EQ(rounds, 1U) << "its time has come";
  EXPECT_EQ(openings_seen, 1U) << "the shard may have learned something by now";
}

TEST(HandoffMemory, KnowsMembersByIdNotByName) {
  auto store = storage::open_memory(storage::make_memory_disk());
  auto keep = [&](const std::string& name, uint64_t number) {
    std::string bytes;
    protocol::byte_writer{bytes}.u64(number);
    auto batch = store->make_batch();
    batch->put_meta(name, bytes);
    ASSERT_TRUE(store->write(*batch).ok());
  };
  keep("met/n1", 11); // As it was kept once.
  keep("met/n2", 12);
  keep("met-id/4", 14);
  protocol::ring ring;
  ring.members = {{node_id{0}, "n1", "h1", "", 1}, {node_id{3}, "n2", "h2", "", 1}, {node_id{4}, "n4", "h4", "", 1}};
  ring.removed = {{node_id{1}, "n2", 12}};
  auto memory = load_handoff_memory(*store, ring);
  EXPECT_EQ(memory.error, "");
  EXPECT_EQ(memory.directories.first, (std::map<node_id, uint64_t>{{node_id{0}, 11}, {node_id{4}, 14}}))
      << "n2 is another one than that which was met";
}

} // namespace
} // namespace crema::test
