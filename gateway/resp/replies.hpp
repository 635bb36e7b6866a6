// What the backend answered, as the client expects to read it.
#pragma once

#include "gateway/resp/pending.hpp"
#include "gateway/resp/writer.hpp"

namespace crema::gateway::resp {

/// The error line of a failed request: "TIMEOUT ...; outcome unknown", "NOQUORUM needed 2, reachable 1: n2 down", ...
std::string error_line(errc status, std::string_view cause, bool write);

/// Writes the reply to a command on one key, and how it came about, if that was asked for.
void write_reply(writer& out, const pending_command& command, const client_reply& reply, uint64_t now_ms);

/// Takes in the reply to one item of a command on several keys, and its value out of it.
void collect(wide_command& wide, shape how, size_t item, client_reply& reply);
/// Writes the reply once all items have been answered.
void write_wide_reply(writer& out, const pending_command& command);

} // namespace crema::gateway::resp
