#pragma once

#include "apps/local_node.hpp"

#include <cstdint>
#include <string>

namespace crema::cli {

struct cluster_options {
  std::string file; ///< May be empty for down and status: then the pid files say which nodes there are.
  std::string dir = "crema-run";
  uint32_t timeout_s = 30;
  bool force = false;
};

int cluster_up(const cluster_options& options);
int cluster_down(const cluster_options& options);
int cluster_status(const cluster_options& options);

/// The file as nodes have it on their command line.
std::string absolute_file(const std::string& file);

} // namespace crema::cli
