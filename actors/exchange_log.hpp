// What KV.EXPLAIN tells of one request: who was asked for what, what came back, and when. Kept only for requests that
// ask for it.
#pragma once

#include "messages/client.hpp"
#include "messages/replica.hpp"
#include "protocol/failure_detector.hpp"

#include <string>
#include <vector>

namespace crema {

class exchange_log {
public:
  explicit exchange_log(protocol::monotonic begun) : begun_(begun) {}

  void asked(const std::string& node, const replica_op& op, bool again, protocol::monotonic now);
  void answered(const std::string& node, const replica_answer& a, protocol::monotonic now);
  void lost(const std::string& node, protocol::monotonic now);
  void repairing(const std::string& stale, const std::string& source, protocol::monotonic now);
  void repaired(const std::string& stale, const std::string& source, bool done, protocol::monotonic now);

  std::vector<explanation::fields> rows() const;
  std::string micros_since_begin(protocol::monotonic now) const;

private:
  struct exchange {
    std::string node;
    uint64_t request; ///< As on the wire; 0: a repair.
    std::string what;
    bool open = true;
    explanation::fields fields;
  };
  exchange* find(const std::string& node, uint64_t request, const std::string& what = {});

  protocol::monotonic begun_;
  std::vector<exchange> exchanges_;
};

} // namespace crema
