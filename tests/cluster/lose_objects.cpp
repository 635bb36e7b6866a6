// What a disk does when it loses something behind the back of RocksDB: removes objects from the database of a node that
// does not run, and leaves the clocks as they are.
//
//   lose_objects DATABASE BUCKET PARTITIONS EVERY      every EVERYth object of the bucket; prints how many
#include "storage/rocksdb_store.hpp"

#include <cstdlib>
#include <iostream>
#include <string>
#include <vector>

namespace {

using namespace crema;

int fail(const std::string& why) {
  std::cerr << "lose_objects: " << why << "\n";
  return EXIT_FAILURE;
}

int lose(const std::string& path, bucket_id bucket, uint32_t partitions, size_t every) {
  auto opened = storage::open_rocksdb(path, {}, false);
  if (!opened.opened)
    return fail(opened.what.error);
  auto& store = *opened.opened;
  auto batch = store.make_batch();
  size_t seen = 0, lost = 0;
  for (uint32_t p = 0; p < partitions; ++p) {
    vnode_id id{bucket, static_cast<partition_id>(p)};
    for (auto place : {id, other_place(id)}) {
      auto scanned = store.scan(place, {}, [&](std::string_view key, std::string_view) {
        if (++seen % every == 0) {
          batch->erase(place, key);
          ++lost;
        }
        return true;
      });
      if (!scanned.ok())
        return fail(scanned.error);
    }
  }
  auto done = store.write(*batch);
  if (done.ok())
    done = store.sync();
  if (!done.ok())
    return fail(done.error);
  std::cout << lost << "\n";
  return EXIT_SUCCESS;
}

} // namespace

int main(int argc, char** argv) {
  if (argc != 5)
    return fail("DATABASE BUCKET PARTITIONS EVERY");
  auto number = [&](int i) { return static_cast<uint32_t>(std::strtoul(argv[i], nullptr, 10)); };
  if (number(4) == 0)
    return fail("EVERY counts from 1");
  return lose(argv[1], static_cast<bucket_id>(number(2)), number(3), number(4));
}
