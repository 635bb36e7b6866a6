#include "apps/simulation/workload.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <utility>

namespace crema::simulation {

using protocol::dot_clock;
using protocol::quorum_level;
using std::chrono::milliseconds;
using kind = client_request::kind;

namespace {

constexpr size_t set_elements_max = 60;

struct key_ref {
  bucket_id bucket;
  std::string key;
  friend bool operator<(const key_ref& a, const key_ref& b) {
    return std::tie(a.bucket, a.key) < std::tie(b.bucket, b.key);
  }
};

} // namespace

struct workload::impl {
  struct client {
    size_t index = 0;
    random_stream random{0};
    size_t node = 0;
    uint64_t writes = 0;
    uint64_t burst_left = 0;
    std::map<key_ref, dot_clock> contexts; // The last one seen of a key; may be stale by the time it is used.
    uint64_t life = 0;                     // Grows with every connection: replies on old ones are of no interest.
  };
  using next_fn = std::function<void(const client_reply*)>; // Null: no answer (lost, refused, or patience ended).
  struct asking {
    client_request request;
    next_fn next;
  };
  struct waiting {
    size_t operation;           // Its index.
    std::shared_ptr<bool> open; // Does the client still wait?
    next_fn answer;             // Only the first is passed on.
  };

  impl(world& world, history& history, random_stream r, options o)
      : w(world), h(history), random(r), opts(std::move(o)), clients(opts.clients) {
    for (size_t i = 0; i < clients.size(); ++i) {
      clients[i].index = i;
      clients[i].random = random.split();
      clients[i].node = some_node(clients[i]);
    }
  }

  // -- Requests ----------------------------------------------------------------------------------------------------

  quorum_level level(client& c) const {
    switch (c.random.below(12)) {
    case 0:
      return {quorum_level::kind::one, 0};
    case 1:
      return {quorum_level::kind::quorum, 0};
    case 2:
      return {quorum_level::kind::all, 0};
    case 3:
      return {quorum_level::kind::number, static_cast<uint32_t>(c.random.between(1, 3))};
    default:
      return {};
    }
  }

  client_request request(client& c, kind what, const key_ref& where) const {
    client_request r;
    r.what = what;
    r.bucket = where.bucket;
    r.key = where.key;
    r.read = level(c);
    r.write = level(c);
    if (what == kind::get && c.random.one_in(4))
      r.repair = protocol::read_repair::foreground;
    if (c.random.one_in(4)) {
      r.read_owners = level(c);
      r.write_owners = level(c);
    }
    return r;
  }

  std::string fresh_value(client& c) const { return fmt::format("c{}-{}", c.index, ++c.writes); }

  /// Submits `r` on the client's connection. `next` is called exactly once: with the reply, or with null.
  void send(client& c, client_request r, next_fn next, bool must_succeed = false) {
    std::vector<asking> one;
    one.push_back({std::move(r), std::move(next)});
    send_together(c, std::move(one), must_succeed);
  }

  /// Submits all of them at once, as a pipeline does.
  void send_together(client& c, std::vector<asking> together, bool must_succeed = false) {
    for (const auto& a : together)
      used.insert({a.request.bucket, a.request.key});
    if (!w.running(c.node)) { // Refused: no operation took place.
      c.node = some_node(c);
      for (auto& a : together)
        a.next(nullptr);
      return;
    }
    auto node = c.node;
    std::vector<waiting> all;
    std::vector<world::submission> batch;
    for (auto& a : together) {
      all.push_back(invoke(c, a.request, std::move(a.next), must_succeed));
      batch.push_back(submission_of(c, all.back(), std::move(a.request)));
    }
    if (!w.submit_together(node, std::move(batch))) {
      for (const auto& x : all) {
        h.lose(x.operation, w.now(), w.wall_ms(node));
        x.answer(nullptr);
      }
      return;
    }
    if (!must_succeed)
      for (const auto& x : all)
        lose_patience(c, x);
  }

  waiting invoke(client& c, const client_request& r, next_fn next, bool must_succeed) {
    operation op;
    op.client = c.index;
    op.node = c.node;
    op.request = r;
    op.must_succeed = must_succeed;
    op.invoked = w.now();
    op.wall_invoked = w.wall_ms(c.node);
    auto open = std::make_shared<bool>(true);
    return {h.invoke(std::move(op)), open, [open, next = std::move(next)](const client_reply* reply) {
              if (std::exchange(*open, false))
                next(reply);
            }};
  }

