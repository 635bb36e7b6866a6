// Takes the place of CAF's own check of BASP headers (libcaf_io calls it through the dynamic linker, so the definition
// in the program wins). CAF 0.17.6 lets any peer announce a payload of 4 GiB, which it then allocates, and dereferences
// the payload of a handshake that has none: a few arbitrary bytes sent to the peer port would kill or swell a node.
// Called before anything else is done with a header. Linked in by caf_links.cpp (basp_guard_linked).
#include "actors/caf_links.hpp"
#include "protocol/types.hpp"

#include <caf/io/basp/header.hpp>
#include <caf/io/basp/message_type.hpp>

namespace crema {

namespace {
constexpr uint32_t handshake_bytes_min = 16, handshake_bytes_max = 64 * 1024;
// Messages are cut at 512 KiB (docs/adr/0004) unless one object is longer, and objects are bounded.
constexpr uint32_t payload_bytes_max = static_cast<uint32_t>(2 * object_bytes_max);
} // namespace

void basp_guard_linked() {}

} // namespace crema

namespace caf::io::basp {

// The rules of libcaf_io 0.17.6, with bounds on the payload.
bool valid(const header& hdr) {
  if (hdr.payload_len > crema::payload_bytes_max)
    return false;
  auto handshake = hdr.payload_len >= crema::handshake_bytes_min && hdr.payload_len <= crema::handshake_bytes_max;
  switch (hdr.operation) {
  case message_type::server_handshake:
    return hdr.operation_data != 0 && handshake;
  case message_type::client_handshake:
    return hdr.source_actor == 0 && hdr.dest_actor == 0 && handshake;
  case message_type::direct_message:
  case message_type::routed_message:
    return hdr.dest_actor != 0 && hdr.payload_len > 0;
  case message_type::monitor_message:
    return hdr.payload_len > 0 && hdr.operation_data == 0;
  case message_type::down_message:
    return hdr.source_actor != 0 && hdr.dest_actor == 0 && hdr.payload_len > 0 && hdr.operation_data == 0;
  case message_type::heartbeat:
    return hdr.payload_len == 0 && hdr.source_actor == 0 && hdr.dest_actor == 0 && hdr.operation_data == 0;
  default:
    return false;
  }
}

} // namespace caf::io::basp
