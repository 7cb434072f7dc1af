#include <ATen/TensorOperators.h>
#include <fmt/ranges.h>
#include <gtest/gtest.h>

#include "kernels/rms_norm/cases.h"
#include "kernels/rms_norm/op.h"
#include "kernels/testing.h"

namespace hymba::kernels {
namespace {

using testing::expect_close;
using testing::expect_equal;
using testing::random;
using Tensors = std::vector<at::Tensor>;  // x, weight

Tensors make_inputs(const norm::Case& c) {
  Rng rng(7, "rms_norm");
  return {random(rng, c.sizes, 3, 0.5), random(rng, {c.sizes.back()})};
}

// y and both gradients.
Tensors run_all(const norm::Case& c, const Tensors& inputs, at::ScalarType type) {
  const Tensors x = testing::leaves(inputs, type);
  Rng rng(3);
  const at::Tensor y = rms_norm(x[0], x[1], c.eps);
  const Tensors grads = testing::gradients({y}, x, {random(rng, c.sizes).to(type)});
  return {y, grads[0], grads[1]};
}

TEST(RmsNorm, MatchesReferenceWithAllGradients) {
  for (const auto& c : norm::test_cases()) {
    const Tensors x = make_inputs(c), expected = run_all(c, x, at::kDouble);
    Rng rng(3);
    const at::Tensor grad = random(rng, c.sizes);
    const Tensors in_float = testing::plain_path(
        fmt::format("{}", c.sizes),
        [&](const Tensors& t) { return Tensors{t[0] * (t[0].square().mean(-1, true) + c.eps).rsqrt() * t[1]}; }, x,
        {grad}, expected, 1e-10);
    testing::for_each_isa([&] {
      const testing::NanMemory nan;
      const Tensors actual = run_all(c, x, at::kFloat), again = run_all(c, x, at::kFloat);
      const char* const names[] = {"y", "gradient of x", "gradient of weight"};
      for (std::size_t i = 0; i < actual.size(); ++i) {
        testing::expect_close_as_plain(fmt::format("{} {}", c.sizes, names[i]), actual[i], expected[i], in_float[i]);
      }
      for (int i = 0; i < 3; ++i) {
        const std::string what = fmt::format("{} {}", c.sizes, names[i]);
        // The gradient of a row of one number is nearly 0, a difference of products of 1: a GPU's division shows there.
        const double floor = i == 1 && !testing::test_device().is_cpu() ? 1 : 1e-3;
        expect_close(what, actual[i], expected[i], i ? 3e-6 : 1e-6, floor);
        expect_equal(what + ", again", actual[i], again[i]);
      }
    });
  }
}

TEST(RmsNorm, ReferenceGradientsMatchFiniteDifferences) {
  testing::check_gradients([](const Tensors& x) { return Tensors{rms_norm(x[0], x[1], 0.1)}; },
                           make_inputs({{2, 3, 5}}));
}

TEST(RmsNorm, SlicesGiveTheSame) {
  for (const auto& c : {norm::Case{{2, 9, 20}}, norm::Case{{3, 1, 20}}}) {
    Tensors x = make_inputs(c);
    const at::Tensor expected = rms_norm(x[0], x[1], c.eps);
    expect_equal("slice", rms_norm(testing::as_slice(x[0]), x[1], c.eps), expected);
    expect_equal("transposed", rms_norm(x[0].transpose(0, 1).contiguous().transpose(0, 1), x[1], c.eps), expected);
    expect_equal("inner stride", rms_norm(x[0].transpose(0, 2).contiguous().transpose(0, 2), x[1], c.eps), expected);
  }
}

TEST(RmsNorm, OutputsInPlaceRepeatScaleAndAdd) {
  Rng rng(9);
  const at::Tensor x = random(rng, {3, 20}), weight = random(rng, {60}), before = random(rng, {3, 60});
  const at::Tensor normed = rms_norm(x.to(at::kDouble).repeat({1, 3}), weight.to(at::kDouble), 1e-5);
  testing::for_each_isa([&] {
    const at::Tensor y = testing::as_slice(before);
    rms_norm_out(y, testing::as_slice(x), weight, 1e-5);
    expect_close("y", y, normed, 1e-6);
    rms_norm_out(y, x, weight, 1e-5, {0.5, true});
    expect_close("added", y, normed.mul(1.5), 1e-6);
  });
  testing::expect_user_error([&] { rms_norm_out(before, x, weight.narrow(0, 0, 50), 1e-5); }, "weight_O",
                             "multiple of 20");
}

TEST(RmsNorm, BadArgumentsNameOpAndArgument) {
  const Tensors x = make_inputs({{2, 8}});
  testing::expect_user_error([&] { rms_norm(x[0], x[1].narrow(0, 0, 7), 1e-6); }, "[rms_norm] weight",
                             "expected float32 [8], got float32 [7]");
  testing::expect_user_error([&] { rms_norm(x[0].to(at::kInt), x[1], 1e-6); }, "[rms_norm] x", "float32");
  testing::expect_user_error([&] { rms_norm(x[0], x[1], -1); }, "[rms_norm] eps", "-1");
}

TEST(RmsNorm, Golden) {
  const auto cases = testing::golden("rmsnorm");
  if (!cases) GTEST_SKIP() << "no shared/golden/ops/rmsnorm.safetensors (set HYMBA_SHARED)";
  ASSERT_FALSE(cases->empty());
  for (const auto& g : *cases) {
    testing::for_each_isa([&] {
      const Tensors x = testing::leaves({g.get("x"), g.get("weight")}, at::kFloat);
      const at::Tensor y = rms_norm(x[0], x[1], g.options["eps"]);
      testing::expect_golden("out", y, g.get("out"), false);
      const Tensors grads = testing::gradients({y}, x, {g.get("grad_out")});
      testing::expect_golden("x", grads[0], g.get("d_x"), true);
      testing::expect_golden("weight", grads[1], g.get("d_weight"), true);
    });
  }
}

}  // namespace
}  // namespace hymba::kernels
