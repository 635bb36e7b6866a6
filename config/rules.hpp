// What is checked beyond single fields. `parse.cpp` reads fields and reports what is wrong with each; a field that was
// wrong is empty or 0 afterwards, and the rules below leave it alone.
#pragma once

#include "config/cluster_config.hpp"

#include <optional>
#include <string>
#include <vector>

namespace crema::config {

/// @returns what is wrong with the name of a cluster, node or bucket, or "".
std::string check_name(const std::string& name);
inline const char* const name_allowed = "1 to 64 letters, digits, '.', '_' or '-'";

/// @returns what is wrong with an address to bind to, or "".
std::string check_host(const std::string& host);
inline const char* const host_allowed = "a host name or an IPv4 or IPv6 address, without a port";

/// The db of a bucket whose db was wrong.
constexpr bucket_id no_db = 0xffff;

/// n, r and w as the file gives them, valid numbers or absent; 0: wrong, reported already.
struct given_quorum {
  std::optional<uint32_t> n, r, w;
};
/// Fills in what is absent and checks n against the nodes, r and w against n.
void resolve_quorum(const given_quorum& given, size_t nodes, const std::string& bucket_path, bucket_config& bucket,
                    std::vector<problem>& problems);

/// Names, ports and directories that two nodes, or names and dbs that two buckets, would share.
void check_clashes(const cluster_config& config, std::vector<problem>& problems);

} // namespace crema::config
