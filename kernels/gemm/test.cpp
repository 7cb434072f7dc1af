#include <ATen/TensorOperators.h>
#include <fmt/format.h>
#include <gtest/gtest.h>

#include "kernels/gemm/cases.h"
#include "kernels/gemm/op.h"
#include "kernels/testing.h"

namespace hymba::kernels {
namespace {

using testing::expect_close;
using testing::expect_equal;
using testing::random;
using Tensors = std::vector<at::Tensor>;  // x, weight, residual

Tensors make_inputs(const gemm::Case& c) {
  Rng rng(7, "linear");
  return {random(rng, {c.rows, c.inputs}), random(rng, {c.outputs, c.inputs}), random(rng, {c.rows, c.outputs})};
}

// y and all gradients.
Tensors run_all(const Tensors& inputs, at::ScalarType type, bool residual) {
  Tensors x = testing::leaves(inputs, type);
  Rng rng(3);
  if (!residual) x.pop_back();
  const at::Tensor y = kernels::linear(x[0], x[1], residual ? x[2] : at::Tensor());
  Tensors all = testing::gradients({y}, x, {random(rng, y.sizes()).to(type)});
  all.insert(all.begin(), y);
  return all;
}

TEST(Linear, MatchesReferenceWithAllGradients) {
  for (const auto& c : gemm::test_cases()) {
    for (const bool residual : {false, true}) {
      const Tensors x = make_inputs(c), expected = run_all(x, at::kDouble, residual);
      Rng rng(3);
      const at::Tensor grad = random(rng, expected[0].sizes());
      const Tensors plain = testing::plain_path(
          fmt::format("{} x {} x {}", c.rows, c.inputs, c.outputs),
          [&](const Tensors& t) {
            const at::Tensor y = t[0].matmul(t[1].t());
            return Tensors{residual ? t[2] + y : y};
          },
          residual ? x : Tensors{x[0], x[1]}, {grad}, expected, 1e-10);
      testing::for_each_isa([&] {
        const testing::NanMemory nan;
        const Tensors actual = run_all(x, at::kFloat, residual), again = run_all(x, at::kFloat, residual);
        for (std::size_t i = 0; i < actual.size(); ++i) {
          const std::string what = fmt::format("{} x {} x {}, tensor {}", c.rows, c.inputs, c.outputs, i);
          expect_close(what, actual[i], expected[i], 2e-6);
          testing::expect_close_as_plain(what, actual[i], expected[i], plain[i]);
          expect_equal(what + ", again", actual[i], again[i]);
        }
      });
    }
  }
}

TEST(Linear, ReferenceGradientsMatchFiniteDifferences) {
  testing::check_gradients([](const Tensors& x) { return Tensors{kernels::linear(x[0], x[1], x[2])}; },
                           make_inputs({5, 3, 4}));
}

TEST(Linear, SlicesGiveTheSame) {
  const Tensors x = make_inputs({37, 20, 33});
  expect_equal("slice", linear(testing::as_slice(x[0]), testing::as_slice(x[1]), testing::as_slice(x[2])),
               kernels::linear(x[0], x[1], x[2]));
  expect_equal("axes", kernels::linear(x[0].view({1, 37, 20}), x[1]).view({37, 33}), kernels::linear(x[0], x[1]));
}

TEST(Linear, IntoRowsOfATensorFromWeightsOfAnyStorage) {
  for (const auto& c : gemm::test_cases()) {
    if (c.rows == 0) continue;
    const Tensors x = make_inputs(c);
    for (const auto type : {at::kFloat, at::kBFloat16, at::kHalf}) {
      const at::Tensor weight = x[1].to(type);
      const at::Tensor product = x[0].to(at::kDouble).matmul(weight.to(at::kDouble).t());
      testing::for_each_isa([&] {
        for (const bool add : {false, true}) {
          const at::Tensor y = testing::as_slice(x[2]);
          linear_out(y, testing::as_slice(x[0]), testing::as_slice(weight), add);
          expect_close(fmt::format("{} {} add {}", c.name(), c10::toString(type), add), y,
                       add ? product + x[2].to(at::kDouble) : product, 2e-6);
        }
      });
    }
  }
}

TEST(Linear, RoundedInputsGiveTheProductOfRoundedInputsOnEveryInstructionSet) {
  for (const auto& c : gemm::test_cases()) {
    if (c.rows == 0) continue;
    const Tensors x = make_inputs(c);
    const at::Tensor weight = x[1].to(at::kBFloat16);
    const at::Tensor expected = x[2].to(at::kDouble) + x[0].to(at::kBFloat16).to(at::kDouble).matmul(weight.to(at::kDouble).t());
    testing::for_each_isa([&] {
      const at::Tensor y = testing::as_slice(x[2]);
      linear_out(y, testing::as_slice(x[0]), testing::as_slice(weight), true, true);
      expect_close(c.name(), y, expected, 2e-6);
    });
  }
}

TEST(Linear, BadArgumentsNameOpAndArgument) {
  const Tensors x = make_inputs({2, 8, 4});
  testing::expect_user_error([&] { kernels::linear(x[0], x[1].narrow(1, 0, 7)); }, "[linear] weight_OI",
                             "expected float32 [4, 8], got float32 [4, 7]");
  testing::expect_user_error([&] { kernels::linear(x[0], x[1], x[0]); }, "[linear] residual",
                             "expected float32 [2, 4]");
  testing::expect_user_error([&] { linear_out(x[2], x[0], x[1].narrow(1, 0, 7)); }, "[linear] weight_OI", "expected [O, 8]");
  testing::expect_user_error([&] { linear_out(x[2], x[0], x[1], false, true); }, "[linear] weight_OI", "expected bfloat16");
  testing::expect_user_error([&] { linear_out(x[0], x[0], x[1]); }, "[linear] y", "expected float32 [2, 4]");
  testing::expect_user_error([&] { linear_out(x[2].t(), x[0], x[1]); }, "[linear] y", "expected float32 [2, 4]");
}

}  // namespace
}  // namespace hymba::kernels
