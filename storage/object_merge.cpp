#include "storage/object_merge.hpp"

#include "protocol/object.hpp"

#include <string_view>

namespace crema::storage {

namespace {

class object_merge final : public rocksdb::MergeOperator {
public:
  /// On disk (OPTIONS file): RocksDB warns when a database is opened under another name.
  const char* Name() const override { return "crema.object_merge"; }

  bool FullMergeV2(const MergeOperationInput& in, MergeOperationOutput* out) const override {
    std::string joined;
    if (in.existing_value != nullptr)
      joined.assign(in.existing_value->data(), in.existing_value->size());
    for (const auto& operand : in.operand_list)
      if (!join_into(joined, operand.ToStringView()))
        return false;
    out->new_value = std::move(joined);
    return true;
  }

  bool PartialMerge(const rocksdb::Slice& /*key*/, const rocksdb::Slice& left, const rocksdb::Slice& right,
                    std::string* result, rocksdb::Logger* /*logger*/) const override {
    auto joined = protocol::join_encoded(left.ToStringView(), right.ToStringView());
    if (!joined)
      return false;
    *result = std::move(*joined);
    return true;
  }

private:
  /// Empty `joined` means "no object" to join_encoded: so even a single operand is checked before it is returned.
  static bool join_into(std::string& joined, std::string_view operand) {
    auto result = protocol::join_encoded(joined, operand);
    if (!result)
      return false;
    joined = std::move(*result);
    return true;
  }
};

} // namespace

std::shared_ptr<rocksdb::MergeOperator> make_object_merge() { return std::make_shared<object_merge>(); }

} // namespace crema::storage
