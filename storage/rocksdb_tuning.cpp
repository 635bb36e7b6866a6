#include "storage/rocksdb_tuning.hpp"

#include "storage/keys.hpp"
#include "storage/object_merge.hpp"
#include "storage/run_memtable.hpp"

#include <rocksdb/cache.h>
#include <rocksdb/convenience.h>
#include <rocksdb/filter_policy.h>
#include <rocksdb/table.h>

#include <algorithm>

namespace crema::storage {

namespace {

constexpr size_t small_memtable_bytes = 1 << 20;
constexpr size_t log_run_bytes = log_key_bytes - sizeof(uint64_t);

rocksdb::CompressionType best_compression() {
  auto supported = rocksdb::GetSupportedCompressions();
  auto found = std::find(supported.begin(), supported.end(), rocksdb::kLZ4Compression);
  return found == supported.end() ? rocksdb::kNoCompression : rocksdb::kLZ4Compression;
}

rocksdb::BlockBasedTableOptions table_options(const std::shared_ptr<rocksdb::Cache>& cache) {
  rocksdb::BlockBasedTableOptions result;
  result.block_cache = cache;
  // Index and filter blocks count against the cache: otherwise memory grows with the data, not with the configuration.
  result.cache_index_and_filter_blocks = true;
  result.cache_index_and_filter_blocks_with_high_priority = true;
  result.pin_l0_filter_and_index_blocks_in_cache = true;
  // In pieces: the index of a file of 64 MB has some 400 KB, and who scans a page of a vnode would read all of it.
  result.index_type = rocksdb::BlockBasedTableOptions::kTwoLevelIndexSearch;
  result.checksum = rocksdb::kXXH3;
  result.format_version = 5;
  result.block_size = 4 << 10;
  return result;
}

rocksdb::ColumnFamilyOptions common(size_t memtable_bytes, const rocksdb::BlockBasedTableOptions& table) {
  rocksdb::ColumnFamilyOptions result;
  result.write_buffer_size = memtable_bytes;
  result.max_write_buffer_number = 2;
  result.arena_block_size = std::min<size_t>(memtable_bytes / 8, 256 << 10);
  result.force_consistency_checks = true;
  result.compression = best_compression();
  result.table_factory.reset(rocksdb::NewBlockBasedTableFactory(table));
  return result;
}

} // namespace

rocksdb::DBOptions database_options(const rocksdb_options& options) {
  rocksdb::DBOptions result;
  result.create_if_missing = false;
  result.paranoid_checks = true;
  result.recycle_log_file_num = 0;
  // Bounds the replay at start: without it the small column families, which rarely fill a memtable, would keep old
  // write-ahead logs alive.
  result.max_total_wal_size = std::max<size_t>(4 * options.memtable_bytes, 8 << 20);
  result.max_open_files = 256;
  result.max_background_jobs = std::max(2, options.background_threads);
  result.max_manifest_file_size = 16 << 20;
  result.bytes_per_sync = 1 << 20;
  // One writer thread per shard: what concurrent memtable writes cost would buy nothing.
  result.allow_concurrent_memtable_write = false;
  result.enable_write_thread_adaptive_yield = false;
  result.info_log_level = rocksdb::WARN_LEVEL;
  result.keep_log_file_num = 3;
  result.max_log_file_size = 1 << 20;
  result.stats_dump_period_sec = 0;
  result.stats_persist_period_sec = 0;
  return result;
}

std::vector<rocksdb::ColumnFamilyDescriptor> column_families(const rocksdb_options& options) {
  constexpr int cache_shard_bits = 3;
  auto cache = rocksdb::NewLRUCache(options.cache_bytes, cache_shard_bits);
  auto plain = table_options(cache);
  auto filtered = plain;
  filtered.filter_policy.reset(rocksdb::NewBloomFilterPolicy(10));
  filtered.partition_filters = true;

  auto data = common(options.memtable_bytes, filtered);
  data.merge_operator = make_object_merge();
  // How many operands a read joins is bounded above the store (cached_store.hpp): max_successive_merges would search
  // the memtable at every write.
  data.max_successive_merges = 0;
  // Most registers are put as values, at which a read stops; siblings are merge operands, for which it goes on through
  // every file that has the key. So files are not left to pile up.
  data.level0_file_num_compaction_trigger = 4;
  data.max_bytes_for_level_base = 4 * options.memtable_bytes;
  data.memtable_factory = make_run_memtables(vnode_prefix_bytes);
  data.memtable_whole_key_filtering = true;
  data.memtable_prefix_bloom_size_ratio = 0.05;

  // No filter: it is only read in ranges. Entries of one vnode and replica id come in order.
  auto log = common(options.memtable_bytes, plain);
  log.memtable_factory = make_run_memtables(log_run_bytes);
  auto small = common(small_memtable_bytes, plain);
  std::vector<rocksdb::ColumnFamilyDescriptor> result(cf_count);
  result[cf_default] = {rocksdb::kDefaultColumnFamilyName, small};
  result[cf_data] = {"data", data};
  result[cf_log] = {"log", log};
  result[cf_meta] = {"meta", small};
  result[cf_graves] = {"graves", small};
  return result;
}

} // namespace crema::storage
