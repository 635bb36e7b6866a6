// crema get, put, del
#include "apps/commands.hpp"
#include "apps/resp_client.hpp"
#include "protocol/types.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <iostream>
#include <iterator>
#include <memory>

namespace crema::cli {

namespace {

struct kv_options {
  std::string key, value;
  std::string where = "127.0.0.1:6401";
  std::string bucket = "0";
  std::string context, context_out;
  std::string quorum; ///< -r or -w.
  std::string owners; ///< --pr or --pw.
  uint64_t ttl_ms = 0;
  uint32_t timeout_ms = 10000;
  bool all = false, raw = false, verbose = false;
};

/// Connects, selects the bucket and sends the command.
std::optional<resp_reply> ask(const kv_options& options, const std::vector<std::string>& words) {
  resp_client client{std::chrono::milliseconds{options.timeout_ms}};
  // The address was checked with the command line.
  if (!client.connect(parse_address(options.where).value_or(address{}))) {
    failed(client.error());
    return std::nullopt;
  }
  for (const auto& command : {std::vector<std::string>{"SELECT", options.bucket}, words}) {
    auto reply = client.call(command);
    if (!reply || reply->is_error()) {
      failed(reply ? reply->text : client.error());
      return std::nullopt;
    }
    if (command[0] != "SELECT")
      return reply;
  }
  return std::nullopt;
}

/// The token itself, or @FILE: what --context-out wrote.
bool read_context(std::string& context) {
  if (context.rfind('@', 0) != 0)
    return true;
  std::ifstream in{context.substr(1)};
  std::string token;
  if (!std::getline(in, token)) {
    failed("cannot read a context from " + context.substr(1));
    return false;
  }
  context = token;
  return true;
}

int show_context(const kv_options& options, const std::string& context) {
  if (options.verbose)
    std::cerr << "context: " << context << "\n";
  if (options.context_out.empty())
    return exit_ok;
  std::ofstream out{options.context_out, std::ios::trunc};
  out << context << "\n";
  out.close();
  return out ? exit_ok : failed("cannot write the context to " + options.context_out);
}

int get(const kv_options& options) {
  std::vector<std::string> words{"KV.GET", options.key};
  if (!options.quorum.empty())
    words.insert(words.end(), {"R", options.quorum});
  if (!options.owners.empty())
    words.insert(words.end(), {"PR", options.owners});
  auto reply = ask(options, words);
  if (!reply)
    return exit_failure;
  using kind = resp_reply::kind;
  if (reply->what != kind::array || reply->elements.size() != 2 || reply->elements[1].what != kind::array)
    return failed("the server's reply to KV.GET is not [context, values]");
  // A key that does not exist has a context too.
  auto shown = show_context(options, reply->elements[0].text);
  const auto& values = reply->elements[1].elements;
  if (values.empty())
    return failed(fmt::format("key not found: {}", options.key));
  auto count = options.all ? values.size() : 1;
  for (size_t i = 0; i < count; ++i)
    std::cout << values[i].text << (options.raw ? "" : "\n");
  if (count < values.size())
    std::cerr << fmt::format("crema: the key has {} concurrent values; this is the newest (--all shows them all)\n",
                             values.size());
  return shown;
}

int write(kv_options& options, std::vector<std::string> words) {
  if (!read_context(options.context))
    return exit_failure;
  if (!options.context.empty())
    words.insert(words.end(), {"CONTEXT", options.context});
  if (!options.quorum.empty())
    words.insert(words.end(), {"W", options.quorum});
  if (!options.owners.empty())
    words.insert(words.end(), {"PW", options.owners});
  if (options.ttl_ms > 0)
    words.insert(words.end(), {"PX", std::to_string(options.ttl_ms)});
  auto reply = ask(options, words);
  return reply ? show_context(options, reply->text) : exit_failure;
}

int put(kv_options& options) {
  if (options.value == "-") {
    options.value.clear();
    char buffer[64 * 1024];
    while (std::cin && options.value.size() <= value_bytes_max) {
      std::cin.read(buffer, sizeof buffer);
      options.value.append(buffer, static_cast<size_t>(std::cin.gcount()));
    }
    if (!std::cin.eof() && options.value.size() <= value_bytes_max)
      return failed("cannot read the value from standard input");
  }
  if (options.value.size() > value_bytes_max)
    return failed(fmt::format("the value is longer than {} bytes", value_bytes_max));
  return write(options, {"KV.PUT", options.key, options.value});
}

std::string check_quorum(const std::string& text) {
  bool number = !text.empty() && text.size() <= 2 &&
                std::all_of(text.begin(), text.end(), [](char c) { return c >= '0' && c <= '9'; }) && text[0] != '0';
  return number || text == "all" || text == "quorum" || text == "one" ? "" : "must be all, quorum, one or a number";
}

void add_common(CLI::App& command, kv_options& options) {
  command.add_option("KEY", options.key, "The key")->required();
  command.add_option("--address", options.where, "host:port of any node")
      ->capture_default_str()
      ->check([](const std::string& text) { return parse_address(text) ? "" : "must be host:port"; });
  command.add_option("--bucket", options.bucket, "Name or db of the bucket")->capture_default_str();
  command.add_option("--timeout", options.timeout_ms, "Milliseconds to wait for the node")
      ->capture_default_str()
      ->check(CLI::Range(1, 3600000));
  command.add_option("--context-out", options.context_out, "Write the context to this file");
  command.add_flag("-v,--verbose", options.verbose, "Show the context on standard error");
}

void add_write_options(CLI::App& command, kv_options& options) {
  command.add_option("--context", options.context, "What the write replaces: a context, or @FILE from --context-out");
  command
      .add_option("-w", options.quorum,
                  "Copies that must be written: all, quorum, one or a number (default: the bucket's w)")
      ->check(check_quorum);
  command.add_option("--pw", options.owners, "How many of them owners must have, fallbacks not counted")
      ->check(check_quorum);
}

} // namespace

void add_kv_commands(CLI::App& app, action& chosen) {
  auto options = std::make_shared<kv_options>();
  auto* get_command = app.add_subcommand("get", "Print the value of a key; exit code 1 if there is none");
  add_common(*get_command, *options);
  get_command
      ->add_option("-r", options->quorum,
                   "Copies that must be read: all, quorum, one or a number (default: the bucket's r)")
      ->check(check_quorum);
  get_command->add_option("--pr", options->owners, "How many of them must be owners', fallbacks not counted")
      ->check(check_quorum);
  get_command->add_flag("--all", options->all, "All concurrent values, one a line, newest first");
  get_command->add_flag("--raw", options->raw, "The bytes alone, without a line end");
  get_command->footer(
      "Examples:\n  crema get greeting\n  crema get cart:7 --bucket carts --all --context-out cart.context");
  get_command->callback([options, &chosen] { chosen = [options] { return get(*options); }; });

  auto* put_command = app.add_subcommand("put", "Write the value of a key");
  add_common(*put_command, *options);
  put_command->add_option("VALUE", options->value, "The value; - reads it from standard input")->required();
  add_write_options(*put_command, *options);
  put_command->add_option("--ttl", options->ttl_ms, "Milliseconds after which the value expires")
      ->check(CLI::Range(uint64_t{1}, uint64_t{1} << 50));
  put_command->footer("Examples:\n  crema put greeting hello\n  crema put photo - < photo.jpg\n"
                      "  crema put cart:7 tea --bucket carts --context @cart.context\n"
                      "  crema put -- temperature -5");
  put_command->callback([options, &chosen] { chosen = [options] { return put(*options); }; });

  auto* del_command = app.add_subcommand("del", "Delete a key");
  add_common(*del_command, *options);
  add_write_options(*del_command, *options);
  del_command->footer("Example:\n  crema del greeting");
  del_command->callback([options, &chosen] {
    chosen = [options] { return write(*options, {"KV.DEL", options->key}); };
  });
}

} // namespace crema::cli
