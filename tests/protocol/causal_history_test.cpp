// Vnodes under random schedules, compared with a model that keeps for every write the full set of writes it replaces.
//
// The invariant makes the comparison simple: what a replica holds of a key depends on its clock alone. Siblings: the
// values of the known writes that no known write replaces. Register: the latest of the known writes.
#include "protocol/context.hpp"
#include "tests/protocol/generators.hpp"
#include "tests/protocol/memory_sink.hpp"

#include <gtest/gtest.h>

#include <memory>
#include <random>

namespace crema::protocol {
namespace {

/// One step of a schedule; what the numbers choose depends on how much there is to choose from.
struct choice {
  uint8_t what, a, b, c;
};
void showValue(const choice& x, std::ostream& out) {
  out << "{" << +x.what << "," << +x.a << "," << +x.b << "," << +x.c << "}";
}

rc::Gen<std::vector<choice>> schedules() {
  auto byte = rc::gen::inRange<uint8_t>(0, 252);
  auto one = rc::gen::construct<choice>(rc::gen::inRange<uint8_t>(0, 100), byte, byte, byte);
  return rc::gen::scale(3, rc::gen::container<std::vector<choice>>(one));
}

struct write {
  std::string key;
  std::optional<std::string> value;
  dot_set replaces; ///< All writes of the key whose effect the writer had seen.
  timestamp time;
  vnode::given given;
};

class world {
public:
  explicit world(conflict_rule rule) : rule_(rule) {
    for (replica_id id = 1; id <= replica_count; ++id)
      replicas_.push_back(std::make_unique<test_replica>(rule, id));
  }

  void step(const choice& x) {
    const auto key = "k" + std::to_string(x.c % 2);
    auto& at = *replicas_[x.a % replica_count];
    auto& peer = *replicas_[x.b % replica_count];
    if (x.what < 15) {
      put(at, key, value(), nullptr, {});
    } else if (x.what < 35) {
      read(key, at, peer);
    } else if (x.what < 55 && read_) {
      // A client may also write what it has read long ago, or twice.
      put(at, read_->key, x.c % 3 == 0 ? std::nullopt : value(), &read_->context, read_->writes);
    } else if (x.what < 80 && !order_.empty()) {
      // Any delta to anyone: so deltas overtake each other, come twice, or never come.
      const auto& w = writes_.at(order_[(x.b * 252U + x.c) % order_.size()]);
      auto known = at.node.clock().contains(w.given.id);
      RC_ASSERT(at.apply(w.given, w.key) == !known);
    } else if (x.what < 95) {
      auto page = peer.page(key, at.node.clock());
      RC_ASSERT(at.apply(page) == page.dots.size());
    } else {
      strip_stored(at);
    }
  }

  /// Everybody catches up with everybody.
  void settle() {
    for (auto& a : replicas_)
      for (auto& b : replicas_)
        for (const auto* key : {"k0", "k1"})
          a->apply(b->page(key, a->node.clock()));
    for (auto& a : replicas_)
      for (auto& b : replicas_)
        for (const auto* key : {"k0", "k1"})
          a->apply(b->page(key, a->node.clock()));
    for (auto& a : replicas_)
      RC_ASSERT(a->node.clock().size() == order_.size());
  }

  void check() const {
    for (const auto& r : replicas_) {
      RC_ASSERT(r->sink.malformed == 0U);
      for (const auto* key : {"k0", "k1"})
        check_key(*r, key);
    }
  }

  /// The deltas of one key, as written.
  std::vector<std::string> deltas(const std::string& key) const {
    std::vector<std::string> result;
    for (const auto& d : order_)
      if (writes_.at(d).key == key)
        result.push_back(writes_.at(d).given.delta);
    return result;
  }
  const test_replica& replica(size_t i) const { return *replicas_[i]; }

private:
  static constexpr size_t replica_count = 3;

  struct remembered {
    std::string key;
    dot_clock context;
    dot_set writes;
  };

  std::optional<std::string> value() const { return "v" + std::to_string(time_ + 1); }

  void put(test_replica& at, const std::string& key, std::optional<std::string> value, const dot_clock* context,
           const dot_set& replaces) {
    ++time_;
    auto given = at.give(key, value, time_, context);
    RC_ASSERT(writes_.count(given.id) == 0U);
    writes_[given.id] = {key, std::move(value), replaces, time_, given};
    order_.push_back(given.id);
  }

  /// A coordinator's read from two replicas (or one): their expanded objects joined; the context goes through a client.
  void read(const std::string& key, const test_replica& a, const test_replica& b) {
    if (rule_ == conflict_rule::lww) {
      read_ = remembered{key, {}, {}};
      return;
    }
    auto object = a.read(key);
    join(object, b.read(key));
    auto effects = effects_on(key, a);
    effects.merge(effects_on(key, b));
    RC_ASSERT(dots(object) == alive(effects));
    std::string why;
    auto context = decode_context(a.node.id(), encode_context(a.node.id(), object.seen), why);
    RC_ASSERT(context.has_value());
    read_ = remembered{key, *context, effects};
  }

