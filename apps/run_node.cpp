// Wires one node together and runs it until it is told to stop: checks, data directory, store, actors, links, gateway.
#include "apps/run_node.hpp"

#include "actors/backend.hpp"
#include "actors/caf_links.hpp"
#include "actors/interfaces.hpp"
#include "actors/node_setup.hpp"
#include "apps/join.hpp"
#include "apps/logging.hpp"
#include "config/host_check.hpp"
#include "config/share_of_cores.hpp"
#include "gateway/gateway.hpp"
#include "storage/data_directory.hpp"
#include "storage/rocksdb_store.hpp"

#include <fmt/format.h>

#include <sys/resource.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <future>
#include <random>
#include <thread>

namespace crema {

namespace {

constexpr int exit_ok = 0, exit_failure = 1, exit_configuration = 2;
constexpr std::chrono::milliseconds stop_limit{4500}; // An orderly stop that takes longer has failed.

storage::identity identity_of(const config::cluster_config& config, const std::string& node) {
  storage::identity id;
  id.cluster = config.cluster;
  id.node = node;
  id.partitions = config.partitions;
  for (const auto& n : config.nodes)
    id.members.push_back(fmt::format("{} {} {}{}{}", n.name, n.zone.empty() ? "-" : n.zone, n.weight,
                                     n.group.empty() ? "" : " ", n.group));
  std::sort(id.members.begin(), id.members.end());
  for (const auto& b : config.buckets)
    id.buckets.push_back({b.name, b.db, b.conflict == conflict_rule::lww ? "lww" : "siblings", b.n});
  std::sort(id.buckets.begin(), id.buckets.end(), [](const auto& a, const auto& b) { return a.id < b.id; });
  return id;
}

int refuse(const config::cluster_config& config, const std::vector<config::problem>& problems) {
  for (const auto& p : problems)
    fmt::print(stderr, "{}\n", config::to_string(config.file, p));
  return exit_configuration;
}

/// Sockets for all clients, peers and files; where the hard limit is lower, that.
void raise_file_limit(const config::cluster_config& config, spdlog::logger& log) {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0)
    return;
  auto wanted = std::min<rlim_t>(limit.rlim_max, config.limits.max_clients + 1024);
  if (limit.rlim_cur < wanted) {
    limit.rlim_cur = wanted;
    ::setrlimit(RLIMIT_NOFILE, &limit);
  }
  if (wanted < config.limits.max_clients + 256)
    log.warn("only {} open files are allowed: fewer than limits.max_clients = {} clients can connect; raise ulimit -n",
             wanted, config.limits.max_clients);
}

class caf_config : public caf::actor_system_config {
public:
  caf_config() { configure_caf(*this); }
};

uint64_t random_u64() {
  std::random_device random;
  return uint64_t{random()} << 32 | random();
}

/// All threads are started with these blocked; main takes them with sigwait.
sigset_t block_signals() {
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGTERM);
  sigaddset(&signals, SIGINT);
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  std::signal(SIGPIPE, SIG_IGN);
  return signals;
}

/// Ends the process if an orderly stop hangs, or at the second signal.
void watch_stop(sigset_t signals, std::shared_ptr<spdlog::logger> log) {
  std::thread([signals, log = std::move(log)] {
    auto end = std::chrono::steady_clock::now() + stop_limit;
    int got = -1;
    do { // A process that is stopped and continued (also by a debugger or a leak checker) ends the wait early.
      auto left = std::max<std::chrono::nanoseconds>(end - std::chrono::steady_clock::now(), {});
      timespec limit{};
      limit.tv_sec = left / std::chrono::seconds{1};
      limit.tv_nsec = left % std::chrono::seconds{1} / std::chrono::nanoseconds{1};
      got = sigtimedwait(&signals, nullptr, &limit);
    } while (got < 0 && errno == EINTR);
    log->critical("{}", got > 0 ? "second signal: exit at once" : "the orderly stop hangs: exit at once");
    log->flush();
    std::_Exit(exit_failure);
  }).detach();
}

/// Before it stops: clients go to other nodes, and other nodes stop counting on this one; what is under way is
/// finished.
void leave_orderly(const caf::actor& root, gateway::gateway& clients, bool has_peers) {
  constexpr std::chrono::milliseconds clients_leave{1000}, requests_end{300}, look_every{5};
  caf::anon_send(root, stop_soon{});
  auto begun = std::chrono::steady_clock::now();
  auto passed = [&] { return std::chrono::steady_clock::now() - begun; };
  while ((clients.clients() > 0 && passed() < clients_leave) || (has_peers && passed() < requests_end))
    std::this_thread::sleep_for(look_every);
}

