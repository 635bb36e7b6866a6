// What the nodes of an agreement say to each other.
#pragma once

#include "protocol/agreed_register.hpp"

#include <cstdint>
#include <string>

namespace crema::protocol {

struct agreement_message {
  /// On the wire: append only.
  enum class kind : uint8_t {
    prepare, ///< To a voter: promise to take part in no attempt at `number` below this one.
    propose, ///< To a voter: accept `value` for `number`.
    promise, ///< The answer to prepare, or why not.
    accept,  ///< The answer to propose, or why not.
    decided, ///< `value` is that of `number`, for ever; it is the newest that the sender knows.
    want,    ///< Tell me what is newer than `number`.
  };
  kind what = kind::want;
  uint64_t number = 0;
  ballot attempt;         ///< prepare to accept.
  std::string value;      ///< propose, decided.
  vote_answer answer;     ///< promise, accept.
  uint64_t directory = 0; ///< promise, accept: the data directory of the voter.
};

} // namespace crema::protocol
