#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <c10/core/GradMode.h>
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "base/error.h"
#include "kernels/isa.h"
#include "kernels/testing.h"
#include "kernels/window_attention/cases.h"
#include "kernels/window_attention/op.h"

namespace hymba::kernels {
namespace {

using testing::expect_close;
using testing::expect_equal;
using testing::random;
using window_attention_detail::Case;
using Tensors = std::vector<at::Tensor>;  // q, k, v

const char* const kNames[] = {"q", "k", "v"};

Tensors make_inputs(const Case& c) {
  Rng rng(11, c.name());
  return {random(rng, {c.B, c.L, c.H, c.P}, 1.5), random(rng, {c.B, c.L, c.K, c.P}, 1.5),
          random(rng, {c.B, c.L, c.K, c.V})};
}

WindowAttentionOptions options_of(const Case& c) {
  WindowAttentionOptions options;
  options.window = c.window, options.prefix = c.prefix;
  return options;
}

at::Tensor upstream(const Case& c) {
  Rng rng(5, c.name());
  return random(rng, {c.B, c.L, c.H, c.V});
}

// o, then the gradients of q, k and v.
Tensors run_all(const Tensors& x, const WindowAttentionOptions& options, const at::Tensor& grad) {
  const at::Tensor o = window_attention(x[0], x[1], x[2], options);
  Tensors out = {o};
  for (const at::Tensor& g : testing::gradients({o}, x, {grad.to(o.scalar_type())})) out.push_back(g);
  return out;
}

// Gradients of q and k are differences that vanish where a query sees one key: measured against 1 at least.
void compare(const std::string& what, const Tensors& actual, const Tensors& expected) {
  expect_close(what + " o", actual[0], expected[0]);
  for (int i = 0; i < 3; ++i) expect_close(what + " gradient of " + kNames[i], actual[1 + i], expected[1 + i], 2e-5, 1);
}

// [L, L]: whether the query of a row does not see the key of a column.
at::Tensor hidden_pairs(std::int64_t L, const WindowAttentionOptions& o) {
  const at::Tensor at = at::arange(L), distance = at.unsqueeze(1) - at.unsqueeze(0);
  const at::Tensor later = distance < 0;
  return o.window < 0 ? later : later.logical_or((distance >= o.window).logical_and(at >= o.prefix));
}

// The whole matrix of scores, masked.
Tensors plain(const Tensors& x, const WindowAttentionOptions& o) {
  const std::int64_t group = x[0].size(2) / x[1].size(2), L = x[0].size(1);
  const auto heads = [&](const at::Tensor& t) { return t.repeat_interleave(group, 2).transpose(1, 2); };
  const at::Tensor scores =
      x[0].transpose(1, 2).matmul(heads(x[1]).transpose(2, 3)) / std::sqrt(static_cast<double>(x[0].size(3)));
  const at::Tensor weights = scores.masked_fill(hidden_pairs(L, o), -std::numeric_limits<double>::infinity()).softmax(-1);
  return {weights.matmul(heads(x[2])).transpose(1, 2)};
}

TEST(WindowAttention, MatchesReferenceWithAllGradients) {
  for (const Case& c : window_attention_detail::test_cases()) {
    const Tensors x = make_inputs(c);
    const Tensors expected = run_all(testing::leaves(x, at::kDouble), options_of(c), upstream(c));
    const Tensors in_float = testing::plain_path(
        c.name(), [&](const Tensors& t) { return plain(t, options_of(c)); }, x, {upstream(c)}, expected, 1e-10, 1);
    testing::for_each_isa([&] {
      const testing::NanMemory nan;
      const Tensors actual = run_all(testing::leaves(x, at::kFloat), options_of(c), upstream(c));
      compare(c.name(), actual, expected);
      for (std::size_t i = 0; i < actual.size(); ++i) {
        testing::expect_close_as_plain(fmt::format("{} tensor {}", c.name(), i), actual[i], expected[i], in_float[i],
                                       1);
      }
    });
  }
}

// As plain(), with q (scaled, for weights in base 2), k, v and the weights rounded to bf16: what bf16_products computes where a row's
// keys are one block.
at::Tensor plain_in_bf16(const Tensors& x, const WindowAttentionOptions& o) {
  const auto rounded = [](const at::Tensor& t) { return t.to(at::kFloat).to(at::kBFloat16).to(at::kDouble); };
  const double scale = 1.44269504088896341 / std::sqrt(static_cast<double>(x[0].size(3)));
  const std::int64_t group = x[0].size(2) / x[1].size(2), L = x[0].size(1);
  const auto heads = [&](const at::Tensor& t) { return rounded(t).repeat_interleave(group, 2).transpose(1, 2); };
  const at::Tensor scores = rounded(x[0] * scale).transpose(1, 2).matmul(heads(x[1]).transpose(2, 3));
  const at::Tensor masked = scores.masked_fill(hidden_pairs(L, o), -std::numeric_limits<double>::infinity());
  const at::Tensor weights = (masked - masked.amax(-1, true)).exp2();
  return (rounded(weights).matmul(heads(x[2])) / weights.sum(-1, true)).transpose(1, 2);
}

TEST(WindowAttention, Bf16ProductsRoundWhatTheyMultiply) {
  const c10::NoGradGuard no_grad;
  bool ran = false;
  for (const Case& c : window_attention_detail::test_cases()) {
    const Tensors x = make_inputs(c);
    WindowAttentionOptions options = options_of(c);
    const at::Tensor exact = window_attention(x[0].to(at::kDouble), x[1].to(at::kDouble), x[2].to(at::kDouble), options);
    options.bf16_products = true;
    testing::for_each_isa([&] {
      if (!multiplies_bf16()) return;
      ran = true;
      const testing::NanMemory nan;
      const at::Tensor o = window_attention(x[0].to(at::kFloat), x[1].to(at::kFloat), x[2].to(at::kFloat), options);
      expect_close(c.name(), o, exact, 2e-2);
      EXPECT_GT(testing::relative_error(o, exact), 1e-5) << c.name() << ": nothing was rounded";
      // A weight next to the middle of two bf16 may be rounded the other way.
      if (c.L <= 64) expect_close(c.name() + " step by step", o, plain_in_bf16(x, options), 1e-3);
    });
  }
  if (!ran) GTEST_SKIP() << "this processor has no AVX-512 BF16";
}

TEST(WindowAttention, Bf16ProductsOfARowDoNotDependOnTheRowsBeside) {
  const c10::NoGradGuard no_grad;
  if (!multiplies_bf16()) GTEST_SKIP() << "this processor has no AVX-512 BF16";
  for (const Case& c : {Case{2, 131, 4, 2, 64, 32, 40, 7}, Case{1, 300, 4, 4, 32, 16}, Case{1, 457, 2, 1, 33, 17, 290, 17}}) {
    Tensors x = make_inputs(c);
    for (at::Tensor& t : x) t = t.to(at::kFloat);
    WindowAttentionOptions options = options_of(c);
    options.bf16_products = true;
    const at::Tensor whole = window_attention(x[0], x[1], x[2], options);
    for (std::int64_t first = 0; first < c.L; first += 19) {
      const std::int64_t count = std::min<std::int64_t>(19, c.L - first);
      options.q_start = first;
      const at::Tensor part = window_attention(x[0].narrow(1, first, count), x[1], x[2], options);
      expect_close(fmt::format("{} rows from {}", c.name(), first), part, whole.narrow(1, first, count), 1e-6);
    }
    // A cache that dropped what the last rows do not see.
    for (const std::int64_t gap : {1, 4, 11}) {
      const std::int64_t first = c.window < 0 ? c.L : c.prefix + gap + c.window - 1;  // sees the key behind the gap first
      if (first >= c.L) continue;
      const auto cut = [&](const at::Tensor& t) {
        return at::cat({t.narrow(1, 0, c.prefix), t.narrow(1, c.prefix + gap, c.L - c.prefix - gap)}, 1);
      };
      options.q_start = first, options.key_gap = gap;
      const at::Tensor part = window_attention(x[0].narrow(1, first, c.L - first), cut(x[1]), cut(x[2]), options);
      expect_close(fmt::format("{} without {} keys", c.name(), gap), part, whole.narrow(1, first, c.L - first), 1e-6);
    }
  }
}

TEST(WindowAttention, Bf16ProductsAreRefusedWhereThereAreNone) {
  const Case c{1, 8, 2, 1, 8, 8};
  Tensors x = make_inputs(c);
  WindowAttentionOptions options = options_of(c);
  options.bf16_products = true;
  EXPECT_THROW(window_attention(x[0].to(at::kDouble), x[1].to(at::kDouble), x[2].to(at::kDouble), options), UserError);
  const Tensors leaves = testing::leaves(x, at::kFloat);
  EXPECT_THROW(window_attention(leaves[0], leaves[1], leaves[2], options), UserError);
  testing::for_each_isa([&] {
    if (multiplies_bf16()) return;
    EXPECT_THROW(window_attention(x[0].to(at::kFloat), x[1].to(at::kFloat), x[2].to(at::kFloat), options), UserError);
  });
}

TEST(WindowAttention, ReferenceGradientsMatchFiniteDifferences) {
  for (const Case& c : {Case{2, 7, 4, 2, 3, 5, 3, 2}, Case{1, 5, 1, 1, 4, 2}}) {
    testing::check_gradients(
        [&](const Tensors& x) { return Tensors{window_attention(x[0], x[1], x[2], options_of(c))}; }, make_inputs(c));
  }
}

TEST(WindowAttention, WindowBeyondTheLengthIsFullAttention) {
  const Case c{2, 40, 4, 2, 8, 16};
  const Tensors x = make_inputs(c);
  WindowAttentionOptions options;
  const at::Tensor full = window_attention(x[0], x[1], x[2], options);
  options.window = 40;
  expect_close("window 40", window_attention(x[0], x[1], x[2], options), full);
  options.window = 39;
  EXPECT_GT(testing::relative_error(window_attention(x[0], x[1], x[2], options), full), 1e-3);
  options.prefix = 1;  // the one key that the window hides is of the prefix
  expect_close("window 39, prefix 1", window_attention(x[0], x[1], x[2], options), full);
}

TEST(WindowAttention, SlicesOfAProjectionGiveTheSame) {
  for (const Case& c : {Case{2, 37, 4, 2, 8, 16, 9, 5}, Case{1, 20, 3, 3, 5, 7}}) {
    const Tensors x = make_inputs(c);
    const at::Tensor expected = window_attention(x[0], x[1], x[2], options_of(c));
    const Tensors sliced = {testing::as_slice(x[0]), testing::as_slice(x[1]), testing::as_slice(x[2])};
    expect_equal("slices", window_attention(sliced[0], sliced[1], sliced[2], options_of(c)), expected);
    const auto turned = [](const at::Tensor& t) { return t.transpose(1, 3).contiguous().transpose(1, 3); };
    const Tensors leaves = testing::leaves(x, at::kFloat);
    const Tensors plain = run_all(leaves, options_of(c), upstream(c));
    const at::Tensor o = window_attention(turned(leaves[0]), turned(leaves[1]), turned(leaves[2]), options_of(c));
    expect_equal("no unit stride", o, plain[0]);
    const Tensors grads = testing::gradients({o}, leaves, {turned(upstream(c))});
    for (int i = 0; i < 3; ++i) expect_equal(kNames[i], grads[i], plain[1 + i]);
  }
}

// Prefill in chunks and single steps against a cache that keeps the prefix and the last keys of the window only.
TEST(WindowAttention, ChunksWithADroppedMiddleEqualOneCall) {
  const Case c{2, 61, 4, 2, 8, 12, 9, 5};
  const Tensors x = make_inputs(c);
  const at::Tensor expected = window_attention(x[0], x[1], x[2], options_of(c));
  testing::for_each_isa([&] {
    for (const std::int64_t step : {1, 7, 20}) {
      Tensors outs;
      for (std::int64_t l = 0; l < c.L; l += step) {
        const std::int64_t n = std::min(step, c.L - l);
        WindowAttentionOptions options = options_of(c);
        options.q_start = l;
        const std::int64_t oldest = std::max(c.prefix, l - c.window + 1);  // first position that the window needs
        options.key_gap = l > c.prefix ? oldest - c.prefix : 0;
        const auto cached = [&](const at::Tensor& t) {
          if (options.key_gap == 0) return t.narrow(1, 0, l + n);
          return at::cat({t.narrow(1, 0, c.prefix), t.narrow(1, oldest, l + n - oldest)}, 1);
        };
        const at::Tensor q = x[0].narrow(1, l, n), k = cached(x[1]), v = cached(x[2]);
        outs.push_back(window_attention(q, k, v, options));
        options.q_start = -1;
        expect_equal("default q_start", window_attention(q, k, v, options), outs.back());
      }
      expect_close("chunks of " + std::to_string(step), at::cat(outs, 1), expected);
    }
  });
}

TEST(WindowAttention, GradientsThroughAGapMatchReference) {
  Rng rng(3);
  const Tensors x = {random(rng, {2, 6, 4, 8}), random(rng, {2, 17, 2, 8}), random(rng, {2, 17, 2, 8})};
  const at::Tensor grad = random(rng, {2, 6, 4, 8});
  WindowAttentionOptions options{9, 4, 40, 29, 0.7};
  const Tensors expected = run_all(testing::leaves(x, at::kDouble), options, grad);
  testing::for_each_isa([&] { compare("gap", run_all(testing::leaves(x, at::kFloat), options, grad), expected); });
}

TEST(WindowAttention, KeysOutsideTheMaskHaveNoInfluence) {
  const Case c{1, 50, 2, 1, 8, 8, 6, 3};
  const Tensors x = testing::leaves(make_inputs(c), at::kFloat);
  const at::Tensor o = window_attention(x[0], x[1], x[2], options_of(c));
  // The query at 30 alone: its keys are 0 .. 2 and 25 .. 30; all other gradients are exactly zero.
  at::Tensor grad = at::empty(o.sizes()).zero_();
  grad.select(1, 30).fill_(1);
  const Tensors grads = testing::gradients({o}, x, {grad});
  for (std::int64_t j = 0; j < c.L; ++j) {
    const bool seen = j < 3 || (25 <= j && j <= 30);
    EXPECT_EQ(grads[2].select(1, j).abs().max().item<float>() > 0, seen) << j;
    EXPECT_EQ(grads[1].select(1, j).abs().max().item<float>() > 0, seen) << j;
  }
}

TEST(WindowAttention, LargeScoresStayFinite) {
  const Case c{1, 40, 2, 2, 8, 8, 12, 2};
  Tensors x = make_inputs(c);
  x[0] = x[0].mul(60);
  x[1] = x[1].mul(60);
  const Tensors expected = run_all(testing::leaves(x, at::kDouble), options_of(c), upstream(c));
  testing::for_each_isa([&] {
    // Scores of 1e4 carry an absolute error of 1e-3 in float32: an exponential of them the same relative error.
    const Tensors actual = run_all(testing::leaves(x, at::kFloat), options_of(c), upstream(c));
    for (int i = 0; i < 4; ++i) expect_close("large scores", actual[i], expected[i], 2e-2, 1);
  });
}

TEST(WindowAttention, RowsWithoutKeysAndEmptyInputs) {
  Rng rng(1);
  const Tensors x =
      testing::leaves({random(rng, {1, 3, 2, 4}), random(rng, {1, 4, 1, 4}), random(rng, {1, 4, 1, 4})}, at::kFloat);
  WindowAttentionOptions options{2, 0, 0, 1, 0};  // the first key is at position 1: query 0 sees nothing
  const Tensors out = run_all(x, options, random(rng, {1, 3, 2, 4}));
  EXPECT_EQ(out[0].select(1, 0).abs().max().item<float>(), 0);
  EXPECT_EQ(out[1].select(1, 0).abs().max().item<float>(), 0);
  for (const at::Tensor& t : out) EXPECT_TRUE(t.isfinite().all().item<bool>());
  const at::Tensor none = window_attention(x[0].narrow(1, 0, 0), x[1], x[2], {});
  EXPECT_EQ(none.size(1), 0);
}

TEST(WindowAttention, TwoRunsAreEqualBitForBit) {
  for (const Case& c : {Case{2, 90, 4, 2, 8, 16, 32, 8}, Case{1, 400, 1, 1, 16, 16}}) {
    const Tensors x = testing::leaves(make_inputs(c), at::kFloat);
    const Tensors a = run_all(x, options_of(c), upstream(c)), b = run_all(x, options_of(c), upstream(c));
    for (int i = 0; i < 4; ++i) expect_equal(c.name(), a[i], b[i]);
  }
}

// One head: the queries of the backward pass are cut into chunks whatever the threads.
TEST(WindowAttention, ThreadsDoNotChangeABit) {
  for (const Case& c : {Case{1, 700, 1, 1, 8, 8, 64, 5}, Case{1, 520, 2, 1, 16, 12}}) {
    const Tensors x = testing::leaves(make_inputs(c), at::kFloat);
    const auto run = [&] { return run_all(x, options_of(c), upstream(c)); };
    const Tensors a = testing::on_threads(1, run), b = testing::on_threads(3, run);
    for (int i = 0; i < 4; ++i) expect_equal(c.name(), a[i], b[i]);
  }
}

TEST(WindowAttention, NamesTheBadArgument) {
  Rng rng(2);
  const at::Tensor q = random(rng, {2, 5, 4, 8}), k = random(rng, {2, 5, 2, 8}), v = random(rng, {2, 5, 2, 6});
  const auto bad = [](const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, WindowAttentionOptions options,
                      const std::string& argument) {
    testing::expect_user_error([&] { window_attention(q, k, v, options); }, "[window_attention]", argument);
  };
  bad(q.select(0, 0), k, v, {}, "q_BLHP");
  bad(q, k.narrow(3, 0, 4), v, {}, "k_BSKP");
  bad(q, k, v.narrow(1, 0, 4), {}, "v_BSKV");
  bad(q.narrow(2, 0, 3), k, v, {}, "q_BLHP");
  bad(q, k.to(at::kDouble), v, {}, "k_BSKP");
  bad(q, k, v, {0}, "window");
  bad(q, k, v, {4, -1}, "prefix");
  bad(q, k.narrow(1, 0, 3), v.narrow(1, 0, 3), {}, "q_start");
  bad(q, k, at::Tensor(), {}, "v_BSKV");
}

TEST(WindowAttention, MatchesGolden) {
  const auto cases = testing::golden("attention");
  if (!cases) GTEST_SKIP() << "no golden files: set HYMBA_SHARED to the folder that holds golden/ops";
  ASSERT_FALSE(cases->empty());
  for (const auto& golden : *cases) {
    // Golden tensors are [B,H,T,d] and its window counts the keys before the query's own.
    const auto turned = [&](const char* name) { return golden.get(name).transpose(1, 2); };
    const std::int64_t window = golden.options.at("window");
    WindowAttentionOptions options;
    options.window = window < 0 ? -1 : window + 1;
    options.prefix = golden.options.at("prefix");
    const Tensors x = testing::leaves({turned("q"), turned("k"), turned("v")}, at::kFloat);
    testing::for_each_isa([&] {
      const Tensors out = run_all(x, options, turned("grad_out"));
      testing::expect_golden("out", out[0], turned("out"), false);
      testing::expect_golden("d_q", out[1], turned("d_q"), true);
      testing::expect_golden("d_k", out[2], turned("d_k"), true);
      testing::expect_golden("d_v", out[3], turned("d_v"), true);
    });
  }
}

}  // namespace
}  // namespace hymba::kernels
