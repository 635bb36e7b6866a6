// What the clients of a run did and saw: every operation with its invocation, its completion and its outcome, in
// virtual time. Values are unique and name their write, so a value found anywhere leads back to the operation that
// wrote it.
//
//   c3-17            the 17th write of client 3
//   c3-18|c1-4,c3-17 one that grew a set: its own element, and those it had read
#pragma once

#include "apps/simulation/world.hpp"

#include <limits>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace crema::simulation {

enum class outcome : uint8_t {
  pending, ///< No reply yet.
  ok,
  not_done, ///< Refused: the cluster says that nothing was written.
  unknown,  ///< Timed out, or an owner was lost: a write may have happened, or may yet.
  lost,     ///< The connection was lost: as unknown.
};

struct operation {
  uint64_t id = 0;
  size_t client = 0;
  size_t node = 0;
  client_request request; ///< As submitted: with value, context and levels.
  bool must_succeed = false;
  sim_time invoked{}, completed{};
  uint64_t wall_invoked = 0, wall_completed = 0; ///< The node's wall clock then, milliseconds.
  outcome result = outcome::pending;
  errc status = errc::ok;
  std::string error;
  std::vector<client_value> values;
  protocol::dot_clock context; ///< Of the reply.
  bool existed = false;        ///< As the reply to a write that reads first said.

  bool is_read() const { return request.what == client_request::kind::get; }
  bool acknowledged() const { return result == outcome::ok && !is_read(); }
};

class history {
public:
  static constexpr size_t none = std::numeric_limits<size_t>::max();

  /// @returns the index of the new operation.
  size_t invoke(operation op);
  void complete(size_t index, const client_reply& reply, sim_time now, uint64_t wall_ms);
  void lose(size_t index, sim_time now, uint64_t wall_ms);
  /// For hand-made histories.
  void add(operation op);

  const std::vector<operation>& operations() const { return operations_; }
  const operation& operator[](size_t index) const { return operations_[index]; }
  size_t acknowledged() const { return acknowledged_; }
  /// The put that wrote `value`, or `none`.
  size_t writer_of(std::string_view value) const;

private:
  std::vector<operation> operations_;
  std::unordered_map<std::string, size_t> writers_; // By the name in the value.
  size_t acknowledged_ = 0;
};

/// What `status` says of a request that got it.
outcome outcome_of(errc status, bool read);

/// "c3-18" of "c3-18|c1-4,c3-17".
std::string_view write_name(std::string_view value);
/// "c3-18", "c1-4", "c3-17" of the same.
std::vector<std::string_view> elements_of(std::string_view value);

/// "12.345678 s"
std::string show(sim_time at);
/// "client 3 wrote c3-17 to loose/r1 through n2 (W quorum) at 12.345678 s, acknowledged at 12.350000 s"
std::string describe(const operation& op, const config::cluster_config& cluster);

} // namespace crema::simulation
