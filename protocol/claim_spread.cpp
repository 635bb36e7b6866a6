#include "protocol/claim_spread.hpp"

#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>
#include <utility>

namespace crema::protocol {

namespace {

using counts = std::vector<uint32_t>;

/// How k things spread most evenly over containers of which each can hold from `low` to `high`.
std::vector<claim_bounds> even_spread(const std::vector<claim_bounds>& containers, uint32_t k) {
  auto held = [&](uint32_t level) {
    uint32_t sum = 0;
    for (const auto& x : containers)
      sum += std::clamp(level, x.low, x.high);
    return sum;
  };
  uint32_t level = 0;
  while (held(level) < k)
    ++level;
  std::vector<claim_bounds> result;
  result.reserve(containers.size());
  for (const auto& x : containers)
    result.push_back({std::clamp(level == 0 ? 0 : level - 1, x.low, x.high), std::clamp(level, x.low, x.high)});
  return result;
}

/// A share per partition: proportional to weight, at most all partitions; bounded per host and per zone. As in
/// water-filling, one level `fill` for all, and another for those whose bounds would be exceeded.
class fair_rates {
public:
  fair_rates(const std::vector<member>& members, const claim_spread& spread, uint32_t k)
      : members_(members), spread_(spread), members_of_(spread.nested ? spread.hosts.size() : members.size()),
        hosts_of_(spread.zones.size()), rate_(members.size()) {
    for (uint32_t m = 0; m < members.size(); ++m) {
      auto host = spread.nested ? spread.host_of[m] : m; // A host in several zones bounds no shares: each member alone.
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
    return spread_.nested ? clamp(sum, spread_.hosts[host]) : sum;
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
  if (how_many(s.host_of) == 1) // A cluster on one machine: nothing to spread over, though it may have zones.
    std::iota(s.host_of.begin(), s.host_of.end(), 0U);
  s.hosts.resize(how_many(s.host_of));
  s.zones.resize(how_many(s.zone_of));

  // Hosts first: one owner each, or as near to that as can be.
  std::map<std::pair<uint32_t, uint32_t>, uint32_t> place_size; // (zone, host)
  std::vector<claim_bounds> on_host(s.hosts.size());
  for (size_t m = 0; m < members.size(); ++m) {
    ++place_size[{s.zone_of[m], s.host_of[m]}];
    ++on_host[s.host_of[m]].high;
  }
  s.nested = place_size.size() == s.hosts.size();
  s.hosts = even_spread(on_host, k);
  if (!s.nested)
    for (auto& h : s.hosts)
      h.low = 0;

  // Then zones, within what that leaves; then the hosts of a zone, within what the zone may hold.
  std::vector<claim_bounds> in_zone(s.zones.size());
  std::vector<counts> hosts_of(s.zones.size());
  for (auto [place, size] : place_size) {
    auto [zone, host] = place;
    in_zone[zone].low += s.hosts[host].low;
    in_zone[zone].high += std::min(size, s.hosts[host].high);
    hosts_of[zone].push_back(host);
  }
  s.zones = even_spread(in_zone, k);
  for (size_t z = 0; z < s.zones.size() && s.nested; ++z) {
    std::vector<claim_bounds> inside;
    for (auto h : hosts_of[z])
      inside.push_back(s.hosts[h]);
    auto fewest = even_spread(inside, s.zones[z].low), most = even_spread(inside, s.zones[z].high);
    for (size_t i = 0; i < inside.size(); ++i)
      s.hosts[hosts_of[z][i]] = {fewest[i].low, most[i].high};
  }

  const fair_rates rates(members, s, k);
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
