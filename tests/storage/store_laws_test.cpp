// Two stores that take the same batches hold the same.
#include "storage/memory_store.hpp"
#include "storage/rocksdb_store.hpp"
#include "tests/storage/store_contents.hpp"
#include "tests/storage/temporary_directory.hpp"

#include <gtest/gtest.h>
#include <rapidcheck.h>

#include <algorithm>
#include <limits>

namespace crema::storage::testing {

namespace {

/// Two of them with both their places.
const std::vector<vnode_id> vnodes{{0, 0}, {0, 0x8000}, {0, 255}, {0, 256}, {1, 0}, {0xFFFF, 0x7FFF}, {0xFFFF, 0xFFFF}};
const std::vector<replica_id> replicas{1, 255, 256, ~0ULL};
const std::vector<std::string> names{"", "a", "b"};

/// Mostly few keys, so that they meet; with zero bytes, 0xFF and prefixes of each other.
rc::Gen<std::string> keys() {
  static const std::vector<std::string> chosen{"k",        std::string("k\0", 2), "k\xff", std::string(1, '\0'),
                                               "\xff\xff", std::string(1000, 'x')};
  return rc::gen::oneOf(rc::gen::elementOf(chosen), rc::gen::elementOf(chosen),
                        rc::gen::nonEmpty(rc::gen::arbitrary<std::string>()));
}

rc::Gen<dot> dots() {
  return rc::gen::construct<dot>(rc::gen::elementOf(replicas), rc::gen::oneOf(rc::gen::inRange<uint64_t>(1, 20),
                                                                              rc::gen::inRange<uint64_t>(250, 260)));
}

protocol::dot_clock clock_of(const std::vector<dot>& known) {
  protocol::dot_clock result;
  for (const auto& d : known)
    result.add(d);
  return result;
}

/// Vnodes of even partitions hold registers, the others siblings: one kind per bucket is the rule of the layers above.
std::string object_for(vnode_id vnode, const dot& d, const std::vector<dot>& seen) {
  auto value = std::to_string(d.replica) + ":" + std::to_string(d.counter);
  return vnode.partition % 2 == 0 ? lww(d.counter, value, d.replica) : sibling(d, value, clock_of(seen));
}

/// The same random effects, on one of these vnodes, into each batch.
void fill(const std::vector<write_batch*>& batches, const std::vector<vnode_id>& among = vnodes) {
  auto vnode = *rc::gen::elementOf(among);
  auto key = *keys();
  auto d = *dots();
  auto known = *rc::gen::container<std::vector<dot>>(dots());
  auto name = *rc::gen::elementOf(names);
  auto other = *dots();
  auto due = *rc::gen::element<timestamp>(0, 1, 2, 3, std::numeric_limits<timestamp>::max());
  auto what = *rc::gen::inRange(0, 16);
  for (auto* batch : batches) {
    if (what < 5) {
      batch->merge(vnode, key, object_for(vnode, d, known));
      batch->log(vnode, d, key);
    } else if (what < 7) {
      batch->trim_log(vnode, {d.replica, d.counter, other.counter}); // Often no range at all.
    } else if (what < 8) {
      batch->save_clock(vnode, clock_of(known));
    } else if (what < 9) {
      batch->put_meta(name, key);
    } else if (what < 10) {
      batch->log(vnode, d, key);
    } else if (what < 11) {
      batch->replace(vnode, key, object_for(vnode, d, known));
    } else if (what < 12) {
      batch->erase(vnode, key);
    } else if (what < 13) {
      batch->bury(vnode, due, key);
    } else if (what < 14) {
      batch->unbury(vnode, due, key);
    } else if (what < 15) {
      batch->save_record(vnode, key);
    } else {
      batch->drop_vnode(vnode);
    }
  }
}

std::vector<std::optional<std::string>> get_many(const store& s,
                                                 const std::vector<std::pair<vnode_id, std::string>>& asked) {
  std::vector<store::key_ref> refs;
  refs.reserve(asked.size());
  for (const auto& [vnode, key] : asked)
    refs.push_back({vnode, key});
  std::vector<std::optional<std::string>> result;
  for (auto& read : s.get_many(refs)) {
    RC_ASSERT(read.what.ok());
    result.push_back(std::move(read.object));
  }
  return result;
}

TEST(StoreLaws, RocksdbAndMemoryHoldTheSameAfterAnyBatches) {
  EXPECT_TRUE(rc::check("same batches, same contents", [] {
    temporary_directory directory;
    rocksdb_options small;
    small.memtable_bytes = 128 << 10;
    auto on_disk = open_rocksdb(directory / "db", small, true).opened;
    RC_ASSERT(on_disk != nullptr);
    auto disk = make_memory_disk();
    auto in_memory = open_memory(disk);
    auto rounds = *rc::gen::inRange(1, 20);
    for (int round = 0; round < rounds; ++round) {
      auto first = on_disk->make_batch();
      auto second = in_memory->make_batch();
      auto size = *rc::gen::inRange(0, 12);
      for (int i = 0; i < size; ++i)
        fill({first.get(), second.get()});
      RC_ASSERT(on_disk->write(*first).ok());
      RC_ASSERT(in_memory->write(*second).ok());
      if (*rc::gen::inRange(0, 8) == 0) { // Replaying flushes: the next reads come from files.
        on_disk.reset();
        on_disk = open_rocksdb(directory / "db", small, false).opened;
        RC_ASSERT(on_disk != nullptr);
        in_memory = open_memory(disk);
      }
    }
    RC_ASSERT(contents_of(*on_disk, vnodes, replicas, names) == contents_of(*in_memory, vnodes, replicas, names));

    auto vnode = *rc::gen::elementOf(vnodes);
    auto after = *rc::gen::oneOf(keys(), rc::gen::just(std::string{}));
    RC_ASSERT(all_of(*on_disk, vnode, after) == all_of(*in_memory, vnode, after));
    auto first = *rc::gen::inRange<uint64_t>(0, 300);
    protocol::dot_range range{*rc::gen::elementOf(replicas), first, first + *rc::gen::inRange<uint64_t>(0, 300)};
    RC_ASSERT(log_of(*on_disk, vnode, range) == log_of(*in_memory, vnode, range));
    auto asked = *rc::gen::container<std::vector<std::pair<vnode_id, std::string>>>(
        rc::gen::pair(rc::gen::elementOf(vnodes), keys()));
    auto many = get_many(*on_disk, asked);
    RC_ASSERT(many == get_many(*in_memory, asked));
    for (size_t i = 0; i < asked.size(); ++i)
      RC_ASSERT(many[i] == on_disk->get(asked[i].first, asked[i].second).object);
  }));
}

/// What a store holds of one vnode alone.
contents contents_of_one(const store& s, vnode_id vnode) {
  auto result = contents_of(s, {vnode}, replicas, {});
  auto others = [&](const auto& entry) { return entry.first != vnode; };
  result.clocks.erase(std::remove_if(result.clocks.begin(), result.clocks.end(), others), result.clocks.end());
  result.records.erase(std::remove_if(result.records.begin(), result.records.end(), others), result.records.end());
  return result;
}

void write_at_random(store& s, vnode_id vnode) {
  auto batch = s.make_batch();
  auto size = *rc::gen::inRange(0, 12);
  for (int i = 0; i < size; ++i)
    fill({batch.get()}, {vnode});
  RC_ASSERT(s.write(*batch).ok());
}

void drop(store& s, const std::vector<vnode_id>& gone) {
  auto batch = s.make_batch();
  for (auto vnode : gone)
    batch->drop_vnode(vnode);
  RC_ASSERT(s.write(*batch).ok());
}

void keeps_two_places_apart(store& s, vnode_id place) {
  auto other = other_place(place);
  drop(s, {place, other}); // What an earlier round left.
  write_at_random(s, place);
  auto before = contents_of_one(s, place);
  write_at_random(s, other);
  RC_ASSERT(contents_of_one(s, place) == before);
  drop(s, {other});
  RC_ASSERT(contents_of_one(s, place) == before);
  auto left = contents_of_one(s, other);
  left.records.clear(); // Nothing else survives.
  RC_ASSERT(left == contents_of_one(*open_memory(make_memory_disk()), other));
}

TEST(StoreLaws, NothingInOnePlaceOfAVnodeTouchesTheOther) {
  const std::vector<vnode_id> places{{0, 0},      {0, 0x8000},      {0, 0x7FFF},      {0, 0xFFFF},     {1, 0},
                                     {0xFFFF, 0}, {0xFFFF, 0x8000}, {0xFFFF, 0x7FFF}, {0xFFFF, 0xFFFF}};
  temporary_directory directory;
  auto on_disk = open_rocksdb(directory / "db", {}, true).opened; // Once: it takes longer than all of the rest.
  ASSERT_NE(on_disk, nullptr);
  auto in_memory = open_memory(make_memory_disk());
  EXPECT_TRUE(rc::check("two places", [&] {
    auto place = *rc::gen::elementOf(places);
    keeps_two_places_apart(*on_disk, place);
    keeps_two_places_apart(*in_memory, place);
  }));
}

} // namespace

} // namespace crema::storage::testing
