#include "apps/join.hpp"

#include "actors/caf_links.hpp"
#include "actors/errors.hpp"
#include "actors/node_setup.hpp"
#include "protocol/ring_encoding.hpp"
#include "storage/files.hpp"

#include <fmt/format.h>

#include <filesystem>

namespace crema {

namespace {

class caf_config : public caf::actor_system_config {
public:
  caf_config() { configure_caf(*this); }
};

std::string shape_file(const std::string& data_dir) { return data_dir + "/joined.json"; }

} // namespace

shape_result kept_shape(const std::string& data_dir) {
  auto file = storage::read_file(shape_file(data_dir));
  return {std::move(file.bytes), file.what.error};
}

std::string keep_shape(const std::string& data_dir, const std::string& shape) {
  return storage::write_file_atomically(shape_file(data_dir), shape).error;
}

std::string take_shape(config::cluster_config& config, const std::string& shape, const std::string& from) {
  auto parsed = config::parse_shape(shape, from);
  if (!parsed.config)
    return config::to_string(from, parsed.problems.front());
  if (parsed.config->cluster != config.cluster)
    return fmt::format("{}: cluster: \"{}\" is not what the cluster is called (allowed: \"{}\")", config.file,
                       config.cluster, parsed.config->cluster);
  config.partitions = parsed.config->partitions;
  config.buckets = parsed.config->buckets;
  config.read_timeout = parsed.config->read_timeout;
  config.write_timeout = parsed.config->write_timeout;
  config.durability_interval = parsed.config->durability_interval;
  return {};
}

/// Until `done` with an answer, or refused, or told to stop.
template <class Done>
join_end join_client::ask(uint64_t directory, Done done) const {
  constexpr timespec between{1, 0};
  caf_config settings;
  caf::actor_system system{settings};
  join_request request{config_.peers.message_version,
                       config_.cluster,
                       me_.name,
                       me_.host,
                       me_.peer_port,
                       me_.resp_port,
                       me_.zone,
                       me_.weight,
                       me_.group,
                       directory};
  std::error_code error;
  auto space = std::filesystem::space(me_.data_dir, error); // It is there once it asks for more than the shape.
  request.disk_free = error ? 0 : space.available;
  std::string told;
  for (;;) {
    auto answer = ask_to_join(system, member_.host, member_.port, request, config_.peers.connect_timeout);
    if (answer) {
      if (done(*answer))
        return join_end::done;
    } else if (errc_of(answer.error()) == errc::unknown_version && request.version > message_version_oldest) {
      --request.version;
      continue;
    } else if (errc_of(answer.error()) != errc::ok) {
      log_->critical("{}:{} refuses: {}", member_.host, member_.port, text_of(answer.error()));
      return join_end::refused;
    } else if (auto why = answer.error() == caf::sec::cannot_connect_to_node ? std::string{"cannot connect"}
                                                                             : system.render(answer.error());
               std::exchange(told, why) != why) {
      log_->warn("no answer from {}:{}: {}; trying again", member_.host, member_.port, why);
    }
    if (sigtimedwait(&signals_, nullptr, &between) > 0)
      return join_end::stopped;
  }
}

join_end join_client::fetch_shape(std::string& shape) const {
  return ask(0, [&shape](const join_answer& answer) {
    shape = answer.shape;
    return true;
  });
}

join_end join_client::become_member(storage::store& store, uint64_t directory) const {
  auto waits = false;
  std::string error;
  auto end = ask(directory, [&](const join_answer& answer) {
    if (answer.ring.empty()) {
      if (!std::exchange(waits, true))
        log_->info("waiting to become a member of cluster {}. At {}: crema ctl plan join {}, then crema ctl commit",
                   config_.cluster, member_.host, me_.name);
      return false;
    }
    auto ring = protocol::decode_ring(answer.ring);
    error = ring ? adopt_ring(store, *ring) : "the ring that it sent does not decode";
    return true;
  });
  if (error.empty())
    return end;
  log_->critical("{}:{}: {}", member_.host, member_.port, error);
  return join_end::refused;
}

} // namespace crema
