#include "reports/statistics.h"

#include <gtest/gtest.h>

#include <cmath>

namespace hymba::reports {
namespace {

TEST(Statistics, MeanAndStandardError) {
  EXPECT_DOUBLE_EQ(mean({1, 2, 3, 6}), 3);
  EXPECT_DOUBLE_EQ(sample_variance({1, 2, 3, 6}), 14.0 / 3);  // (4 + 1 + 0 + 9) / 3
  EXPECT_DOUBLE_EQ(standard_error({1, 2, 3, 6}), std::sqrt(14.0 / 12));
  EXPECT_TRUE(std::isnan(mean({})));
  EXPECT_TRUE(std::isnan(standard_error({1})));
}

TEST(Statistics, SuiteCombinesTasksAndSeeds) {
  // Task means 0.5 and 0.7; seed means 0.55 and 0.65.
  const Estimate e =
      combine_suite({{"a", 0, 0.4, 0.03}, {"a", 1, 0.6, 0.03}, {"b", 0, 0.7, 0.04}, {"b", 1, 0.7, 0.04}});
  EXPECT_DOUBLE_EQ(e.value, 0.6);
  EXPECT_DOUBLE_EQ(e.item_error, 0.025);   // sqrt(0.03^2 + 0.04^2) / 2
  EXPECT_NEAR(e.seed_error, 0.05, 1e-12);  // sqrt(2 * 0.05^2 / 1 / 2)
  EXPECT_NEAR(e.error, std::hypot(0.025, 0.05), 1e-12);
  EXPECT_EQ(e.tasks, 2u);
  EXPECT_EQ(e.seeds, 2u);
}

TEST(Statistics, SuiteIsSafeAgainstNaN) {
  EXPECT_FALSE(combine_suite({}).measured());
  EXPECT_FALSE(combine_suite({{"a", 0, kNaN, 0.1}}).measured());
  const Estimate e = combine_suite({{"a", 0, 0.5, kNaN}, {"b", 0, kNaN, 0.1}});
  EXPECT_DOUBLE_EQ(e.value, 0.5);
  EXPECT_TRUE(std::isnan(e.error));
  EXPECT_EQ(e.tasks, 1u);
}

TEST(Kendall, HandComputed) {
  EXPECT_DOUBLE_EQ(kendall_tau_b({1, 2, 3, 4}, {1, 2, 3, 4}), 1);
  EXPECT_DOUBLE_EQ(kendall_tau_b({1, 2, 3, 4}, {4, 3, 2, 1}), -1);
  // Pairs of (1 3 2 4): one of six is discordant.
  EXPECT_DOUBLE_EQ(kendall_tau_b({1, 2, 3, 4}, {1, 3, 2, 4}), 4.0 / 6);
  // x ties once: (5 concordant) / sqrt(5 * 6).
  EXPECT_DOUBLE_EQ(kendall_tau_b({1, 1, 2, 3}, {1, 2, 3, 4}), 5 / std::sqrt(30.0));
  EXPECT_TRUE(std::isnan(kendall_tau_b({1, 1, 1}, {1, 2, 3})));
}

TEST(Kendall, InfinityIsAValueThatTies) {
  const double inf = INFINITY;
  EXPECT_DOUBLE_EQ(kendall_tau_b({inf, inf, 1, 0}, {9, 9, 2, 1}), 1);
}

TEST(Kendall, ExactPValue) {
  // Of 24 orders of four, two have |tau| = 1.
  const Agreement full = kendall({1, 2, 3, 4}, {10, 20, 30, 40});
  EXPECT_TRUE(full.exact);
  EXPECT_NEAR(full.p_value, 2.0 / 24, 1e-12);
  // Inversions of four: 1 3 5 6 5 3 1; |tau| >= 2/3 has 1 + 3 + 3 + 1 = 8 of 24.
  EXPECT_NEAR(kendall({1, 2, 3, 4}, {1, 3, 2, 4}).p_value, 8.0 / 24, 1e-12);
  // With ties by enumeration: y is (1 1 2 3); S = 5 and S = -5 each arise from 2 of 24 permutations.
  EXPECT_NEAR(kendall({1, 2, 3, 4}, {1, 1, 2, 3}).p_value, 4.0 / 24, 1e-12);
}

TEST(Kendall, IntervalIsDeterministicAndHoldsTau) {
  const std::vector<double> x = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13};
  const std::vector<double> y = {2, 1, 3, 5, 4, 6, 8, 7, 9, 13, 11, 12, 10};
  const Agreement a = kendall(x, y), b = kendall(x, y);
  EXPECT_EQ(a.low, b.low);
  EXPECT_LT(a.low, a.tau);
  EXPECT_GT(a.high, a.tau);
  EXPECT_LE(a.high, 1.0);
  EXPECT_LT(a.p_value, 1e-3);
  EXPECT_EQ(a.n, 13u);
}

TEST(Kendall, MissingPairsAreLeftOutAndTooFewAreNotJudged) {
  const Agreement a = kendall({1, kNaN, 3, 4, 5}, {1, 2, kNaN, 4, 5});
  EXPECT_EQ(a.n, 3u);
  EXPECT_DOUBLE_EQ(a.tau, 1);
  EXPECT_TRUE(std::isnan(a.low));
  EXPECT_TRUE(std::isnan(kendall({1, 2}, {1, 2}).tau));
}

}  // namespace
}  // namespace hymba::reports
