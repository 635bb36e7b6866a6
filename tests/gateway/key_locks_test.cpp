#include "gateway/resp/key_locks.hpp"

#include <gtest/gtest.h>
#include <rapidcheck.h>

#include <map>

namespace crema::gateway::resp {
namespace {

TEST(KeyLocks, LetReadersShareAKeyAndAWriterHaveItAlone) {
  key_locks locks;
  EXPECT_FALSE(locks.conflicts(1, true));
  locks.acquire(1, false);
  EXPECT_FALSE(locks.conflicts(1, false));
  EXPECT_TRUE(locks.conflicts(1, true));
  EXPECT_FALSE(locks.conflicts(2, true));
  locks.release(1, false);
  locks.acquire(1, true);
  EXPECT_TRUE(locks.conflicts(1, false));
  EXPECT_TRUE(locks.conflicts(1, true));
  locks.release(1, true);
  EXPECT_TRUE(locks.empty());
}

TEST(KeyLocks, AgreeWithASimpleModel) {
  EXPECT_TRUE(rc::check([] {
    struct holders {
      int readers = 0, writers = 0;
    };
    key_locks locks;
    std::map<uint64_t, holders> model;
    // Few distinct values, some of them equal in the bits that choose a place: long probe sequences, many gaps.
    auto steps = *rc::gen::container<std::vector<std::tuple<int, int, bool>>>(
        rc::gen::tuple(rc::gen::inRange(0, 40), rc::gen::inRange(0, 3), rc::gen::arbitrary<bool>()));
    for (auto [which, action, write] : steps) {
      auto hash = static_cast<uint64_t>(which % 2 == 0 ? which : which << 20);
      auto& m = model[hash];
      if (action < 2) {
        locks.acquire(hash, write);
        ++(write ? m.writers : m.readers);
      } else if ((write ? m.writers : m.readers) > 0) {
        locks.release(hash, write);
        --(write ? m.writers : m.readers);
      }
      bool none = true;
      for (const auto& [h, x] : model) {
        RC_ASSERT(locks.conflicts(h, false) == (x.writers > 0));
        RC_ASSERT(locks.conflicts(h, true) == (x.writers > 0 || x.readers > 0));
        none = none && x.readers == 0 && x.writers == 0;
      }
      RC_ASSERT(locks.empty() == none);
    }
  }));
}

} // namespace
} // namespace crema::gateway::resp