  world::submission submission_of(client& c, const waiting& x, client_request r) {
    auto node = c.node;
    auto index = x.operation;
    return {std::move(r),
            [this, index, node, answer = x.answer](const client_reply& reply) {
              h.complete(index, reply, w.now(), w.wall_ms(node));
              note(index);
              if (h[index].acknowledged() && opts.acknowledged)
                opts.acknowledged(node);
              answer(&reply);
            },
            [this, index, node, &c, life = c.life, answer = x.answer] {
              h.lose(index, w.now(), w.wall_ms(node));
              note(index);
              if (c.life == life)
                move(c);
              answer(nullptr);
            }};
  }

  /// Longer than most requests take, and sometimes shorter.
  void lose_patience(client& c, const waiting& x) {
    auto patience = c.random.one_in(20) ? c.random.between(5, 500) : c.random.between(1500, 6000);
    w.after(milliseconds{patience}, [this, x, &c, life = c.life] {
      if (!*x.open)
        return;
      if (c.life == life)
        move(c);
      x.answer(nullptr);
    });
  }

  void note(size_t index) { w.trace(describe(h[index], w.cluster())); }

  void move(client& c) {
    ++c.life;
    c.node = some_node(c);
  }

  /// Clients know of new members soon, and of those that have gone as long as they run.
  size_t some_node(client& c) const {
    std::vector<size_t> present;
    for (size_t n = 0; n < w.nodes(); ++n)
      if (w.present(n))
        present.push_back(n);
    return present[c.random.below(present.size())];
  }

  // -- What clients do ---------------------------------------------------------------------------------------------

