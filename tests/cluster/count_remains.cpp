// What is left in the database of a node that does not run: prints, as JSON, how many objects, log entries and notes of
// removed keys ("graves") its vnodes hold, and how many dots their clocks lack below some that they have.
//
//   count_remains DATABASE
#include "storage/rocksdb_store.hpp"

#include <cstdlib>
#include <iostream>
#include <string>

namespace {

using namespace crema;

struct remains {
  size_t objects = 0, logged = 0, graves = 0, gaps = 0;
};

std::string count(const storage::store& store, remains& found) {
  auto clocks = store.load_clocks();
  if (!clocks.what.ok())
    return clocks.what.error;
  for (const auto& [place, clock] : clocks.clocks) {
    auto counting = [](size_t& into) { return [&into](auto&&...) { return ++into > 0; }; };
    auto what = store.scan(place, {}, counting(found.objects));
    if (what.ok())
      what = store.scan_log(place, clock.ranges(), counting(found.logged));
    if (what.ok())
      what = store.scan_graves(place, UINT64_MAX, counting(found.graves));
    if (!what.ok())
      return what.error;
    found.gaps += clock.gaps().size();
  }
  return {};
}

} // namespace

int main(int argc, char** argv) {
  auto opened = storage::open_rocksdb(argc == 2 ? argv[1] : "", {}, false);
  remains found;
  auto error = opened.opened ? count(*opened.opened, found) : opened.what.error;
  if (!error.empty()) {
    std::cerr << "count_remains: " << error << "\n";
    return EXIT_FAILURE;
  }
  std::cout << "{\"objects\": " << found.objects << ", \"logged\": " << found.logged << ", \"graves\": " << found.graves
            << ", \"gaps\": " << found.gaps << "}\n";
  return EXIT_SUCCESS;
}
