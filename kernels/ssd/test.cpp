#include <ATen/TensorOperators.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/softplus.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/zeros.h>
#include <c10/core/GradMode.h>
#include <gtest/gtest.h>

#include "kernels/ssd/cases.h"
#include "kernels/ssd/op.h"
#include "kernels/testing.h"

namespace hymba::kernels {
namespace {

using ssd_detail::Case;
using testing::expect_close;
using testing::expect_equal;
using testing::random;
using Tensors = std::vector<at::Tensor>;  // x, dt, A, B, C, D, dt_bias, h0

const char* const kNames[] = {"x", "dt", "A", "B", "C", "D", "dt_bias", "h0"};

Tensors make_inputs(const Case& c) {
  Rng rng(7, c.name());
  Tensors t(8);
  t[0] = random(rng, {c.B, c.L, c.H, c.P});
  // Without softplus dt is used as it is: positive as in training, so that the state decays.
  t[1] = c.softplus ? random(rng, {c.B, c.L, c.H}, 1, -1) : random(rng, {c.B, c.L, c.H}, 0.3).abs();
  t[2] = random(rng, {c.H}).exp().neg();
  t[3] = random(rng, {c.B, c.L, c.G, c.N});
  t[4] = random(rng, {c.B, c.L, c.G, c.N});
  if (c.D) t[5] = random(rng, {c.H});
  if (c.bias) t[6] = random(rng, {c.H}, 0.5);
  if (c.h0) t[7] = random(rng, {c.B, c.H, c.P, c.N});
  return t;
}

SsdOptions options_of(const Case& c) { return {c.softplus, c.dt_min, c.dt_max, c.chunk}; }

Tensors run(const Tensors& t, const SsdOptions& options) {
  const auto [y, h] = ssd(t[0], t[1], t[2], t[3], t[4], t[5], t[6], t[7], options);
  return {y, h};
}

Tensors upstream(const Case& c, at::ScalarType type) {
  Rng rng(3, c.name());
  return {random(rng, {c.B, c.L, c.H, c.P}).to(type), random(rng, {c.B, c.H, c.P, c.N}).to(type)};
}

// y, h, then the gradients of the inputs.
Tensors run_all(const Tensors& t, const SsdOptions& options, const Tensors& grads) {
  Tensors out = run(t, options);
  for (const at::Tensor& g : testing::gradients(out, t, grads)) out.push_back(g);
  return out;
}

void compare(const std::string& what, const Tensors& actual, const Tensors& expected) {
  expect_close(what + " y", actual[0], expected[0]);
  expect_close(what + " h", actual[1], expected[1]);
  for (std::size_t i = 2; i < actual.size(); ++i) {
    expect_close(what + " gradient of " + kNames[i - 2], actual[i], expected[i], 2e-5);
  }
}

// One step after the other.
Tensors plain(const Tensors& t, const SsdOptions& o) {
  const at::Tensor &x = t[0], shifted = t[6].defined() ? t[1] + t[6] : t[1];
  const at::Tensor dt = (o.softplus ? at::softplus(shifted) : shifted).clamp(o.dt_min, o.dt_max);
  const std::int64_t group = x.size(2) / t[3].size(2);
  const at::Tensor B = t[3].repeat_interleave(group, 2), C = t[4].repeat_interleave(group, 2);
  at::Tensor h = t[7].defined() ? t[7] : at::zeros({x.size(0), x.size(2), x.size(3), B.size(3)}, x.options());
  Tensors y;
  for (std::int64_t l = 0; l < x.size(1); ++l) {
    const at::Tensor step = dt.select(1, l), input = step.unsqueeze(-1) * x.select(1, l);
    h = (step * t[2]).exp().unsqueeze(-1).unsqueeze(-1) * h + input.unsqueeze(-1) * B.select(1, l).unsqueeze(-2);
    y.push_back((h * C.select(1, l).unsqueeze(-2)).sum(-1));
  }
  const at::Tensor out = at::stack(y, 1);
  return {t[5].defined() ? out + t[5].unsqueeze(-1) * x : out, h};
}

TEST(Ssd, MatchesReferenceWithAllGradients) {
  for (const Case& c : ssd_detail::test_cases()) {
    const Tensors t = make_inputs(c);
    const Tensors expected = run_all(testing::leaves(t, at::kDouble), options_of(c), upstream(c, at::kDouble));
    const Tensors in_float = testing::plain_path(
        c.name(), [&](const Tensors& x) { return plain(x, options_of(c)); }, t, upstream(c, at::kDouble), expected,
        1e-8);
    testing::for_each_isa([&] {
      const testing::NanMemory nan;
      const Tensors actual = run_all(testing::leaves(t, at::kFloat), options_of(c), upstream(c, at::kFloat));
      compare(c.name(), actual, expected);
      for (std::size_t i = 0; i < actual.size(); ++i) {
        // Gradients of A and dt_bias are sums of pairs over the whole chunk, most of which cancels.
        const double epsilon = i == 4 || i == 8 ? 1.5e-5 : 4e-6;
        testing::expect_close_as_plain(fmt::format("{} tensor {}", c.name(), i), actual[i], expected[i], in_float[i],
                                       1e-3, epsilon);
      }
      const c10::AutoGradMode no_gradient(false);
      const Tensors inference = run(t, options_of(c));
      expect_close(c.name() + " y, inference", inference[0], expected[0]);
      expect_close(c.name() + " h, inference", inference[1], expected[1]);
    });
  }
}

TEST(Ssd, ReferenceGradientsMatchFiniteDifferences) {
  for (const Case& c : {Case{2, 7, 4, 2, 3, 2, true, true, true}, Case{1, 5, 2, 3, 2, 1, false, false, false, false}}) {
    testing::check_gradients([&](const Tensors& t) { return run(t, options_of(c)); }, make_inputs(c));
  }
}

TEST(Ssd, ChunkSizeChangesOnlyTheRounding) {
  Case c{2, 75, 4, 8, 16, 2, true, true, true};
  const Tensors t = make_inputs(c);
  const Tensors expected = run_all(testing::leaves(t, at::kDouble), options_of(c), upstream(c, at::kDouble));
  testing::for_each_isa([&] {
    for (const std::int64_t chunk : {1, 5, 16, 31, 64, 75, 1000}) {
      const SsdOptions options{true, 0, 1e30, chunk};
      compare("chunk " + std::to_string(chunk),
              run_all(testing::leaves(t, at::kFloat), options, upstream(c, at::kFloat)), expected);
    }
  });
}

TEST(Ssd, SlicesOfAProjectionGiveTheSame) {
  const Case c{2, 37, 4, 8, 6, 2, true, true, true};
  const Tensors t = make_inputs(c);
  Tensors sliced = t;
  for (const int i : {0, 1, 3, 4}) sliced[i] = testing::as_slice(t[i]);
  const Tensors a = run(t, {}), b = run(sliced, {});
  expect_equal("y", a[0], b[0]);
  expect_equal("h", a[1], b[1]);
  const auto turned = [](const at::Tensor& x) { return x.transpose(1, -1).contiguous().transpose(1, -1); };
  const Tensors leaves = testing::leaves(t, at::kFloat), up = upstream(c, at::kFloat);
  Tensors inner = leaves;
  for (const int i : {0, 1, 3, 4}) inner[i] = turned(leaves[i]);
  const Tensors expected = run_all(leaves, {}, up);
  const Tensors grads = testing::gradients(run(inner, {}), leaves, {turned(up[0]), turned(up[1])});
  for (std::size_t i = 0; i < grads.size(); ++i) expect_equal(kNames[i], grads[i], expected[2 + i]);
}

TEST(Ssd, StateCarriedAcrossTwoCallsEqualsOnePass) {
  const Case c{2, 75, 4, 8, 16, 2, true, true, true};
  const Tensors t = make_inputs(c);
  const Tensors expected = run(testing::leaves(t, at::kDouble), {});
  testing::for_each_isa([&] {
    for (const std::int64_t cut : {0, 1, 32, 64, 75}) {
      Tensors head = t, tail = t;
      for (const int i : {0, 1, 3, 4}) {
        head[i] = t[i].narrow(1, 0, cut);
        tail[i] = t[i].narrow(1, cut, c.L - cut);
      }
      const Tensors first = run(head, {});
      tail[7] = first[1];
      const Tensors second = run(tail, {});
      expect_close("y", at::cat({first[0], second[0]}, 1), expected[0]);
      expect_close("h", second[1], expected[1]);
    }
  });
}

TEST(Ssd, StepsEqualOnePass) {
  for (const std::int64_t N : {3, 16}) {
    const Case c{2, 11, 4, 5, N, 2, true, true, true};
    const Tensors t = make_inputs(c);
    const Tensors expected = run(testing::leaves(t, at::kDouble), {});
    testing::for_each_isa([&] {
      at::Tensor h = t[7].clone();
      Tensors steps;
      for (std::int64_t l = 0; l < c.L; ++l) {
        const auto at = [&](int i) { return t[i].select(1, l); };
        steps.push_back(ssd_state_update(h, at(0), at(1), t[2], at(3), at(4), t[5], t[6]).unsqueeze(1));
      }
      expect_close("y", at::cat(steps, 1), expected[0]);
      expect_close("h", h, expected[1]);
    });
  }
}

// exp(s_t - s_r) must not be taken apart: exp(-s_r) alone would overflow here.
TEST(Ssd, StrongDecaysStayFinite) {
  const Case c{1, 100, 2, 8, 8, 1, true, true, true};
  Tensors t = make_inputs(c);
  t[2] = t[2].mul(50);
  const Tensors expected = run_all(testing::leaves(t, at::kDouble), {}, upstream(c, at::kDouble));
  testing::for_each_isa(
      [&] { compare("strong decay", run_all(testing::leaves(t, at::kFloat), {}, upstream(c, at::kFloat)), expected); });
}

TEST(Ssd, LengthZeroKeepsTheState) {
  const Case c{2, 0, 4, 3, 5, 2, true, true, true};
  const Tensors t = testing::leaves(make_inputs(c), at::kFloat);
  const Tensors out = run_all(t, {}, upstream(c, at::kFloat));
  EXPECT_EQ(out[0].size(1), 0);
  expect_equal("h", out[1].detach(), t[7].detach());
  expect_equal("gradient of h0", out[2 + 7], upstream(c, at::kFloat)[1]);
}

TEST(Ssd, OnlyOneOfTheOutputsIsUsed) {
  const Case c{1, 20, 2, 4, 4, 1, true, true, true};
  const Tensors t = make_inputs(c);
  for (const int which : {0, 1}) {
    const auto grads = [&](at::ScalarType type) {
      const Tensors leaves = testing::leaves(t, type);
      const at::Tensor out = run(leaves, {})[which];
      Tensors used(leaves.begin(), leaves.end());
      return testing::gradients({out}, used, {upstream(c, type)[which]});
    };
    const Tensors expected = grads(at::kDouble), actual = grads(at::kFloat);
    for (std::size_t i = 0; i < actual.size(); ++i) expect_close(kNames[i], actual[i], expected[i], 2e-5);
  }
}

TEST(Ssd, TwoRunsAreEqualBitForBit) {
  const Case c{2, 150, 4, 16, 16, 2, true, true, true};
  const Tensors t = testing::leaves(make_inputs(c), at::kFloat), up = upstream(c, at::kFloat);
  const Tensors a = run_all(t, {}, up), b = run_all(t, {}, up);
  for (std::size_t i = 0; i < a.size(); ++i) expect_equal(std::to_string(i), a[i], b[i]);
}

// One head: chunks, and rows of the states that go from chunk to chunk, are tasks of their own.
TEST(Ssd, ThreadsDoNotChangeABit) {
  const Case c{1, 400, 1, 20, 16, 1, true, true, true};
  const Tensors t = testing::leaves(make_inputs(c), at::kFloat), up = upstream(c, at::kFloat);
  const auto run = [&] { return run_all(t, {}, up); };
  const Tensors a = testing::on_threads(1, run), b = testing::on_threads(3, run);
  for (std::size_t i = 0; i < a.size(); ++i) expect_equal(std::to_string(i), a[i], b[i]);
}

TEST(Ssd, NamesTheBadArgument) {
  const Case c{2, 5, 4, 3, 6, 2, true, true, true};
  const Tensors good = make_inputs(c);
  const auto bad = [&](int i, const at::Tensor& t, const char* argument) {
    Tensors x = good;
    x[i] = t;
    testing::expect_user_error([&] { run(x, {}); }, "[ssd]", argument);
  };
  bad(0, good[0].select(0, 0), "x_BLHP");
  bad(1, good[1].narrow(1, 0, 4), "dt_BLH");
  bad(2, good[2].to(at::kDouble), "A_H");
  bad(3, good[3].narrow(2, 0, 0), "B_BLGN");
  bad(4, at::Tensor(), "C_BLGN");
  bad(5, good[5].narrow(0, 0, 2), "D_H");
  bad(6, good[6].narrow(0, 0, 2), "dt_bias_H");
  bad(7, good[7].narrow(3, 0, 2), "h0_BHPN");
  testing::expect_user_error([&] { run(good, {true, 0, 1, 0}); }, "[ssd]", "chunk");
  testing::expect_user_error([&] { run(good, {true, 2, 1}); }, "[ssd]", "dt_max");
}

TEST(Ssd, MatchesGolden) {
  const auto cases = testing::golden("ssd");
  if (!cases) GTEST_SKIP() << "no golden files: set HYMBA_SHARED to the folder that holds golden/ops";
  ASSERT_FALSE(cases->empty());
  for (const auto& golden : *cases) {
    Tensors given;
    for (const char* name : kNames) given.push_back(golden.get(name));
    SsdOptions options;
    options.softplus = golden.options.at("softplus");
    const Tensors t = testing::leaves(given, at::kFloat);
    testing::for_each_isa([&] {
      const Tensors out = run(t, options);
      testing::expect_golden("out", out[0], golden.get("out"), false);
      testing::expect_golden("last_state", out[1], golden.get("last_state"), false);
      const Tensors grads = testing::gradients(out, t, {golden.get("grad_out"), golden.get("grad_last_state")});
      for (std::size_t i = 0; i < grads.size(); ++i) {
        if (!grads[i].defined()) continue;
        testing::expect_golden(kNames[i], grads[i], golden.get(std::string("d_") + kNames[i]), true);
      }
    });
  }
}

}  // namespace
}  // namespace hymba::kernels
