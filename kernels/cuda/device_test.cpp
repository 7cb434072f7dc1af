// The steps of decoding on a GPU (HYMBA_TEST_DEVICE=cuda) against the CPU; the differentiable ops go there by
// testing::leaves() in their own tests.
#include <ATen/TensorOperators.h>
#include <ATen/ops/tensor.h>
#include <gtest/gtest.h>

#include "kernels/causal_conv1d/op.h"
#include "kernels/check.h"
#include "kernels/decode_attention/cases.h"
#include "kernels/decode_attention/op.h"
#include "kernels/gemv/cases.h"
#include "kernels/gemv/op.h"
#include "kernels/rms_norm/op.h"
#include "kernels/rope/op.h"
#include "kernels/selective_scan/op.h"
#include "kernels/ssd/op.h"
#include "kernels/swiglu/op.h"
#include "kernels/testing.h"

namespace hymba::kernels {
namespace {

using testing::expect_close;
using testing::random;

class CudaDevice : public ::testing::Test {
 protected:
  void SetUp() override {
    if (testing::test_device().is_cpu()) GTEST_SKIP() << "no GPU asked for: HYMBA_TEST_DEVICE=cuda";
  }
  static at::Tensor there(const at::Tensor& t) { return t.to(testing::test_device()); }
};

TEST_F(CudaDevice, DecodeAttentionInEveryStorage) {
  auto cases = decode_detail::test_cases();
  for (const auto& c : decode_detail::bench_cases()) cases.push_back(c);
  for (const auto& c : cases) {
    Rng rng(7, c.name());
    const at::Tensor q = random(rng, {c.batch(), c.H, c.P}, 1.5), k = random(rng, {c.batch(), c.S, c.K, c.P}, 1.5),
                     v = random(rng, {c.batch(), c.S, c.K, c.V}), lengths = at::tensor(c.lengths, at::kLong);
    const DecodeAttentionOptions options{c.window, c.prefix};
    for (const auto type : {at::kFloat, at::kBFloat16, at::kHalf}) {
      const at::Tensor expected = decode_attention(q, k.to(type), v.to(type), lengths, options);
      expect_close(c.name(), decode_attention(there(q), there(k.to(type)), there(v.to(type)), there(lengths), options),
                   expected, 2e-5);
    }
  }
}

TEST_F(CudaDevice, AppendRoundsAsTheCpuDoes) {
  Rng rng(1);
  const std::int64_t B = 3, S = 12, K = 2, P = 8, V = 6, prefix = 4;
  const std::vector<std::int64_t> lengths = {2, 12, 40};
  const at::Tensor k = random(rng, {B, K, P}), v = random(rng, {B, K, V});
  for (const auto type : {at::kFloat, at::kBFloat16, at::kHalf}) {
    const at::Tensor k_cache = there(random(rng, {B, S, K, P}).to(type)), v_cache = there(random(rng, {B, S, K, V}).to(type));
    const at::Tensor k_expected = k_cache.to(at::kCPU), v_expected = v_cache.to(at::kCPU);
    append_on_device(k_cache, v_cache, there(k), there(v), there(at::tensor(lengths, at::kLong)), prefix, true);
    for (std::int64_t b = 0; b < B; ++b) {
      const std::int64_t t = lengths[b] - 1, slot = t < prefix ? t : prefix + (t - prefix) % (S - prefix);
      k_expected[b][slot].copy_(k[b]), v_expected[b][slot].copy_(v[b]);
    }
    testing::expect_equal("k", k_cache, k_expected), testing::expect_equal("v", v_cache, v_expected);
  }
}

TEST_F(CudaDevice, RecurrentStepsKeepTheirStates) {
  Rng rng(2);
  for (const std::int64_t N : {16, 5}) {
    const std::int64_t B = 3, E = 40;
    const at::Tensor h = random(rng, {B, E, N}), u = random(rng, {B, E}), dt = random(rng, {B, E}, 1, -1);
    const at::Tensor A = random(rng, {E, N}).exp().neg(), Bn = random(rng, {B, N}), C = random(rng, {B, N});
    const at::Tensor D = random(rng, {E}), z = random(rng, {B, E}), bias = random(rng, {E}), h_there = there(h);
    const at::Tensor y = selective_state_update(h_there, there(u), there(dt), there(A), there(Bn), there(C), there(D),
                                                there(z), there(bias));
    expect_close("scan y", y, selective_state_update(h, u, dt, A, Bn, C, D, z, bias), 2e-5);
    expect_close("scan h", h_there, h, 2e-5);
  }
  for (const std::int64_t W : {4, 2, 7}) {
    const at::Tensor state = random(rng, {3, W - 1, 33}), x = random(rng, {3, 33}), weight = random(rng, {33, W}),
                     bias = random(rng, {33}), state_there = there(state);
    const at::Tensor y = conv_update(state_there, there(x), there(weight), there(bias), true);
    expect_close("conv y", y, conv_update(state, x, weight, bias, true), 2e-5);
    expect_close("conv state", state_there, state, 2e-5);
  }
  const std::int64_t B = 2, H = 6, P = 12, G = 2, N = 20;
  const at::Tensor h = random(rng, {B, H, P, N}), x = random(rng, {B, H, P}), dt = random(rng, {B, H}, 1, -1),
                   A = random(rng, {H}).exp().neg(), Bm = random(rng, {B, G, N}), C = random(rng, {B, G, N}),
                   D = random(rng, {H}), bias = random(rng, {H}), h_there = there(h);
  const at::Tensor y = ssd_state_update(h_there, there(x), there(dt), there(A), there(Bm), there(C), there(D), there(bias));
  expect_close("ssd y", y, ssd_state_update(h, x, dt, A, Bm, C, D, bias), 2e-5);
  expect_close("ssd h", h_there, h, 2e-5);
}

TEST_F(CudaDevice, NormsTurnsAndGatesOfAStep) {
  Rng rng(3);
  for (const bool add : {false, true}) {
    const at::Tensor x = random(rng, {5, 70}).narrow(1, 3, 64), weight = random(rng, {192}), y = random(rng, {5, 200}),
                     y_there = there(y);
    rms_norm_out(y_there.narrow(1, 4, 192), there(x), there(weight), 1e-6, {0.5f, add});
    rms_norm_out(y.narrow(1, 4, 192), x, weight, 1e-6, {0.5f, add});
    expect_close("norm", y_there, y, 2e-5);
  }
  const at::Tensor x = random(rng, {4, 3, 16}), out = random(rng, {4, 3, 16}), out_there = there(out);
  const at::Tensor lengths = at::tensor(std::vector<std::int64_t>{1, 900, 77, 5}, at::kLong);
  rope_step_out(out, x, lengths, rope_frequencies(10000, 16), 1000);
  rope_step_out(out_there, there(x), there(lengths), rope_frequencies(10000, 16), 1000);
  expect_close("rope", out_there, out, 2e-5);
  const at::Tensor gate_up = random(rng, {6, 44}), y = random(rng, {6, 22}), y_there = there(y);
  swiglu_out(y, gate_up), swiglu_out(y_there, there(gate_up));
  expect_close("swiglu", y_there, y, 2e-5);
}

TEST_F(CudaDevice, ProductsWithWeightsOfEveryType) {
  for (const auto& c : gemv_detail::test_cases()) {
    Rng rng(4, c.name());
    const at::Tensor x = random(rng, {c.B, c.I}), weight = random(rng, {c.O, c.I});
    for (const auto type : {at::kFloat, at::kBFloat16, at::kHalf}) {
      for (const bool add : {false, true}) {
        const at::Tensor y = random(rng, {c.B, c.O}), y_there = there(y);
        gemv_out(y, x, weight.to(type), add), gemv_out(y_there, there(x), there(weight.to(type)), add);
        // 16-bit weights: x is rounded to their type there.
        expect_close(c.name(), y_there, y, type == at::kFloat ? 2e-5 : 2e-2, 1);
      }
    }
  }
}

TEST_F(CudaDevice, TensorsOfTwoDevicesAreRefused) {
  Rng rng(5);
  const at::Tensor x = random(rng, {2, 8}), weight = random(rng, {8});
  testing::expect_user_error([&] { rms_norm(there(x), weight, 1e-6); }, "[rms_norm]", "weight");
  testing::expect_user_error([&] { rms_norm(there(x).to(at::kDouble), there(weight), 1e-6); }, "[rms_norm]", "x");
}

}  // namespace
}  // namespace hymba::kernels
