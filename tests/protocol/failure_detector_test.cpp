#include "protocol/failure_detector.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <random>
#include <vector>

using namespace crema;
using namespace crema::protocol;
using namespace std::chrono_literals;

namespace {

constexpr node_id a{1}, b{2};

/// A detector in virtual time, ticked every heartbeat interval, with peers that beat when they should.
class observer {
public:
  explicit observer(failure_detector::options opts = {}) : options_(opts), detector(opts) {}

  void link(node_id id) { note(detector.linked(id, now)); }
  void unlink(node_id id) { note(detector.unlinked(id, "connection reset", now)); }
  void hear(node_id id) { note(detector.heard(id, now)); }
  void tick() { note(detector.tick(now)); }

  /// Lets `duration` pass; `beating` are heard after every interval.
  void run(monotonic duration, const std::vector<node_id>& beating) {
    for (auto end = now + duration; now < end;) {
      now += options_.heartbeat_interval;
      for (auto id : beating)
        hear(id);
      tick();
    }
  }
  /// An observer with these peers linked and up for a while.
  static observer with(const std::vector<node_id>& peers) {
    observer w;
    for (auto id : peers)
      w.link(id);
    w.run(60s, peers);
    w.changes.clear();
    return w;
  }
  void note(const std::vector<failure_detector::change>& more) {
    changes.insert(changes.end(), more.begin(), more.end());
  }

private:
  failure_detector::options options_;

public:
  failure_detector detector;
  monotonic now = 1000s;
  std::vector<failure_detector::change> changes;
};

} // namespace

TEST(FailureDetector, KnowsNobodyAtFirst) {
  observer w;
  w.run(10s, {});
  EXPECT_FALSE(w.detector.up(a));
  EXPECT_TRUE(w.changes.empty());
}

TEST(FailureDetector, CallsAPeerUpAtTheFirstHeartbeatAfterTheLink) {
  observer w;
  w.link(a);
  EXPECT_FALSE(w.detector.up(a));
  w.hear(a);
  EXPECT_TRUE(w.detector.up(a));
  ASSERT_EQ(w.changes.size(), 1U);
  EXPECT_TRUE(w.changes[0].node == a && w.changes[0].up && !w.changes[0].why.empty());
}

TEST(FailureDetector, DoesNotCallAPeerUpThatHasALinkButIsNeverHeard) {
  observer w;
  w.link(a);
  w.run(60s, {});
  EXPECT_FALSE(w.detector.up(a));
  EXPECT_TRUE(w.changes.empty());
}

TEST(FailureDetector, DoesNotBelieveAHeartbeatWithoutALink) {
  observer w;
  w.hear(a);
  EXPECT_FALSE(w.detector.up(a));
}

TEST(FailureDetector, CallsAPeerDownAtOnceWhenTheLinkIsLost) {
  auto w = observer::with({a, b});
  w.unlink(a);
  EXPECT_FALSE(w.detector.up(a));
  EXPECT_TRUE(w.detector.up(b));
  ASSERT_EQ(w.changes.size(), 1U);
  EXPECT_EQ(w.changes[0].why, "connection reset");
  w.hear(a); // A straggler.
  w.unlink(a);
  EXPECT_FALSE(w.detector.up(a));
  EXPECT_EQ(w.changes.size(), 1U);
}

TEST(FailureDetector, CallsASilentPeerDownAfterTheLeastAndBeforeTheMostSilence) {
  auto w = observer::with({a, b});
  w.run(750ms, {b});
  EXPECT_TRUE(w.detector.up(a));
  w.run(1500ms, {b}); // 2250 ms: the most is 2 s, and an interval until the next tick.
  EXPECT_FALSE(w.detector.up(a));
  EXPECT_TRUE(w.detector.up(b));
  ASSERT_EQ(w.changes.size(), 1U);
  EXPECT_TRUE(w.changes[0].node == a && !w.changes[0].up && !w.changes[0].why.empty());
}

TEST(FailureDetector, CallsAPeerDownThatFallsSilentRightAfterItsFirstHeartbeat) {
  observer w;
  w.link(a);
  w.hear(a);
  w.run(2250ms, {});
  EXPECT_FALSE(w.detector.up(a));
}

TEST(FailureDetector, CallsAPeerUpAgainAtTheFirstHeartbeatAfterSilence) {
  auto w = observer::with({a});
  w.run(30s, {});
  EXPECT_FALSE(w.detector.up(a));
  w.hear(a);
  EXPECT_TRUE(w.detector.up(a));
  // And the long silence does not make it slow to notice the next one.
  w.run(5s, {a});
  w.run(1500ms, {});
  EXPECT_FALSE(w.detector.up(a));
  EXPECT_EQ(w.changes.size(), 3U);
}

TEST(FailureDetector, CallsAPeerUpAgainOnANewLink) {
  auto w = observer::with({a});
  w.unlink(a);
  w.run(5s, {});
  w.link(a);
  EXPECT_FALSE(w.detector.up(a));
  w.hear(a);
  EXPECT_TRUE(w.detector.up(a));
}

TEST(FailureDetector, LeavesAPeerUpThatIsLinkedTwice) {
  auto w = observer::with({a});
  w.link(a);
  EXPECT_TRUE(w.detector.up(a));
  EXPECT_TRUE(w.changes.empty());
}

