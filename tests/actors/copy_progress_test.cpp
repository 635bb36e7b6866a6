#include "messages/copy_progress.hpp"

#include <gtest/gtest.h>

namespace crema {
namespace {

TEST(CopyProgress, ComesBackAsItWas) {
  copy_progress x;
  x.from = node_id{3};
  x.next.stage = fill_stage::log;
  x.next.source = ~0ULL;
  x.next.after_key = "key";
  x.next.after_replica = 4;
  x.next.after_counter = 500;
  x.next.clock = "clock";
  x.next.trimmed = "trimmed";
  auto bytes = encode(x);
  auto y = decode_copy_progress(bytes);
  ASSERT_TRUE(y);
  EXPECT_EQ(std::tie(y->from, y->next.stage, y->next.source, y->next.after_key, y->next.after_replica,
                     y->next.after_counter, y->next.clock, y->next.trimmed),
            std::tie(x.from, x.next.stage, x.next.source, x.next.after_key, x.next.after_replica, x.next.after_counter,
                     x.next.clock, x.next.trimmed));
  for (size_t size = 0; size < bytes.size(); ++size)
    EXPECT_FALSE(decode_copy_progress(std::string_view{bytes}.substr(0, size))) << size;
  EXPECT_FALSE(decode_copy_progress(bytes + "x"));
  bytes[1] = 4;
  EXPECT_FALSE(decode_copy_progress(bytes)) << "no such stage";
}

} // namespace
} // namespace crema
