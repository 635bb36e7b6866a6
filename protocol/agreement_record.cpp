#include "protocol/agreement_record.hpp"

#include "protocol/canonical.hpp"

namespace crema::protocol {

namespace {
constexpr uint8_t format = 1;

void write(byte_writer& out, const ballot& x) {
  out.varint(x.round);
  out.u64(x.source);
}

/// Fails the reader unless it is none, or one that somebody can have used.
ballot read_ballot(byte_reader& in) {
  ballot x{canonical_varint(in), 0};
  x.source = in.u64();
  if (x.round > agreement_number_max || (x.round == 0) != (x.source == 0))
    in.fail();
  return x;
}
} // namespace

std::string encode(const agreement_record& x) {
  std::string bytes;
  byte_writer out{bytes};
  out.u8(format);
  out.varint(x.number);
  out.bytes(x.value);
  write(out, x.cast.promised);
  write(out, x.cast.accepted);
  out.bytes(x.cast.value);
  out.varint(x.round);
  return bytes;
}

std::optional<agreement_record> decode_agreement_record(std::string_view bytes) {
  byte_reader in{bytes};
  auto text = [&in] { return in.raw(canonical_varint(in)); };
  agreement_record x;
  auto version = in.u8();
  x.number = canonical_varint(in);
  x.value = text();
  x.cast.number = x.number + 1;
  x.cast.promised = read_ballot(in);
  x.cast.accepted = read_ballot(in);
  x.cast.value = text();
  x.round = canonical_varint(in);
  if (!in.finished() || version != format || x.number == 0 || x.number > agreement_number_max ||
      x.round > agreement_number_max || x.value.size() > agreed_value_bytes_max ||
      x.cast.value.size() > agreed_value_bytes_max || x.cast.promised < x.cast.accepted ||
      (x.cast.accepted.round == 0 && !x.cast.value.empty()))
    return std::nullopt;
  return x;
}

} // namespace crema::protocol
