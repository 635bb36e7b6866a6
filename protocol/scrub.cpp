#include "protocol/scrub.hpp"

#include "protocol/planted.hpp"

#include <algorithm>
#include <cassert>
#include <map>
#include <utility>

#define XXH_INLINE_ALL // Short inputs: the call would cost more than the hash.
#include <xxhash.h>

namespace crema::protocol {

namespace {

uint64_t hash_of(std::string_view bytes, uint64_t seed = 0) {
  return XXH3_64bits_withSeed(bytes.data(), bytes.size(), seed);
}

uint64_t add_sibling(uint64_t hash, const sibling_view& s) {
  const uint64_t words[] = {s.id.replica, s.id.counter, s.time, s.expires_at};
  return not_zero(hash_of(s.value, XXH3_64bits_withSeed(words, sizeof(words), hash)));
}

} // namespace

content_hashes hash_content(conflict_rule rule, std::string_view stored, uint64_t expires_ms) {
  content_hashes result;
  if (stored.empty())
    return result;
  auto siblings = rule == conflict_rule::siblings ? view_siblings(stored) : std::nullopt;
  auto lww = rule == conflict_rule::lww ? decode_lww(stored) : std::nullopt;
  if (!siblings) {
    auto hash = not_zero(hash_of(stored));
    auto hidden = lww && (lww->tombstone || expired(lww->expires_at, expires_ms));
    return {hidden ? 0 : hash, hash};
  }
  for (const auto& s : siblings->siblings) {
    result.held = add_sibling(result.held, s);
    if (!expired(s.expires_at, expires_ms))
      result.visible = add_sibling(result.visible, s);
  }
  return result;
}

void range_hash::add(std::string_view key, uint64_t visible) {
  if (visible != 0)
    hash_ = hash_of(key, XXH3_64bits_withSeed(&visible, sizeof(visible), hash_));
}

/// What one owner holds, decoded.
struct scrub_judge::reading {
  content_hashes hashes;
  bool damaged = false; // It does not decode.
  std::string_view object;
  siblings_object siblings;
  std::vector<dot> dots;
};

scrub_judge::scrub_judge(conflict_rule rule, size_t owners_count, std::vector<scrub_clocks> clocks, uint64_t expires_ms)
    : rule_(rule), owners_count_(owners_count), all_asked_(clocks.size() >= owners_count), expires_ms_(expires_ms) {
  assert(!clocks.empty());
  known_to_all_ = clocks.front().first;
  dot_clock known_to_any;
  for (const auto& c : clocks) {
    known_to_all_.meet(c.first);
    known_to_any.join(c.first);
  }
  for (const auto& c : clocks)
    clocks_agree_ = clocks_agree_ && c.second.covers(known_to_any);
}

scrub_judge::reading scrub_judge::read(const scrub_copy& copy) const {
  reading result;
  result.object = copy.object;
  result.hashes = hash_content(rule_, copy.object, expires_ms_);
  if (copy.object.empty())
    return result;
  if (rule_ == conflict_rule::lww) {
    auto x = decode_lww(copy.object);
    result.damaged = !x;
    if (x)
      result.dots.push_back(x->id);
    return result;
  }
  auto x = decode_siblings(copy.object);
  result.damaged = !x;
  if (x)
    result.siblings = std::move(*x);
  for (const auto& s : result.siblings.siblings)
    result.dots.push_back(s.id);
  return result;
}

bool scrub_judge::settled(const std::vector<scrub_copy>& copies, const std::vector<reading>& readings) const {
  if (planted(bug::scrub_hasty))
    return true;
  if (!clocks_agree_)
    return false;
  for (size_t i = 0; i < copies.size(); ++i) {
    const auto& r = readings[i];
    if (r.hashes.held != copies[i].held_first ||
        !std::all_of(r.dots.begin(), r.dots.end(), [this](const dot& d) { return known_to_all_.contains(d); }))
      return false;
  }
  return std::any_of(readings.begin(), readings.end(), [](const reading& r) { return !r.damaged; });
}

/// Of several forms of one write the one that most hold. If as many hold another, any will do, but all must agree; and
/// nobody may be missing who could decide.
/// @returns null if somebody is.
template <class Form, class HashOf>
const Form* scrub_judge::most_common(const std::vector<const Form*>& forms, HashOf hash_of_form) const {
  std::map<uint64_t, size_t> votes;
  for (const auto* f : forms)
    ++votes[hash_of_form(*f)];
  const auto* best = *std::max_element(forms.begin(), forms.end(), [&](const Form* a, const Form* b) {
    auto x = hash_of_form(*a), y = hash_of_form(*b);
    return std::pair{votes[x], x} < std::pair{votes[y], y};
  });
  auto decided = votes.size() == 1 || all_asked_ || 2 * votes[hash_of_form(*best)] > owners_count_;
  return decided ? best : nullptr;
}

std::optional<std::string> scrub_judge::right_register(const std::vector<reading>& readings) const {
  std::map<dot, std::vector<const std::string_view*>> forms;
  for (const auto& r : readings)
    if (!r.damaged && !r.object.empty())
      forms[r.dots.front()].push_back(&r.object);
  std::string newest;
  for (const auto& [id, all] : forms) {
    const auto* form = most_common(all, [](std::string_view x) { return hash_of(x); });
    if (form == nullptr)
      return std::nullopt;
    newest = join_encoded(newest, *form).value_or(newest);
  }
  return newest;
}

std::optional<std::string> scrub_judge::right_siblings(const std::vector<reading>& readings) const {
  std::map<dot, std::vector<const sibling*>> forms;
  siblings_object result;
  for (const auto& r : readings) {
    if (r.damaged)
      continue;
    for (const auto& s : r.siblings.siblings)
      forms[s.id].push_back(&s);
    result.seen.join(r.siblings.seen); // True whatever became of the values, of those that stay as well.
  }
  for (const auto& [id, all] : forms) {
    const auto* form = most_common(all, [](const sibling& s) {
      return add_sibling(0, {s.id, s.time, s.expires_at, s.value});
    });
    if (form == nullptr)
      return std::nullopt;
    result.seen.remove(id);
    result.siblings.push_back(*form);
  }
  return result.empty() ? std::string{} : encode_siblings(result);
}

scrub_verdict scrub_judge::judge(const std::vector<scrub_copy>& copies) const {
  std::vector<reading> readings;
  readings.reserve(copies.size());
  for (const auto& c : copies)
    readings.push_back(read(c));
  auto differs = [&](const reading& r, uint64_t visible) { return r.damaged || r.hashes.visible != visible; };
  if (std::none_of(readings.begin(), readings.end(),
                   [&](const reading& r) { return differs(r, readings.front().hashes.visible); }))
    return {};
  if (!settled(copies, readings))
    return {scrub_verdict::kind::unsure, {}, {}};
  auto right = rule_ == conflict_rule::lww ? right_register(readings) : right_siblings(readings);
  if (!right)
    return {scrub_verdict::kind::unsure, {}, {}};
  scrub_verdict result{scrub_verdict::kind::differs, std::move(*right), {}};
  auto visible = hash_content(rule_, result.right, expires_ms_).visible;
  for (size_t i = 0; i < readings.size(); ++i)
    if (differs(readings[i], visible))
      result.wrong.push_back(i);
  return result;
}

std::optional<std::string> restored(conflict_rule rule, const dot_clock& clock, std::string_view right) {
  if (right.empty())
    return std::string{};
  if (rule == conflict_rule::lww) {
    auto x = decode_lww(right);
    return x && clock.contains(x->id) ? std::optional{std::string{right}} : std::nullopt;
  }
  auto x = decode_siblings(right);
  if (!x ||
      !std::all_of(x->siblings.begin(), x->siblings.end(), [&clock](const sibling& s) { return clock.contains(s.id); }))
    return std::nullopt;
  strip(*x, clock);
  return x->empty() ? std::string{} : encode_siblings(*x);
}

} // namespace crema::protocol
