#include "engine/sampler.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <map>

#include "base/error.h"

namespace hymba {
namespace {

std::map<std::int64_t, double> shares(const SamplingOptions& options, const std::vector<float>& logits) {
  Sampler sampler(options, 0);
  std::map<std::int64_t, double> counts;
  constexpr int kDraws = 20000;
  for (int i = 0; i < kDraws; ++i) counts[sampler.next(logits)] += 1.0 / kDraws;
  return counts;
}

const std::vector<float> kLogits = {std::log(0.1f), std::log(0.4f), std::log(0.2f), std::log(0.3f)};

TEST(Sampler, GreedyTakesTheLargestAndOfEqualOnesTheFirst) {
  Sampler sampler({}, 0);
  EXPECT_EQ(sampler.next(kLogits), 1);
  EXPECT_EQ(sampler.next(std::vector<float>{1, 3, 3}), 1);
}

TEST(Sampler, DrawsFollowTheDistribution) {
  const auto plain = shares({1.0, 0, 1, 5}, kLogits);
  for (int i = 0; i < 4; ++i) EXPECT_NEAR(plain.at(i), std::exp(kLogits[static_cast<std::size_t>(i)]), 0.015) << i;
  const auto sharp = shares({0.5, 0, 1, 5}, kLogits);  // probabilities squared: 1, 16, 4, 9 of 30
  EXPECT_NEAR(sharp.at(1), 16.0 / 30, 0.015);
  const auto two = shares({1.0, 2, 1, 5}, kLogits);
  EXPECT_EQ(two.size(), 2u);
  EXPECT_NEAR(two.at(1), 4.0 / 7, 0.015);
  const auto nucleus = shares({1.0, 0, 0.65, 5}, kLogits);  // 0.4 + 0.3 reach 0.65
  EXPECT_EQ(nucleus.size(), 2u);
  EXPECT_EQ(shares({1.0, 0, 1e-9, 5}, kLogits).size(), 1u);
}

TEST(Sampler, SeedAndSequenceChooseTheStream) {
  const auto stream = [](std::uint64_t seed, std::uint64_t sequence) {
    Sampler sampler({1.0, 0, 1, seed}, sequence);
    std::vector<std::int64_t> ids;
    for (int i = 0; i < 40; ++i) ids.push_back(sampler.next(kLogits));
    return ids;
  };
  EXPECT_EQ(stream(1, 0), stream(1, 0));
  EXPECT_NE(stream(1, 0), stream(2, 0));
  EXPECT_NE(stream(1, 0), stream(1, 1));
}

TEST(Sampler, Mistakes) {
  EXPECT_THROW((SamplingOptions{-1}.check()), UserError);
  EXPECT_THROW((SamplingOptions{1, -2}.check()), UserError);
  EXPECT_THROW((SamplingOptions{1, 0, 0}.check()), UserError);
  EXPECT_THROW((SamplingOptions{1, 0, 1.5}.check()), UserError);
  EXPECT_THROW((SamplingOptions{0, 5}.check()), UserError);  // has no effect
  EXPECT_THROW(Sampler({}, 0).next(std::vector<float>{std::nanf(""), 1}), Error);
  EXPECT_THROW(Sampler({}, 0).next(std::vector<float>{std::numeric_limits<float>::infinity(), 1}), Error);
}

}  // namespace
}  // namespace hymba
