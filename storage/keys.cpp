#include "storage/keys.hpp"

#include "protocol/bytes.hpp"

namespace crema::storage {

using protocol::byte_reader;
using protocol::byte_writer;

namespace {

void write_vnode(byte_writer& out, vnode_id vnode) {
  out.be16(vnode.bucket);
  out.be16(vnode.partition);
}

vnode_id read_vnode(byte_reader& in) {
  vnode_id vnode;
  vnode.bucket = in.be16();
  vnode.partition = in.be16();
  return vnode;
}

} // namespace

void write_data_key(std::string& out, vnode_id vnode, std::string_view key) {
  out.clear();
  byte_writer writer{out};
  write_vnode(writer, vnode);
  writer.raw(key);
}

void write_log_key(std::string& out, vnode_id vnode, const dot& d) {
  out.clear();
  byte_writer writer{out};
  write_vnode(writer, vnode);
  writer.be64(d.replica);
  writer.be64(d.counter);
}

void write_grave_key(std::string& out, vnode_id vnode, timestamp due, std::string_view key) {
  out.clear();
  byte_writer writer{out};
  write_vnode(writer, vnode);
  writer.be64(due);
  writer.raw(key);
}

std::string vnode_prefix(vnode_id vnode) { return data_key(vnode, {}); }

std::string data_key(vnode_id vnode, std::string_view key) {
  std::string result;
  result.reserve(vnode_prefix_bytes + key.size());
  write_data_key(result, vnode, key);
  return result;
}

std::string log_key(vnode_id vnode, const dot& d) {
  std::string result;
  write_log_key(result, vnode, d);
  return result;
}

std::string grave_key(vnode_id vnode, timestamp due, std::string_view key) {
  std::string result;
  write_grave_key(result, vnode, due, key);
  return result;
}

namespace {

std::string named_vnode(std::string_view prefix, vnode_id vnode) {
  std::string result{prefix};
  byte_writer writer{result};
  write_vnode(writer, vnode);
  return result;
}

} // namespace

std::string clock_key(vnode_id vnode) { return named_vnode(clock_prefix, vnode); }
std::string record_key(vnode_id vnode) { return named_vnode(record_prefix, vnode); }

std::string name_key(std::string_view name) {
  std::string result{name_prefix};
  result.append(name);
  return result;
}

std::optional<log_entry_id> parse_log_key(std::string_view bytes) {
  byte_reader in{bytes};
  log_entry_id result;
  result.vnode = read_vnode(in);
  result.id.replica = in.be64();
  result.id.counter = in.be64();
  if (!in.finished())
    return std::nullopt;
  return result;
}

std::optional<grave_id> parse_grave_key(std::string_view bytes) {
  byte_reader in{bytes};
  grave_id result;
  result.vnode = read_vnode(in);
  result.due = in.be64();
  result.key = in.rest();
  if (!in.finished())
    return std::nullopt;
  return result;
}

std::optional<vnode_id> parse_vnode_key(std::string_view prefix, std::string_view bytes) {
  if (bytes.substr(0, prefix.size()) != prefix)
    return std::nullopt;
  byte_reader in{bytes.substr(prefix.size())};
  auto vnode = read_vnode(in);
  if (!in.finished())
    return std::nullopt;
  return vnode;
}

std::optional<std::string> prefix_end(std::string prefix) {
  while (!prefix.empty()) {
    auto last = static_cast<unsigned char>(prefix.back());
    if (last != 0xFF) {
      prefix.back() = static_cast<char>(last + 1);
      return prefix;
    }
    prefix.pop_back();
  }
  return std::nullopt;
}

std::string vnode_end(vnode_id vnode) {
  // The very last vnode has no next one; no key is longer than this, also not one of `graves`.
  constexpr size_t longest = vnode_prefix_bytes + sizeof(timestamp) + key_bytes_max;
  return prefix_end(vnode_prefix(vnode)).value_or(std::string(longest + 1, '\xff'));
}

} // namespace crema::storage