/// Everything between an open store and its end. @returns the exit code.
int serve(const config::cluster_config& config, const config::node_config& me,
          const std::shared_ptr<storage::store>& store, storage::data_directory& directory,
          const std::shared_ptr<spdlog::logger>& log, const sigset_t& signals, const join_client* joining) {
  auto incarnation = random_u64();
  auto own = own_directory(*store, incarnation, directory.copied());
  if (!own.error.empty()) {
    log->critical("{}", own.error);
    return exit_failure;
  }
  if (auto known = load_ring_record(*store); joining != nullptr && known.error.empty() && !known.record) {
    if (auto end = joining->become_member(*store, own.id); end != join_end::done)
      return end == join_end::stopped ? exit_ok : exit_configuration;
  }
  auto ring = load_or_claim_ring(*store, config);
  if (!ring.ring) {
    log->critical("{}", ring.error);
    return ring.misconfigured ? exit_configuration : exit_failure;
  }
  if (has_left(*store, *ring.ring, me.name, own.id)) {
    log->critical("{} is no member of cluster {} any more, as of epoch {}: to let it in again, give it an empty "
                  "data_dir (now {}) and start it with --join",
                  me.name, config.cluster, ring.ring->epoch, me.data_dir);
    return exit_configuration;
  }
  auto note_change = [&directory, log](const protocol::ring& newest) {
    if (newest.epoch == 1)
      return;
    if (auto noted = directory.note_members_agreed(); !noted.ok())
      log->error("{}", noted.error);
  };
  note_change(*ring.ring);
  if (directory.says_other_members())
    log->info("what {} says of nodes is not what it said when the cluster began, and does not count: members are what "
              "was agreed on (epoch {})",
              config.file, ring.ring->epoch);
  auto clocks = store->load_clocks();
  if (!clocks.what.ok()) {
    log->critical("{}", clocks.what.error);
    return exit_failure;
  }
  auto env = make_env(config, me.name, ring.ring);
  env->incarnation = incarnation;
  env->release = CREMA_VERSION;
  env->restored = directory.copied();
  env->log = log;
  env->wall_micros = [] {
    auto now = std::chrono::system_clock::now().time_since_epoch();
    return static_cast<uint64_t>(std::chrono::duration_cast<std::chrono::microseconds>(now).count());
  };

  caf_config caf_settings;
  caf::actor_system system{caf_settings};
  auto ready = std::make_shared<std::atomic<bool>>(false);
  node_options options;
  options.store = store;
  options.id = directory.replica();
  options.shards = config::share_of_cores(config.storage.shards, 4);
  options.coordinators = config::share_of_cores(config.limits.coordinators, 2);
  options.clocks =
      std::make_shared<const std::vector<std::pair<vnode_id, protocol::dot_clock>>>(std::move(clocks.clocks));
  options.fatal = [log](const std::string&) {
    log->flush();
    std::_Exit(exit_failure);
  };
  // Told from any thread, perhaps again and again, also while it stops: the process is to stop in good order.
  auto stopping = std::make_shared<std::atomic<bool>>(false);
  auto removed = [log, stopping](const std::string& why) {
    if (stopping->exchange(true))
      return;
    log->warn("{}: stopping", why);
    ::kill(::getpid(), SIGTERM);
  };
  options.removed = removed;
  auto serving = std::make_shared<std::promise<gateway::gateway*>>();
  auto clients_of_node = serving->get_future().share();
  options.drained = [clients_of_node](std::optional<std::string> others) {
    clients_of_node.get()->drain(std::move(others));
  };
  auto may_stop = [log, store, stopping, removed](const std::string& why) {
    if (*stopping)
      return;
    if (auto noted = note_left(*store); !noted.ok())
      log->error("{}", noted.error);
    removed(why);
  };
  caf_links links{system, env, options.fatal, may_stop};
  options.peer_said_hello = [&links](node_id peer) { links.nudge(peer); };
  auto coordinators = std::make_shared<std::promise<std::vector<caf::actor>>>();
  options.spawned = [coordinators](const node_children& all) { coordinators->set_value(all.coordinators); };
  options.ready = [ready, log, clients_of_node] {
    *ready = true;
    log->info("ready");
    clients_of_node.get()->ready();
  };
  auto followed = std::make_shared<std::promise<caf::actor>>();
  options.ring_changed = [&links, note_change, root = followed->get_future().share(),
                          clients_of_node](const protocol::ring_ptr& newest) {
    note_change(*newest);
    links.follow(root.get(), *newest);
    clients_of_node.get()->set_view(gateway::view_of(*newest));
  };
  auto root = spawn_node(system, env, std::move(options));
  followed->set_value(root);
  auto backend = std::make_unique<actor_backend>(root, coordinators->get_future().get());

  auto gateway_options = gateway::make_options(config, me);
  gateway_options.cluster_now = gateway::view_of(*env->first_ring);
  gateway_options.version = CREMA_VERSION;
  gateway_options.set_log_level = [log](const std::string& level) { return set_log_level(*log, level); };
  gateway_options.get_log_level = [log] { return log_level(*log); };
  gateway_options.ready = [ready] { return ready->load(); };
  gateway::gateway clients{gateway_options, *backend};
  serving->set_value(&clients);

  auto code = exit_ok;
  auto error = clients.start().value_or("");
  if (error.empty()) {
    links.follow(root, *env->first_ring); // Before publish: a peer that says hello at once finds the dialers complete.
    error = links.publish(root);
    if (!error.empty())
      error = fmt::format("cannot listen for peers on {}:{}: {}", me.host, me.peer_port, error);
  }
  if (error.empty()) {
    log->info("node {} of cluster {}: clients on {}:{} (RESP) and {}:{} (HTTP), peers on {}:{}, data in {}", me.name,
              config.cluster, me.host, me.resp_port, me.http_host, me.http_port, me.host, me.peer_port, me.data_dir);
    int signal = 0;
    sigwait(&signals, &signal);
    *stopping = true;
    log->info("{}: stopping", signal == SIGTERM ? "SIGTERM" : "SIGINT");
  } else {
    log->critical("{}", error);
    code = exit_failure;
  }
  watch_stop(signals, log);
  if (code == exit_ok)
    leave_orderly(root, clients, env->first_ring->members.size() > 1);
  clients.stop();
  {
    caf::scoped_actor self{system};
    self->send(root, stop_request{});
    self->wait_for(root);
  }
  links.stop();
  backend.reset();
  root = nullptr;
  return code;
}

} // namespace

