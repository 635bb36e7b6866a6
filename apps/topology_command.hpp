// crema ctl plan, commit, cancel, pause, resume, jobs, ring
#pragma once

#include "apps/ctl_client.hpp"

#include <CLI/CLI.hpp>

#include <functional>
#include <memory>

namespace crema::cli {

/// Adds a command with the options that all of `crema ctl` have.
using add_ctl_command =
    std::function<CLI::App*(const char* name, const char* what, int (*run)(const ctl_options& options))>;

void add_topology_commands(const add_ctl_command& add, const std::shared_ptr<ctl_options>& options);

} // namespace crema::cli
