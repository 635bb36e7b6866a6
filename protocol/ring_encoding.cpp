#include "protocol/ring_encoding.hpp"

#include "protocol/bytes.hpp"
#include "protocol/slot.hpp"

namespace crema::protocol {

namespace {

constexpr uint8_t format_first = 1; // Members without addresses, one table.
constexpr uint8_t format = 3;       // 2, without buckets, was never released.

void write_table(byte_writer& out, const ring_table& table) {
  out.varint(table.size());
  for (const auto& owners : table) {
    out.varint(owners.size());
    for (auto o : owners)
      out.varint(to_index(o));
  }
}

void write_members(byte_writer& out, const std::vector<member>& members) {
  out.varint(members.size());
  for (const auto& m : members) {
    out.varint(to_index(m.id));
    out.bytes(m.name);
    out.bytes(m.host);
    out.bytes(m.zone);
    out.varint(m.weight);
    out.be16(m.peer_port);
    out.be16(m.resp_port);
    out.u64(m.directory);
    out.u8(static_cast<uint8_t>(m.state));
    out.varint(m.named);
  }
}

void write_groups(byte_writer& out, const std::vector<replica_group>& groups) {
  out.varint(groups.size());
  for (const auto& g : groups) {
    out.bytes(g.name);
    out.varint(g.nodes.size());
    for (auto n : g.nodes)
      out.varint(to_index(n));
  }
}

void write_quorums(byte_writer& out, const quorums& x) {
  out.varint(x.n);
  out.varint(x.r);
  out.varint(x.w);
}

void write_buckets(byte_writer& out, const std::vector<bucket>& buckets) {
  out.varint(buckets.size());
  for (const auto& b : buckets) {
    out.be16(b.id);
    out.be16(b.db);
    out.bytes(b.name);
    out.u8(static_cast<uint8_t>(b.mode));
    write_quorums(out, b.present());
    out.u8(static_cast<uint8_t>(b.conflict));
    out.u8(b.sloppy ? 1 : 0);
    out.u8(static_cast<uint8_t>(b.durability));
    out.u8(static_cast<uint8_t>(b.read_repair));
    out.u8(b.other ? 1 : 0);
    if (b.other)
      write_quorums(out, *b.other);
    out.varint(b.created);
  }
}

/// @returns false if it is malformed, or names somebody who is no member.
bool read_table(byte_reader& in, const ring& x, uint64_t partitions, ring_table& table) {
  for (uint64_t p = 0; p < partitions && in.ok(); ++p) {
    std::vector<node_id> owners;
    auto count = in.varint();
    for (uint64_t i = 0; i < count && in.ok(); ++i) {
      owners.push_back(static_cast<node_id>(in.varint()));
      if (x.find(owners.back()) == nullptr)
        return false;
    }
    if (owners.empty())
      return false;
    table.push_back(std::move(owners));
  }
  return in.ok();
}

/// A table that need not be there.
bool read_other_table(byte_reader& in, const ring& x, ring_table& table) {
  auto partitions = in.varint();
  return in.ok() && (partitions == 0 || partitions == x.partitions()) && read_table(in, x, partitions, table);
}

bool read_members(byte_reader& in, uint8_t its_format, std::vector<member>& members) {
  auto count = in.varint();
  for (uint64_t i = 0; i < count && in.ok(); ++i) {
    member m;
    m.id = static_cast<node_id>(in.varint());
    m.name = in.bytes();
    m.host = in.bytes();
    m.zone = in.bytes();
    m.weight = static_cast<uint32_t>(in.varint());
    if (its_format != format_first) {
      m.peer_port = in.be16();
      m.resp_port = in.be16();
      m.directory = in.u64();
      auto state = in.u8();
      if (state > static_cast<uint8_t>(member_state::gone))
        return false;
      m.state = static_cast<member_state>(state);
      m.named = in.varint();
    }
    if (!members.empty() && !(members.back().id < m.id))
      return false;
    members.push_back(std::move(m));
  }
  return in.ok();
}

void read_groups(byte_reader& in, std::vector<replica_group>& groups) {
  auto count = in.varint();
  for (uint64_t i = 0; i < count && in.ok(); ++i) {
    replica_group g;
    g.name = in.bytes();
    auto nodes = in.varint();
    for (uint64_t j = 0; j < nodes && in.ok(); ++j)
      g.nodes.push_back(static_cast<node_id>(in.varint()));
    groups.push_back(std::move(g));
  }
}

/// @returns nothing if it is malformed.
std::optional<quorums> read_quorums(byte_reader& in) {
  quorums x;
  for (auto* number : {&x.n, &x.r, &x.w}) {
    auto read = in.varint();
    if (read < 1 || read > copies_max)
      return std::nullopt;
    *number = static_cast<uint32_t>(read);
  }
  return x;
}

template <class Enum>
bool read_enum(byte_reader& in, Enum last, Enum& x) {
  auto read = in.u8();
  x = static_cast<Enum>(read);
  return read <= static_cast<uint8_t>(last);
}

bool read_buckets(byte_reader& in, std::vector<bucket>& buckets) {
  auto count = in.varint();
  for (uint64_t i = 0; i < count && in.ok(); ++i) {
    bucket b;
    b.id = in.be16();
    b.db = in.be16();
    b.name = in.bytes();
    if (!read_enum(in, bucket_mode::strong, b.mode))
      return false;
    auto present = read_quorums(in);
    if (!present || !read_enum(in, conflict_rule::siblings, b.conflict))
      return false;
    b.set(*present);
    b.sloppy = in.u8() != 0;
    if (!read_enum(in, durability::fsync, b.durability) || !read_enum(in, read_repair::foreground, b.read_repair))
      return false;
    if (in.u8() != 0 && !(b.other = read_quorums(in)))
      return false;
    b.created = in.varint();
    if (!buckets.empty() && buckets.back().id >= b.id)
      return false;
    buckets.push_back(std::move(b));
  }
  return in.ok();
}

bool read_rest(byte_reader& in, ring& x) {
  if (!read_other_table(in, x, x.next) || !read_other_table(in, x, x.former))
    return false;
  for (size_t p = 0; p < x.owners.size(); ++p)
    x.since.push_back(in.varint());
  x.origin = in.u64();
  x.next_id = static_cast<uint32_t>(in.varint());
  auto removed = in.varint();
  for (uint64_t i = 0; i < removed && in.ok(); ++i) {
    former_member m;
    m.id = static_cast<node_id>(in.varint());
    m.name = in.bytes();
    m.directory = in.u64();
    x.removed.push_back(std::move(m));
  }
  read_groups(in, x.groups);
  if (!read_buckets(in, x.buckets))
    return false;
  x.next_bucket = in.be16();
  if (in.u8() == 0)
    return in.ok();
  x.job.emplace();
  x.job->id = in.varint();
  x.job->paused = in.u8() != 0;
  auto changes = in.varint();
  for (uint64_t i = 0; i < changes && in.ok(); ++i)
    x.job->changes.emplace_back(in.bytes());
  if (!read_members(in, format, x.job->members_before))
    return false;
  read_groups(in, x.job->groups_before);
  return in.ok();
}

} // namespace

std::string encode_ring(const ring& x) {
  std::string bytes;
  byte_writer out{bytes};
  out.u8(format);
  out.varint(x.epoch);
  write_members(out, x.members);
  write_table(out, x.owners);
  write_table(out, x.next);
  write_table(out, x.former);
  for (size_t p = 0; p < x.owners.size(); ++p)
    out.varint(x.since_of(static_cast<partition_id>(p)));
  out.u64(x.origin);
  out.varint(x.next_id);
  out.varint(x.removed.size());
  for (const auto& m : x.removed) {
    out.varint(to_index(m.id));
    out.bytes(m.name);
    out.u64(m.directory);
  }
  write_groups(out, x.groups);
  write_buckets(out, x.buckets);
  out.be16(x.next_bucket);
  out.u8(x.job ? 1 : 0);
  if (!x.job)
    return bytes;
  out.varint(x.job->id);
  out.u8(x.job->paused ? 1 : 0);
  out.varint(x.job->changes.size());
  for (const auto& c : x.job->changes)
    out.bytes(c);
  write_members(out, x.job->members_before);
  write_groups(out, x.job->groups_before);
  return bytes;
}

std::optional<ring> decode_ring(std::string_view bytes) {
  byte_reader in{bytes};
  ring x;
  auto its_format = in.u8();
  if (its_format != format && its_format != format_first)
    return {};
  x.epoch = in.varint();
  if (!read_members(in, its_format, x.members) || x.members.empty())
    return {};
  auto partitions = in.varint();
  if (!in.ok() || !valid_partition_count(partitions) || !read_table(in, x, partitions, x.owners))
    return {};
  if (its_format == format_first) {
    x.since.assign(x.owners.size(), x.epoch);
    x.next_id = to_index(x.members.back().id) + 1;
  } else if (!read_rest(in, x)) {
    return {};
  }
  if (!in.finished())
    return {};
  return x;
}

} // namespace crema::protocol
