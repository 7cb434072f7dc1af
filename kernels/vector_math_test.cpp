// The stated errors of vector_math-inl.h, on every instruction set present.
#include "kernels/targets.h"
//
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "base/rng.h"
#include "kernels/isa.h"
#include "kernels/testing.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/vector_math_test.cpp"
#include <hwy/foreach_target.h>
// Must come after foreach_target.h, which includes this file once an instruction set.
#include <hwy/highway.h>

#include "kernels/vector_math-inl.h"

#ifndef HYMBA_VECTOR_MATH_TEST_ONCE
#define HYMBA_VECTOR_MATH_TEST_ONCE
namespace hymba::kernels {
enum class Function { kExp2Product, kExp, kReciprocal, kSigmoid, kSoftplus, kSoftplusDerivative };
}
#endif

HWY_BEFORE_NAMESPACE();
namespace hymba::kernels {
namespace HWY_NAMESPACE {

// out[i] = f(x[i], y[i]); n: a multiple of 16.
void evaluate_vectors(Function f, const float* x, const float* y, float* out, std::size_t n) {
  const FloatTag d;
  for (std::size_t i = 0; i < n; i += static_cast<std::size_t>(kLanes)) {
    const FloatVec v = hn::LoadU(d, x + i);
    FloatVec slope = v, result = v;
    if (f == Function::kExp2Product) result = exp2_product(v, hn::LoadU(d, y + i));
    if (f == Function::kExp) result = exp_accurate(v);
    if (f == Function::kReciprocal) result = reciprocal(v);
    if (f == Function::kSigmoid) result = sigmoid(v);
    if (f == Function::kSoftplus) result = softplus(v, nullptr);
    if (f == Function::kSoftplusDerivative) softplus(v, &slope), result = slope;
    hn::StoreU(result, d, out + i);
  }
}

// sums[i] of kLanes rows of kLanes numbers at `rows`; returns kLanes.
std::int64_t sum_of_rows(const float* rows, float* sums) {
  HWY_ALIGN float aligned[kLanes * kLanes];
  std::copy(rows, rows + kLanes * kLanes, aligned);
  hn::StoreU(sum_rows(aligned), FloatTag(), sums);
  return kLanes;
}

}  // namespace HWY_NAMESPACE
}  // namespace hymba::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace hymba::kernels {
namespace {

HWY_EXPORT(evaluate_vectors);
HWY_EXPORT(sum_of_rows);

constexpr std::size_t kNumbers = std::size_t{1} << 18;

std::vector<float> evaluate(Function f, const std::vector<float>& x, const std::vector<float>& y) {
  std::vector<float> out(x.size());
  HWY_DYNAMIC_DISPATCH(evaluate_vectors)(f, x.data(), y.data(), out.data(), x.size());
  return out;
}

// Whether |f(x, y) / expected(x, y) - 1| <= error + growth |x| for 2^18 numbers x from `least` to `most`, y from 0.5 to 1.5.
template <class Expected>
void expect_error_within(const char* what, Function f, double least, double most, const Expected& expected, double error,
                         double growth = 0) {
  Rng rng(7);
  std::vector<float> x(kNumbers), y(kNumbers);
  for (std::size_t i = 0; i < kNumbers; ++i) {
    x[i] = static_cast<float>(least + (most - least) * rng.uniform());
    y[i] = static_cast<float>(0.5 + rng.uniform());
  }
  const std::vector<float> actual = evaluate(f, x, y);
  double worst = 0;
  for (std::size_t i = 0; i < kNumbers; ++i) {
    ASSERT_TRUE(std::isfinite(actual[i])) << what << " of " << x[i];
    const double of_this = std::abs(double{actual[i]} / expected(double{x[i]}, double{y[i]}) - 1);
    worst = std::max(worst, of_this - growth * std::abs(double{x[i]}));
  }
  EXPECT_LE(worst, error) << what << " from " << least << " to " << most;
}

double plain_sigmoid(double x, double) { return 1 / (1 + std::exp(-x)); }

TEST(VectorMath, ErrorsAreWithinTheStatedOnes) {
  const auto exp2 = [](double x, double y) { return std::exp2(x * y); };
  const auto exp = [](double x, double) { return std::exp(x); };
  const auto softplus = [](double x, double) { return std::max(x, 0.0) + std::log1p(std::exp(-std::abs(x))); };
  testing::for_each_isa([&] {
    const double unfused = active_isa() == "baseline" ? 6e-8 : 0;
    for (const double reach : {0.02, 1.0, 20.0, 80.0}) {
      expect_error_within("exp2", Function::kExp2Product, -reach, reach, exp2, 3.2e-7, 1.5 * 6e-8);
      expect_error_within("exp", Function::kExp, -reach, reach, exp, 3.5e-7, unfused);
      expect_error_within("sigmoid", Function::kSigmoid, -reach, reach, plain_sigmoid, 4.5e-7, unfused);
      expect_error_within("softplus", Function::kSoftplus, -reach, reach, softplus, 5e-7, unfused);
      expect_error_within("its slope", Function::kSoftplusDerivative, -reach, reach, plain_sigmoid, 5e-7, unfused);
    }
    for (const double most : {2.0, 1e6, 8e37}) {
      expect_error_within("1 / x", Function::kReciprocal, 1, most, [](double x, double) { return 1 / x; }, 1.2e-7);
    }
  });
}

TEST(VectorMath, ZeroGivesOneExactlyAndNanStays) {
  const float nan = std::numeric_limits<float>::quiet_NaN(), big = std::numeric_limits<float>::max();
  testing::for_each_isa([&] {
    SCOPED_TRACE(active_isa());
    std::vector<float> x(16, 0.0f), y(16, 3.0f);
    EXPECT_EQ(evaluate(Function::kExp2Product, x, y), std::vector<float>(16, 1.0f));
    EXPECT_EQ(evaluate(Function::kExp, x, y), std::vector<float>(16, 1.0f));
    x[3] = nan;
    for (const Function f : {Function::kExp2Product, Function::kExp, Function::kSigmoid, Function::kSoftplus}) {
      const std::vector<float> out = evaluate(f, x, y);
      for (std::size_t i = 0; i < out.size(); ++i) EXPECT_EQ(std::isnan(out[i]), i == 3);
    }
    // Far outside: nothing, or as much as a float holds, and no NaN.
    x = {1e4f, 1e20f, -1e4f, -1e20f, 128.0f, -150.0f, 200.0f, -200.0f, 0, 0, 0, 0, 0, 0, 0, 0}, y.assign(16, 1.0f);
    const std::vector<float> far = evaluate(Function::kExp2Product, x, y);
    for (const std::size_t i : {0, 1, 4, 6}) EXPECT_GE(far[i], 3e38f);
    for (const std::size_t i : {2, 3, 5, 7}) EXPECT_TRUE(far[i] >= 0 && far[i] < 8e-37f) << far[i];
    x[1] = big, x[3] = -big, x[5] = std::numeric_limits<float>::infinity(), x[7] = -x[5];
    const std::vector<float> exp = evaluate(Function::kExp, x, y), half = evaluate(Function::kSigmoid, x, y);
    for (const std::size_t i : {1, 5}) EXPECT_TRUE(exp[i] >= 2e38f && half[i] == 1) << exp[i] << " " << half[i];
    for (const std::size_t i : {3, 7}) EXPECT_TRUE(exp[i] < 9e-37f && half[i] < 9e-37f) << exp[i] << " " << half[i];
  });
}

TEST(VectorMath, RowsOfAVectorEachAreSummed) {
  Rng rng(3);
  std::vector<float> rows(16 * 16), sums(16);
  for (float& v : rows) v = static_cast<float>(rng.below(1000));  // sums of whole numbers are exact in any order
  testing::for_each_isa([&] {
    SCOPED_TRACE(active_isa());
    const std::int64_t lanes = HWY_DYNAMIC_DISPATCH(sum_of_rows)(rows.data(), sums.data());
    for (std::int64_t i = 0; i < lanes; ++i) {
      float expected = 0;
      for (std::int64_t j = 0; j < lanes; ++j) expected += rows[static_cast<std::size_t>(i * lanes + j)];
      EXPECT_EQ(sums[static_cast<std::size_t>(i)], expected);
    }
  });
}

}  // namespace
}  // namespace hymba::kernels
#endif  // HWY_ONCE
