#include "actors/shard.hpp"
#include "protocol/object.hpp"
#include "storage/memory_store.hpp"

#include <gtest/gtest.h>
#include <spdlog/sinks/null_sink.h>

#include <memory>

namespace crema {
namespace {

using protocol::encode_lww;

constexpr uint64_t wall = 1'700'000'000'000'000;
constexpr vnode_id here{0, 0};

env_ptr one_of_three() {
  auto env = std::make_shared<node_env>();
  env->name = "n1";
  env->self = node_id{0};
  config::bucket_config b;
  b.name = "default";
  env->config.buckets = {b};
  env->index_buckets();
  auto ring = std::make_shared<protocol::ring>();
  ring->epoch = 1;
  for (uint32_t i = 0; i < 3; ++i)
    ring->members.push_back({node_id{i}, "n" + std::to_string(i + 1), "h", "", 1});
  ring->owners.assign(8, {node_id{0}, node_id{1}, node_id{2}});
  env->first_ring = ring;
  env->wall_micros = [] { return wall; };
  env->log = std::make_shared<spdlog::logger>("test", std::make_shared<spdlog::sinks::null_sink_mt>());
  return env;
}

class Shard : public testing::Test {
protected:
  Shard() { work_.be_born({here}, answer_); }

  /// A register written elsewhere. @returns what the shard says of it.
  replica_answer apply(uint64_t counter, timestamp time, const std::string& key = "k") {
    replica_op op;
    op.what = replica_op::kind::apply;
    op.key = key;
    op.dot_replica = 9;
    op.dot_counter = counter;
    op.time = time;
    op.data = encode_lww({time, {9, counter}, 0, false, "v"});
    answers_.clear();
    work_.handle(0, std::move(op), answer_);
    EXPECT_TRUE(work_.flush(answer_).ok());
    EXPECT_EQ(answers_.size(), 1U);
    return answers_.empty() ? replica_answer{} : answers_.front();
  }

  std::vector<replica_answer> answers_;
  shard::answer_fn answer_ = [this](size_t, replica_answer a) { answers_.push_back(std::move(a)); };
  shard work_{one_of_three(), storage::open_memory(storage::make_memory_disk()), 7, 0, 1, {}};
};

TEST_F(Shard, TellsOfANewerRegister) {
  EXPECT_EQ(apply(1, from_micros(wall + 5)).time, 0U);
  EXPECT_EQ(apply(2, from_micros(wall + 1)).time, from_micros(wall + 5));
  EXPECT_EQ(apply(3, from_micros(wall + 9)).time, 0U);
}

// It still has all that it ever acknowledged, and a later write may have met nobody else who has it.
TEST_F(Shard, TellsOfANewerRegisterAlsoWhileItRetires) {
  EXPECT_EQ(apply(1, from_micros(wall + 5)).time, 0U);
  EXPECT_FALSE(work_.begin_fill({here, {}, true}, answer_)) << "nobody else has what it has";
  EXPECT_EQ(apply(2, from_micros(wall + 1)).time, from_micros(wall + 5));
  EXPECT_EQ(apply(3, from_micros(wall + 7)).time, 0U);
  EXPECT_EQ(apply(4, from_micros(wall + 6)).time, from_micros(wall + 7)) << "what it put aside counts as well";
}

TEST_F(Shard, DoesNotKnowWhetherThereIsANewerOneWhileItIsFilled) {
  EXPECT_EQ(apply(1, from_micros(wall + 5)).time, 0U);
  protocol::dot_clock all;
  all.add(dot{9, 1});
  EXPECT_TRUE(work_.begin_fill({here, all, true}, answer_));
  EXPECT_EQ(apply(2, from_micros(wall + 7)).time, time_unknown);
  EXPECT_EQ(apply(3, from_micros(wall + 6)).time, from_micros(wall + 7));
}

} // namespace
} // namespace crema
