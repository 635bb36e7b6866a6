// crema: the one binary. Each family of subcommands has a file of its own; run_node.cpp is the node itself.
#include "apps/commands.hpp"

#include <cstdio>
#include <exception>
#include <iostream>

namespace {

using namespace crema::cli;

/// The line named no command, or one that the parser does not know, which it counts as none; or an option is missing.
int explain_missing(CLI::App& app, const CLI::RequiredError& error) {
  CLI::App* at = &app;
  std::string words = app.get_name();
  for (; !at->get_subcommands().empty(); words += " " + at->get_name())
    at = at->get_subcommands().front();
  if (at->get_subcommands([](CLI::App*) { return true; }).empty())
    app.exit(error);
  else if (auto unknown = app.remaining(true); !unknown.empty())
    std::cerr << "crema: unknown command \"" << unknown.front() << "\"; '" << words << " --help' lists the commands\n";
  else
    std::cerr << app.help(); // Of the deepest command that was named.
  return exit_usage;
}

int parse_and_run(int argc, char** argv) {
  CLI::App app{"crema: a distributed key-value store", "crema"};
  app.set_version_flag("--version", "crema " CREMA_VERSION);
  app.require_subcommand(1);
  app.footer(
      "Example:\n  crema cluster up config/three-nodes.json && crema put greeting hello && crema get greeting\n\n"
      "Exit codes: 0 done, 1 failed or key not found, 2 wrong usage or configuration.\n"
      "'crema COMMAND --help' tells more about a command.");
  action chosen;
  add_node_command(app, chosen);
  add_cluster_commands(app, chosen);
  add_config_commands(app, chosen);
  add_ctl_commands(app, chosen);
  add_rebuild_command(app, chosen);
  add_kv_commands(app, chosen);
  add_sim_command(app, chosen);
  auto* version = app.add_subcommand("version", "Print the version");
  version->footer("Example:\n  crema version");
  version->callback([&] {
    chosen = [] {
      std::cout << "crema " CREMA_VERSION "\n";
      return exit_ok;
    };
  });

  try {
    app.parse(argc, argv);
  } catch (const CLI::RequiredError& error) {
    return explain_missing(app, error);
  } catch (const CLI::ParseError& error) {
    // Help and version are "errors" with code 0.
    return app.exit(error) == 0 ? exit_ok : exit_usage;
  }
  return chosen();
}

} // namespace

int main(int argc, char** argv) {
  int code = exit_failure;
  try {
    code = parse_and_run(argc, argv);
  } catch (const std::exception& error) {
    std::cerr << "crema: " << error.what() << "\n";
  }
  // A full disk behind standard output must not look like success.
  std::cout.flush();
  if (code == exit_ok && (!std::cout || std::fflush(stdout) != 0)) {
    std::cerr << "crema: cannot write to standard output\n";
    code = exit_failure;
  }
  return code;
}