  void loop(client& c) {
    if (stopped || (opts.operations_max != 0 && h.operations().size() >= opts.operations_max))
      return;
    uint64_t think = 0;
    if (c.burst_left > 0) {
      --c.burst_left;
      think = c.random.between(0, 30'000); // Microseconds: often several clients at a key.
    } else {
      c.burst_left = c.random.between(1, 20);
      think = c.random.between(200'000, 30'000'000);
    }
    w.after(std::chrono::microseconds{think}, [this, &c] {
      if (stopped)
        return;
      if (c.random.one_in(30))
        move(c);
      act(c);
    });
  }

  /// Clients hear of a new bucket as soon as there is one, and not always that one was dropped.
  const protocol::bucket& some_bucket(client& c) const {
    const auto& all = w.cluster().buckets;
    const auto& present = w.newest_ring().buckets;
    const auto& from = all.size() > present.size() && c.random.one_in(20) ? all : present;
    return from[c.random.below(from.size())];
  }

  void act(client& c) {
    const auto& b = some_bucket(c);
    auto lww = b.conflict == conflict_rule::lww;
    if (c.random.one_in(12))
      return pipeline(c, {b.id, c.random.one_in(2) ? "hot" : name("r", c.random.below(8))});
    auto dice = c.random.below(lww ? 6 : 9);
    switch (dice) {
    case 0:
      return delete_and_create(c, {b.id, name("d", c.random.below(4))});
    case 1:
      return expiring(c, {b.id, name("e", c.random.below(4))});
    case 2:
      return several(c, b.id);
    case 3:
      return one_register(c, {b.id, "hot"}, lww);
    case 4:
    case 5:
      return one_register(c, {b.id, name("r", c.random.below(8))}, lww);
    case 6:
      return plain(c, {b.id, name("p", c.random.below(4))});
    default:
      return grow_set(c, {b.id, set_key()}, 3);
    }
  }

  void one_register(client& c, const key_ref& where, bool lww) {
    lww ? lww_register(c, where) : with_context(c, where);
  }

  static std::string name(std::string_view prefix, uint64_t i) { return fmt::format("{}{}", prefix, i); }

  /// A new set every minute, so that none grows without end.
  std::string set_key() const {
    return name("set", static_cast<uint64_t>(std::chrono::duration_cast<std::chrono::minutes>(w.now()).count()));
  }

  next_fn go_on(client& c) {
    return [this, &c](const client_reply*) { loop(c); };
  }

  void lww_register(client& c, const key_ref& where) {
    switch (c.random.below(10)) {
    case 0:
      return send(c, request(c, kind::remove, where), go_on(c));
    case 1:
    case 2:
    case 3:
    case 4:
      return put(c, where, c.random.one_in(10), go_on(c));
    default:
      return send(c, request(c, kind::get, where), go_on(c));
    }
  }

  client_request put_request(client& c, const key_ref& where, bool read_first, uint64_t ttl_ms = 0) const {
    auto r = request(c, kind::put, where);
    r.value = fresh_value(c);
    r.read_first = read_first;
    r.ttl_ms = ttl_ms;
    return r;
  }
  void put(client& c, const key_ref& where, bool read_first, next_fn next, uint64_t ttl_ms = 0) {
    send(c, put_request(c, where, read_first, ttl_ms), std::move(next));
  }

  /// A register in a siblings bucket: read it, then write or remove with what was read; or with an older context, or
  /// without any.
  void with_context(client& c, const key_ref& where) {
    auto write = [this, &c, where](const dot_clock* context) {
      auto remove = context != nullptr && c.random.one_in(6);
      auto r = request(c, remove ? kind::remove : kind::put, where);
      if (!remove)
        r.value = fresh_value(c);
      if (context != nullptr)
        r.context = *context;
      send(c, std::move(r), [this, &c, where](const client_reply* reply) {
        if (reply != nullptr && reply->status == errc::ok)
          c.contexts[where] = reply->context;
        loop(c);
      });
    };
    auto known = c.contexts.find(where);
    auto dice = c.random.below(12);
    if (dice == 0)
      return write(nullptr);
    if (dice <= 3 && known != c.contexts.end()) {
      auto context = known->second;
      return write(&context);
    }
    send(c, request(c, kind::get, where), [this, &c, where, write, dice](const client_reply* reply) {
      if (reply == nullptr || reply->status != errc::ok)
        return retry(c);
      c.contexts[where] = reply->context;
      if (dice >= 9)
        return loop(c); // A reader.
      write(&reply->context);
    });
  }

  void retry(client& c) {
    w.after(milliseconds{c.random.between(1, 400)}, [this, &c] { loop(c); });
  }

  /// Reads all siblings and writes their union and one element more, with the context of the read: whatever happens
  /// meanwhile, no acknowledged element may be missing in the end.
  void grow_set(client& c, const key_ref& where, int tries) {
    send(c, request(c, kind::get, where), [this, &c, where, tries](const client_reply* reply) {
      if (reply == nullptr || reply->status != errc::ok)
        return retry(c);
      std::set<std::string> elements;
      for (const auto& v : reply->values)
        for (auto e : elements_of(v.value))
          elements.insert(std::string{e});
      if (elements.size() >= set_elements_max)
        return loop(c);
      auto r = request(c, kind::put, where);
      r.value = fresh_value(c);
      char separator = '|';
      for (const auto& e : elements) {
        r.value += separator + e;
        separator = ',';
      }
      r.context = reply->context;
      send(c, std::move(r), [this, &c, where, tries](const client_reply* written) {
        if ((written == nullptr || written->status != errc::ok) && tries > 0 && !stopped)
          return w.after(milliseconds{c.random.between(1, 400)},
                         [this, &c, where, tries] { stopped ? loop(c) : grow_set(c, where, tries - 1); });
        loop(c);
      });
    });
  }

  /// Plain SET and DEL of a siblings bucket: the coordinator reads first.
  void plain(client& c, const key_ref& where) {
    switch (c.random.below(5)) {
    case 0: {
      auto r = request(c, kind::remove, where);
      r.read_first = true;
      return send(c, std::move(r), go_on(c));
    }
    case 1:
    case 2:
      return put(c, where, true, go_on(c));
    default:
      return send(c, request(c, kind::get, where), go_on(c));
    }
  }

  void delete_and_create(client& c, const key_ref& where) {
    auto siblings = rule(where.bucket) == conflict_rule::siblings;
    auto remove = [this, &c, where, siblings](const next_fn& next) {
      auto r = request(c, kind::remove, where);
      r.read_first = siblings || c.random.one_in(2);
      send(c, std::move(r), next);
    };
    auto read = [this, &c, where](const client_reply*) { send(c, request(c, kind::get, where), go_on(c)); };
    if (c.random.one_in(2))
      return remove(read);
    put(c, where, siblings,
        [this, &c, remove, read](const client_reply*) { c.random.one_in(2) ? remove(read) : read(nullptr); });
  }

  void expiring(client& c, const key_ref& where) {
    if (c.random.one_in(2))
      return send(c, request(c, kind::get, where), go_on(c));
    put(c, where, rule(where.bucket) == conflict_rule::siblings, go_on(c), c.random.between(200, 20'000));
  }

  /// A command over several keys, as the gateway takes it apart.
  void several(client& c, bucket_id bucket) {
    auto count = c.random.between(2, 5);
    auto left = std::make_shared<uint64_t>(count);
    auto writes = c.random.one_in(2);
    auto siblings = rule(bucket) == conflict_rule::siblings;
    auto done = [this, &c, left](const client_reply*) {
      if (--*left == 0)
        loop(c);
    };
    auto first = c.random.below(8);
    std::vector<asking> together;
    for (uint64_t i = 0; i < count; ++i) {
      key_ref where{bucket, name("m", (first + i) % 8)};
      together.push_back({writes ? put_request(c, where, siblings) : request(c, kind::get, where), done});
    }
    send_together(c, std::move(together));
  }

  /// Requests for one key, sent together: a coordinator gets them in one message, and deals with them in one batch.
  void pipeline(client& c, const key_ref& where) {
    auto count = c.random.between(2, 8);
    auto left = std::make_shared<uint64_t>(count);
    auto done = [this, &c, where, left](const client_reply* reply) {
      if (reply != nullptr && reply->status == errc::ok)
        c.contexts[where] = reply->context;
      if (--*left == 0)
        loop(c);
    };
    auto siblings = rule(where.bucket) == conflict_rule::siblings;
    auto known = c.contexts.find(where);
    auto writes = !siblings || known != c.contexts.end();
    std::vector<asking> together;
    for (uint64_t i = 0; i < count; ++i) {
      auto dice = c.random.below(6);
      auto what = !writes || dice < 3 ? kind::get : dice == 3 ? kind::remove : kind::put;
      auto r = request(c, what, where);
      if (what == kind::put)
        r.value = fresh_value(c);
      if (what != kind::get && siblings)
        r.context = known->second;
      together.push_back({std::move(r), done});
    }
    send_together(c, std::move(together));
  }

  conflict_rule rule(bucket_id bucket) const {
    const auto* b = find_bucket(w.cluster(), bucket);
    return b != nullptr ? b->conflict : conflict_rule::lww;
  }

  world& w;
  history& h;
  random_stream random;
  options opts;
  std::vector<client> clients;
  std::set<key_ref> used;
  bool stopped = false;
};

workload::workload(world& w, history& h, random_stream random, options opts)
    : impl_(std::make_unique<impl>(w, h, random, std::move(opts))) {}
workload::~workload() = default;

void workload::start() {
  for (auto& c : impl_->clients)
    impl_->loop(c);
}

void workload::stop() { impl_->stopped = true; }

void workload::read_everything() {
  auto& c = impl_->clients.front();
  for (const auto& where : std::set<key_ref>{impl_->used}) {
    if (impl_->w.newest_ring().find_bucket(where.bucket) == nullptr)
      continue;
    for (auto level : {quorum_level::kind::bucket_default, quorum_level::kind::all}) {
      client_request r;
      r.bucket = where.bucket;
      r.key = where.key;
      r.read.level = level;
      c.node = impl_->some_node(c);
      impl_->send(
          c, std::move(r), [](const client_reply*) {}, true);
    }
  }
}

void workload::write_once_more(const std::string& prefix) {
  auto& c = impl_->clients.front();
  for (const auto& b : impl_->w.newest_ring().buckets) {
    for (size_t node = 0; node < impl_->w.nodes(); ++node) {
      if (!impl_->w.member(node))
        continue;
      // Clocks far ahead may have left registers that nothing can go beyond before its time (docs/protocol.md).
      auto r = impl_->request(c, kind::put, {b.id, impl::name(prefix, node)});
      r.value = impl_->fresh_value(c);
      r.write = r.write_owners = {};
      c.node = node;
      impl_->send(
          c, std::move(r), [](const client_reply*) {}, true);
    }
  }
}

void workload::use_dropped() {
  auto& c = impl_->clients.front();
  for (const auto& b : impl_->w.cluster().buckets) {
    if (impl_->w.newest_ring().find_bucket(b.id) != nullptr)
      continue;
    for (size_t node = 0; node < impl_->w.nodes(); ++node) {
      if (!impl_->w.member(node))
        continue;
      c.node = node;
      impl_->send(c, impl_->request(c, kind::get, {b.id, "hot"}), [](const client_reply*) {});
      impl_->send(c, impl_->put_request(c, {b.id, "hot"}, false), [](const client_reply*) {});
    }
  }
}

} // namespace crema::simulation
