#include <ATen/TensorOperators.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/full.h>
#include <ATen/ops/silu.h>
#include <ATen/ops/softplus.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/zeros.h>
#include <c10/core/GradMode.h>
#include <gtest/gtest.h>
#include <torch/csrc/autograd/autograd.h>

#include "kernels/selective_scan/cases.h"
#include "kernels/selective_scan/op.h"
#include "kernels/testing.h"

namespace hymba::kernels {
namespace {

using scan::Case;
using testing::expect_close;
using testing::expect_equal;
using testing::random;
using Tensors = std::vector<at::Tensor>;  // u, dt, A, B, C, D, z, dt_bias, h0

const char* const kNames[] = {"u", "dt", "A", "B", "C", "D", "z", "dt_bias", "h0"};

Tensors make_inputs(const Case& c, std::uint64_t seed = 7) {
  Rng rng(seed, c.name());
  const auto rows = c.G == 1 ? std::vector{c.B, c.L, c.N} : std::vector{c.B, c.L, c.G, c.N};
  Tensors x(9);
  x[0] = random(rng, {c.B, c.L, c.E});
  // Without softplus dt is used as it is: positive as in training, so that the state decays.
  x[1] = c.softplus ? random(rng, {c.B, c.L, c.E}, 1, -1) : random(rng, {c.B, c.L, c.E}, 0.3).abs();
  x[2] = random(rng, {c.E, c.N}).exp().neg();
  x[3] = random(rng, rows);
  x[4] = random(rng, rows);
  if (c.D) x[5] = random(rng, {c.E});
  if (c.z) x[6] = random(rng, {c.B, c.L, c.E}, 2);
  if (c.bias) x[7] = c.softplus ? random(rng, {c.E}) : random(rng, {c.E}).abs();
  if (c.h0) x[8] = random(rng, {c.B, c.E, c.N});
  return x;
}

Tensors run(const Tensors& x, bool softplus) {
  const auto [y, h] = selective_scan(x[0], x[1], x[2], x[3], x[4], x[5], x[6], x[7], x[8], {softplus});
  return {y, h};
}

// y, h, then the gradients of the inputs for fixed gradients of y and h.
Tensors run_all(const Tensors& x, bool softplus, const Tensors& grad_outputs) {
  Tensors out = run(x, softplus);
  const Tensors grads = testing::gradients(out, x, grad_outputs);
  out.insert(out.end(), grads.begin(), grads.end());
  return out;
}

Tensors grad_outputs(const Case& c, at::ScalarType type) {
  Rng rng(3, c.name());
  return {random(rng, {c.B, c.L, c.E}).to(type), random(rng, {c.B, c.E, c.N}).to(type)};
}

void compare(const std::string& what, const Tensors& actual, const Tensors& expected) {
  expect_close(what + " y", actual[0], expected[0]);
  expect_close(what + " h", actual[1], expected[1]);
  for (std::size_t i = 2; i < actual.size(); ++i) {
    expect_close(what + " gradient of " + kNames[i - 2], actual[i], expected[i], 2e-5);
  }
}

// One step after the other.
Tensors plain(const Tensors& x, bool softplus) {
  const at::Tensor &u = x[0], shifted = x[7].defined() ? x[1] + x[7] : x[1],
                   dt = softplus ? at::softplus(shifted) : shifted;
  const auto channels = [&](const at::Tensor& t) {  // a row for each channel
    const at::Tensor groups = t.dim() == 3 ? t.unsqueeze(2) : t;
    return groups.repeat_interleave(u.size(2) / groups.size(2), 2);
  };
  const at::Tensor B = channels(x[3]), C = channels(x[4]);
  at::Tensor h = x[8].defined() ? x[8] : at::zeros({u.size(0), u.size(2), x[2].size(1)}, u.options());
  Tensors y;
  for (std::int64_t t = 0; t < u.size(1); ++t) {
    const at::Tensor step = dt.select(1, t).unsqueeze(-1);
    h = (step * x[2]).exp() * h + step * u.select(1, t).unsqueeze(-1) * B.select(1, t);
    y.push_back((h * C.select(1, t)).sum(-1));
  }
  at::Tensor out = at::stack(y, 1);
  if (x[5].defined()) out = out + x[5] * u;
  if (x[6].defined()) out = out * at::silu(x[6]);
  return {out, h};
}

TEST(SelectiveScan, MatchesReferenceWithAllGradients) {
  for (const Case& c : scan::test_cases()) {
    const Tensors x = make_inputs(c);
    const Tensors expected = run_all(testing::leaves(x, at::kDouble), c.softplus, grad_outputs(c, at::kDouble));
    const Tensors in_float = testing::plain_path(
        c.name(), [&](const Tensors& t) { return plain(t, c.softplus); }, x, grad_outputs(c, at::kDouble), expected,
        1e-8);
    testing::for_each_isa([&] {
      const testing::NanMemory nan;
      const Tensors actual = run_all(testing::leaves(x, at::kFloat), c.softplus, grad_outputs(c, at::kFloat));
      compare(c.name(), actual, expected);
      for (std::size_t i = 0; i < actual.size(); ++i) {
        testing::expect_close_as_plain(fmt::format("{} tensor {}", c.name(), i), actual[i], expected[i], in_float[i]);
      }
      const c10::AutoGradMode no_grad(false);
      const Tensors inference = run(x, c.softplus);
      expect_close(c.name() + " y, inference", inference[0], expected[0]);
      expect_close(c.name() + " h, inference", inference[1], expected[1]);
    });
  }
}

// Fewer tasks than threads: time is cut into spans, which changes the rounding alone.
TEST(SelectiveScan, SpansOfTimeMatchTheReferenceAndOneThread) {
  for (const Case& c : {Case{1, 4705, 16, 16, 1, true, true, true, true}, Case{1, 14001, 5, 3}, Case{2, 4650, 40, 6},
                        Case{1, 4700, 9, 7, 1, true, true, true, true, false}, Case{1, 4620, 136, 3, 1, true, true, true, true}}) {
    const Tensors x = make_inputs(c);
    const auto all = [&](at::ScalarType type) {
      return run_all(testing::leaves(x, type), c.softplus, grad_outputs(c, type));
    };
    const Tensors expected = all(at::kDouble);
    testing::for_each_isa([&] {
      const testing::NanMemory nan;
      const Tensors one = testing::on_threads(1, [&] { return all(at::kFloat); });
      for (const int threads : {2, 3, 8}) {
        const std::string what = fmt::format("{}, {} threads", c.name(), threads);
        const Tensors a = testing::on_threads(threads, [&] { return all(at::kFloat); });
        const Tensors b = testing::on_threads(threads, [&] { return all(at::kFloat); });
        compare(what, a, expected);
        compare(what + " and one", a, one);
        for (std::size_t i = 0; i < a.size(); ++i) expect_equal(what + ", again", a[i], b[i]);
      }
    });
  }
}

TEST(SelectiveScan, ReferenceGradientsMatchFiniteDifferences) {
  for (const Case& c :
       {Case{2, 9, 4, 3, 1, true, true, true, true}, Case{1, 5, 6, 2, 3, true, true, true, true, false}}) {
    testing::check_gradients([&](const Tensors& x) { return run(x, c.softplus); }, make_inputs(c));
  }
}

TEST(SelectiveScan, SlicesOfAProjectionNeedNoCopyAndGiveTheSame) {
  for (const Case& c : {Case{2, 37, 24, 4}, Case{2, 33, 24, 4, 2}, Case{1, 1, 9, 4}}) {
    const Tensors x = make_inputs(c);
    Tensors sliced = x;
    for (const int i : {0, 1, 3, 4, 6}) sliced[i] = testing::as_slice(x[i]);
    sliced[2] = x[2].t().contiguous().t();
    const Tensors a = run(x, true), b = run(sliced, true);
    expect_equal("y", a[0], b[0]);
    expect_equal("h", a[1], b[1]);
    // Gradients, through slices of leaves, an upstream gradient without unit stride included.
    Tensors wide = testing::leaves(x, at::kFloat), inner = wide;
    for (const int i : {0, 1, 3, 4, 6}) inner[i] = wide[i].transpose(0, 1).contiguous().transpose(0, 1);
    const Tensors up = grad_outputs(c, at::kFloat);
    const Tensors strided_up = {up[0].transpose(1, 2).contiguous().transpose(1, 2), up[1]};
    const Tensors expected = run_all(wide, true, up);
    const Tensors grads = testing::gradients(run(inner, true), wide, strided_up);
    for (std::size_t i = 0; i < grads.size(); ++i) expect_equal(kNames[i], grads[i], expected[2 + i]);
  }
}

TEST(SelectiveScan, StateCarriedAcrossTwoCallsEqualsOnePass) {
  const Case c{2, 75, 40, 8, 1, true, true, true, true};
  const Tensors x = make_inputs(c);
  const Tensors expected = run(testing::leaves(x, at::kDouble), true);
  testing::for_each_isa([&] {
    for (const std::int64_t cut : {0, 1, 32, 50, 75}) {
      Tensors head = x, tail = x;
      for (const int i : {0, 1, 3, 4, 6}) {
        head[i] = x[i].narrow(1, 0, cut);
        tail[i] = x[i].narrow(1, cut, c.L - cut);
      }
      const Tensors first = run(head, true);
      tail[8] = first[1];
      const Tensors second = run(tail, true);
      expect_close("y", at::cat({first[0], second[0]}, 1), expected[0]);
      expect_close("h", second[1], expected[1]);
    }
  });
}

TEST(SelectiveScan, StepsEqualOnePass) {
  for (const std::int64_t N : {3, 16}) {
    const Case c{2, 11, 40, N, 1, true, true, true, true};
    const Tensors x = make_inputs(c);
    const Tensors expected = run(testing::leaves(x, at::kDouble), true);
    testing::for_each_isa([&] {
      at::Tensor h = x[8].clone();
      Tensors steps;
      for (std::int64_t t = 0; t < c.L; ++t) {
        const auto at = [&](int i) { return x[i].select(1, t); };
        steps.push_back(selective_state_update(h, at(0), at(1), x[2], at(3), at(4), x[5], at(6), x[7]).unsqueeze(1));
      }
      expect_close("y", at::cat(steps, 1), expected[0]);
      expect_close("h", h, expected[1]);
    });
  }
}

TEST(SelectiveScan, LengthZeroKeepsTheState) {
  const Case c{2, 0, 5, 3, 1, true, true, true, true};
  const Tensors x = testing::leaves(make_inputs(c), at::kFloat);
  const Tensors out = run_all(x, true, grad_outputs(c, at::kFloat));
  EXPECT_EQ(out[0].size(1), 0);
  expect_equal("h", out[1].detach(), x[8].detach());
  expect_equal("gradient of h0", out[2 + 8], grad_outputs(c, at::kFloat)[1]);
  EXPECT_EQ(out[2 + 2].abs().sum().item<float>(), 0);
}

TEST(SelectiveScan, ExtremeStepsStayFiniteAndRight) {
  const Case c{1, 40, 24, 4, 1, true, true, false, true};
  for (const double dt : {100.0, 1000.0, 1e5, 1e8, 20.0, -20.0, -60.0, -100.0, -1000.0}) {
    Tensors x = make_inputs(c);
    x[1] = at::full({c.B, c.L, c.E}, dt, at::kFloat);
    const Tensors expected = run_all(testing::leaves(x, at::kDouble), true, grad_outputs(c, at::kDouble));
    testing::for_each_isa([&] {
      compare(fmt::format("dt {}", dt), run_all(testing::leaves(x, at::kFloat), true, grad_outputs(c, at::kFloat)),
              expected);
    });
  }
}

TEST(SelectiveScan, NanIsNotSwallowed) {
  const Case c{1, 20, 24, 4};
  for (const int i : {0, 1, 3, 4, 6}) {
    Tensors x = make_inputs(c);
    x[i].select(0, 0).select(0, 3).fill_(std::numeric_limits<float>::quiet_NaN());
    testing::for_each_isa([&] { EXPECT_TRUE(run(x, true)[0].isnan().any().item<bool>()) << kNames[i]; });
  }
}

TEST(SelectiveScan, TwoRunsAreEqualBitForBit) {
  const Case c{2, 200, 300, 8, 1, true, true, true, true};
  const Tensors x = testing::leaves(make_inputs(c), at::kFloat), up = grad_outputs(c, at::kFloat);
  const Tensors a = run_all(x, true, up), b = run_all(x, true, up);
  for (std::size_t i = 0; i < a.size(); ++i) expect_equal(fmt::format("output {}", i), a[i], b[i]);
}

TEST(SelectiveScan, AGraphThatIsKeptGivesTheSameGradientsAgain) {
  const Case c{2, 70, 40, 8, 1, true, true, true, true};
  testing::for_each_isa([&] {
    const Tensors x = testing::leaves(make_inputs(c), at::kFloat), y = run(x, true), up = grad_outputs(c, at::kFloat);
    const Tensors first = torch::autograd::grad(y, x, up, /*retain_graph=*/true);
    Tensors kept;
    for (const at::Tensor& g : first) kept.push_back(g.clone());
    for (int again = 0; again < 2; ++again) {
      const Tensors next = torch::autograd::grad(y, x, up, /*retain_graph=*/true);
      for (std::size_t i = 0; i < kept.size(); ++i) {
        expect_equal(fmt::format("gradient of {}, again", kNames[i]), next[i], kept[i]);
        expect_equal(fmt::format("gradient of {}, first", kNames[i]), first[i], kept[i]);
      }
    }
  });
}

TEST(SelectiveScan, OnlyTheFinalStateMayHaveAGradient) {
  const Case c{1, 35, 6, 4, 1, true, true, true, true};
  const Tensors x = make_inputs(c);
  const auto grads_of = [&](at::ScalarType type) {
    const Tensors in = testing::leaves(x, type);
    return testing::gradients({run(in, true)[1]}, {in[0], in[1], in[2], in[3], in[8]}, {grad_outputs(c, type)[1]});
  };
  const Tensors actual = grads_of(at::kFloat), expected = grads_of(at::kDouble);
  for (std::size_t i = 0; i < actual.size(); ++i) expect_close(fmt::format("gradient {}", i), actual[i], expected[i]);
}

TEST(SelectiveScan, BadArgumentsNameOpAndArgument) {
  const Case c{2, 5, 6, 4, 1, true, true, true, true};
  const Tensors good = make_inputs(c);
  const char* const names[] = {"u_BLE", "dt_BLE", "A_EN", "B_BLN", "C_BLN", "D_E", "z_BLE", "dt_bias_E", "h0_BEN"};
  for (int i = 0; i < 9; ++i) {
    SCOPED_TRACE(names[i]);
    Tensors x = good;
    x[i] = good[i].unsqueeze(0);
    testing::expect_user_error([&] { run(x, true); }, "[selective_scan]", names[i]);
    x[i] = good[i].to(at::kInt);
    testing::expect_user_error([&] { run(x, true); }, "[selective_scan]", names[i]);
    if (i > 0) {
      x[i] = good[i].narrow(-1, 0, good[i].size(-1) - 1);
      testing::expect_user_error([&] { run(x, true); }, "[selective_scan]", i == 2 ? "B_BLN" : names[i]);
    }
    if (i < 5) {
      x[i] = at::Tensor();
      testing::expect_user_error([&] { run(x, true); }, "[selective_scan]", names[i]);
    }
  }
  Tensors x = good;
  x[3] = x[4] = at::empty({2, 5, 4, 4}, at::kFloat);
  testing::expect_user_error([&] { run(x, true); }, "[selective_scan]", "divides 6 channels");
}

TEST(SelectiveScan, Golden) {
  const auto cases = testing::golden("selective_scan");
  if (!cases) GTEST_SKIP() << "no shared/golden/ops/selective_scan.safetensors (set HYMBA_SHARED)";
  ASSERT_FALSE(cases->empty());
  const auto time_major = [](const at::Tensor& t) { return t.defined() ? t.transpose(1, 2).contiguous() : t; };
  for (std::size_t i = 0; i < cases->size(); ++i) {
    const auto& g = (*cases)[i];
    const bool softplus = g.options["softplus"];
    const auto inputs = [&](const std::string& prefix) {
      return Tensors{time_major(g.get(prefix + "u")), time_major(g.get(prefix + "delta")), g.get(prefix + "A"),
                     time_major(g.get(prefix + "B")), time_major(g.get(prefix + "C")),     g.get(prefix + "D"),
                     time_major(g.get(prefix + "z")), g.get(prefix + "delta_bias"),        g.get(prefix + "h0")};
    };
    testing::for_each_isa([&] {
      for (const auto type : {at::kFloat, at::kDouble}) {
        SCOPED_TRACE(fmt::format("case {} {}", i, c10::toString(type)));
        const Tensors x = testing::leaves(inputs(""), type);
        Tensors out = run(x, softplus), up = {time_major(g.get("grad_out")).to(type)};
        testing::expect_golden("out", out[0], time_major(g.get("out")), false);
        testing::expect_golden("last_state", out[1], g.get("last_state"), false);
        if (g.get("grad_last_state").defined()) {
          up.push_back(g.get("grad_last_state").to(type));
        } else {
          out.pop_back();
        }
        const Tensors grads = testing::gradients(out, x, up), expected = inputs("d_");
        for (std::size_t k = 0; k < grads.size(); ++k) testing::expect_golden(kNames[k], grads[k], expected[k], true);
      }
    });
  }
}

}  // namespace
}  // namespace hymba::kernels
