#include "apps/logging.hpp"

#include <nlohmann/json.hpp>
#include <spdlog/pattern_formatter.h>
#include <spdlog/sinks/basic_file_sink.h>
#include <spdlog/sinks/stdout_color_sinks.h>

namespace crema {

namespace {

/// %J: the message as a JSON string, quotes included.
class json_message final : public spdlog::custom_flag_formatter {
public:
  void format(const spdlog::details::log_msg& msg, const std::tm&, spdlog::memory_buf_t& dest) override {
    auto text = nlohmann::json(std::string{msg.payload.data(), msg.payload.size()})
                    .dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
    dest.append(text.data(), text.data() + text.size());
  }
  std::unique_ptr<custom_flag_formatter> clone() const override { return std::make_unique<json_message>(); }
};

} // namespace

std::shared_ptr<spdlog::logger> make_log(const config::cluster_config& config, const std::string& node,
                                         std::string& error) {
  spdlog::sink_ptr sink;
  try {
    if (config.logging.file)
      sink = std::make_shared<spdlog::sinks::basic_file_sink_mt>(*config.logging.file);
    else
      sink = std::make_shared<spdlog::sinks::stderr_color_sink_mt>();
  } catch (const spdlog::spdlog_ex& e) {
    error = e.what();
    return nullptr;
  }
  auto log = std::make_shared<spdlog::logger>(node, std::move(sink));
  auto formatter = std::make_unique<spdlog::pattern_formatter>();
  formatter->add_flag<json_message>('J');
  formatter->set_pattern(config.logging.format == "json"
                             ? R"({"time":"%Y-%m-%dT%H:%M:%S.%e%z","level":"%l","node":"%n","message":%J})"
                             : "%Y-%m-%d %H:%M:%S.%e %^%-5l%$ %n: %v");
  log->set_formatter(std::move(formatter));
  log->flush_on(spdlog::level::info);
  set_log_level(*log, config.logging.level);
  return log;
}

bool set_log_level(spdlog::logger& log, const std::string& level) {
  for (auto name : {"trace", "debug", "info", "warn", "error", "off"}) {
    if (level == name) {
      log.set_level(spdlog::level::from_str(level));
      return true;
    }
  }
  return false;
}

std::string log_level(const spdlog::logger& log) {
  auto name = spdlog::level::to_string_view(log.level());
  std::string text{name.data(), name.size()};
  return text == "warning" ? "warn" : text;
}

} // namespace crema
