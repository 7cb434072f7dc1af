#include <ATen/ops/cat.h>
#include <ATen/ops/conv1d.h>
#include <ATen/ops/silu.h>
#include <ATen/ops/zeros.h>
#include <c10/core/GradMode.h>
#include <gtest/gtest.h>

#include "kernels/causal_conv1d/cases.h"
#include "kernels/causal_conv1d/op.h"
#include "kernels/testing.h"

namespace hymba::kernels {
namespace {

using conv::Case;
using testing::expect_close;
using testing::expect_equal;
using testing::random;
using Tensors = std::vector<at::Tensor>;  // x, weight, bias, state

const char* const kNames[] = {"x", "weight", "bias", "state"};

Tensors make_inputs(const Case& c) {
  Rng rng(7, c.name());
  Tensors x(4);
  x[0] = random(rng, {c.B, c.L, c.E});
  x[1] = random(rng, {c.E, c.W});
  if (c.bias) x[2] = random(rng, {c.E});
  if (c.state) x[3] = random(rng, {c.B, c.W - 1, c.E});
  return x;
}

Tensors run(const Tensors& x, bool silu) {
  const auto [y, state] = causal_conv1d(x[0], x[1], x[2], x[3], silu);
  return {y, state};
}

Tensors grad_outputs(const Case& c, at::ScalarType type) {
  Rng rng(3, c.name());
  return {random(rng, {c.B, c.L, c.E}).to(type), random(rng, {c.B, c.W - 1, c.E}).to(type)};
}

Tensors run_all(const Case& c, const Tensors& inputs, at::ScalarType type) {
  const Tensors x = testing::leaves(inputs, type);
  Tensors out = run(x, c.silu);
  const Tensors grads = testing::gradients(out, x, grad_outputs(c, type));
  out.insert(out.end(), grads.begin(), grads.end());
  return out;
}

Tensors plain(const Tensors& x, bool silu) {
  const std::int64_t taps = x[1].size(1), L = x[0].size(1);
  const at::Tensor before = x[3].defined() ? x[3] : at::zeros({x[0].size(0), taps - 1, x[0].size(2)}, x[0].options());
  const at::Tensor all = at::cat({before, x[0]}, 1);
  const at::Tensor y = at::conv1d(all.transpose(1, 2), x[1].unsqueeze(1), x[2], at::IntArrayRef{1}, at::IntArrayRef{0},
                                  at::IntArrayRef{1}, x[1].size(0))
                           .transpose(1, 2);
  return {silu ? at::silu(y) : y, all.narrow(1, L, taps - 1)};
}

// One sequence and few channels are cut into spans of time: rows at their edges, the last one short.
TEST(CausalConv1d, SpansOfTimeMatchTheReferenceOnAnyNumberOfThreads) {
  for (const Case& c :
       {Case{1, 1665, 20, 4, true, true}, Case{1, 1100, 70, 9, true, true, false}, Case{3, 1030, 3, 2}}) {
    const Tensors x = make_inputs(c), expected = run_all(c, x, at::kDouble);
    testing::for_each_isa([&] {
      const testing::NanMemory nan;
      const Tensors one = testing::on_threads(1, [&] { return run_all(c, x, at::kFloat); });
      for (std::size_t i = 0; i < one.size(); ++i) {
        expect_close(fmt::format("{} output {}", c.name(), i), one[i], expected[i], 5e-6);
      }
      const Tensors three = testing::on_threads(3, [&] { return run_all(c, x, at::kFloat); });
      for (std::size_t i = 0; i < one.size(); ++i) expect_equal(c.name() + ", three threads", three[i], one[i]);
    });
  }
}

TEST(CausalConv1d, MatchesReferenceWithAllGradients) {
  for (const Case& c : conv::test_cases()) {
    const Tensors x = make_inputs(c), expected = run_all(c, x, at::kDouble);
    const Tensors in_float = testing::plain_path(
        c.name(), [&](const Tensors& t) { return plain(t, c.silu); }, x, grad_outputs(c, at::kDouble), expected, 1e-10);
    testing::for_each_isa([&] {
      const testing::NanMemory nan;
      const Tensors actual = run_all(c, x, at::kFloat), again = run_all(c, x, at::kFloat);
      for (std::size_t i = 0; i < actual.size(); ++i) {
        testing::expect_close_as_plain(fmt::format("{} tensor {}", c.name(), i), actual[i], expected[i], in_float[i]);
      }
      expect_close(c.name() + " y", actual[0], expected[0], 2e-6);
      expect_equal(c.name() + " state", actual[1], expected[1].to(at::kFloat));
      for (int i = 0; i < 4; ++i) {
        expect_close(c.name() + " gradient of " + kNames[i], actual[2 + i], expected[2 + i], 5e-6);
        expect_equal(c.name() + ", again", actual[2 + i], again[2 + i]);
      }
    });
  }
}

TEST(CausalConv1d, ReferenceGradientsMatchFiniteDifferences) {
  for (const Case& c : {Case{2, 9, 3, 4, true, true}, Case{1, 2, 3, 4, true, true, false}}) {
    testing::check_gradients([&](const Tensors& x) { return run(x, c.silu); }, make_inputs(c));
  }
}

TEST(CausalConv1d, SlicesGiveTheSame) {
  const Case c{2, 67, 37, 4, true, true};
  Tensors x = make_inputs(c);
  const Tensors a = run(x, c.silu);
  x[0] = testing::as_slice(x[0]);
  x[1] = x[1].t().contiguous().t();
  const Tensors b = run(x, c.silu);
  expect_equal("y", a[0], b[0]);
  expect_equal("state", a[1], b[1]);
}

TEST(CausalConv1d, StateCarriedAcrossCallsAndStepsEqualOnePass) {
  const Case c{2, 70, 40, 4, true, true};
  const Tensors x = make_inputs(c);
  testing::for_each_isa([&] {
    const Tensors expected = run(x, c.silu);
    for (const std::int64_t cut : {0, 1, 2, 64, 70}) {
      const Tensors first = run({x[0].narrow(1, 0, cut), x[1], x[2], x[3]}, c.silu);
      const Tensors second = run({x[0].narrow(1, cut, c.L - cut), x[1], x[2], first[1]}, c.silu);
      expect_equal("y", at::cat({first[0], second[0]}, 1), expected[0]);
      expect_equal("state", second[1], expected[1]);
    }
    at::Tensor state = x[3].clone();
    Tensors steps;
    for (std::int64_t t = 0; t < c.L; ++t) {
      steps.push_back(conv_update(state, x[0].select(1, t), x[1], x[2], c.silu).unsqueeze(1));
    }
    expect_equal("y by steps", at::cat(steps, 1), expected[0]);
    expect_equal("state by steps", state, expected[1]);
  });
}

TEST(CausalConv1d, LengthZeroKeepsTheState) {
  const Case c{2, 0, 5, 4, true, true};
  const Tensors out = run_all(c, make_inputs(c), at::kFloat);
  expect_equal("state", out[1].detach(), make_inputs(c)[3]);
  expect_equal("gradient of the state", out[5], grad_outputs(c, at::kFloat)[1]);
}

TEST(CausalConv1d, BadArgumentsNameOpAndArgument) {
  const Case c{2, 5, 6, 4, true, true};
  const Tensors good = make_inputs(c);
  const char* const names[] = {"x_BLE", "weight_EW", "bias_E", "state_BSE"};
  for (int i = 0; i < 4; ++i) {
    Tensors x = good;
    x[i] = good[i].unsqueeze(0);
    testing::expect_user_error([&] { run(x, true); }, "[causal_conv1d]", names[i]);
    x[i] = good[i].to(i ? at::kDouble : at::kInt);
    testing::expect_user_error([&] { run(x, true); }, "[causal_conv1d]", names[i]);
  }
  at::Tensor state = good[3].narrow(1, 0, 2).contiguous();
  testing::expect_user_error([&] { conv_update(state, good[0].select(1, 0), good[1], good[2], true); }, "[conv_update]",
                             "state_BSE: expected float32 [2, 3, 6], got float32 [2, 2, 6]");
}

TEST(CausalConv1d, Golden) {
  const auto cases = testing::golden("causal_conv1d");
  if (!cases) GTEST_SKIP() << "no shared/golden/ops/causal_conv1d.safetensors (set HYMBA_SHARED)";
  ASSERT_FALSE(cases->empty());
  const auto time_major = [](const at::Tensor& t) { return t.defined() ? t.transpose(1, 2).contiguous() : t; };
  for (std::size_t i = 0; i < cases->size(); ++i) {
    const auto& g = (*cases)[i];
    const auto inputs = [&](const std::string& prefix) {
      return Tensors{time_major(g.get(prefix + "x")), g.get(prefix + "weight"), g.get(prefix + "bias"),
                     time_major(g.get(prefix + "initial_state"))};
    };
    testing::for_each_isa([&] {
      SCOPED_TRACE(fmt::format("case {}", i));
      const Tensors x = testing::leaves(inputs(""), at::kFloat);
      Tensors out = run(x, g.options["silu"]);
      testing::expect_golden("out", out[0], time_major(g.get("out")), false);
      testing::expect_golden("final_state", out[1], time_major(g.get("final_state")), false);
      const Tensors expected = inputs("d_");
      const Tensors grads =
          testing::gradients(out, x, {time_major(g.get("grad_out")), time_major(g.get("grad_final_state"))});
      for (int k = 0; k < 4; ++k) testing::expect_golden(kNames[k], grads[k], expected[k], true);
    });
  }
}

}  // namespace
}  // namespace hymba::kernels