std::vector<config::problem> check_host(const config::cluster_config& config, const std::string& node_name) {
  const auto& node = *config.find_node(node_name);
  auto path = config::node_path(config, node_name);
  auto problems = config::check_ports(node, path);
  auto directory_ok = storage::check_data_directory(node.data_dir, identity_of(config, node_name));
  if (!directory_ok.ok())
    problems.push_back(
        {path + ".data_dir", directory_ok.error, "a directory of this node of this cluster, or a new one"});
  return problems;
}

int run_node(const config::cluster_config& file, const std::string& node_name,
             const std::optional<peer_address>& join) {
  auto config = file;
  const auto* me = config.find_node(node_name);
  auto signals = block_signals();
  std::string error;
  auto log = make_log(config, node_name, error);
  if (!log)
    return refuse(config, {{"logging.file", error, "a file that can be written, or null"}});
  std::optional<join_client> joining;
  if (join)
    joining.emplace(config, *me, *join, log, signals);
  auto shape = kept_shape(me->data_dir);
  if (!shape.error.empty()) { // Mostly because of the directory that it is in: that is said better below.
    auto problems = check_host(config, node_name);
    return refuse(config, problems.empty()
                              ? std::vector<config::problem>{{config::node_path(config, node_name) + ".data_dir",
                                                              shape.error, "a directory whose files can be read"}}
                              : problems);
  }
  auto is_new = !shape.shape;
  if (joining && is_new)
    if (auto end = joining->fetch_shape(shape.shape.emplace()); end != join_end::done)
      return end == join_end::stopped ? exit_ok : exit_configuration;
  if (shape.shape)
    shape.error = take_shape(config, *shape.shape, is_new ? "what the cluster says" : me->data_dir + "/joined.json");
  if (!shape.error.empty()) {
    fmt::print(stderr, "{}\n", shape.error);
    return exit_configuration;
  }
  auto path = config::node_path(config, node_name);
  auto identity = identity_of(config, node_name);
  auto problems = check_host(config, node_name);
  if (!problems.empty())
    return refuse(config, problems);

  raise_file_limit(config, *log);
  auto directory = storage::open_data_directory(me->data_dir, identity, storage::current_boot_id());
  if (!directory.opened)
    return refuse(
        config, {{path + ".data_dir", directory.what.error, "a directory of this node of this cluster, or a new one"}});
  if (directory.opened->copied())
    log->warn(
        "{} is a copy of the directory that was used last: this node goes on under a new replica id, and is refilled "
        "from its peers before it answers reads",
        me->data_dir);
  storage::rocksdb_options options;
  options.cache_bytes = size_t{config.storage.cache_mb} << 20;
  options.memtable_bytes = size_t{config.storage.memtable_mb} << 20;
  options.background_threads = static_cast<int>(config.storage.background_threads);
  auto store = storage::open_rocksdb(directory.opened->database_path(), options, directory.opened->created());
  if (!store.opened) {
    log->critical("{}", store.what.error);
    return exit_failure;
  }
  if (joining && is_new)
    if (auto failed = keep_shape(me->data_dir, *shape.shape); !failed.empty()) {
      log->critical("{}", failed);
      return exit_failure;
    }
  auto code =
      serve(config, *me, std::move(store.opened), *directory.opened, log, signals, joining ? &*joining : nullptr);
  if (code == exit_ok) {
    auto marked = directory.opened->mark_clean();
    if (!marked.ok()) {
      log->error("{}", marked.error);
      code = exit_failure;
    }
  }
  return code;
}

std::string set_aside(const config::cluster_config& config, const std::string& node_name) {
  return storage::set_aside(config.find_node(node_name)->data_dir, identity_of(config, node_name)).error;
}

} // namespace crema
