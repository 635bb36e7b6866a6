#include "protocol/vnode_record.hpp"

#include <gtest/gtest.h>

namespace crema::protocol {
namespace {

vnode_record example() {
  vnode_record x;
  x.role = vnode_role::temporary;
  x.state = vnode_state::complete;
  x.self = ~0ULL;
  x.counter = 300;
  x.copying = true;
  x.trimmed.add(dot_range{7, 1, 12});
  x.since_ms = 1'700'000'000'000;
  x.copied = "progress";
  x.remade = 9;
  return x;
}

TEST(VnodeRecord, ComesBackAsItWas) {
  EXPECT_EQ(decode_vnode_record(encode(example())), example());
  EXPECT_EQ(decode_vnode_record(encode(vnode_record{})), vnode_record{});
}

TEST(VnodeRecord, HasTheDocumentedBytes) {
  vnode_record x;
  x.role = vnode_role::none;
  x.state = vnode_state::catching_up;
  x.in_second_place = true;
  x.self = 0x0102030405060708;
  x.counter = 5;
  x.since_ms = 6;
  x.former = true;
  x.epoch = 7;
  x.copied = "c";
  x.remade = 8;
  std::string bytes("\x05\x02\x03\x05\x08\x07\x06\x05\x04\x03\x02\x01\x05\x00\x06\x07\x01\x63\x08", 19);
  EXPECT_EQ(encode(x), bytes);
  x.copied.clear();
  x.remade = 0;
  bytes.resize(16);
  bytes.front() = 4;
  EXPECT_EQ(encode(x), bytes);
  x.former = false;
  x.epoch = 0;
  bytes[3] = 1;
  bytes.pop_back();
  bytes.front() = 3;
  EXPECT_EQ(decode_vnode_record(bytes), x);
  bytes.pop_back();
  bytes.front() = 2;
  x.since_ms = 0;
  EXPECT_EQ(decode_vnode_record(bytes), x);
}

TEST(VnodeRecord, IsRefusedWhenItIsCutLongerOrUnknown) {
  auto good = encode(example());
  for (size_t size = 0; size < good.size(); ++size)
    EXPECT_FALSE(decode_vnode_record(good.substr(0, size))) << size;
  EXPECT_FALSE(decode_vnode_record(good + "x"));
  for (size_t at : {0, 1, 2, 3}) {
    auto bad = good;
    bad[at] = 9;
    EXPECT_FALSE(decode_vnode_record(bad)) << at;
  }
}

} // namespace
} // namespace crema::protocol
