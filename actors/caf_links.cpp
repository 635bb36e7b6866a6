#include "actors/caf_links.hpp"

#include "actors/errors.hpp"
#include "actors/handshake.hpp"
#include "config/resolve.hpp"
#include "messages/local.hpp"
#include "messages/register.hpp"

#include <caf/io/basp_broker.hpp>
#include <caf/io/middleman_actor_impl.hpp>
#include <caf/io/network/default_multiplexer.hpp>

#include <fmt/format.h>

#include <fcntl.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <random>

namespace crema {

namespace {

/// Of a peer that confirms nothing any more. Heartbeats are always under way, so this finds out every cut.
constexpr unsigned tcp_user_timeout_ms = 5000;
/// CAF has heard of a peer when a message is whole, and the largest need this long over a slow link (16 MiB: 280 KB/s).
/// For processes that stand still, and for cuts behind something that confirms; our own detector has long decided who
/// is down.
constexpr std::chrono::seconds connection_timeout{60};
constexpr std::chrono::milliseconds backoff_first{50};
constexpr std::chrono::milliseconds backoff_max{300};
/// Of two nodes that dial each other at the same moment one may find its hello lost, with the connection that CAF
/// closes as redundant. So the first wait is short; each next one is twice as long.
constexpr std::chrono::milliseconds hello_timeout_first{250};
constexpr std::chrono::milliseconds hello_timeout_max{2000};
constexpr size_t quiet_failures = 3;
constexpr std::chrono::milliseconds leave_interval{500};

/// CAF's node id is a hash of the machine and the pid; two containers, or two lives of one, may share it.
struct node_id_module final : caf::actor_system::module {
  explicit node_id_module(caf::actor_system& s) : system(s) {}
  void start() override {}
  void stop() override {}
  void init(caf::actor_system_config&) override {
    caf::node_id::default_data::host_id_type host;
    std::random_device random;
    for (auto& byte : host)
      byte = static_cast<uint8_t>(random());
    const_cast<caf::node_id&>(system.node()) = caf::make_node_id(random() | 1U, host);
  }
  id_t id() const override { return network_manager; } // A slot that 0.17 does not use.
  void* subtype_ptr() override { return this; }
  static caf::actor_system::module* make(caf::actor_system& s, caf::detail::type_list<>) {
    return new node_id_module(s); // NOLINT: the system owns it.
  }
  caf::actor_system& system;
};

/// Waits until the socket is connected. @returns 0 or an errno.
int wait_connected(int fd, std::chrono::steady_clock::time_point deadline, const std::atomic<bool>& stopping) {
  constexpr std::chrono::milliseconds slice{50};
  pollfd waiting{fd, POLLOUT, 0};
  while (!stopping && std::chrono::steady_clock::now() < deadline) {
    auto ready = ::poll(&waiting, 1, static_cast<int>(slice.count()));
    if (ready == 0 || (ready < 0 && errno == EINTR))
      continue;
    int error = 0;
    socklen_t size = sizeof error;
    return ready < 0 || ::getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size) != 0 ? errno : error;
  }
  return ETIMEDOUT;
}

/// A non-blocking connect with a deadline, to the first address that answers. @returns a socket or -1.
int connect_within(const std::string& host, uint16_t port, std::chrono::milliseconds limit,
                   const std::atomic<bool>& stopping) {
  auto found = config::resolve(host, std::to_string(port), AI_NUMERICSERV, limit, [&] { return stopping.load(); });
  for (auto* a = found.list.get(); a != nullptr; a = a->ai_next) {
    int fd = ::socket(a->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
      continue;
    int error = ::connect(fd, a->ai_addr, a->ai_addrlen) == 0 ? 0 : errno;
    if (error == EINPROGRESS)
      error = wait_connected(fd, std::chrono::steady_clock::now() + limit, stopping);
    if (error == 0)
      return fd;
    ::close(fd);
  }
  return -1;
}

void limit_unsent(int fd) {
  unsigned timeout = tcp_user_timeout_ms;
  ::setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &timeout, sizeof timeout);
}

/// Like CAF's own middleman actor, but a black-holed address blocks nothing else, and not for minutes.
class bounded_connector final : public caf::io::middleman_actor_impl {
public:
  bounded_connector(caf::actor_config& cfg, caf::actor basp, std::chrono::milliseconds limit,
                    std::shared_ptr<const std::atomic<bool>> stopping)
      : caf::io::middleman_actor_impl(cfg, std::move(basp)), limit_(limit), stopping_(std::move(stopping)) {}
  const char* name() const override { return "connector"; }

protected:
  caf::expected<caf::io::scribe_ptr> connect(const std::string& host, uint16_t port) override {
    auto fd = connect_within(host, port, limit_, *stopping_);
    if (fd < 0)
      return caf::make_error(caf::sec::cannot_connect_to_node, host, port);
    limit_unsent(fd);
    return system().middleman().backend().new_scribe(fd);
  }
  caf::expected<caf::io::doorman_ptr> open(uint16_t port, const char* address, bool reuse) override {
    auto fd = caf::io::network::new_tcp_acceptor_impl(port, address, reuse);
    if (!fd)
      return std::move(fd.error());
    limit_unsent(*fd); // Accepted connections inherit it.
    return system().middleman().backend().new_doorman(*fd);
  }

private:
  std::chrono::milliseconds limit_;
  std::shared_ptr<const std::atomic<bool>> stopping_;
};

struct dial_now {};
/// This node is no member any more: says hello again and again, until that is refused since enough members know it.
struct ask_to_leave {};

/// One peer: dial, say hello, watch, and dial again.
struct dialer_state {
  static inline constexpr const char* name = "dialer";
  env_ptr env;
  caf::actor root, connector;
  node_id peer{};
  std::string host;
  uint16_t port = 0;
  bool linked = false;
  bool dialing = false;
  bool leaving = false; // Says hello although it is linked.
  caf::actor_addr remote;
  std::chrono::milliseconds backoff = backoff_first;
  std::chrono::milliseconds hello_timeout = hello_timeout_first;
  uint64_t attempt = 0;   // Answers to older attempts are ignored.
  size_t failures = 0;    // Since the last link.
  std::string last_error; // Logged once, not at every attempt.
  std::function<void(const std::string&)> removed;
  std::shared_ptr<const std::atomic<uint64_t>> epoch; // Of this node.
};
using dialer_self = caf::stateful_actor<dialer_state>*;

void dial(dialer_self self);

void retry(dialer_self self, const std::string& why) {
  auto& st = self->state;
  // The first attempts often only find a peer that is starting as well.
  if (++st.failures >= quiet_failures && why != st.last_error) {
    st.last_error = why;
    st.env->log->warn("no link to {} at {}:{}: {}", st.env->name_of(st.peer), st.host, st.port, why);
  }
  st.dialing = false;
  self->delayed_send(self, st.backoff, tick{});
  st.backoff = std::min(st.backoff * 2, backoff_max);
}

std::string words_for(dialer_self self, const caf::error& e) {
  if (e == caf::sec::request_timeout)
    return "no answer to hello";
  if (e == caf::sec::cannot_connect_to_node)
    return "cannot connect";
  return errc_of(e) != errc::ok ? text_of(e) : self->system().render(e);
}

void on_welcome(dialer_self self, const caf::actor& remote, const welcome& w) {
  auto& st = self->state;
  if (st.linked) // It knows of no leaving yet.
    return self->delayed_send(self, leave_interval, ask_to_leave{});
  if (w.self.node != st.env->name_of(st.peer))
    return retry(self, fmt::format("{} answers there, not {}", w.self.node, st.env->name_of(st.peer)));
  auto version = common_version(st.env->speaks, w.self.versions());
  if (!version)
    return retry(self, no_common_version(w.self, *st.env));
  st.dialing = false;
  st.linked = true;
  st.backoff = backoff_first;
  st.hello_timeout = hello_timeout_first;
  st.failures = 0;
  st.last_error.clear();
  st.remote = remote.address();
  self->monitor(remote);
  st.env->log->info("linked to {} at {}:{}, messages of version {}", w.self.node, st.host, st.port, *version);
  self->send(st.root, peer_linked{st.peer, w.handles, *version});
  if (st.leaving)
    self->send(self, ask_to_leave{});
}

void say_hello(dialer_self self, const caf::actor& remote, uint64_t attempt) {
  auto& st = self->state;
  auto h = hello_from(*st.env);
  self->request(remote, st.hello_timeout, h)
      .then(
          [=](const welcome& w) {
            if (self->state.attempt == attempt)
              on_welcome(self, remote, w);
          },
          [=](const caf::error& e) {
            if (self->state.attempt != attempt)
              return;
            if (e == caf::sec::request_timeout)
              self->state.hello_timeout = std::min(self->state.hello_timeout * 2, hello_timeout_max);
            // Who is behind may not have heard of this node yet, or mean one that had its name before. (Older releases
            // tell of those that were removed only, and no epoch.)
            if (epoch_of(e) != 0 ? epoch_of(e) >= *self->state.epoch : errc_of(e) == errc::removed)
              self->state.removed(text_of(e));
            if (self->state.linked)
              self->delayed_send(self, leave_interval, ask_to_leave{});
            else
              retry(self, words_for(self, e));
          });
}

void dial(dialer_self self) {
  auto& st = self->state;
  if (st.linked || st.dialing)
    return;
  st.dialing = true;
  auto attempt = ++st.attempt;
  self->request(st.connector, caf::infinite, caf::connect_atom_v, st.host, st.port)
      .then(
          [=](const caf::node_id&, const caf::strong_actor_ptr& remote, const std::set<std::string>&) {
            if (self->state.attempt != attempt)
              return;
            if (!remote)
              return retry(self, "nothing is published there");
            say_hello(self, caf::actor_cast<caf::actor>(remote), attempt);
          },
          [=](const caf::error& e) {
            if (self->state.attempt == attempt)
              retry(self, words_for(self, e));
          });
}

caf::behavior dialer(dialer_self self, env_ptr env, caf::actor root, caf::actor connector, const protocol::member& peer,
                     std::function<void(const std::string&)> removed,
                     std::shared_ptr<const std::atomic<uint64_t>> epoch) {
  auto& st = self->state;
  st.env = std::move(env);
  st.root = std::move(root);
  st.connector = std::move(connector);
  st.peer = peer.id;
  st.host = peer.host;
  st.port = peer.peer_port;
  st.removed = std::move(removed);
  st.epoch = std::move(epoch);
  self->set_down_handler([self](const caf::down_msg& down) {
    auto& s = self->state;
    if (!s.linked || down.source != s.remote)
      return;
    s.linked = false;
    auto why = down.reason == caf::exit_reason::remote_link_unreachable
                   ? std::string{"connection lost"}
                   : "connection lost: " + self->system().render(down.reason);
    self->send(s.root, peer_unlinked{s.peer, why});
    self->delayed_send(self, backoff_first, tick{});
  });
  dial(self);
  return {
      [self](tick) { dial(self); },
      [self](dial_now) {
        self->state.backoff = backoff_first;
        dial(self);
      },
      [self](ask_to_leave) {
        auto& s = self->state;
        s.leaving = true;
        auto remote = s.linked ? caf::actor_cast<caf::actor>(s.remote) : nullptr;
        if (remote)
          say_hello(self, remote, ++s.attempt);
      },
  };
}

} // namespace
} // namespace crema

