#include "apps/simulation/network.hpp"

#include "messages/register.hpp"

#include <caf/binary_deserializer.hpp>
#include <caf/binary_serializer.hpp>

#include <algorithm>

namespace crema::simulation {

namespace {

using std::chrono::milliseconds;

// As the production transport behaves (actors/caf_links.cpp).
constexpr milliseconds connection_timeout{60'000}; // A stopped process; its kernel goes on to confirm.
constexpr milliseconds user_timeout{5000};         // What is sent is not confirmed.
constexpr milliseconds watch_interval{500};
constexpr milliseconds redial_min{50}, redial_max{1000};

caf::node_id fake_node_id(size_t node) {
  caf::node_id::default_data::host_id_type host{};
  host[0] = 0x5e;
  host[1] = static_cast<uint8_t>(node);
  return caf::make_node_id(static_cast<uint32_t>(node + 1), host);
}

bool holds_puts(const caf::message& m) {
  if (!m.match_elements<replica_batch>())
    return false;
  const auto& ops = m.get_as<replica_batch>(0).ops;
  return std::any_of(ops.begin(), ops.end(), [](const auto& op) { return op.what == replica_op::kind::put; });
}

} // namespace

proxy::proxy(caf::actor_config& cfg, network* net, size_t viewer, size_t home, uint64_t connection,
             caf::strong_actor_ptr real)
    : caf::actor_proxy(cfg), net_(net), viewer_(viewer), home_(home), connection_(connection), real_(std::move(real)) {}

void proxy::enqueue(caf::mailbox_element_ptr element, caf::execution_unit*) {
  if (real_ && element)
    net_->route(viewer_, home_, connection_, real_, std::move(element)); // A dead proxy drops silently, like BASP.
}

void proxy::kill_proxy(caf::execution_unit* ctx, caf::error why) {
  real_ = nullptr;
  cleanup(std::move(why), ctx);
}

network::network(network_host& host, caf::actor_system& system, random_stream random, size_t nodes)
    : host_(host), system_(system), random_(random), nodes_(nodes), directions_(nodes * nodes), loses_words_(nodes),
      pairs_(nodes * nodes) {}

network::~network() {
  for (auto& [key, entry] : proxies_)
    static_cast<proxy*>(caf::actor_cast<caf::abstract_actor*>(entry.second))
        ->kill_proxy(nullptr, caf::exit_reason::kill);
}

// -- Connections ------------------------------------------------------------------------------------------------------

void network::node_started(size_t node) {
  for (size_t other = 0; other < nodes_; ++other)
    if (other != node)
      dial_later(node, other, milliseconds{random_.between(1, 10)});
}

void network::node_died(size_t node) {
  for (size_t other = 0; other < nodes_; ++other) {
    if (other == node || pair(node, other).connection == 0)
      continue;
    if (in_reach(node, other) && host_.running(other))
      break_connection(node, other, "connection lost");
    else
      pair(node, other).half_open = true;
    // Cut off or stopped: the peer finds out by the connection timeout; what waits on the way is lost with the sockets.
    link(node, other).waiting.clear();
    link(other, node).waiting.clear();
  }
}

void network::dial_later(size_t a, size_t b, sim_time delay) {
  auto& p = pair(a, b);
  if (p.dialing || p.connection != 0)
    return;
  p.dialing = true;
  host_.after(delay, [this, a, b] {
    pair(a, b).dialing = false;
    dial(a, b);
  });
}

void network::dial(size_t a, size_t b) {
  auto& p = pair(a, b);
  if (p.connection != 0)
    return;
  if (!host_.running(a) && !host_.running(b))
    return; // Whoever starts dials.
  if (!host_.responsive(a) || !host_.responsive(b) || !in_reach(a, b) || !host_.acquainted(a, b))
    return dial_later(a, b, milliseconds{random_.between(redial_min.count(), redial_max.count())});
  p.connection = next_connection_++;
  p.half_open = false;
  p.silent_since = p.unconfirmed_since = host_.now();
  link(a, b).last_delivery = link(b, a).last_delivery = host_.now();
  host_.on_link(a, b);
  host_.on_link(b, a);
  watch(a, b);
}

/// Who hears nothing for the connection timeout closes, as CAF's heartbeats make it; and TCP, when nothing comes
/// through.
void network::watch(size_t a, size_t b) {
  auto connection = pair(a, b).connection;
  host_.after(watch_interval, [this, a, b, connection] {
    auto& p = pair(a, b);
    if (p.connection != connection)
      return;
    if (p.half_open && in_reach(a, b))
      return break_connection(a, b, "connection reset");
    auto alive = [this](size_t node) { return host_.responsive(node); };
    if (in_reach(a, b)) {
      p.unconfirmed_since = host_.now();
      if (alive(a) && alive(b))
        p.silent_since = host_.now();
    }
    // A stopped process closes nothing itself; its peer does.
    auto over = host_.now() - p.unconfirmed_since >= user_timeout || host_.now() - p.silent_since >= connection_timeout;
    if (over && (alive(a) || alive(b)))
      return break_connection(a, b, "connection timeout");
    watch(a, b);
  });
}

void network::break_connection(size_t a, size_t b, const std::string& why) {
  auto& p = pair(a, b);
  if (p.connection == 0)
    return;
  p.connection = 0;
  link(a, b).waiting.clear();
  link(b, a).waiting.clear();
  for (auto [viewer, peer] : {std::pair{a, b}, std::pair{b, a}}) {
    kill_proxies(viewer, peer);
    if (host_.running(viewer))
      host_.on_unlink(viewer, peer, why);
  }
  dial_later(a, b, milliseconds{random_.between(redial_min.count(), redial_max.count())});
}

void network::kill_proxies(size_t viewer, size_t peer) {
  auto from = proxies_.lower_bound({viewer, peer, 0});
  auto to = from;
  for (; to != proxies_.end() && std::get<0>(to->first) == viewer && std::get<1>(to->first) == peer; ++to)
    static_cast<proxy*>(caf::actor_cast<caf::abstract_actor*>(to->second.second))
        ->kill_proxy(nullptr, caf::exit_reason::remote_link_unreachable);
  proxies_.erase(from, to);
}

void network::break_for_one(size_t node, size_t peer) {
  auto connection = pair(node, peer).connection;
  if (connection == 0 || pair(node, peer).half_open || !host_.running(node) || !in_reach(node, peer))
    return;
  kill_proxies(node, peer);
  link(node, peer).waiting.clear();
  ++link(node, peer).stream;
  host_.on_unlink(node, peer, "connection lost");
  host_.after(milliseconds{random_.between(redial_min.count(), redial_max.count())}, [this, node, peer, connection] {
    if (pair(node, peer).connection == connection && !pair(node, peer).half_open)
      host_.on_link(node, peer);
  });
}

void network::heal(size_t from, size_t to) {
  auto& d = link(from, to);
  d.cut = false;
  auto waiting = std::move(d.waiting);
  d.waiting.clear();
  for (auto& m : waiting)
    send(from, to, std::move(m)); // TCP sends again what was not acknowledged.
}

void network::heal_all() {
  for (size_t a = 0; a < nodes_; ++a)
    for (size_t b = 0; b < nodes_; ++b)
      if (a != b) {
        link(a, b).extra = {};
        heal(a, b);
      }
}

// -- Messages ---------------------------------------------------------------------------------------------------------

caf::strong_actor_ptr network::view(size_t viewer, size_t home, const caf::strong_actor_ptr& real) {
  if (viewer == home || !real)
    return real;
  auto connection = pair(viewer, home).connection;
  auto& entry = proxies_[{viewer, home, real->id()}];
  if (!entry.second || entry.first != connection) {
    caf::actor_config cfg;
    entry = {connection, caf::make_actor<proxy, caf::strong_actor_ptr>(real->id(), fake_node_id(home), &system_, cfg,
                                                                       this, viewer, home, connection, real)};
  }
  return entry.second;
}

sim_time network::delay() {
  using std::chrono::microseconds;
  if (random_.below(10000) < profile_.slow_per_10000)
    return microseconds{random_.between(profile_.delay_max.count(),
                                        std::chrono::duration_cast<microseconds>(profile_.slow_delay_max).count())};
  return microseconds{random_.between(profile_.delay_min.count(), profile_.delay_max.count())};
}

void network::route(size_t from, size_t to, uint64_t connection, const caf::strong_actor_ptr& real,
                    caf::mailbox_element_ptr element) {
  if (connection == 0 || pair(from, to).connection != connection || !host_.running(from))
    return;
  auto m = std::make_shared<in_flight>();
  m->receiver = real;
  m->sender = element->sender;
  m->id = element->mid;
  auto received = as_received(from, to, element->move_content_to_message());
  if (!received)
    return;
  m->content = std::move(*received);
  m->connection = connection;
  m->stream = link(from, to).stream;
  if (random_.below(10000) < profile_.loss_per_10000 || (loses_words_[from] && random_.one_in(2)))
    return;
  if (random_.below(10000) < profile_.duplicates_per_10000 && !holds_puts(m->content))
    send(from, to, m);
  send(from, to, std::move(m));
}

std::optional<caf::message> network::as_received(size_t from, size_t to, const caf::message& sent) {
  std::vector<char> bytes;
  caf::binary_serializer out{system_, bytes};
  auto error = out(sent);
  caf::message received;
  if (!error) {
    caf::binary_deserializer in{system_, bytes};
    error = in(received);
  }
  if (!error)
    return received;
  host_.on_malformed(from, to, sent, system_.render(error));
  return std::nullopt;
}

void network::send(size_t from, size_t to, std::shared_ptr<in_flight> m) {
  auto& d = link(from, to);
  if (d.cut) {
    d.waiting.push_back(std::move(m));
    return;
  }
  auto at = host_.now() + delay() + d.extra;
  if (!profile_.reorder)
    at = std::max(at, d.last_delivery);
  d.last_delivery = std::max(at, d.last_delivery);
  host_.after(at - host_.now(), [this, from, to, m] { deliver(from, to, m); });
}

void network::deliver(size_t from, size_t to, const std::shared_ptr<in_flight>& m) {
  if (pair(from, to).connection != m->connection || link(from, to).stream != m->stream || !host_.running(to))
    return;
  if (link(from, to).cut) { // Cut while it was on its way.
    link(from, to).waiting.push_back(m);
    return;
  }
  ++delivered_;
  host_.on_delivery(from, to, m->receiver, m->content);
  m->receiver->enqueue(view(to, from, m->sender), m->id, m->content, nullptr);
}

} // namespace crema::simulation
