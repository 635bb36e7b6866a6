#include "tests/simulation/hand_made.hpp"

#include "protocol/vnode_record.hpp"
#include "storage/memory_store.hpp"

namespace crema::simulation::test {
namespace {

class Checkers : public hand_made {};

TEST_F(Checkers, HaveNothingToSayOfARegisterThatWorks) {
  put(0, 1, "c0-1");
  add(read(0, {1}));
  put(0, 2, "c0-2");
  add(read(0, {2}));
  put(0, 3, "");
  add(read(0, {}));
  EXPECT_EQ(finding(), "");
}

TEST_F(Checkers, HaveNothingToSayOfSiblingsThatWork) {
  put(1, 1, "c0-1");
  put(1, 2, "c1-1");
  add(read(1, {1, 2}, clock({1, 2})));
  put(1, 3, "c0-2", clock({1, 2}));
  put(1, 4, "", clock({1}));
  add(read(1, {3}, clock({1, 2, 3, 4})));
  EXPECT_EQ(finding(), "");
}

TEST_F(Checkers, FindAValueNobodyWrote) {
  put(0, 1, "c0-1");
  auto r = read(0, {1});
  r.values[0].value = "c0-9";
  add(r);
  EXPECT_EQ(finding(), "nothing invented");
}

TEST_F(Checkers, FindAStoredWriteNobodyAskedFor) {
  named(0, 1, "c5-5");
  EXPECT_EQ(finding(), "nothing invented");
}

TEST_F(Checkers, FindAnAcknowledgedWriteThatNobodyStored) {
  put(0, 1, "c0-1");
  writes.clear();
  EXPECT_EQ(finding(), "no acknowledged write lost");
}

TEST_F(Checkers, FindOneRequestThatBecameTwoWrites) {
  put(0, 1, "c0-1");
  named(0, 2, "c0-1");
  EXPECT_EQ(finding(), "one write per request");
}

TEST_F(Checkers, FindARefusedRequestThatWasWritten) {
  named(0, 1, "c0-1");
  auto op = next(client_request::kind::put, 0);
  op.request.value = "c0-1";
  op.result = outcome::not_done;
  op.status = errc::no_quorum;
  add(op);
  EXPECT_EQ(finding(), "writes are what was asked for");
}

TEST_F(Checkers, LetATimedOutWriteHappenOrNot) {
  for (uint64_t n : {1, 2}) {
    auto op = next(client_request::kind::put, 0);
    op.request.value = "c0-" + std::to_string(n);
    op.result = outcome::unknown;
    op.status = errc::timeout;
    add(op);
  }
  named(0, 1, "c0-1");
  add(read(0, {}));
  add(read(0, {1}));
  EXPECT_EQ(finding(), "");
}

TEST_F(Checkers, FindAQuorumReadOlderThanAnAcknowledgedWrite) {
  put(0, 1, "c0-1");
  put(0, 2, "c0-2");
  add(read(0, {1}));
  EXPECT_EQ(finding(), "quorum reads see acknowledged writes");
}

TEST_F(Checkers, CallItLostWhenTheLastReadMissesIt) {
  put(0, 1, "c0-1");
  auto r = read(0, {});
  r.must_succeed = true;
  add(r);
  EXPECT_EQ(finding(), "no acknowledged write lost");
}

TEST_F(Checkers, AskNothingOfReadsThatNeedNotMeetTheWrite) {
  put(0, 1, "c0-1");
  auto r = read(0, {});
  r.request.read = {protocol::quorum_level::kind::one, 0};
  add(r);
  EXPECT_EQ(finding(), "");
}

TEST_F(Checkers, AskOfSloppyBucketsOnlyThatOwnersQuorumsMeet) {
  cluster.buckets[0].sloppy = true;
  put(0, 1, "c0-1");
  add(read(0, {}));
  EXPECT_EQ(finding(), "");
  named(0, 2, "c0-2");
  auto op = next(client_request::kind::put, 0);
  op.request.value = "c0-2";
  op.request.write_owners.level = protocol::quorum_level::kind::quorum;
  add(op);
  add(read(0, {1}));
  EXPECT_EQ(finding(), "") << "the read may have asked fallbacks";
  auto r = read(0, {1});
  r.request.read_owners = op.request.write_owners;
  add(r);
  EXPECT_EQ(finding(), "quorum reads see acknowledged writes");
}

TEST_F(Checkers, AskThatHintsAreDeliveredInTheEnd) {
  cluster.buckets[0].sloppy = true;
  put(0, 1, "c0-1");
  auto r = read(0, {});
  add(r);
  EXPECT_EQ(finding(), "");
  r.must_succeed = true;
  add(r);
  EXPECT_EQ(finding(), "no acknowledged write lost");
}

TEST_F(Checkers, FindARemovedValueThatIsBack) {
  put(0, 1, "c0-1");
  put(0, 2, "");
  add(read(0, {1}));
  EXPECT_EQ(finding(), "nothing resurrected");
}

TEST_F(Checkers, FindAReplacedSiblingThatIsBack) {
  put(1, 1, "c0-1");
  put(1, 2, "c0-2", clock({1}));
  add(read(1, {1}, clock({1})));
  EXPECT_EQ(finding(), "nothing resurrected");
}

TEST_F(Checkers, FindAnExpiredValue) {
  put(0, 1, "c0-1");
  named(0, 2, "c0-2", {}, 1000 + 500);
  auto op = next(client_request::kind::put, 0);
  op.request.value = "c0-2";
  op.request.ttl_ms = 500;
  op.invoked -= milliseconds{100};
  add(op);
  add(read(0, {2}));
  EXPECT_EQ(finding(), "nothing resurrected");
}

TEST_F(Checkers, FindAWriteThatLivesLongerThanItWasTo) {
  named(0, 1, "c0-1", {}, 9999);
  auto op = next(client_request::kind::put, 0);
  op.request.value = "c0-1";
  op.request.ttl_ms = 500;
  add(op);
  EXPECT_EQ(finding(), "writes are what was asked for");
}

TEST_F(Checkers, FindAReplacedValueAmongTheSiblings) {
  put(1, 1, "c0-1");
  put(1, 2, "c0-2", clock({1}));
  add(read(1, {1, 2}, clock({1, 2})));
  EXPECT_EQ(finding(), "siblings are exact");
}

TEST_F(Checkers, FindAContextThatClaimsWhatWasNotShown) {
  put(1, 1, "c0-1");
  put(1, 2, "c1-1");
  add(read(1, {2}, clock({1, 2})));
  EXPECT_EQ(finding(), "contexts are exact");
}

TEST_F(Checkers, AllowAContextToClaimWhatWasLostAndClosed) {
  named(1, 1, "c0-1", {});
  put(1, 2, "c1-1");
  add(read(1, {2}, clock({1, 2})));
  auto about_contexts = [this] {
    auto found = check_all();
    return std::count_if(found.begin(), found.end(), [](const auto& v) { return v.checker == "contexts are exact"; });
  };
  EXPECT_EQ(about_contexts(), 1);
  closed.insert({vnode(1), dot{7, 1}});
  EXPECT_EQ(about_contexts(), 0);
}

TEST_F(Checkers, FindAContextThatLacksWhatWasShown) {
  put(1, 1, "c0-1");
  add(read(1, {1}, {}));
  EXPECT_EQ(finding(), "contexts are exact");
}

TEST_F(Checkers, FindAWriteWhoseContextWasLost) {
  put(1, 1, "c0-1");
  put(1, 2, "c0-2", clock({1}));
  named(1, 2, "c0-2", {});
  writes[{vnode(1), dot{7, 2}}].at = milliseconds{205};
  EXPECT_EQ(finding(), "writes are what was asked for");
}

TEST_F(Checkers, FindAMissingElementOfASet) {
  put(1, 1, "c0-1");
  put(1, 2, "c0-2|c0-1", clock({1}));
  auto r = read(1, {2}, clock({1, 2}));
  r.must_succeed = true;
  r.values[0].value = "c0-2|";
  findings out;
  add(r);
  history sets;
  for (auto op : operations.operations()) {
    op.request.key = "set1";
    sets.add(op);
  }
  for (auto& [id, w] : writes)
    w.key = "set1";
  evidence e{cluster, sets,   writes,
             {},      faults, [](bucket_id, const std::string&) { return std::vector<size_t>{0, 1, 2}; }};
  model m{e, out};
  check_sets(e, m, out);
  ASSERT_EQ(out.size(), 2U) << "each of the two writes had it";
  EXPECT_NE(out[0].what.find("lacks element c0-1"), std::string::npos) << out[0].what;
}

TEST_F(Checkers, FindAReadThatGoesBackBehindOneWithRepairInTheForeground) {
  for (bucket_id bucket : {0, 1}) {
    put(bucket, 1, "c0-1");
    auto unknown = next(client_request::kind::put, bucket); // Not acknowledged: reads need not see it.
    unknown.request.value = "c0-2";
    unknown.request.context = clock({1});
    unknown.result = outcome::unknown;
    named(bucket, 2, "c0-2", clock({1}));
    writes[{vnode(bucket), dot{7, 2}}].at = unknown.invoked;
    add(unknown);
    auto newer = read(bucket, {2}, clock({1, 2}));
    newer.request.repair = protocol::read_repair::background;
    add(newer);
    add(read(bucket, {1}, clock({1})));
    EXPECT_EQ(finding(), "") << "in the background nothing is promised";
    newer = read(bucket, {2}, clock({1, 2}));
    newer.request.repair = protocol::read_repair::foreground;
    add(newer);
    add(read(bucket, {2}, clock({1, 2})));
    auto one = read(bucket, {1}, clock({1}));
    one.request.read.level = protocol::quorum_level::kind::one;
    add(one);
    EXPECT_EQ(finding(), "");
    add(read(bucket, {1}, clock({1})));
    EXPECT_EQ(finding(), "monotonic reads");
    operations = {};
    writes.clear();
  }
}

// Its R owners are not those of whom the new ones have learned, and nobody wrote it to these.
TEST_F(Checkers, LetWhatAReadShowedBeLeftBehindIfOwnersWereChangingThen) {
  put(0, 1, "c0-1");
  auto unknown = next(client_request::kind::put, 0);
  unknown.request.value = "c0-2";
  unknown.result = outcome::unknown;
  named(0, 2, "c0-2");
  writes[{vnode(0), dot{7, 2}}].at = unknown.invoked;
  add(unknown);
  ownerships = {{{}, {0, 1, 2}, {1, 2, 3}}};
  auto newer = read(0, {2});
  newer.request.repair = protocol::read_repair::foreground;
  add(newer);
  auto changed = now;
  add(read(0, {1}));
  EXPECT_EQ(finding(), "monotonic reads") << "they were the same in both reads";
  ownerships.push_back({changed, {1, 2, 3}, {0, 1, 2}});
  EXPECT_EQ(finding(), "");
  ownerships = {{{}, {0, 1, 2}, {}}, {changed, {0, 1, 2}, {1, 2, 3}}};
  EXPECT_EQ(finding(), "monotonic reads") << "they began to change after the first one";
}

// Each new owner has what W owners had before the change began, so one of them is enough to find it.
TEST_F(Checkers, AskForWhatWasWrittenBeforeOwnersChangedHoweverFewAreRead) {
  put(0, 1, "c0-1");
  auto all = next(client_request::kind::put, 0);
  all.request.value = "c0-2";
  all.request.write.level = protocol::quorum_level::kind::all;
  named(0, 2, "c0-2");
  writes[{vnode(0), dot{7, 2}}].at = all.invoked;
  auto one = read(0, {1});
  one.request.read.level = protocol::quorum_level::kind::one;
  add(all);
  add(one);
  EXPECT_EQ(finding(), "quorum reads see acknowledged writes");
  ownerships = {{{}, {0, 1, 2}, {}}, {all.invoked, {0, 1, 2}, {1, 2, 3}}};
  EXPECT_EQ(finding(), "");
  ownerships[1].since = all.completed + milliseconds{1};
  EXPECT_EQ(finding(), "quorum reads see acknowledged writes");
}

TEST_F(Checkers, FindALaterWriteThatLoses) {
  put(0, 2, "c0-2");
  put(0, 1, "c0-1"); // With an older timestamp.
  EXPECT_EQ(finding(), "later writes win");
}

TEST_F(Checkers, AskNothingOfLaterWritesWhoseQuorumsNeedNotMeet) {
  put(0, 3, "c0-2");
  named(0, 1, "c0-1");
  auto op = next(client_request::kind::put, 0);
  op.request.value = "c0-1";
  op.request.write.level = protocol::quorum_level::kind::one;
  add(op);
  EXPECT_EQ(finding(), "");
  cluster.buckets[0].sloppy = true;
  put(0, 2, "c0-3");
  EXPECT_EQ(finding(), "");
}

TEST_F(Checkers, LetAValueBeWrittenAgainWhenANewerOneWasThere) {
  put(0, 2, "c0-2");
  named(0, 1, "c0-1");
  put(0, 3, "c0-1");
  add(read(0, {3}));
  EXPECT_EQ(finding(), "");
  auto r = read(0, {1}); // The same value, but it was beaten.
  add(r);
  EXPECT_NE(finding(), "");
}

TEST_F(Checkers, FindAThirdWriteAndASecondOneWithoutReason) {
  put(0, 2, "c0-2");
  named(0, 1, "c0-1");
  named(0, 3, "c0-1");
  put(0, 4, "c0-1");
  EXPECT_EQ(finding(), "one write per request");
  writes.erase({vnode(0), dot{7, 1}});
  EXPECT_EQ(finding(), "one write per request") << "nothing newer was met";
}

/// Which did not say whether it was done, unless `op` is changed.
operation unanswered(operation op) {
  op.result = outcome::unknown;
  op.status = errc::timeout;
  return op;
}

TEST_F(Checkers, LetRemovesBeWhatWasAskedFor) {
  put(0, 1, "c0-1");
  put(0, 2, "");
  named(0, 3, ""); // Late, of a request that timed out.
  auto late = unanswered(next(client_request::kind::remove, 0));
  late.invoked = {};
  add(late);
  put(1, 1, "c0-2");
  put(1, 2, "", clock({1}));
  EXPECT_EQ(finding(), "");
}

TEST_F(Checkers, FindARemoveNobodyAskedFor) {
  put(0, 1, "c0-1");
  named(0, 2, "");
  EXPECT_EQ(finding(), "writes are what was asked for");
}

TEST_F(Checkers, FindARemoveThatWasWrittenBeforeItWasAskedFor) {
  named(0, 1, "");
  now += milliseconds{50};
  add(unanswered(next(client_request::kind::remove, 0)));
  EXPECT_EQ(finding(), "writes are what was asked for");
}

TEST_F(Checkers, FindARemoveThatReplacesWhatItWasNotAskedTo) {
  put(1, 1, "c0-1");
  put(1, 2, "c0-2");
  named(1, 3, "", clock({1, 2}));
  auto op = unanswered(next(client_request::kind::remove, 1));
  op.request.context = clock({1});
  add(op);
  EXPECT_EQ(finding(), "writes are what was asked for");
}

TEST_F(Checkers, FindARefusedRemoveThatWasWritten) {
  named(0, 1, "");
  auto op = next(client_request::kind::remove, 0);
  op.result = outcome::not_done;
  op.status = errc::no_quorum;
  add(op);
  EXPECT_EQ(finding(), "writes are what was asked for");
}

TEST_F(Checkers, FindARemoveThatWasWrittenTwice) {
  named(0, 1, "");
  put(0, 2, "");
  EXPECT_EQ(finding(), "one write per request");
  add(unanswered(next(client_request::kind::remove, 0)));
  EXPECT_EQ(finding(), "one write per request") << "that one was asked for later";
}

TEST_F(Checkers, LetARemoveBeWrittenAgainWhenANewerWriteWasThere) {
  put(0, 2, "c0-1");
  named(0, 1, "");
  put(0, 3, "");
  EXPECT_EQ(finding(), "");
  named(0, 4, "");
  writes[{vnode(0), dot{7, 4}}].at = writes[{vnode(0), dot{7, 3}}].at;
  EXPECT_EQ(finding(), "one write per request") << "once more, not twice";
}

TEST_F(Checkers, FindAnAcknowledgedRemoveThatNobodyStored) {
  put(0, 1, "");
  auto op = next(client_request::kind::remove, 0);
  op.invoked -= milliseconds{100}; // At the same time.
  add(op);
  EXPECT_EQ(finding(), "no acknowledged write lost") << "one write is not two";
  writes.clear();
  EXPECT_EQ(finding(), "no acknowledged write lost");
}

TEST_F(Checkers, LetARemoveThatReadNothingWriteNothing) {
  remove(0, 1, false);
  writes.clear();
  EXPECT_EQ(finding(), "");
}

// -- What faults excuse -----------------------------------------------------------------------------------------------

TEST_F(Checkers, ExcuseNoLostDiskButTwoCopiesAtOnce) {
  put(0, 1, "c0-1");
  faults.losses.push_back({0, now, true, now});
  now += milliseconds{1};
  add(read(0, {}));
  EXPECT_EQ(finding(), "quorum reads see acknowledged writes") << "who lost its disk has to meet the second copy first";
  auto r = read(0, {});
  r.request.read = {protocol::quorum_level::kind::all, 0};
  r.must_succeed = true;
  add(r);
  EXPECT_EQ(check_all().back().checker, "no acknowledged write lost") << "the second copy must be there";
  auto second = faults.losses.front();
  second.node = 1;
  faults.losses.push_back(second);
  EXPECT_EQ(finding(), "") << "both may be gone";
}

TEST_F(Checkers, ExcuseAMachineCrashOnlyOfWhatWasNotSyncedYet) {
  put(0, 1, "c0-1");
  faults.losses.push_back({0, now + std::chrono::seconds{5}, false, now + std::chrono::seconds{5}});
  now += std::chrono::seconds{6};
  add(read(0, {}));
  EXPECT_EQ(finding(), "quorum reads see acknowledged writes") << "it was synced long before";
  faults.losses.front().at = faults.losses.front().tail_from = milliseconds{200};
  EXPECT_EQ(finding(), "") << "it may not have been synced";
  cluster.buckets[0].durability = durability::fsync;
  EXPECT_EQ(finding(), "quorum reads see acknowledged writes") << "it was synced before the acknowledgement";
}

TEST_F(Checkers, ExcuseWhatExpiredByAnyClockWhileItWasThere) {
  using std::chrono::minutes;
  now = minutes{20};
  named(0, 1, "c0-1", {}, 9'000'000);
  auto op = next(client_request::kind::put, 0);
  op.request.value = "c0-1";
  op.request.ttl_ms = 9'000'000 - 1000;
  add(op);
  add(read(0, {}));
  EXPECT_EQ(finding(), "quorum reads see acknowledged writes");
  faults.jumps = {{1, minutes{10}, 2'000'000, 10'000'000}, {1, minutes{11}, 10'060'000, 2'060'000}};
  EXPECT_EQ(finding(), "quorum reads see acknowledged writes") << "the clock was right again long before";
  faults.jumps = {{1, minutes{10}, 2'000'000, 10'000'000}, {1, minutes{19}, 10'540'000, 2'540'000}};
  EXPECT_EQ(finding(), "") << "another may have acted on what that clock showed";
  faults.jumps = {{1, minutes{10}, 2'000'000, 10'000'000}};
  EXPECT_EQ(finding(), "") << "it is still ahead";
}

// -- Replies ----------------------------------------------------------------------------------------------------------

TEST_F(Checkers, FindARequestWithoutAReply) {
  auto op = next(client_request::kind::get, 0);
  op.result = outcome::pending;
  add(op);
  EXPECT_EQ(finding(), "one reply per request");
}

TEST_F(Checkers, FindALateReplyUnlessItsNodeWasStopped) {
  auto op = next(client_request::kind::get, 0);
  op.completed = op.invoked + milliseconds{1101};
  add(op);
  EXPECT_EQ(finding(), "replies in time");
  faults.pauses.push_back({0, op.invoked, op.invoked + milliseconds{50}});
  EXPECT_EQ(finding(), "");
}

TEST_F(Checkers, FindAClusterThatDoesNotServeWhenAllIsWell) {
  auto op = next(client_request::kind::get, 0);
  op.must_succeed = true;
  op.result = outcome::not_done;
  op.status = errc::timeout;
  add(op);
  EXPECT_EQ(finding(), "serves again after faults");
}

// -- Stores -----------------------------------------------------------------------------------------------------------

TEST_F(Checkers, LetARemoveSayWhetherThereWasSomething) {
  remove(0, 1, false);
  put(0, 2, "c0-1");
  remove(0, 3, true);
  remove(0, 4, false);
  remove(1, 1, false);
  put(1, 2, "c0-2");
  remove(1, 3, true, clock({1, 2}));
  remove(1, 4, false, clock({1, 2, 3}));
  EXPECT_EQ(finding(), "");
}

TEST_F(Checkers, FindARemoveThatDeniesWhatWasThere) {
  put(0, 1, "c0-1");
  remove(0, 2, false);
  EXPECT_EQ(finding(), "writes say what existed");
}

TEST_F(Checkers, FindARemoveThatSawSomethingWhereNothingWas) {
  put(0, 1, "c0-1");
  put(0, 2, "");
  remove(0, 3, true);
  EXPECT_EQ(finding(), "writes say what existed");
}

TEST_F(Checkers, FindARemoveThatDeniesASiblingThatItRead) {
  put(1, 1, "c0-1");
  remove(1, 2, false, clock({1}));
  EXPECT_EQ(finding(), "writes say what existed");
}

TEST_F(Checkers, FindARemoveThatSawASiblingThatItDidNotRead) {
  put(1, 1, "c0-1");
  remove(1, 2, true, clock({1}));
  remove(1, 3, true, clock({1, 2}));
  EXPECT_EQ(finding(), "writes say what existed");
}

TEST_F(Checkers, LetARemoveMissWhatHadExpired) {
  named(0, 1, "c0-1", {}, 4000);
  auto op = next(client_request::kind::put, 0);
  op.request.value = "c0-1";
  op.request.ttl_ms = 4000 - 1000;
  add(op);
  remove(0, 2, false);
  EXPECT_EQ(finding(), "");
}

class Stores : public hand_made {
protected:
  void stored(bucket_id bucket, std::initializer_list<uint64_t> merged, std::initializer_list<uint64_t> logged) {
    auto batch = store->make_batch();
    for (auto n : merged)
      batch->merge(vnode(bucket), "k", writes.at({vnode(bucket), dot{7, n}}).delta);
    for (auto n : logged)
      batch->log(vnode(bucket), {7, n}, "k");
    ASSERT_TRUE(store->write(*batch).ok());
  }
  std::string store_finding() {
    findings out;
    auto e = all();
    model m{e, out};
    check_store(e, m, 0, *store, out);
    return out.empty() ? "" : out.front().what;
  }
  std::shared_ptr<storage::store> store = storage::open_memory(storage::make_memory_disk());
};

/// A store as it is long after the last write: what was merged is known, and the logs are trimmed.
class SettledStores : public Stores {
protected:
  /// The merges of these writes; `known`: the dots of the clock.
  void settled(bucket_id bucket, std::initializer_list<uint64_t> merged, const protocol::dot_clock& known) {
    auto batch = store->make_batch();
    for (auto n : merged)
      batch->merge(vnode(bucket), "k", writes.at({vnode(bucket), dot{7, n}}).delta);
    batch->save_clock(vnode(bucket), known);
    ASSERT_TRUE(store->write(*batch).ok());
  }
  void record(protocol::vnode_role role, protocol::vnode_state state) {
    protocol::vnode_record r;
    r.role = role;
    r.state = state;
    auto batch = store->make_batch();
    batch->save_record(vnode(0), protocol::encode(r));
    ASSERT_TRUE(store->write(*batch).ok());
  }
  size_t leftovers(uint64_t now_ms = 5000) {
    findings out;
    check_vnodes(all(), 0, *store, out);
    check_remains(all(), 0, *store, now_ms, out);
    return out.size();
  }
};

TEST_F(SettledStores, HoldLiveValuesAndNothingElse) {
  put(0, 1, "c0-1");
  put(1, 1, "c0-2");
  put(1, 2, "c0-3");
  settled(0, {1}, clock({1}));
  settled(1, {1, 2}, clock({1, 2}));
  record(protocol::vnode_role::owner, protocol::vnode_state::complete);
  EXPECT_EQ(leftovers(), 0U);
}

TEST_F(SettledStores, AreFoundWithATombstone) {
  put(0, 1, "");
  settled(0, {1}, clock({1}));
  EXPECT_EQ(leftovers(), 1U);
}

TEST_F(SettledStores, AreFoundWithANoteOfAKeyThatIsGone) {
  put(0, 1, "c0-1");
  settled(0, {1}, clock({1}));
  auto batch = store->make_batch();
  batch->bury(vnode(0), 0, "k"); // It may expire, or be removed, later.
  batch->bury(vnode(0), from_micros(9'000'000), "gone");
  ASSERT_TRUE(store->write(*batch).ok());
  EXPECT_EQ(leftovers(), 0U);
  batch->clear();
  batch->bury(vnode(0), 0, "gone");
  ASSERT_TRUE(store->write(*batch).ok());
  EXPECT_EQ(leftovers(), 1U);
}

TEST_F(SettledStores, AreFoundWithAnExpiredValue) {
  for (bucket_id bucket : {0, 1}) {
    named(bucket, 1, "c0-1", {}, 4000);
    settled(bucket, {1}, clock({1}));
  }
  EXPECT_EQ(leftovers(3999), 0U);
  EXPECT_EQ(leftovers(4000), 2U);
}

TEST_F(SettledStores, AreFoundWithAnExpiredValueBesideALiveOne) {
  named(1, 1, "c0-1", {}, 4000);
  named(1, 2, "c0-2");
  settled(1, {1, 2}, clock({1, 2}));
  EXPECT_EQ(leftovers(3999), 0U);
  EXPECT_EQ(leftovers(4000), 1U);
}

TEST_F(SettledStores, AreFoundWithTheContextOfARemovedKey) {
  put(1, 1, "c0-1");
  put(1, 2, "", clock({1}));
  settled(1, {2}, clock({1, 2}));
  EXPECT_EQ(leftovers(), 1U);
}

TEST_F(SettledStores, MayRememberWhatTheirClocksLack) {
  put(1, 2, "", clock({1}));
  settled(1, {2}, clock({2}));
  EXPECT_EQ(leftovers(), 0U) << "it keeps a write away that was lost with a disk, or is yet to come";
}

TEST_F(SettledStores, AreFoundWithALog) {
  put(0, 1, "c0-1");
  stored(0, {1}, {1});
  EXPECT_EQ(leftovers(), 1U);
}

TEST_F(SettledStores, AreFoundWithAPartOfACopy) {
  put(0, 1, "c0-1");
  auto batch = store->make_batch();
  batch->replace(other_place(vnode(0)), "k", writes.begin()->second.delta);
  ASSERT_TRUE(store->write(*batch).ok());
  record(protocol::vnode_role::owner, protocol::vnode_state::complete);
  EXPECT_EQ(leftovers(), 1U);
}

TEST_F(SettledStores, AreFoundWithVnodesThatAreNotAsTheyShouldBe) {
  record(protocol::vnode_role::owner, protocol::vnode_state::catching_up);
  EXPECT_EQ(leftovers(), 1U);
  record(protocol::vnode_role::temporary, protocol::vnode_state::complete);
  EXPECT_EQ(leftovers(), 1U);
  record(protocol::vnode_role::none, protocol::vnode_state::complete);
  EXPECT_EQ(leftovers(), 0U);
}

TEST_F(Stores, AgreeWithTheirClocks) {
  put(0, 1, "c0-1");
  put(0, 2, "c0-2");
  put(1, 1, "c0-3");
  put(1, 2, "c0-4", clock({1}));
  stored(0, {1, 2}, {1, 2});
  stored(1, {2, 1}, {1, 2});
  EXPECT_EQ(store_finding(), "");
}

TEST_F(Stores, MayLackWhatTheirClocksLack) {
  put(0, 1, "c0-1");
  put(0, 2, "c0-2");
  stored(0, {1}, {1});
  EXPECT_EQ(store_finding(), "");
}

TEST_F(Stores, AreFoundWithAClockAheadOfTheState) {
  put(0, 1, "c0-1");
  put(0, 2, "c0-2");
  stored(0, {1}, {1, 2});
  EXPECT_NE(store_finding(), "");
}

TEST_F(Stores, AreFoundWithAStateAheadOfTheClock) {
  put(1, 1, "c0-1");
  put(1, 2, "c1-1");
  stored(1, {1, 2}, {1});
  EXPECT_NE(store_finding(), "");
}

TEST_F(Stores, AreFoundWithAReplacedSibling) {
  put(1, 1, "c0-1");
  put(1, 2, "c0-2", clock({1}));
  stored(1, {1}, {1, 2});
  EXPECT_NE(store_finding(), "");
}

TEST_F(Stores, AreFoundWithAKeyNobodyWrote) {
  put(0, 1, "c0-1");
  auto batch = store->make_batch();
  batch->merge(vnode(0), "other", writes.begin()->second.delta);
  batch->log(vnode(0), {9, 1}, "other");
  ASSERT_TRUE(store->write(*batch).ok());
  EXPECT_NE(store_finding(), "");
}

TEST_F(Stores, AreFoundWhenOwnersDiffer) {
  put(0, 1, "c0-1");
  stored(0, {1}, {1});
  std::shared_ptr<storage::store> empty = storage::open_memory(storage::make_memory_disk());
  findings out;
  auto e = all();
  model m{e, out};
  check_convergence(e, m, {store, store, store}, 0, out);
  EXPECT_TRUE(out.empty());
  check_convergence(e, m, {store, empty, store}, 0, out);
  EXPECT_EQ(out.size(), 1U);
}

TEST_F(Stores, AreFoundWhenOwnersKnowTheSameAndHoldDifferentValues) {
  put(0, 1, "c0-1");
  put(0, 2, "c0-2");
  stored(0, {1, 2}, {1, 2});
  std::shared_ptr<storage::store> older = storage::open_memory(storage::make_memory_disk());
  auto batch = older->make_batch();
  batch->merge(vnode(0), "k", writes.begin()->second.delta);
  for (uint64_t n : {1, 2})
    batch->log(vnode(0), {7, n}, "k");
  ASSERT_TRUE(older->write(*batch).ok());
  findings out;
  auto e = all();
  model m{e, out};
  check_convergence(e, m, {store, older, store}, 0, out);
  ASSERT_EQ(out.size(), 1U);
  EXPECT_NE(out[0].what.find("n1 and n2 hold different values"), std::string::npos) << out[0].what;
}

TEST_F(Stores, KnowDifferentWritesAndTheReportSaysWhich) {
  put(0, 1, "c0-1");
  stored(0, {1}, {1, 3, 4});
  auto e = all();
  std::shared_ptr<storage::store> ahead = store;
  store = storage::open_memory(storage::make_memory_disk());
  stored(0, {1}, {1});
  findings out;
  model m{e, out};
  check_convergence(e, m, {ahead, ahead, store}, 0, out);
  ASSERT_EQ(out.size(), 1U);
  EXPECT_NE(out[0].what.find("0000000000000007:3-4, and nothing more"), std::string::npos) << out[0].what;
}

// Seed 6009368: the only write to a vnode was lost in a power failure, and another vnode has a key of the same name.
TEST_F(Stores, HoldNothingInAVnodeWithoutAClock) {
  put(0, 1, "c0-1");
  auto elsewhere = writes.begin()->second.delta;
  writes.clear();
  named(1, 1, "c0-1");
  std::shared_ptr<storage::store> empty = storage::open_memory(storage::make_memory_disk());
  std::shared_ptr<storage::store> other = storage::open_memory(storage::make_memory_disk());
  auto batch = other->make_batch();
  batch->merge(vnode(0), "k", elsewhere);
  batch->log(vnode(0), {7, 1}, "k");
  ASSERT_TRUE(other->write(*batch).ok());
  findings ignored, out;
  auto e = all();
  model m{e, ignored};
  check_convergence(e, m, {other, empty, empty}, 0, out);
  EXPECT_TRUE(out.empty()) << out.front().what;
}

TEST_F(Stores, HaveNoGapsInTheirClocks) {
  for (uint64_t n : {1, 2, 3})
    put(0, n, "c0-" + std::to_string(n));
  stored(0, {1, 2}, {1, 2});
  findings out;
  check_clocks(all(), 0, *store, out);
  EXPECT_TRUE(out.empty());
  put(0, 4, "c0-4");
  stored(0, {4}, {4});
  check_clocks(all(), 0, *store, out);
  ASSERT_EQ(out.size(), 1U);
  EXPECT_NE(out[0].what.find(":3"), std::string::npos) << out[0].what;
}

TEST_F(Stores, HoldNothingOfWhatWasLostAndClosed) {
  put(0, 1, "c0-1");
  put(0, 2, "c0-2");
  stored(0, {1}, {1, 2});
  EXPECT_NE(store_finding(), "");
  closed.insert({vnode(0), dot{7, 2}});
  EXPECT_EQ(store_finding(), "");
}

// Seed 75: the clock says it all.
TEST_F(Stores, NeedNoNoteThatWhatWasClosedIsReplaced) {
  put(1, 1, "c0-1");
  put(1, 2, "c0-2", clock({1}));
  closed.insert({vnode(1), dot{7, 1}});
  auto x = protocol::decode_siblings(writes.at({vnode(1), dot{7, 2}}).delta).value();
  x.seen = {};
  auto batch = store->make_batch();
  batch->merge(vnode(1), "k", protocol::encode_siblings(x));
  batch->log(vnode(1), {7, 1}, "");
  batch->log(vnode(1), {7, 2}, "k");
  ASSERT_TRUE(store->write(*batch).ok());
  EXPECT_EQ(store_finding(), "");
}

// Seed 1141679091: a page of another's state says that it has seen the lost write.
TEST_F(Stores, MayClaimThatWhatWasClosedIsGone) {
  put(1, 1, "c0-1");
  put(1, 2, "c1-1");
  auto x = protocol::decode_siblings(writes.at({vnode(1), dot{7, 2}}).delta).value();
  x.seen.add(dot{7, 1});
  auto batch = store->make_batch();
  batch->merge(vnode(1), "k", protocol::encode_siblings(x));
  batch->log(vnode(1), {7, 2}, "k");
  ASSERT_TRUE(store->write(*batch).ok());
  EXPECT_NE(store_finding(), "");
  closed.insert({vnode(1), dot{7, 1}});
  EXPECT_EQ(store_finding(), "");
}

TEST_F(Stores, CountersTellOfDamageThatNobodyDid) {
  findings out;
  std::map<std::string, uint64_t> counters{{"scrub_differences", 0}, {"scrub_repaired", 0}, {"scrub_restored", 0}};
  check_scrubs(all(), 0, counters, out);
  EXPECT_TRUE(out.empty());
  counters["scrub_repaired"] = 1;
  check_scrubs(all(), 0, counters, out);
  EXPECT_EQ(out.size(), 1U);
}

TEST_F(Stores, CountersTellOfVnodesThatNobodyAskedFor) {
  findings out;
  check_held(all(), 0, {{"vnodes", 8}}, 8, out);
  EXPECT_TRUE(out.empty());
  check_held(all(), 0, {{"vnodes", 9}}, 8, out);
  EXPECT_EQ(out.size(), 1U);
}

TEST_F(Stores, CountersTellOfWhatIsLeftBehind) {
  findings out;
  check_settled(all(), 0, {{"in_flight", 0}, {"repairs_waiting", 0}}, out);
  EXPECT_TRUE(out.empty());
  check_settled(all(), 0, {{"in_flight", 1}, {"repairs_waiting", 0}}, out);
  EXPECT_EQ(out.size(), 1U);
  check_settled(all(), 0, {}, out);
  EXPECT_EQ(out.size(), 2U);
}

class DroppedBuckets : public Stores {
protected:
  /// What is found of bucket 0, when there is only bucket 1 any more.
  std::string left_over() {
    findings out;
    check_dropped(all(), 0, *store, {cluster.buckets[1]}, out);
    return out.empty() ? "" : out.front().what;
  }
  void record(protocol::vnode_role role) {
    protocol::vnode_record x;
    x.role = role;
    x.counter = 3;
    auto batch = store->make_batch();
    batch->save_record(vnode(0), protocol::encode(x));
    ASSERT_TRUE(store->write(*batch).ok());
  }
};

TEST_F(DroppedBuckets, LeaveNothingButCounters) {
  named(0, 1, "a");
  named(1, 2, "b");
  stored(0, {1}, {1});
  stored(1, {2}, {2});
  record(protocol::vnode_role::owner);
  EXPECT_EQ(left_over(), "n1 holds a clock of registers partition 0");
  auto batch = store->make_batch();
  batch->drop_vnode(vnode(0));
  ASSERT_TRUE(store->write(*batch).ok());
  EXPECT_EQ(left_over(), "n1 holds a vnode of registers partition 0");
  record(protocol::vnode_role::none);
  EXPECT_EQ(left_over(), "");
}

TEST_F(DroppedBuckets, AreFoundWithAnObjectOrANoteThatNoClockKnows) {
  named(0, 1, "a");
  stored(0, {1}, {});
  EXPECT_EQ(left_over(), "n1 holds an object of key k of registers partition 0");
  auto batch = store->make_batch();
  batch->drop_vnode(vnode(0));
  batch->bury(other_place(vnode(0)), from_micros(1), "k");
  ASSERT_TRUE(store->write(*batch).ok());
  EXPECT_EQ(left_over(), "n1 holds a note of key k of registers partition 0");
}

class BucketsThatCome : public Checkers {
protected:
  std::string bucket_finding(bool there, operation op) {
    history asked;
    asked.add(std::move(op));
    auto e = all();
    findings out;
    auto knew = [there](size_t, bucket_id, bool x, sim_time, sim_time) { return x == there; };
    check_buckets({e.cluster, asked, e.writes, e.closed, e.faults, e.owners, e.ownerships, knew}, out);
    return out.empty() ? "" : out.front().checker;
  }
  operation refused() {
    auto op = next(client_request::kind::get, 0);
    op.result = outcome::not_done;
    op.status = errc::not_owner;
    op.error = "n1 knows no such bucket";
    return op;
  }
};

TEST_F(BucketsThatCome, AreRefusedByWhoDoesNotKnowThemAndServedByWhoDoes) {
  EXPECT_EQ(bucket_finding(false, refused()), "");
  EXPECT_EQ(bucket_finding(true, read(0, {})), "");
  EXPECT_EQ(bucket_finding(true, refused()), "buckets are there as agreed");
  EXPECT_EQ(bucket_finding(false, read(0, {})), "buckets are there as agreed");
  auto late = refused();
  late.error = "timed out";
  late.status = errc::timeout;
  EXPECT_EQ(bucket_finding(true, late), "");
  EXPECT_EQ(bucket_finding(false, late), "buckets are there as agreed") << "who knows it to be gone refuses at once";
}

TEST_F(BucketsThatCome, MayBeUnknownToWhoWasStopped) {
  faults.pauses.push_back({0, now - milliseconds{50}, now - milliseconds{20}});
  EXPECT_EQ(bucket_finding(true, refused()), "");
}

} // namespace
} // namespace crema::simulation::test
