#include "gateway/resp/writer.hpp"

#include <gtest/gtest.h>

#include <cstdint>
#include <limits>
#include <string>

namespace crema::gateway::resp {
namespace {

template <class F>
std::string written(bool resp3, F f) {
  std::string out;
  writer w(out, resp3);
  f(w);
  return out;
}

TEST(Writer, WritesTheTypesThatBothVersionsShare) {
  for (bool resp3 : {false, true}) {
    EXPECT_EQ(written(resp3, [](writer& w) { w.simple("PONG"); }), "+PONG\r\n");
    EXPECT_EQ(written(resp3, [](writer& w) { w.ok(); }), "+OK\r\n");
    EXPECT_EQ(written(resp3, [](writer& w) { w.error("ERR no"); }), "-ERR no\r\n");
    EXPECT_EQ(written(resp3, [](writer& w) { w.bulk(std::string_view("a\r\n\0", 4)); }),
              std::string("$4\r\na\r\n\0\r\n", 10));
    EXPECT_EQ(written(resp3, [](writer& w) { w.bulk(""); }), "$0\r\n\r\n");
    EXPECT_EQ(written(resp3, [](writer& w) { w.array(2); }), "*2\r\n");
    EXPECT_EQ(written(resp3, [](writer& w) { w.integer(-2); }), ":-2\r\n");
    EXPECT_EQ(written(resp3, [](writer& w) { w.integer(std::numeric_limits<int64_t>::min()); }),
              ":-9223372036854775808\r\n");
  }
}

TEST(Writer, WritesWhatOnlyResp3Has) {
  EXPECT_EQ(written(true, [](writer& w) { w.null(); }), "_\r\n");
  EXPECT_EQ(written(true, [](writer& w) { w.null_array(); }), "_\r\n");
  EXPECT_EQ(written(true, [](writer& w) { w.map(2); }), "%2\r\n");
  EXPECT_EQ(written(true, [](writer& w) { w.set(3); }), "~3\r\n");
  EXPECT_EQ(written(true, [](writer& w) { w.verbatim("hi"); }), "=6\r\ntxt:hi\r\n");
}

TEST(Writer, WritesTheNearestThingInResp2) {
  EXPECT_EQ(written(false, [](writer& w) { w.null(); }), "$-1\r\n");
  EXPECT_EQ(written(false, [](writer& w) { w.null_array(); }), "*-1\r\n");
  EXPECT_EQ(written(false, [](writer& w) { w.map(2); }), "*4\r\n");
  EXPECT_EQ(written(false, [](writer& w) { w.set(3); }), "*3\r\n");
  EXPECT_EQ(written(false, [](writer& w) { w.verbatim("hi"); }), "$2\r\nhi\r\n");
}

TEST(Writer, KeepsAnErrorOnOneLine) {
  EXPECT_EQ(written(false, [](writer& w) { w.error("ERR a\r\n+OK\nb"); }), "-ERR a  +OK b\r\n");
}

TEST(Writer, AppendsToWhatIsThere) {
  std::string out = "+x\r\n";
  writer(out).integer(7);
  EXPECT_EQ(out, "+x\r\n:7\r\n");
}

} // namespace
} // namespace crema::gateway::resp
