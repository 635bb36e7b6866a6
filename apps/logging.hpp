// The node's log: spdlog to standard error or a file, as text or as one JSON object a line, always with the node's
// name.
#pragma once

#include "config/cluster_config.hpp"

#include <spdlog/logger.h>

#include <memory>
#include <string>

namespace crema {

/// @returns null, and why, if the log file cannot be opened.
std::shared_ptr<spdlog::logger> make_log(const config::cluster_config& config, const std::string& node,
                                         std::string& error);

/// @returns false if there is no such level (trace, debug, info, warn, error, off).
bool set_log_level(spdlog::logger& log, const std::string& level);
std::string log_level(const spdlog::logger& log);

} // namespace crema
