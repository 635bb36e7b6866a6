#include "storage/object_cache.hpp"

#include <gtest/gtest.h>

#include <string>

namespace crema::storage {

namespace {

std::string object_in(object_cache& cache, std::string_view key) {
  const auto* found = cache.find(key);
  return found == nullptr ? "no entry" : std::string{found->object()};
}

TEST(ObjectCache, ReturnsTheLastObjectThatWasSet) {
  object_cache cache{1 << 20};
  cache.set("a", "1");
  cache.set("b", "2");
  cache.set("a", "a longer object than before");
  EXPECT_EQ(object_in(cache, "a"), "a longer object than before");
  EXPECT_EQ(object_in(cache, "b"), "2");
  EXPECT_EQ(object_in(cache, "c"), "no entry");
}

TEST(ObjectCache, KnowsThatThereIsNoObject) {
  object_cache cache{1 << 20};
  cache.set("a", "");
  EXPECT_EQ(object_in(cache, "a"), "");
}

TEST(ObjectCache, ForgetsWhatItIsTold) {
  object_cache cache{1 << 20};
  cache.set("a", "1");
  cache.set("b", "2");
  cache.forget("a");
  cache.forget("never there");
  EXPECT_EQ(object_in(cache, "a"), "no entry");
  EXPECT_EQ(cache.entries(), 1U);
  cache.clear();
  EXPECT_EQ(cache.entries(), 0U);
  EXPECT_EQ(cache.bytes(), 0U);
}

TEST(ObjectCache, StaysWithinItsBound) {
  constexpr size_t bytes_max = 100'000;
  object_cache cache{bytes_max};
  for (int i = 0; i < 10'000; ++i) {
    cache.set("key " + std::to_string(i % 3'000), std::string(static_cast<size_t>(i % 500), 'x'));
    ASSERT_LE(cache.bytes(), bytes_max);
  }
  EXPECT_GT(cache.entries(), 50U);
}

TEST(ObjectCache, KeepsWhatIsUsed) {
  object_cache cache{100'000};
  cache.set("hot", "1");
  for (int i = 0; i < 10'000; ++i) {
    cache.set("key " + std::to_string(i), std::string(100, 'x'));
    ASSERT_EQ(object_in(cache, "hot"), "1") << i;
  }
  EXPECT_EQ(object_in(cache, "key 0"), "no entry");
}

TEST(ObjectCache, TakesNoObjectThatWouldFillIt) {
  object_cache cache{10'000};
  cache.set("a", "1");
  cache.set("a", std::string(9'000, 'x'));
  EXPECT_EQ(object_in(cache, "a"), "no entry"); // And not the one before.
  cache.set("b", std::string(500, 'x'));
  EXPECT_EQ(object_in(cache, "b").size(), 500U);
}

TEST(ObjectCache, OfNoBytesKeepsNothing) {
  object_cache cache{0};
  cache.set("a", "1");
  EXPECT_EQ(object_in(cache, "a"), "no entry");
}

} // namespace

} // namespace crema::storage
