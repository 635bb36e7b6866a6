#include "protocol/get_quorum.hpp"

#include "protocol/planted.hpp"

#include <algorithm>
#include <cassert>
#include <functional>

namespace crema::protocol {

namespace {

/// @returns nothing if the object is malformed or of the other kind.
std::optional<uint64_t> digest_of(conflict_rule rule, std::string_view object) {
  if (object.empty())
    return 0;
  if (rule == conflict_rule::lww) {
    auto x = decode_lww(object);
    return x ? std::optional{digest_lww(x)} : std::nullopt;
  }
  auto x = view_siblings(object);
  return x ? std::optional{digest_siblings(*x)} : std::nullopt;
}

} // namespace

get_quorum::get_quorum(conflict_rule rule, std::vector<node_id> owners, const std::vector<bool>& reachable,
                       uint32_t required, uint32_t required_owners, bool ask_all, read_repair repairs)
    : rule_(rule), required_(planted(bug::read_short) && required > 1 ? required - 1 : required),
      required_owners_(required_owners), ask_all_(ask_all), repairs_(repairs) {
  assert(owners.size() == reachable.size());
  assert(required >= 1 && required <= owners.size() && required_owners <= required);
  nodes_.resize(owners.size());
  for (size_t i = 0; i < owners.size(); ++i) {
    nodes_[i].id = owners[i];
    nodes_[i].reachable = reachable[i];
  }
}

void get_quorum::start(get_outbox& out) {
  if (replied_)
    return;
  auto unreachable = std::count_if(nodes_.begin(), nodes_.end(), [](const node& x) { return !x.reachable; });
  for (; unreachable > 0; --unreachable)
    take_fallback(out);
  if (missing(&node::usable).needed > 0)
    return fail(errc::no_quorum, out);
  uint32_t asked_already = 0;
  for (auto& x : nodes_) {
    if (x.usable() && ((ask_all_ && x.owner) || asked_already < required_))
      ask(x, asked_already++ == 0 ? asked::object : asked::digest, out);
  }
}

void get_quorum::object_received(node_id from, std::string object, uint64_t /*digest*/, get_outbox& out) {
  auto* x = find(from);
  if (x == nullptr || x->wanted == asked::nothing || x->failed || x->has_object)
    return;
  auto digest = digest_of(rule_, object);
  if (!digest)
    return failed(from, errc::storage_failure, out);
  x->digest = *digest; // It may have changed since the owner sent only that.
  x->object = std::move(object);
  x->has_digest = x->has_object = true;
  advance(out);
}

void get_quorum::digest_received(node_id from, uint64_t digest, get_outbox& out) {
  auto* x = find(from);
  if (planted(bug::answer_counted_twice) && x != nullptr && x->has_digest)
    for (auto& y : nodes_)
      x = y.pending() ? &y : x;
  if (x == nullptr || x->wanted == asked::nothing || x->failed || x->has_digest)
    return;
  x->digest = digest;
  x->has_digest = true;
  advance(out);
}

void get_quorum::failed(node_id from, errc why, get_outbox& out) {
  auto* x = find(from);
  if (x == nullptr || !x->usable() || (x->wanted != asked::nothing && !x->pending()))
    return; // What has been answered stays answered.
  x->failed = true;
  x->has_digest = false; // Only one whose object cannot be had: it does not count.
  if (!replied_) {
    if (why == errc::no_quorum || why == errc::incomplete || (!x->owner && why == errc::not_owner)) {
      take_fallback(out);
      x = find(from); // The nodes may have moved.
    }
    if (missing(&node::usable).needed > 0)
      return fail(why == errc::incomplete ? errc::no_quorum : why, out);
    auto* other = x->wanted != asked::nothing ? unasked() : nullptr;
    if (other != nullptr)
      ask(*other, x->wanted, out);
    else if (x->wanted == asked::object)
      ask_another_for_object(out);
  }
  advance(out);
}

void get_quorum::hedge(get_outbox& out) {
  if (replied_)
    return;
  hedged_ = true;
  if (auto* x = unasked(); x != nullptr)
    ask(*x, asked::object, out);
  else if (std::none_of(nodes_.begin(), nodes_.end(), [](const node& o) { return o.has_object; }) &&
           std::count_if(nodes_.begin(), nodes_.end(), [](const node& o) { return o.usable(); }) > required_) {
    // All were asked, and who was to give the object may be the slow one.
    auto i = std::find_if(nodes_.begin(), nodes_.end(),
                          [](const node& o) { return o.usable() && o.wanted == asked::digest; });
    if (i != nodes_.end())
      ask(*i, asked::object, out);
  }
  advance(out);
}

void get_quorum::deadline_passed(get_outbox& out) { fail(errc::timeout, out); }

bool get_quorum::done() const {
  return replied_ && std::none_of(nodes_.begin(), nodes_.end(), [](const node& x) { return x.pending(); });
}

uint32_t get_quorum::answered() const {
  return static_cast<uint32_t>(std::count_if(nodes_.begin(), nodes_.end(), [](const node& x) { return x.has_digest; }));
}

// -- Who ------------------------------------------------------------------------------------------------------------

get_quorum::node* get_quorum::find(node_id id) {
  auto i = std::find_if(nodes_.begin(), nodes_.end(), [id](const node& x) { return x.id == id; });
  return i == nodes_.end() ? nullptr : &*i;
}

get_quorum::node* get_quorum::unasked() {
  auto i = std::find_if(nodes_.begin(), nodes_.end(),
                        [](const node& x) { return x.usable() && x.wanted == asked::nothing; });
  return i == nodes_.end() ? nullptr : &*i;
}

/// What is not met if these nodes count; nothing is `needed` if all is.
template <class Predicate>
shortfall get_quorum::missing(Predicate counts) const {
  uint32_t all = 0, owners = 0;
  for (const auto& x : nodes_) {
    auto one = std::invoke(counts, x);
    all += one ? 1 : 0;
    owners += one && x.owner ? 1 : 0;
  }
  if (all < required_)
    return {required_, all, false};
  return owners < required_owners_ ? shortfall{required_owners_, owners, true} : shortfall{};
}

/// In place of a node that cannot be had; asked when there is nobody better.
void get_quorum::take_fallback(get_outbox& out) {
  if (auto id = out.next_fallback()) {
    node x;
    x.id = *id;
    x.owner = false;
    x.reachable = true;
    nodes_.push_back(std::move(x));
  }
}

void get_quorum::ask(node& x, asked what, get_outbox& out) {
  x.wanted = what;
  if (what == asked::object)
    out.send_get(x.id);
  else
    out.send_digest(x.id);
}

/// Who was to give the object failed, and all others were asked for digests: one of them has to give it.
void get_quorum::ask_another_for_object(get_outbox& out) {
  auto gives_object = [](const node& x) { return x.usable() && x.wanted == asked::object; };
  if (std::any_of(nodes_.begin(), nodes_.end(), gives_object))
    return;
  auto i = std::find_if(nodes_.begin(), nodes_.end(), [](const node& x) { return x.has_digest; });
  if (i == nodes_.end()) // Rather one that has shown that it answers.
    i = std::find_if(nodes_.begin(), nodes_.end(), [](const node& x) { return x.usable(); });
  ask(*i, asked::object, out); // Enough are usable, so there is one.
}

// -- What -----------------------------------------------------------------------------------------------------------

bool get_quorum::digests_agree() const {
  const node* first = nullptr;
  for (const auto& x : nodes_) {
    if (!x.has_digest)
      continue;
    if (first == nullptr)
      first = &x;
    else if (x.digest != first->digest)
      return false;
  }
  return true;
}

void get_quorum::advance(get_outbox& out) {
  if (replied_)
    return repair(out);
  if (missing(&node::has_digest).needed > 0)
    return;
  if (digests_agree()) {
    auto i = std::find_if(nodes_.begin(), nodes_.end(), [](const node& x) { return x.has_object; });
    if (i != nodes_.end())
      reply(i->object, out);
    return;
  }
  bool all = true;
  for (auto& x : nodes_) {
    all = all && (x.has_object || !x.has_digest);
    if (x.has_digest && x.wanted != asked::object)
      ask(x, asked::object, out);
  }
  if (!all && !(hedged_ && missing(&node::has_object).needed == 0))
    return;
  if (repairs_ == read_repair::foreground)
    return reply_held(out);
  reply(joined(), out);
}

/// Does the node hold all that was read? Fallbacks are not repaired; they are taken as they are.
bool get_quorum::holds(const node& x, uint64_t whole) const {
  return x.has_digest && (!x.owner || (object_of(x) != nullptr && x.digest == whole));
}

/// Replies once enough nodes hold all that was read; until then those that lack something are repaired.
void get_quorum::reply_held(get_outbox& out) {
  auto whole = joined();
  auto digest = *digest_of(rule_, whole);
  repairing_ = missing([&](const node& x) { return holds(x, digest); }).needed > 0;
  if (!repairing_)
    return reply(whole, out);
  repair(out);
}

void get_quorum::repaired(node_id stale, node_id source, bool done, get_outbox& out) {
  auto* to = find(stale);
  const auto* from = find(source);
  if (to == nullptr || from == nullptr || replied_)
    return;
  if (!done) {
    to->has_digest = to->has_object = false; // It is asked no more, and what it said does not count.
    to->failed = false;
    return failed(stale, errc::no_quorum, out);
  }
  if (object_of(*to) == nullptr || object_of(*from) == nullptr)
    return advance(out);
  auto both = join_encoded(*object_of(*to), *object_of(*from));
  assert(both); // Each was checked on arrival.
  to->object = std::move(*both);
  to->has_object = true;
  to->digest = *digest_of(rule_, to->object);
  advance(out);
}

void get_quorum::reply(const std::string& object, get_outbox& out) {
  replied_ = replied_object_ = true;
  out.reply_object(object);
  repair(out);
}

void get_quorum::fail(errc why, get_outbox& out) {
  if (replied_)
    return;
  replied_ = true;
  auto whole = repairing_ ? *digest_of(rule_, joined()) : 0;
  auto counts = [&](const node& x) { return repairing_ ? holds(x, whole) : x.has_digest; };
  auto lacks = missing([&](const node& x) { return why == errc::no_quorum ? x.usable() : counts(x); });
  if (lacks.needed == 0)
    lacks.needed = required_;
  lacks.had = static_cast<uint32_t>(std::count_if(
      nodes_.begin(), nodes_.end(), [&](const node& x) { return counts(x) && (x.owner || !lacks.owners); }));
  out.reply_failed(why, lacks);
}

std::string get_quorum::joined() const {
  std::string result;
  for (const auto& x : nodes_) {
    if (!x.has_object)
      continue;
    auto both = join_encoded(result, x.object);
    assert(both); // Each was checked on arrival.
    result = std::move(*both);
  }
  return result;
}

// -- Repair ---------------------------------------------------------------------------------------------------------

/// Compares what is known by now, after the reply and after every later answer.
void get_quorum::repair(get_outbox& out) {
  if (repairs_ == read_repair::none || !(replied_object_ || repairing_) || digests_agree())
    return;
  bool incomplete = false;
  for (auto& x : nodes_) {
    if (!x.has_digest || object_of(x) != nullptr)
      continue;
    incomplete = true;
    if (x.wanted != asked::object)
      ask(x, asked::object, out);
  }
  // Each may know that a sibling of the others has been replaced. An lww object is beaten or not, whoever else comes.
  if (incomplete && rule_ == conflict_rule::siblings)
    return;
  auto whole = digest_of(rule_, joined());
  for (const auto& stale : nodes_)
    if (stale.owner && object_of(stale) != nullptr && stale.digest != whole)
      repair_owner(stale, *whole, out);
}

void get_quorum::repair_owner(const node& stale, uint64_t whole, get_outbox& out) {
  const node* best = nullptr; // Has everything; or at least all that `stale` lacks.
  for (const auto& x : nodes_)
    if (object_of(x) != nullptr && digest_after(stale, x) == whole && (best == nullptr || best->digest != whole))
      best = &x;
  if (best != nullptr)
    return repair_once(stale, *best, out);
  for (const auto& x : nodes_)
    if (object_of(x) != nullptr && digest_after(stale, x) != stale.digest)
      repair_once(stale, x, out);
}

void get_quorum::repair_once(const node& stale, const node& source, get_outbox& out) {
  for (auto [to, from] : repaired_) {
    if (to != stale.id)
      continue;
    const auto& earlier = *find(from);
    if (from == source.id ||
        (object_of(earlier) != nullptr && digest_after(stale, earlier) == digest_after(stale, source)))
      return; // From this one, or from one that had the same to give.
  }
  repaired_.emplace_back(stale.id, source.id);
  out.repair(stale.id, source.id);
}

/// The object that `x` has, if it is known. Owners of one lww digest have one object; siblings of one digest may differ
/// in what they know to be replaced.
const std::string* get_quorum::object_of(const node& x) const {
  if (x.has_object || !x.has_digest)
    return x.has_object ? &x.object : nullptr;
  for (const auto& y : nodes_)
    if (rule_ == conflict_rule::lww && y.has_object && y.digest == x.digest)
      return &y.object;
  return nullptr;
}

uint64_t get_quorum::digest_after(const node& stale, const node& source) const {
  auto both = join_encoded(*object_of(stale), *object_of(source));
  assert(both); // Each was checked on arrival.
  return *digest_of(rule_, *both);
}

} // namespace crema::protocol
