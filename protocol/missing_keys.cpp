#include "protocol/missing_keys.hpp"

#include "protocol/planted.hpp"

#include <algorithm>

namespace crema::protocol {

std::vector<dot_range> missing_keys::unread(const dot_clock& mine, const dot_clock& theirs) {
  if (is_through()) {
    left_out_.reset();
    looked_up_ = {};
  }
  auto known = theirs;
  known.join(planted(bug::page_outdated) && !looked_up_.empty() ? mine : looked_up_);
  looked_up_ = mine;
  theirs_ = theirs;
  return mine.missing_from(known);
}

void missing_keys::note(const dot& d, std::string_view key) {
  if (left_out_ && key >= *left_out_)
    return;
  auto found = keys_.find(key);
  if (found == keys_.end()) {
    found = keys_.emplace(key, std::vector<dot>{}).first;
    bytes_ += bytes_of(found->first);
  }
  found->second.push_back(d);
  bytes_ += sizeof(dot);
  while (bytes_ > bytes_max_ && keys_.size() > 1) {
    auto last = std::prev(keys_.end());
    bytes_ -= bytes_of(last->first) + last->second.size() * sizeof(dot);
    left_out_ = last->first;
    keys_.erase(last);
  }
}

const missing_keys::by_key::value_type* missing_keys::next(const std::string* key) {
  auto at = key == nullptr ? keys_.begin() : keys_.upper_bound(*key);
  while (at != keys_.end()) {
    auto& dots = at->second;
    auto lacking = std::remove_if(dots.begin(), dots.end(), [&](const dot& d) { return theirs_.contains(d); });
    bytes_ -= static_cast<size_t>(dots.end() - lacking) * sizeof(dot);
    dots.erase(lacking, dots.end());
    if (!dots.empty())
      return &*at;
    bytes_ -= bytes_of(at->first);
    at = keys_.erase(at);
  }
  return nullptr;
}

} // namespace crema::protocol
