// Replays schedules of the executable specification (spec/spec.py, written down by spec/trace.py) on vnodes, and
// compares the whole state of the replica that was touched after every step.
//
// The specification strips an object after every change, a store may do so at any time or never: in every second
// schedule what is stored is stripped at once.
//
// One difference is allowed. A page carries an expanded object, so what a replica has `seen` of a key may also name
// dots of other keys; those say nothing about this key.
#include "protocol/context.hpp"
#include "tests/protocol/memory_sink.hpp"

#include <gtest/gtest.h>

#include <charconv>
#include <cstdio>
#include <memory>
#include <set>

namespace crema::protocol {
namespace {

constexpr int seeds = 300;

/// The words of one line of a trace; empty or 0 past its end.
class words {
public:
  explicit words(std::string_view line) : left_(line) {}
  std::string_view next() {
    left_.remove_prefix(std::min(left_.find_first_not_of(' '), left_.size()));
    auto word = left_.substr(0, left_.find(' '));
    left_.remove_prefix(word.size());
    return word;
  }
  uint64_t number() {
    auto word = next();
    uint64_t x = 0;
    std::from_chars(word.data(), word.data() + word.size(), x);
    return x;
  }
  dot next_dot() {
    auto replica = number();
    return {replica, number()};
  }
  std::set<dot> dots() {
    std::set<dot> result;
    for (auto count = number(); count > 0; --count)
      result.insert(next_dot());
    return result;
  }
  dot_clock ranges() {
    dot_clock clock;
    for (auto count = number(); count > 0; --count) {
      auto replica = number();
      auto first = number();
      clock.add(dot_range{replica, first, number()});
    }
    return clock;
  }

private:
  std::string_view left_;
};

class replay {
public:
  explicit replay(conflict_rule rule) : rule_(rule) {}

  /// @returns what went differently; empty: nothing.
  std::string step(std::string_view line);
  size_t steps = 0;

private:
  std::string world(words& in);
  std::string give(test_replica& at, words& in);
  std::string apply(test_replica& at, words& in);
  std::string page(test_replica& at, words& in);
  std::string read(test_replica& at, words& in) const;
  dot_clock join_objects(test_replica& at, const test_replica& peer) const;
  std::string state(const test_replica& at, words& in);
  std::string object(const std::string& key, words& in);
  std::string objects_checked() const;
  bool same_seen(const dot_clock& seen, const dot_clock& expected, const std::string& key) const;
  bool means_something(const std::string& key, const siblings_object& x) const;
  siblings_object stripped(const test_replica& at, std::string_view key) const;
  void strip_stored(test_replica& at) const;