TEST(FailureDetector, SuspectsMoreTheLongerTheSilence) {
  auto w = observer::with({a});
  double before = w.detector.phi(a, w.now);
  EXPECT_LT(before, 0.5);
  for (auto silence = 50ms; silence < 5s; silence += 50ms) {
    double phi = w.detector.phi(a, w.now + silence);
    EXPECT_GE(phi, before);
    before = phi;
  }
  EXPECT_GT(before, 8);
  EXPECT_TRUE(std::isinf(w.detector.phi(b, w.now)));
}

TEST(FailureDetector, DoesNotHoldItsOwnPauseAgainstItsPeers) {
  auto w = observer::with({a, b});
  w.now += 10s;
  w.tick();
  EXPECT_TRUE(w.detector.up(a));
  w.run(5s, {a, b});
  EXPECT_TRUE(w.changes.empty());
}

TEST(FailureDetector, DoesNotHoldItsOwnPauseAgainstItsPeersWhenTheirHeartbeatsComeBeforeTheTick) {
  auto w = observer::with({a, b});
  w.now += 10s;
  for (int i = 0; i < 40; ++i) // All that had piled up.
    w.hear(a);
  w.tick();
  EXPECT_TRUE(w.detector.up(b));
  w.run(5s, {a, b});
  EXPECT_TRUE(w.changes.empty());
  w.run(1500ms, {b}); // The pause has not entered the rhythm either.
  EXPECT_FALSE(w.detector.up(a));
}

TEST(FailureDetector, StillFindsAPeerThatDiedDuringThePause) {
  auto w = observer::with({a, b});
  w.now += 10s;
  w.tick();
  w.run(2250ms, {b});
  EXPECT_FALSE(w.detector.up(a));
  EXPECT_TRUE(w.detector.up(b));
}

TEST(FailureDetector, CountsTheSilenceFromBeforeThePause) {
  auto w = observer::with({a});
  w.run(500ms, {});
  w.now += 10s;
  w.tick();
  EXPECT_TRUE(w.detector.up(a));
  w.run(1250ms, {});
  EXPECT_FALSE(w.detector.up(a));
}

TEST(FailureDetector, DoesNotCountTheTimeBeforeAHeartbeatAsMissed) {
  auto w = observer::with({a});
  w.now += 400ms;
  w.hear(a);
  double just_heard = w.detector.phi(a, w.now);
  w.now += 10s;
  w.tick();
  EXPECT_EQ(w.detector.phi(a, w.now), just_heard); // Not less: nobody is heard in the future.
}

TEST(FailureDetector, IsNotMisledByOtherTrafficBetweenTheHeartbeats) {
  failure_detector::options opts;
  opts.silence_min = 250ms;
  observer w(opts);
  w.link(a);
  for (int i = 0; i < 100000; ++i) {
    w.now += 50us;
    w.hear(a);
    if (i % 5000 == 0)
      w.tick();
  }
  w.run(750ms, {}); // Two heartbeats late: that is no reason yet.
  EXPECT_TRUE(w.detector.up(a));
}

TEST(FailureDetector, DoesNotFlapWhenHeartbeatsJitter) {
  for (uint32_t seed = 0; seed < 50; ++seed) {
    SCOPED_TRACE("seed=" + std::to_string(seed));
    std::mt19937 random(seed);
    observer w;
    w.link(a);
    w.hear(a);
    w.changes.clear();
    // Sent every 250 ms, each up to 600 ms late, in order; for 10 minutes.
    monotonic arrives = w.now;
    for (int beat = 1; beat < 2400; ++beat) {
      arrives = std::max<monotonic>(arrives, 1000s + beat * 250ms + std::chrono::milliseconds(random() % 600));
      for (; w.now + 250ms <= arrives; w.tick())
        w.now += 250ms;
      w.note(w.detector.heard(a, arrives));
    }
    EXPECT_TRUE(w.changes.empty());
  }
}

TEST(FailureDetector, AdaptsToAPeerThatIsSlow) {
  failure_detector::options opts;
  opts.silence_max = 10s;
  observer w(opts);
  w.link(a);
  auto beats_every = [&](monotonic interval) {
    w.hear(a);
    for (auto end = w.now + interval; w.now < end; w.tick())
      w.now += 250ms;
  };
  for (auto interval = 250ms; interval <= 1500ms; interval += 250ms)
    for (int i = 0; i < 50; ++i)
      beats_every(interval);
  w.hear(a);
  w.changes.clear();
  for (int i = 0; i < 100; ++i)
    beats_every(1500ms);
  EXPECT_TRUE(w.changes.empty());
}

TEST(FailureDetector, FindsASilentPeerInTimeWhateverItsRhythmWas) {
  for (uint32_t seed = 0; seed < 200; ++seed) {
    SCOPED_TRACE("seed=" + std::to_string(seed));
    std::mt19937 random(seed);
    observer w;
    w.link(a);
    w.hear(a);
    monotonic last = w.now;
    for (uint32_t i = random() % 300; i > 0; --i) {
      w.now += std::chrono::milliseconds(1 + random() % 450);
      if (random() % 3 == 0) {
        w.hear(a);
        last = w.now;
      }
      w.tick();
    }
    w.hear(a);
    last = w.now;
    while (w.detector.up(a)) {
      w.now += 250ms;
      w.tick();
      ASSERT_LE(w.now - last, 2250ms);
    }
    ASSERT_GE(w.now - last, 1000ms);
  }
}
