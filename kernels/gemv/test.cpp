#include <ATen/TensorOperators.h>
#include <ATen/ops/empty.h>
#include <gtest/gtest.h>

#include "kernels/gemv/cases.h"
#include "kernels/gemv/op.h"
#include "kernels/testing.h"

namespace hymba::kernels {
namespace {

using gemv_detail::Case;
using testing::random;

TEST(Gemv, MatchesReferenceInEveryStorage) {
  for (const Case& c : gemv_detail::test_cases()) {
    Rng rng(7, c.name());
    const at::Tensor x = random(rng, {c.B, c.I}), weight = random(rng, {c.O, c.I}), before = random(rng, {c.B, c.O});
    for (const auto type : {at::kFloat, at::kBFloat16, at::kHalf}) {
      const at::Tensor stored = weight.to(type);
      const at::Tensor expected = gemv(x.to(at::kDouble), stored.to(at::kDouble));
      testing::for_each_isa([&] {
        const testing::NanMemory nan;
        const std::string what = c.name() + " " + c10::toString(type);
        testing::expect_close(what, gemv(x, stored), expected, 2e-6);
        const at::Tensor sum = before.clone();
        gemv_out(sum, x, stored, true);
        testing::expect_close(what + " added", sum, expected + before, 2e-6);
      });
    }
  }
}

TEST(Gemv, StridedRowsGiveTheSame) {
  Rng rng(3);
  const at::Tensor x = random(rng, {3, 40}), weight = random(rng, {37, 40}).to(at::kBFloat16);
  const at::Tensor expected = gemv(x, weight);
  at::Tensor out = testing::as_slice(at::empty({3, 37}, at::kFloat).zero_());
  gemv_out(out, testing::as_slice(x), testing::as_slice(weight));
  testing::expect_equal("slices", out, expected);
  testing::expect_equal("transposed", gemv(x.t().contiguous().t(), weight), expected);
}

TEST(Gemv, BadArgumentsNameOpAndArgument) {
  Rng rng(1);
  const at::Tensor x = random(rng, {2, 8}), weight = random(rng, {5, 8});
  testing::expect_user_error([&] { gemv(x.select(0, 0), weight); }, "[gemv]", "x_BI");
  testing::expect_user_error([&] { gemv(x, weight.narrow(1, 0, 7)); }, "[gemv]", "weight_OI");
  testing::expect_user_error([&] { gemv(x, weight.to(at::kInt)); }, "[gemv]", "weight_OI");
  testing::expect_user_error([&] { gemv(x, at::Tensor()); }, "[gemv]", "weight_OI");
  testing::expect_user_error([&] { gemv_out(at::empty({2, 4}, at::kFloat), x, weight); }, "[gemv]", "y_BO");
  testing::expect_user_error([&] { gemv_out(at::empty({5, 2}, at::kFloat).t(), x, weight); }, "[gemv]", "without gaps");
}

}  // namespace
}  // namespace hymba::kernels
