#include "storage/wal_check.hpp"

#include "protocol/bytes.hpp"

#include <rocksdb/write_batch.h>

namespace crema::storage {

rocksdb::WalFilter::WalProcessingOption wal_check::LogRecordFound(unsigned long long, const std::string& file,
                                                                  const rocksdb::WriteBatch& batch,
                                                                  rocksdb::WriteBatch*, bool*) {
  // The record's header (rocksdb/db/write_batch.cc): fixed64 sequence number, fixed32 count; little-endian.
  protocol::byte_reader header{batch.Data()};
  auto sequence = header.u64();
  uint64_t count = 0;
  for (int shift = 0; shift < 32; shift += 8)
    count |= uint64_t{header.u8()} << shift;
  if (!header.ok() || (next_ && sequence != *next_))
    return WalProcessingOption::kCorruptedRecord;
  next_ = sequence + count;
  file_ = file;
  return WalProcessingOption::kContinueProcessing;
}

} // namespace crema::storage
