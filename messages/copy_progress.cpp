#include "messages/copy_progress.hpp"

#include "protocol/bytes.hpp"

namespace crema {

bool copy_progress::expects(const fill_page& page) const {
  auto brings = page.stage == fill_stage::begin  ? true
                : page.stage == fill_stage::data ? !page.keys.empty()
                                                 : !page.dots.empty();
  return page.stage == next.stage && (brings || page.done);
}

void copy_progress::advance(const fill_page& page) {
  switch (page.stage) {
  case fill_stage::begin:
    next.source = page.source;
    next.clock = page.clock;
    next.trimmed = page.trimmed;
    next.stage = fill_stage::data;
    break;
  case fill_stage::data:
    if (page.done)
      next.stage = fill_stage::log;
    else
      next.after_key = page.keys.back().key;
    break;
  case fill_stage::log:
    if (page.done) {
      next.stage = fill_stage::rest;
    } else {
      next.after_replica = page.dots.back().replica;
      next.after_counter = page.dots.back().counter;
    }
    break;
  case fill_stage::rest:
    next.clock = page.clock;
    break;
  }
}

std::string encode(const copy_progress& x) {
  std::string bytes;
  protocol::byte_writer out{bytes};
  out.varint(to_index(x.from));
  out.u8(static_cast<uint8_t>(x.next.stage));
  out.u64(x.next.source);
  out.bytes(x.next.after_key);
  out.u64(x.next.after_replica);
  out.varint(x.next.after_counter);
  out.bytes(x.next.clock);
  out.bytes(x.next.trimmed);
  return bytes;
}

std::optional<copy_progress> decode_copy_progress(std::string_view bytes) {
  protocol::byte_reader in{bytes};
  copy_progress x;
  auto from = in.varint();
  x.from = static_cast<node_id>(from);
  auto stage = in.u8();
  x.next.stage = static_cast<fill_stage>(stage);
  x.next.source = in.u64();
  x.next.after_key = in.bytes();
  x.next.after_replica = in.u64();
  x.next.after_counter = in.varint();
  x.next.clock = in.bytes();
  x.next.trimmed = in.bytes();
  if (!in.finished() || from > UINT32_MAX || stage > static_cast<uint8_t>(fill_stage::rest))
    return std::nullopt;
  return x;
}

} // namespace crema
