// What the hot path does to bytes: encode, decode and join objects, and keep a clock.
#include "protocol/dot_clock.hpp"
#include "protocol/object.hpp"

#include <benchmark/benchmark.h>

#include <string>

namespace crema::protocol {

namespace {

void encode_register(benchmark::State& state) {
  std::string value(static_cast<size_t>(state.range(0)), 'v');
  while (state.KeepRunning())
    benchmark::DoNotOptimize(encode_lww({from_micros(1), {7, 1}, 0, false, value}));
}
BENCHMARK(encode_register)->Arg(100)->Arg(10'000);

void decode_register(benchmark::State& state) {
  auto bytes = encode_lww({from_micros(1), {7, 1}, 0, false, std::string(static_cast<size_t>(state.range(0)), 'v')});
  while (state.KeepRunning())
    benchmark::DoNotOptimize(decode_lww(bytes));
}
BENCHMARK(decode_register)->Arg(100)->Arg(10'000);

void join_registers(benchmark::State& state) {
  std::string value(100, 'v');
  auto older = encode_lww({from_micros(1), {7, 1}, 0, false, value});
  auto newer = encode_lww({from_micros(2), {8, 1}, 0, false, value});
  while (state.KeepRunning())
    benchmark::DoNotOptimize(join_encoded(older, newer));
}
BENCHMARK(join_registers);

void join_siblings(benchmark::State& state) {
  siblings_view many;
  std::string value(100, 'v');
  for (uint64_t i = 1; i <= static_cast<uint64_t>(state.range(0)); ++i) {
    many.siblings.push_back({{i, 1}, from_micros(1), 0, value});
    many.seen.add(dot{i, 1});
  }
  auto stored = encode_siblings(many);
  siblings_view one{{{{99, 1}, from_micros(2), 0, value}}, {}};
  auto operand = encode_siblings(one);
  while (state.KeepRunning())
    benchmark::DoNotOptimize(join_encoded(stored, operand));
}
BENCHMARK(join_siblings)->Arg(1)->Arg(25);

void add_dots_to_clock(benchmark::State& state) {
  dot_clock clock;
  uint64_t counter = 0;
  while (state.KeepRunning()) {
    ++counter;
    benchmark::DoNotOptimize(clock.add(dot{counter % 3 + 1, counter / 3 + 1}));
  }
}
BENCHMARK(add_dots_to_clock);

} // namespace

} // namespace crema::protocol