CAF_ALLOW_UNSAFE_MESSAGE_TYPE(crema::dial_now)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(crema::ask_to_leave)

namespace crema {

void configure_caf(caf::actor_system_config& cfg) {
  basp_guard_linked();
  register_messages(cfg);
  cfg.load<caf::io::middleman>();
  cfg.load<node_id_module>();
  cfg.set("scheduler.policy", caf::atom("sharing"));
  cfg.set("scheduler.max-threads", std::max<size_t>(2, std::thread::hardware_concurrency()));
  cfg.set("scheduler.max-throughput", size_t{100});
  cfg.set("middleman.heartbeat-interval", caf::timespan{std::chrono::milliseconds{500}});
  cfg.set("middleman.connection-timeout", caf::timespan{connection_timeout});
  cfg.set("middleman.max-consecutive-reads", size_t{10});
  cfg.set("middleman.workers", size_t{0});
  cfg.set("middleman.app-identifiers", std::vector<std::string>{"crema"});
}

caf::actor caf_links::watched(caf::actor a, const char* what, const flag& over) const {
  a->attach_functor([what, over, log = env_->log, fatal = fatal_](const caf::error& why) {
    if (*over)
      return;
    log->critical("the {} has ended: {}", what, caf::to_string(why));
    fatal(what);
  });
  return a;
}

caf::actor caf_links::connector(const flag& over) {
  auto basp = system_.middleman().named_broker<caf::io::basp_broker>(caf::atom("BASP"));
  return watched(caf::actor_cast<caf::actor>(system_.spawn<bounded_connector, caf::detached + caf::hidden>(
                     basp, env_->config.peers.connect_timeout, over)),
                 "connector", over);
}

std::string caf_links::publish(const caf::actor& root) {
  const auto* me = env_->config.find_node(env_->name);
  publisher_ = connector(stopping_);
  caf::scoped_actor self{system_};
  std::string error;
  self->request(publisher_, std::chrono::seconds{10}, caf::publish_atom_v, me->peer_port,
                caf::actor_cast<caf::strong_actor_ptr>(root), std::set<std::string>{}, me->host, true)
      .receive([](uint16_t) {}, [&](const caf::error& e) { error = system_.render(e); });
  return error;
}

void caf_links::follow(const caf::actor& root, const protocol::ring& ring) {
  std::lock_guard lock{mutex_};
  *epoch_ = ring.epoch;
  for (auto l = links_.begin(); l != links_.end();) {
    if (ring.find(l->first) != nullptr) {
      ++l;
      continue;
    }
    end(l->second);
    caf::anon_send(root, peer_unlinked{l->first, "no member any more"});
    l = links_.erase(l);
  }
  for (const auto& m : ring.members) {
    if (*stopping_ || m.id == env_->self || links_.count(m.id) > 0)
      continue;
    auto& l = links_[m.id];
    l.dialer = watched(system_.spawn(dialer, env_, root, connector(l.over), m, removed_, epoch_), "dialer", l.over);
  }
  if (ring.find(env_->self) == nullptr)
    for (const auto& [node, l] : links_)
      caf::anon_send(l.dialer, ask_to_leave{});
}

void caf_links::nudge(node_id peer) const {
  std::lock_guard lock{mutex_};
  auto found = links_.find(peer);
  if (found != links_.end())
    caf::anon_send(found->second.dialer, dial_now{});
}

void caf_links::end(const link& l) {
  *l.over = true;
  caf::anon_send_exit(l.dialer, caf::exit_reason::user_shutdown);
}

void caf_links::stop() {
  std::lock_guard lock{mutex_};
  *stopping_ = true;
  for (auto& [id, l] : links_)
    end(l);
  links_.clear();
  if (publisher_)
    caf::anon_send_exit(publisher_, caf::exit_reason::kill);
  publisher_ = nullptr;
}

caf::expected<join_answer> ask_to_join(caf::actor_system& system, const std::string& host, uint16_t port,
                                       const join_request& request, std::chrono::milliseconds connect_timeout) {
  auto stopping = std::make_shared<std::atomic<bool>>(false);
  auto basp = system.middleman().named_broker<caf::io::basp_broker>(caf::atom("BASP"));
  auto connector = caf::actor_cast<caf::actor>(
      system.spawn<bounded_connector, caf::detached + caf::hidden>(basp, connect_timeout, stopping));
  caf::scoped_actor self{system};
  caf::expected<join_answer> result{caf::sec::cannot_connect_to_node};
  caf::actor remote;
  self->request(connector, connect_timeout + hello_timeout_max, caf::connect_atom_v, host, port)
      .receive([&](const caf::node_id&, const caf::strong_actor_ptr& there,
                   const std::set<std::string>&) { remote = caf::actor_cast<caf::actor>(there); },
               [&](const caf::error& e) { result = e; });
  if (remote)
    self->request(remote, hello_timeout_max, request)
        .receive([&](const join_answer& answer) { result = answer; }, [&](const caf::error& e) { result = e; });
  caf::anon_send_exit(connector, caf::exit_reason::kill);
  return result;
}

} // namespace crema
