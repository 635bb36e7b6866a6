// crema ctl plan, apply, commit, cancel, pause, resume, jobs, ring, bucket
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
void add_bucket_command(const add_ctl_command& add, const std::shared_ptr<ctl_options>& options);

/// KV.TOPOLOGY with these words, and its answer. @returns nothing, and says why, if it was not carried out.
std::optional<answer> topology_order_at(const ctl_options& options, const std::vector<std::string>& words);
/// Commits the last plan. Nodes that have just been started for the first time cannot vote yet: they are waited for.
std::optional<answer> commit_at(const ctl_options& options);
/// Changes in words as JSON for PLAN. @returns nothing, and says why, if they are not understood.
std::optional<std::string> changes_in_words(const std::vector<std::string>& words);

} // namespace crema::cli
