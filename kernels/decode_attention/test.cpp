#include <ATen/TensorOperators.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/tensor.h>
#include <gtest/gtest.h>

#include "kernels/decode_attention/cases.h"
#include "kernels/decode_attention/kernel.h"
#include "kernels/decode_attention/op.h"
#include "kernels/testing.h"
#include "kernels/window_attention/op.h"

namespace hymba::kernels {
namespace {

using decode_detail::Case;
using testing::random;

struct Inputs {
  at::Tensor q, k, v, lengths;
};

Inputs make_inputs(const Case& c) {
  Rng rng(7, c.name());
  return {random(rng, {c.batch(), c.H, c.P}, 1.5), random(rng, {c.batch(), c.S, c.K, c.P}, 1.5),
          random(rng, {c.batch(), c.S, c.K, c.V}), at::tensor(c.lengths, at::kLong)};
}

at::Tensor expected_of(const Inputs& x, const DecodeAttentionOptions& options) {
  return decode_attention(x.q.to(at::kDouble), x.k.to(at::kDouble), x.v.to(at::kDouble), x.lengths, options);
}

TEST(DecodeAttention, MatchesReferenceInEveryStorage) {
  for (const Case& c : decode_detail::test_cases()) {
    Inputs x = make_inputs(c);
    const at::Tensor k = x.k, v = x.v;
    for (const auto type : {at::kFloat, at::kBFloat16, at::kHalf}) {
      x.k = k.to(type), x.v = v.to(type);
      const DecodeAttentionOptions options{c.window, c.prefix};
      const at::Tensor expected = expected_of(x, options);
      testing::for_each_isa([&] {
        const testing::NanMemory nan;
        testing::expect_close(c.name() + " " + c10::toString(type), decode_attention(x.q, x.k, x.v, x.lengths, options),
                              expected);
      });
    }
  }
}

// A step of a growing sequence sees what the last query of attention over the whole sequence sees.
TEST(DecodeAttention, StepsThroughARingEqualWindowAttention) {
  const std::int64_t L = 70, H = 4, K = 2, P = 8, V = 12;
  for (const auto& [window, prefix, slots] :
       {std::array<std::int64_t, 3>{9, 5, 14}, {9, 5, 20}, {-1, 3, 70}, {70, 0, 70}, {1, 2, 3}, {9, 0, 9}}) {
    SCOPED_TRACE(fmt::format("window {} prefix {} slots {}", window, prefix, slots));
    Rng rng(5);
    const at::Tensor q = random(rng, {1, L, H, P}), k = random(rng, {1, L, K, P}), v = random(rng, {1, L, K, V});
    WindowAttentionOptions options;
    options.window = window, options.prefix = prefix;
    const at::Tensor whole = window_attention(q, k, v, options);
    const at::Tensor k_ring = at::empty({1, slots, K, P}, at::kFloat).zero_();
    const at::Tensor v_ring = at::empty({1, slots, K, V}, at::kFloat).zero_();
    for (std::int64_t t = 0; t < L; ++t) {
      const std::int64_t slot = t < prefix ? t : prefix + (t - prefix) % (slots - prefix);
      k_ring.select(1, slot).copy_(k.select(1, t));
      v_ring.select(1, slot).copy_(v.select(1, t));
      const at::Tensor o =
          decode_attention(q.select(1, t), k_ring, v_ring, at::tensor({t + 1}, at::kLong), {window, prefix});
      testing::expect_close(fmt::format("step {}", t), o, whole.select(1, t));
    }
  }
}

TEST(DecodeAttention, SlotsOutsideTheMaskAreNotRead) {
  const Case c{20, 4, 2, 8, 8, {11, 40}, 6, 3};
  Inputs x = make_inputs(c);
  const DecodeAttentionOptions options{c.window, c.prefix};
  const at::Tensor expected = decode_attention(x.q, x.k, x.v, x.lengths, options);
  for (std::int64_t b = 0; b < c.batch(); ++b) {
    for (std::int64_t t = 0; t < c.S; ++t) {
      const auto visible = decode_detail::visible_slots(c.S, c.window, c.prefix, c.lengths[b]);
      bool seen = false;
      for (const auto& r : visible.range) seen |= r.lo <= t && t < r.hi;
      if (seen) continue;
      x.k.select(0, b).select(0, t).fill_(std::numeric_limits<float>::quiet_NaN());
      x.v.select(0, b).select(0, t).fill_(std::numeric_limits<float>::quiet_NaN());
    }
  }
  testing::expect_equal("o", decode_attention(x.q, x.k, x.v, x.lengths, options), expected);
}

TEST(DecodeAttention, LargeScoresAndStridesAndRepeatedRuns) {
  const Case c{600, 6, 2, 8, 16, {600}};
  Inputs x = make_inputs(c);
  const at::Tensor o = decode_attention(x.q, x.k, x.v, x.lengths);
  testing::expect_equal("again", decode_attention(x.q, x.k, x.v, x.lengths), o);
  testing::expect_equal(
      "slices", decode_attention(testing::as_slice(x.q), testing::as_slice(x.k), testing::as_slice(x.v), x.lengths), o);
  x.q = x.q * 100;
  testing::for_each_isa([&] {  // scores of 1e3 carry an error of 1e-4 in float32, their exponentials the same
    testing::expect_close("large", decode_attention(x.q, x.k, x.v, x.lengths), expected_of(x, {}), 2e-3, 1);
  });
}

TEST(DecodeAttention, BadArgumentsNameOpAndArgument) {
  const Case c{14, 4, 2, 8, 16, {3, 20}, 9, 5};
  const Inputs x = make_inputs(c);
  const auto bad = [](const Inputs& i, DecodeAttentionOptions options, const std::string& argument) {
    testing::expect_user_error([&] { decode_attention(i.q, i.k, i.v, i.lengths, options); }, "[decode_attention]",
                               argument);
  };
  const DecodeAttentionOptions good{9, 5};
  bad({x.q.select(0, 0), x.k, x.v, x.lengths}, good, "q_BHP");
  bad({x.q.narrow(1, 0, 3), x.k, x.v, x.lengths}, good, "q_BHP");
  bad({x.q, x.k.narrow(3, 0, 4), x.v, x.lengths}, good, "k_BSKP");
  bad({x.q, x.k.to(at::kInt), x.v, x.lengths}, good, "k_BSKP");
  bad({x.q, x.k, x.v.to(at::kHalf), x.lengths}, good, "v_BSKV");
  bad({x.q, x.k, x.v.narrow(1, 0, 3), x.lengths}, good, "v_BSKV");
  bad({x.q, x.k, x.v, x.lengths.to(at::kInt)}, good, "lengths_B");
  bad({x.q, x.k, x.v, x.lengths}, {-1, 5}, "lengths_B");
  bad({x.q, x.k, x.v, x.lengths}, {10, 5}, "lengths_B");
  bad({x.q, x.k, x.v, x.lengths}, {0, 5}, "window");
  bad({x.q, x.k, x.v, x.lengths}, {9, -1}, "prefix");
}

}  // namespace
}  // namespace hymba::kernels