  void strip_stored(test_replica& at) const {
    if (rule_ == conflict_rule::siblings)
      for (auto& [key, bytes] : at.sink.objects) {
        auto x = *decode_siblings(bytes);
        strip(x, at.node.clock());
        bytes = encode_siblings(x);
      }
  }

  /// The writes of `key` whose effect is in the state: those known, and those that they replace.
  dot_set effects_on(const std::string& key, const test_replica& r) const {
    dot_set effects;
    for (const auto& [id, w] : writes_)
      if (w.key == key && r.node.clock().contains(id)) {
        effects.insert(id);
        effects.insert(w.replaces.begin(), w.replaces.end());
      }
    return effects;
  }

  /// The values that are left if exactly these writes have taken effect.
  dot_set alive(const dot_set& effects) const {
    dot_set left;
    for (const auto& id : effects)
      if (writes_.at(id).value)
        left.insert(id);
    for (const auto& id : effects)
      for (const auto& replaced : writes_.at(id).replaces)
        left.erase(replaced);
    return left;
  }

  static dot_set dots(const siblings_object& x) {
    dot_set result;
    for (const auto& s : x.siblings)
      result.insert(s.id);
    return result;
  }

  void check_key(const test_replica& r, const std::string& key) const {
    auto effects = effects_on(key, r);
    if (rule_ == conflict_rule::lww)
      return check_register(r, key, effects);
    auto object = r.read(key);
    RC_ASSERT(dots(object) == alive(effects));
    for (const auto& s : object.siblings)
      RC_ASSERT(s.value == *writes_.at(s.id).value);
    for (const auto& [id, w] : writes_) // The context is exact.
      if (w.key == key)
        RC_ASSERT(object.seen.contains(id) == (effects.count(id) > 0));
  }

  void check_register(const test_replica& r, const std::string& key, const dot_set& effects) const {
    const write* latest = nullptr;
    for (const auto& id : effects)
      if (latest == nullptr || writes_.at(id).time > latest->time)
        latest = &writes_.at(id);
    auto winner = r.winner(key);
    RC_ASSERT(winner.has_value() == (latest != nullptr));
    if (latest != nullptr) {
      RC_ASSERT(winner->id == latest->given.id);
      RC_ASSERT(winner->tombstone == !latest->value);
      RC_ASSERT(winner->value == latest->value.value_or(""));
    }
  }

  conflict_rule rule_;
  std::vector<std::unique_ptr<test_replica>> replicas_;
  std::map<dot, write> writes_;
  std::vector<dot> order_; // Of the writes, in time.
  timestamp time_ = 0;
  std::optional<remembered> read_;
};

void run(conflict_rule rule) {
  world w(rule);
  for (const auto& x : *schedules()) {
    w.step(x);
    w.check();
  }
  w.settle();
  w.check();
}

TEST(CausalHistory, SiblingsAreWhatTheFullHistoryLeavesAfterEveryStep) {
  EXPECT_TRUE(rc::check([] { run(conflict_rule::siblings); }));
}

TEST(CausalHistory, ARegisterIsTheLatestOfTheKnownWritesAfterEveryStep) {
  EXPECT_TRUE(rc::check([] { run(conflict_rule::lww); }));
}

TEST(CausalHistory, DeltasJoinToOneObjectInAnyOrderAndGrouping) {
  for (auto rule : {conflict_rule::siblings, conflict_rule::lww})
    EXPECT_TRUE(rc::check([rule] {
      world w(rule);
      for (const auto& x : *schedules())
        w.step(x);
      auto parts = w.deltas("k0");
      std::string in_order;
      for (const auto& delta : parts)
        in_order = *join_encoded(in_order, delta);
      // Join any two until one is left; now and then one twice.
      std::minstd_rand random(*rc::gen::arbitrary<uint32_t>());
      while (parts.size() > 1) {
        auto i = random() % parts.size();
        auto j = random() % parts.size();
        auto joined = *join_encoded(parts[i], parts[j]);
        parts[i] = joined;
        if (i != j && random() % 4 != 0)
          parts.erase(parts.begin() + static_cast<std::ptrdiff_t>(j));
      }
      if (!parts.empty())
        RC_ASSERT(parts[0] == in_order);
    }));
}

TEST(CausalHistory, ReplicasThatKnowTheSameReadTheSame) {
  for (auto rule : {conflict_rule::siblings, conflict_rule::lww})
    EXPECT_TRUE(rc::check([rule] {
      world w(rule);
      for (const auto& x : *schedules())
        w.step(x);
      w.settle();
      for (const auto* key : {"k0", "k1"}) {
        auto first = w.replica(0).sink.stored(key);
        auto digest = w.replica(0).node.digest(first);
        for (size_t i = 1; i < 3; ++i) {
          RC_ASSERT(w.replica(i).node.digest(w.replica(i).sink.stored(key)) == digest);
          RC_ASSERT(w.replica(i).read(key).siblings == w.replica(0).read(key).siblings);
        }
      }
    }));
}

} // namespace
} // namespace crema::protocol
