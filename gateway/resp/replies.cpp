#include "gateway/resp/replies.hpp"

#include "protocol/context.hpp"

#include <charconv>

namespace crema::gateway::resp {

namespace {

// One MGET collects no more than this.
constexpr size_t values_bytes_max = size_t{64} * 1024 * 1024;

int64_t ttl_ms(const client_value& value, uint64_t now_ms) {
  if (value.expires_at == 0)
    return -1;
  return value.expires_at > now_ms ? static_cast<int64_t>(value.expires_at - now_ms) : 0;
}

int64_t number_in(const client_reply& reply) {
  int64_t number = 0;
  if (!reply.values.empty()) {
    const auto& text = reply.values.front().value;
    std::from_chars(text.data(), text.data() + text.size(), number);
  }
  return number;
}

} // namespace

std::string error_line(errc status, std::string_view cause, bool write) {
  auto text = [&](std::string_view code, std::string_view otherwise) {
    return std::string(code).append(" ").append(cause.empty() ? otherwise : cause);
  };
  switch (status) {
  case errc::timeout:
  case errc::unknown_outcome: {
    auto result = text("TIMEOUT", "no quorum of answers before the deadline");
    if ((write || status == errc::unknown_outcome) && result.find("outcome unknown") == std::string::npos)
      result += "; outcome unknown"; // The write may have happened.
    return result;
  }
  case errc::no_quorum:
  case errc::incomplete:
    return text("NOQUORUM", "too few owners can be reached");
  case errc::busy:
    return text("BUSY", "too many requests in flight, try again later");
  case errc::too_big:
    return text("TOOBIG", "longer than allowed");
  case errc::invalid_context:
    return cause.empty() ? "ERR invalid context" : text("ERR invalid context:", "");
  case errc::too_many_siblings:
    return text("ERR", "too many siblings: read the key with KV.GET and write with its CONTEXT");
  case errc::ok:
  case errc::storage_failure:
  case errc::stale_epoch:
  case errc::not_owner:
  case errc::clock_skew:
  case errc::unknown_version:
  case errc::shutting_down:
  case errc::behind:
  case errc::late:
  case errc::removed:
    break;
  }
  return text("ERR", to_string(status));
}

namespace {

void write_fields(writer& out, const explanation::fields& fields) {
  for (const auto& [name, value] : fields) {
    out.bulk(name);
    out.bulk(value);
  }
}

void write_rows(writer& out, std::string_view name, const std::vector<explanation::fields>& rows) {
  out.bulk(name);
  out.array(rows.size());
  for (const auto& fields : rows) {
    out.map(fields.size());
    write_fields(out, fields);
  }
}

void write_explanation(writer& out, const explanation& x) {
  out.map(x.summary.size() + (x.exchanges.empty() ? 1 : 2));
  write_fields(out, x.summary);
  write_rows(out, "nodes", x.nodes);
  if (!x.exchanges.empty())
    write_rows(out, "exchanges", x.exchanges);
}

void write_own_reply(writer& out, const pending_command& command, const client_reply& reply, uint64_t now_ms) {
  if (reply.status != errc::ok)
    return out.error(error_line(reply.status, reply.error, command.write));
  const auto* newest = reply.values.empty() ? nullptr : &reply.values.front();
  switch (command.how) {
  case shape::ready:
  case shape::values: // Only for several keys.
    break;
  case shape::set_ok:
    return out.ok();
  case shape::value:
    return newest != nullptr ? out.bulk(newest->value) : out.null();
  case shape::length:
    return out.integer(newest != nullptr ? static_cast<int64_t>(newest->value.size()) : 0);
  case shape::ttl_s:
    // Rounded as Redis rounds.
    return out.integer(newest == nullptr ? -2 : newest->expires_at == 0 ? -1 : (ttl_ms(*newest, now_ms) + 500) / 1000);
  case shape::ttl_ms:
    return out.integer(newest == nullptr ? -2 : ttl_ms(*newest, now_ms));
  case shape::type:
    return out.simple(newest != nullptr ? "string" : "none");
  case shape::existed:
    return out.integer(reply.existed ? 1 : 0);
  case shape::found:
    return out.integer(newest != nullptr ? 1 : 0);
  case shape::kv_get:
    out.array(2);
    out.bulk(protocol::encode_context(command.where, reply.context));
    out.array(reply.values.size());
    for (const auto& x : reply.values)
      out.bulk(x.value);
    return;
  case shape::kv_write:
    return out.bulk(protocol::encode_context(command.where, reply.context));
  case shape::explain:
    return write_explanation(out, reply.explained ? *reply.explained : explanation{});
  case shape::text:
    return out.bulk(newest != nullptr ? newest->value : std::string_view());
  case shape::integer:
    return out.integer(number_in(reply));
  }
  assert(!"a reply without a shape");
}

} // namespace

void write_reply(writer& out, const pending_command& command, const client_reply& reply, uint64_t now_ms) {
  if (command.explained)
    out.array(2);
  write_own_reply(out, command, reply, now_ms);
  if (command.explained)
    write_explanation(out, reply.explained ? *reply.explained : explanation{});
}

void collect(wide_command& wide, shape how, size_t item, client_reply& reply) {
  --wide.outstanding;
  if (reply.status != errc::ok) {
    if (item < wide.failed_item) {
      wide.failed_item = item;
      wide.failure = reply.status;
      wide.error = std::move(reply.error);
    }
    return;
  }
  ++wide.succeeded;
  if (how == shape::existed)
    wide.count += reply.existed ? 1 : 0;
  else if (how == shape::found)
    wide.count += reply.values.empty() ? 0 : 1;
  else if (how == shape::values && !reply.values.empty() && wide.failure == errc::ok) {
    wide.value_bytes += reply.values.front().value.size();
    wide.values[item] = std::move(reply.values.front().value);
    if (wide.value_bytes > values_bytes_max) {
      wide.failed_item = item;
      wide.failure = errc::too_big;
      wide.error = "the values are longer than " + std::to_string(values_bytes_max) + " bytes together";
    }
  }
  if (wide.failure != errc::ok)
    wide.values.clear(); // Of no more use.
}

void write_wide_reply(writer& out, const pending_command& command) {
  const auto& wide = *command.wide;
  if (wide.failure != errc::ok) {
    auto text = error_line(wide.failure, wide.error, command.write);
    if (command.write && wide.items.size() > 1)
      text += "; done for " + std::to_string(wide.succeeded) + " of " + std::to_string(wide.items.size()) + " keys";
    return out.error(text);
  }
  if (command.how == shape::set_ok)
    return out.ok();
  if (command.how != shape::values)
    return out.integer(static_cast<int64_t>(wide.count));
  out.array(wide.values.size());
  for (const auto& value : wide.values) {
    if (value)
      out.bulk(*value);
    else
      out.null();
  }
}

} // namespace crema::gateway::resp
