// The merge operator of the `data` column family: objects join. RocksDB calls it when it reads a key, flushes and
// compacts, in any grouping of neighbours; join is associative, so every grouping gives the same bytes.
#pragma once

#include <rocksdb/merge_operator.h>

#include <memory>

namespace crema::storage {

std::shared_ptr<rocksdb::MergeOperator> make_object_merge();

} // namespace crema::storage
