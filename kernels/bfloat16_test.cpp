// Training ops on bfloat16 tensors: outputs and gradients are those of the double reference on the same rounded numbers,
// rounded once: 2^-8 of the largest number (8 bits of significand), and the float32 kernels' own error.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <functional>

#include "kernels/causal_conv1d/op.h"
#include "kernels/gemm/op.h"
#include "kernels/rms_norm/op.h"
#include "kernels/rope/op.h"
#include "kernels/selective_scan/op.h"
#include "kernels/ssd/op.h"
#include "kernels/swiglu/op.h"
#include "kernels/testing.h"
#include "kernels/window_attention/op.h"

namespace hymba::kernels {
namespace {

using Tensors = std::vector<at::Tensor>;
using testing::random;
constexpr double kTolerance = 0.00390625 + 1e-4;

// y, then the gradients of all inputs.
Tensors run_all(const std::function<at::Tensor(const Tensors&)>& f, const Tensors& inputs, at::ScalarType type) {
  const Tensors x = testing::leaves(inputs, type);
  const at::Tensor y = f(x);
  Rng rng(3);
  const at::Tensor up = random(rng, y.sizes()).to(at::kBFloat16).to(type);
  Tensors all = testing::gradients({y}, x, {up});
  all.insert(all.begin(), y);
  return all;
}

void check(const std::string& op, const std::function<at::Tensor(const Tensors&)>& f, const Tensors& inputs) {
  Tensors rounded;
  for (const at::Tensor& t : inputs) rounded.push_back(t.to(at::kBFloat16));
  const Tensors expected = run_all(f, rounded, at::kDouble);
  testing::for_each_isa([&] {
    const Tensors actual = run_all(f, rounded, at::kBFloat16);
    for (std::size_t i = 0; i < actual.size(); ++i) {
      EXPECT_EQ(actual[i].scalar_type(), at::kBFloat16) << op << " tensor " << i;
      testing::expect_close(fmt::format("{} tensor {}", op, i), actual[i], expected[i], kTolerance);
    }
  });
}

TEST(BFloat16, RecurrencesMatchTheReferenceRoundedOnce) {
  Rng rng(5);
  const at::Tensor u = random(rng, {2, 37, 20}), dt = random(rng, {2, 37, 20}, 1, -1), A = random(rng, {20, 5}).exp().neg();
  const at::Tensor B = random(rng, {2, 37, 5}), C = random(rng, {2, 37, 5}), D = random(rng, {20}), z = random(rng, {2, 37, 20});
  const auto scan = [](const Tensors& x) { return std::get<0>(selective_scan(x[0], x[1], x[2], x[3], x[4], x[5], x[6], x[7], {})); };
  check("selective_scan", scan, {u, dt, A, B, C, D, z, D});
  const auto conv = [](const Tensors& x) { return std::get<0>(causal_conv1d(x[0], x[1], x[2], {}, true)); };
  check("causal_conv1d", conv, {u, random(rng, {20, 4}), D});
  const auto dual = [](const Tensors& x) { return std::get<0>(ssd(x[0], x[1], x[2], x[3], x[4], x[5], x[6], {})); };
  check("ssd", dual, {random(rng, {2, 37, 4, 8}), random(rng, {2, 37, 4}, 1, -1), random(rng, {4}).exp().neg(), random(rng, {2, 37, 2, 6}),
                      random(rng, {2, 37, 2, 6}), random(rng, {4}), random(rng, {4})});
}

TEST(BFloat16, AttentionNormsAndLayersMatchTheReferenceRoundedOnce) {
  Rng rng(6);
  const auto attention = [](const Tensors& x) {
    WindowAttentionOptions options;
    options.window = 9, options.prefix = 3;
    return window_attention(x[0], x[1], x[2], options);
  };
  check("window_attention", attention, {random(rng, {2, 37, 6, 8}), random(rng, {2, 37, 2, 8}), random(rng, {2, 37, 2, 16})});
  check("rms_norm", [](const Tensors& x) { return rms_norm(x[0], x[1], 1e-6); }, {random(rng, {5, 33}), random(rng, {33})});
  check("swiglu", [](const Tensors& x) { return swiglu(x[0]); }, {random(rng, {5, 34})});
  check("rope", [](const Tensors& x) { return rope(x[0], 3, 10000.0); }, {random(rng, {2, 7, 3, 8})});
  check("linear", [](const Tensors& x) { return linear(x[0], x[1], x[2]); }, {random(rng, {9, 33}), random(rng, {7, 33}), random(rng, {9, 7})});
}

TEST(BFloat16, StatesStayFloat32) {
  Rng rng(7);
  const at::Tensor u = random(rng, {1, 4, 8}).to(at::kBFloat16), BC = random(rng, {1, 4, 2}).to(at::kBFloat16);
  const auto [y, h] = selective_scan(u, u, random(rng, {8, 2}).exp().neg(), BC, BC, {}, {}, {}, {});
  EXPECT_EQ(y.scalar_type(), at::kBFloat16);
  EXPECT_EQ(h.scalar_type(), at::kFloat);
}

}  // namespace
}  // namespace hymba::kernels