  conflict_rule rule_;
  bool strips_ = false; // In this schedule.
  std::map<replica_id, std::unique_ptr<test_replica>> replicas_;
  std::map<dot, vnode::given> deltas_;
  std::map<dot, std::string> key_of_;
  const test_replica* current_ = nullptr; // Whose objects the next lines describe,
  uint64_t objects_left_ = 0;             // how many they are,
  std::set<std::string> described_;       // and which have come.
};

std::string replay::world(words& in) {
  strips_ = in.number() % 2 == 1;
  replicas_.clear();
  deltas_.clear();
  key_of_.clear();
  return {};
}

std::string replay::give(test_replica& at, words& in) {
  auto key = std::string{in.next()};
  auto id = in.next_dot();
  auto time = in.number();
  auto value = in.next();
  std::string why;
  auto context = decode_context(at.node.id(), encode_context(at.node.id(), in.ranges()), why);
  if (!context)
    return "the context does not survive its encoding: " + why;
  auto given = at.give(key, value == "-" ? std::nullopt : std::optional{value}, time, &*context);
  key_of_[id] = key;
  deltas_[id] = given;
  return given.id == id ? "" : "another dot was given";
}

std::string replay::apply(test_replica& at, words& in) {
  auto id = in.next_dot();
  auto fresh = in.number() == 1;
  return at.apply(deltas_.at(id), key_of_.at(id)) == fresh ? "" : "applied or not, the specification differs";
}

std::string replay::page(test_replica& at, words& in) {
  const auto& peer = *replicas_.at(in.number());
  auto key = std::string{in.next()};
  auto expected = in.dots();
  auto page = peer.page(key, at.node.clock());
  if (std::set<dot>(page.dots.begin(), page.dots.end()) != expected)
    return "the page has other dots";
  return at.apply(page) == expected.size() ? "" : "other dots of the page were new";
}

std::string replay::read(test_replica& at, words& in) const {
  if (rule_ == conflict_rule::lww)
    return {};
  auto key = std::string{in.next()};
  auto context = at.read(key).seen;
  return same_seen(context, in.ranges(), key) ? "" : "the context of the read differs";
}

bool replay::same_seen(const dot_clock& seen, const dot_clock& expected, const std::string& key) const {
  if (!seen.covers(expected))
    return false;
  for (const auto& range : seen.missing_from(expected))
    for (auto counter = range.first; counter <= range.last; ++counter)
      if (key_of_.at({range.replica, counter}) == key)
        return false;
  return true;
}

/// A join of whole vnodes: every key of both, expanded by the clock of its side. @returns the clock of the two.
dot_clock replay::join_objects(test_replica& at, const test_replica& peer) const {
  auto clock = at.node.clock();
  clock.join(peer.node.clock());
  auto keys = at.sink.objects;
  keys.insert(peer.sink.objects.begin(), peer.sink.objects.end());
  for (const auto& [key, bytes] : keys) {
    std::string joined;
    if (rule_ == conflict_rule::siblings) {
      auto x = at.read(key);
      join(x, peer.read(key));
      strip(x, clock);
      joined = x.empty() ? "" : encode_siblings(x);
    } else {
      auto mine = at.winner(key);
      auto theirs = peer.winner(key);
      if (mine && !theirs && peer.node.clock().contains(mine->id))
        mine.reset(); // It was removed there.
      if (theirs && (mine ? wins(*theirs, *mine) : !at.node.clock().contains(theirs->id)))
        mine = theirs;
      joined = mine ? encode_lww(*mine) : "";
    }
    if (joined.empty())
      at.sink.objects.erase(key);
    else
      at.sink.objects[key] = joined;
  }
  for (const auto& [id, key] : peer.sink.logged)
    if (!at.node.clock().contains(id))
      at.sink.logged[id] = key;
  return clock;
}

/// Does an object say anything about its own key?
bool replay::means_something(const std::string& key, const siblings_object& x) const {
  return !x.siblings.empty() || !same_seen(x.seen, {}, key);
}

siblings_object replay::stripped(const test_replica& at, std::string_view key) const {
  auto x = decode_siblings(at.sink.stored(key)).value_or(siblings_object{});
  strip(x, at.node.clock());
  return x;
}

void replay::strip_stored(test_replica& at) const {
  for (auto& [key, bytes] : at.sink.objects)
    bytes = encode_siblings(stripped(at, key));
}

std::string replay::state(const test_replica& at, words& in) {
  if (at.sink.malformed > 0)
    return "a merge was malformed";
  if (at.node.clock() != in.ranges())
    return "the clock differs";
  if (at.sink.logged.size() != in.number())
    return "the size of the dot log differs";
  current_ = &at;
  objects_left_ = in.number();
  described_.clear();
  return objects_left_ == 0 ? objects_checked() : "";
}

std::string replay::object(const std::string& key, words& in) {
  described_.insert(key);
  auto differs = "the object of " + key + " differs";
  if (rule_ == conflict_rule::lww) {
    auto id = in.next_dot();
    auto time = in.number();
    auto value = in.next();
    auto mine = current_->winner(key);
    if (!mine || mine->id != id || mine->time != time || mine->tombstone != (value == "-") ||
        (!mine->tombstone && mine->value != value))
      return differs;
  } else {
    siblings_object expected;
    for (auto count = in.number(); count > 0; --count) {
      auto id = in.next_dot();
      auto time = in.number();
      expected.siblings.push_back({id, time, 0, std::string{in.next()}});
    }
    expected.seen = in.ranges();
    auto mine = stripped(*current_, key);
    if (mine.siblings != expected.siblings || !same_seen(mine.seen, expected.seen, key))
      return differs;
  }
  return --objects_left_ == 0 ? objects_checked() : "";
}

/// What the specification has not described must not be there.
std::string replay::objects_checked() const {
  for (const auto& [key, bytes] : current_->sink.objects)
    if (described_.count(key) == 0 && (rule_ == conflict_rule::lww || means_something(key, stripped(*current_, key))))
      return "there should be no object of " + key;
  return {};
}

std::string replay::step(std::string_view line) {
  words in(line);
  auto what = in.next();
  if (what == "world")
    return world(in);
  if (what == "siblings" || what == "lww")
    return object(std::string{in.next()}, in);
  if (objects_left_ > 0)
    return "the trace is cut short";
  ++steps;
  auto id = in.number();
  if (what == "new") {
    replicas_[id] = std::make_unique<test_replica>(rule_, id);
    return {};
  }
  auto& at = *replicas_.at(id);
  if (what == "give")
    return give(at, in);
  if (what == "apply")
    return apply(at, in);
  if (what == "page")
    return page(at, in);
  if (what == "read")
    return read(at, in);
  if (what == "state") {
    if (strips_ && rule_ == conflict_rule::siblings)
      strip_stored(at);
    return state(at, in);
  }
  // What the vnode does not do itself yet: copies, joins of whole vnodes, and housekeeping.
  if (what == "copy" || what == "take") {
    const auto& peer = *replicas_.at(in.number());
    at.node = vnode(at.node.id(), rule_, id, peer.node.clock(), at.node.counter());
    at.sink = peer.sink;
  } else if (what == "whole") {
    at.node = vnode(at.node.id(), rule_, id, join_objects(at, *replicas_.at(in.number())));
  } else if (what == "trim") {
    for (const auto& d : in.dots())
      at.sink.logged.erase(d);
  } else if (what == "purge") {
    at.sink.objects.erase(std::string{in.next()});
  } else {
    return "an unknown step";
  }
  return {};
}

void replay_schedules(conflict_rule rule, const std::string& kind) {
  auto command = "PYTHONHASHSEED=0 python3 -B '" CREMA_SOURCE_DIR "/tests/protocol/spec/trace.py' " + kind + " 0 " +
                 std::to_string(seeds);
  std::unique_ptr<FILE, int (*)(FILE*)> pipe(popen(command.c_str(), "r"), pclose);
  ASSERT_TRUE(pipe);
  replay run(rule);
  int worlds = 0;
  std::string seed;
  std::string step;
  char* line = nullptr;
  size_t capacity = 0;
  std::string differs;
  for (ssize_t size = 0; differs.empty() && (size = getline(&line, &capacity, pipe.get())) > 0;) {
    auto text = std::string_view{line, static_cast<size_t>(size - 1)};
    if (text.substr(0, 6) == "world ") {
      ++worlds;
      seed = text;
    } else if (text.substr(0, 6) != "state " && text.substr(0, 4) != "lww " && text.substr(0, 9) != "siblings ") {
      step = text;
    }
    differs = run.step(text);
    if (!differs.empty())
      ADD_FAILURE() << kind << ", " << seed << ", after step " << run.steps << " `" << step << "`: " << differs
                    << "\nat `" << text << "`";
  }
  free(line);
  if (differs.empty()) {
    EXPECT_EQ(worlds, seeds) << "trace.py ended early";
    EXPECT_GT(run.steps, 50U * seeds);
  }
}

TEST(SpecReplay, SiblingsVnodesGoThroughTheStatesOfTheSpecification) {
  replay_schedules(conflict_rule::siblings, "siblings");
}

TEST(SpecReplay, LwwVnodesGoThroughTheStatesOfTheSpecification) { replay_schedules(conflict_rule::lww, "lww"); }

} // namespace
} // namespace crema::protocol
