// For scripts/bug-bank: CREMA_BUG names the bug with which a test program runs. Only in builds that have them.
#include "protocol/planted.hpp"

#include <cstdlib>
#include <iostream>

namespace {

const bool planted = [] {
  const auto* name = std::getenv("CREMA_BUG");
  if (name == nullptr || crema::protocol::plant(name))
    return name != nullptr;
  std::cerr << "CREMA_BUG: there is no bug " << name << '\n';
  std::exit(2);
}();

} // namespace
