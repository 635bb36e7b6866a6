#include "protocol/claim_spread.hpp"

#include <algorithm>
#include <cmath>
#include <map>
#include <utility>

namespace crema::protocol {

namespace {

using counts = std::vector<uint32_t>;

uint64_t held(const counts& sizes, uint32_t level) {
  uint64_t sum = 0;
  for (auto size : sizes)
    sum += std::min(size, level);
  return sum;
}

/// The smallest level such that k things fit into containers of these sizes with at most `level` in each. The most even
/// spread puts level - 1 or level into each (or fills it).
uint32_t even_level(const counts& sizes, uint32_t k) {
  uint32_t level = 0;
  while (held(sizes, level) < k)
    ++level;
  return level;
}

claim_bounds even_bounds(uint32_t size, uint32_t level) {
  return {std::min(size, level == 0 ? 0 : level - 1), std::min(size, level)};
}

/// A share per partition: proportional to weight, at most all partitions; bounded per host and per zone. As in
/// water-filling, one level `fill` for all, and another for those whose bounds would be exceeded.
class fair_rates {
public:
  fair_rates(const std::vector<member>& members, const claim_spread& spread, uint32_t k, bool nested)
      : members_(members), spread_(spread), nested_(nested), members_of_(nested ? spread.hosts.size() : members.size()),
        hosts_of_(spread.zones.size()), rate_(members.size()) {
    for (uint32_t m = 0; m < members.size(); ++m) {
      auto host = nested ? spread.host_of[m] : m; // A host in several zones bounds no shares: each member alone.
      if (members_of_[host].empty())
        hosts_of_[spread.zone_of[m]].push_back(host);
      members_of_[host].push_back(m);
    }
    auto total = [this](double fill) {
      double sum = 0;
      for (uint32_t z = 0; z < hosts_of_.size(); ++z)
        sum += in_zone(z, fill);
      return sum;
    };
    auto fill = solve(total, k);
    for (uint32_t z = 0; z < hosts_of_.size(); ++z)
      settle_zone(z, fill);
  }

  const std::vector<double>& rate() const { return rate_; }

private:
  double of_member(uint32_t m, double fill) const { return std::min(1.0, fill * members_[m].weight); }
  double of_members(uint32_t host, double fill) const {
    double sum = 0;
    for (auto m : members_of_[host])
      sum += of_member(m, fill);
    return sum;
  }
  double on_host(uint32_t host, double fill) const {
    auto sum = of_members(host, fill);
    return nested_ ? clamp(sum, spread_.hosts[host]) : sum;
  }
  double on_hosts(uint32_t zone, double fill) const {
    double sum = 0;
    for (auto h : hosts_of_[zone])
      sum += on_host(h, fill);
    return sum;
  }
  double in_zone(uint32_t zone, double fill) const { return clamp(on_hosts(zone, fill), spread_.zones[zone]); }

  void settle_zone(uint32_t zone, double fill) {
    auto target = in_zone(zone, fill);
    if (target != on_hosts(zone, fill))
      fill = solve([&](double x) { return on_hosts(zone, x); }, target);
    for (auto h : hosts_of_[zone])
      settle_host(h, fill);
  }
  void settle_host(uint32_t host, double fill) {
    auto target = on_host(host, fill);
    if (target != of_members(host, fill))
      fill = solve([&](double x) { return of_members(host, x); }, target);
    for (auto m : members_of_[host])
      rate_[m] = of_member(m, fill);
  }

  static double clamp(double x, const claim_bounds& b) {
    return std::clamp(x, static_cast<double>(b.low), static_cast<double>(b.high));
  }
  /// The fill at which the growing function `f` reaches `target`; at 1 (weights are >= 1) every member has all.
  template <class Function>
  static double solve(Function f, double target) {
    double low = 0, high = 1;
    for (int i = 0; i < 200 && low < high; ++i) {
      double middle = low + (high - low) / 2;
      if (middle == low || middle == high)
        break;
      (f(middle) < target ? low : high) = middle;
    }
    return high;
  }

  const std::vector<member>& members_;
  const claim_spread& spread_;
  bool nested_;
  std::vector<counts> members_of_; // By host; of one member each if hosts are not nested in zones.
  std::vector<counts> hosts_of_;   // By zone.
  std::vector<double> rate_;
};

/// Numbers names in the order of the first member that has them.
counts numbered(const std::vector<member>& members, std::string member::*name) {
  std::map<std::string, uint32_t> numbers;
  counts result;
  for (const auto& m : members)
    result.push_back(numbers.emplace(m.*name, static_cast<uint32_t>(numbers.size())).first->second);
  return result;
}

uint32_t how_many(const counts& numbers) { return *std::max_element(numbers.begin(), numbers.end()) + 1; }

} // namespace

claim_spread spread_owners(const std::vector<member>& members, uint32_t partitions, uint32_t k) {
  claim_spread s;
  s.host_of = numbered(members, &member::host);
  s.zone_of = numbered(members, &member::zone);
  s.hosts.resize(how_many(s.host_of));
  s.zones.resize(how_many(s.zone_of));

  counts host_size(s.hosts.size());
  std::map<std::pair<uint32_t, uint32_t>, uint32_t> place_size; // (zone, host)
  for (size_t m = 0; m < members.size(); ++m) {
    ++host_size[s.host_of[m]];
    ++place_size[{s.zone_of[m], s.host_of[m]}];
  }
  bool nested = place_size.size() == s.hosts.size(); // Every host lies in one zone.

  auto host_level = even_level(host_size, k);
  counts zone_size(s.zones.size());
  std::vector<counts> zone_hosts(s.zones.size());
  for (auto [place, size] : place_size) {
    zone_size[place.first] += std::min(size, host_level);
    zone_hosts[place.first].push_back(std::min(size, host_level));
  }
  auto zone_level = even_level(zone_size, k);
  for (size_t z = 0; z < s.zones.size(); ++z)
    s.zones[z] = even_bounds(zone_size[z], zone_level);
  for (auto [place, size] : place_size) {
    auto [zone, host] = place;
    if (!nested) {
      s.hosts[host] = {0, std::min(host_size[host], host_level)};
      continue;
    }
    size = std::min(size, host_level);
    s.hosts[host] = {even_bounds(size, even_level(zone_hosts[zone], s.zones[zone].low)).low,
                     even_bounds(size, even_level(zone_hosts[zone], s.zones[zone].high)).high};
  }

  const fair_rates rates(members, s, k, nested);
  for (auto rate : rates.rate()) {
    auto share = rate * partitions;
    constexpr double rounding = 1e-6; // Far above the errors of the sums, far below 1 / total weight.
    s.share.push_back(share);
    s.quota.push_back({static_cast<uint32_t>(std::floor(share + rounding)), //
                       static_cast<uint32_t>(std::ceil(share - rounding))});
  }
  return s;
}

} // namespace crema::protocol
