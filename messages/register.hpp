// The one list of everything that may travel between nodes. A type that is missing here arrives as an empty message, so
// tests/actors/messages_test.cpp sends each of them through a serializer and back.
#pragma once

#include "messages/peer.hpp"
#include "messages/replica.hpp"
#include "messages/sync.hpp"

#include <caf/all.hpp>

#include <optional>

CAF_BEGIN_TYPE_ID_BLOCK(crema, caf::first_custom_type_id)
CAF_ADD_TYPE_ID(crema, (crema::replica_batch))
CAF_ADD_TYPE_ID(crema, (crema::answer_batch))
CAF_ADD_TYPE_ID(crema, (crema::clock_request))
CAF_ADD_TYPE_ID(crema, (crema::clock_reply))
CAF_ADD_TYPE_ID(crema, (crema::page_request))
CAF_ADD_TYPE_ID(crema, (crema::key_state))
CAF_ADD_TYPE_ID(crema, (crema::page_message))
CAF_ADD_TYPE_ID(crema, (crema::page_applied))
CAF_ADD_TYPE_ID(crema, (crema::fill_request))
CAF_ADD_TYPE_ID(crema, (crema::stored_key))
CAF_ADD_TYPE_ID(crema, (crema::logged_dot))
CAF_ADD_TYPE_ID(crema, (crema::fill_page))
CAF_ADD_TYPE_ID(crema, (crema::vnode_state_note))
CAF_ADD_TYPE_ID(crema, (crema::sync_state))
CAF_ADD_TYPE_ID(crema, (crema::sync_resend))
CAF_ADD_TYPE_ID(crema, (crema::sync_hurry))
CAF_ADD_TYPE_ID(crema, (crema::count_request))
CAF_ADD_TYPE_ID(crema, (crema::count_reply))
CAF_ADD_TYPE_ID(crema, (crema::scrub_request))
CAF_ADD_TYPE_ID(crema, (crema::listed_key))
CAF_ADD_TYPE_ID(crema, (crema::scrub_found))
CAF_ADD_TYPE_ID(crema, (crema::scrub_read))
CAF_ADD_TYPE_ID(crema, (crema::scrub_states))
CAF_ADD_TYPE_ID(crema, (crema::key_repair))
CAF_ADD_TYPE_ID(crema, (crema::key_repairs))
CAF_ADD_TYPE_ID(crema, (crema::keys_repaired))
CAF_ADD_TYPE_ID(crema, (crema::hello))
CAF_ADD_TYPE_ID(crema, (crema::peer_handles))
CAF_ADD_TYPE_ID(crema, (crema::welcome))
CAF_ADD_TYPE_ID(crema, (crema::heartbeat))
CAF_ADD_TYPE_ID(crema, (crema::ring_message))
CAF_ADD_TYPE_ID(crema, (crema::join_request))
CAF_ADD_TYPE_ID(crema, (crema::join_answer))
CAF_END_TYPE_ID_BLOCK(crema)

namespace crema {

/// Adds every message type to an actor system's configuration.
void register_messages(caf::actor_system_config& config);

/// The version a message from node to node is written in; nothing: it is none of those (an error, say).
std::optional<uint16_t> version_of(const caf::message& message);

} // namespace crema
