#include <ATen/TensorOperators.h>
#include <ATen/ops/silu.h>
#include <ATen/ops/zeros_like.h>
#include <fmt/ranges.h>
#include <gtest/gtest.h>

#include "kernels/swiglu/cases.h"
#include "kernels/swiglu/op.h"
#include "kernels/testing.h"

namespace hymba::kernels {
namespace {

using testing::expect_close;
using testing::expect_equal;
using testing::random;
using Sizes = std::vector<std::int64_t>;
using Tensors = std::vector<at::Tensor>;

at::Tensor make_input(const Sizes& sizes) {
  Rng rng(7, "swiglu");
  return random(rng, sizes, 3);
}

// y and the gradient.
Tensors run_all(const at::Tensor& input, at::ScalarType type) {
  const Tensors x = testing::leaves({input}, type);
  Rng rng(3);
  const at::Tensor y = swiglu(x[0]);
  return {y, testing::gradients({y}, x, {random(rng, y.sizes()).to(type)})[0]};
}

TEST(Swiglu, MatchesReferenceWithGradient) {
  for (const Sizes& sizes : gate::test_cases()) {
    const at::Tensor x = make_input(sizes);
    const Tensors expected = run_all(x, at::kDouble);
    Rng rng(3);
    const at::Tensor grad = random(rng, expected[0].sizes());
    const auto half = x.size(-1) / 2;
    const Tensors in_float = testing::plain_path(
        fmt::format("{}", sizes),
        [&](const Tensors& t) { return Tensors{at::silu(t[0].narrow(-1, 0, half)) * t[0].narrow(-1, half, half)}; },
        {x}, {grad}, expected, 1e-10);
    testing::for_each_isa([&] {
      const testing::NanMemory nan;
      const Tensors actual = run_all(x, at::kFloat);
      for (std::size_t i = 0; i < actual.size(); ++i) {
        testing::expect_close_as_plain(fmt::format("{} tensor {}", sizes, i), actual[i], expected[i], in_float[i]);
      }
      expect_close(fmt::format("{} y", sizes), actual[0], expected[0], 1e-6);
      expect_close(fmt::format("{} gradient", sizes), actual[1], expected[1], 1e-6);
    });
  }
}

TEST(Swiglu, ReferenceGradientsMatchFiniteDifferences) {
  testing::check_gradients([](const Tensors& x) { return Tensors{swiglu(x[0])}; }, {make_input({2, 3, 6})});
}

TEST(Swiglu, SlicesGiveTheSame) {
  const at::Tensor x = make_input({3, 20, 34}), expected = swiglu(x);
  expect_equal("slice", swiglu(testing::as_slice(x)), expected);
  expect_equal("transposed", swiglu(x.transpose(0, 1).contiguous().transpose(0, 1)), expected);
}

TEST(Swiglu, OutputInPlaceIsTheSame) {
  const at::Tensor x = make_input({5, 34}), expected = swiglu(x), y = at::zeros_like(expected);
  swiglu_out(y, testing::as_slice(x));
  expect_equal("in place", y, expected);
  testing::expect_user_error([&] { swiglu_out(y.narrow(1, 0, 16), x); }, "y_BF", "float32 [5, 17]");
}

TEST(Swiglu, FarValuesStayFinite) {
  const at::Tensor x = make_input({4, 64}).mul(1000);
  testing::for_each_isa([&] { expect_close("y", swiglu(x), swiglu(x.to(at::kDouble)), 1e-6); });
}

TEST(Swiglu, BadArgumentsNameOpAndArgument) {
  testing::expect_user_error([] { swiglu(make_input({2, 5})); }, "[swiglu] gate_up", "float32 [2, 5]");
  testing::expect_user_error([] { swiglu(at::Tensor()); }, "[swiglu] gate_up", "undefined");
}

}  // namespace
}  // namespace hymba::kernels
