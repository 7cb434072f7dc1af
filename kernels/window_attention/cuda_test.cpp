// The CUDA kernels of window attention on the block emulator, against the double reference.
#include "kernels/window_attention/cuda.cu"

#include "kernels/cuda/testing.h"
#include "kernels/window_attention/cases.h"

namespace hymba::kernels::window_attention_detail {
namespace {

using cuda::testing::Arrays;
using cuda::testing::expect_accepted;
using cuda::testing::expect_close;

struct Options {
  std::int64_t S = -1, q_start = 0, key_gap = 0, gap = 0;  // S -1: L keys; gap: NaNs between rows
};

struct Problem {
  Arrays m;
  Args<float> a;
  Args<double> e;

  Problem(const Case& c, const Options& o) : m(c.name()) {
    a.B = c.B, a.L = c.L, a.S = o.S < 0 ? c.L : o.S, a.H = c.H, a.K = c.K, a.P = c.P, a.V = c.V;
    a.window = c.window, a.prefix = c.prefix, a.q_start = o.q_start, a.key_gap = o.key_gap;
    a.scale = static_cast<float>(1 / std::sqrt(static_cast<double>(c.P)));
    e.B = a.B, e.L = a.L, e.S = a.S, e.H = a.H, e.K = a.K, e.P = a.P, e.V = a.V;
    e.window = a.window, e.prefix = a.prefix, e.q_start = a.q_start, e.key_gap = a.key_gap, e.scale = a.scale;
    a.q = rows(a.L, a.H, a.P, o.gap), a.k = rows(a.S, a.K, a.P, o.gap), a.v = rows(a.S, a.K, a.V, o.gap);
    a.d_o = rows(a.L, a.H, a.V, o.gap);
    e.q = twin(a.q), e.k = twin(a.k), e.v = twin(a.v), e.d_o = twin(a.d_o);
    a.out = m.empty(outputs()), a.lse = m.empty(a.B * a.H * a.L);
    e.out = m.zeros(outputs()), e.lse = m.zeros(a.B * a.H * a.L);
    a.o = {a.out, a.L * a.H * a.V, a.H * a.V, a.V}, e.o = {e.out, a.L * a.H * a.V, a.H * a.V, a.V};
    a.dq = m.empty(a.B * a.L * a.H * a.P), a.dk = m.empty(a.B * a.S * a.K * a.P), a.dv = m.empty(a.B * a.S * a.K * a.V);
    e.dq = m.zeros(a.B * a.L * a.H * a.P), e.dk = m.zeros(a.B * a.S * a.K * a.P), e.dv = m.zeros(a.B * a.S * a.K * a.V);
  }

  std::int64_t outputs() const { return a.B * a.L * a.H * a.V; }
  Rows<const float> rows(std::int64_t length, std::int64_t heads, std::int64_t width, std::int64_t gap) {
    const std::int64_t row = heads * width + gap;
    return {m.random(a.B * length, heads * width, 1, 0, gap), length * row, row, width};
  }
  Rows<const double> twin(const Rows<const float>& r) { return {m.twin(r.data), r.sb, r.sl, r.sh}; }
};

void check(const Case& c, const Options& o = {}, std::uint64_t seed = 1) {
  cuda::emulator::set_seed(seed);
  Problem p(c, o);
  expect_accepted(cuda_forward(p.a, nullptr));
  reference_forward(p.e);
  expect_close(c.name() + " o", p.a.out, p.e.out, p.outputs());
  expect_accepted(cuda_backward(p.a, p.m.empty(p.a.B * p.a.H * p.a.L), nullptr));
  reference_backward(p.e);
  // Floor 1, the size of what is summed: where a query sees one key, dq and dk are the rounding of dp - delta = 0.
  expect_close(c.name() + " dq", p.a.dq, p.e.dq, p.a.B * p.a.L * p.a.H * p.a.P, 2e-5, 1);
  expect_close(c.name() + " dk", p.a.dk, p.e.dk, p.a.B * p.a.S * p.a.K * p.a.P, 2e-5, 1);
  expect_close(c.name() + " dv", p.a.dv, p.e.dv, p.a.B * p.a.S * p.a.K * p.a.V, 2e-5);
}

TEST(CudaWindowAttention, MatchesReferenceWithAllGradients) {
  for (const Case& c : test_cases()) check(c);
}

TEST(CudaWindowAttention, SlicesAlignedAndNot) {
  check({2, 37, 4, 2, 8, 16, 9, 5}, {-1, 0, 0, 4}, 2);
  check({2, 37, 4, 2, 8, 16, 9, 5}, {-1, 0, 0, 3}, 3);
}

TEST(CudaWindowAttention, PrefillFromAnOffsetIntoACacheThatDroppedKeys) {
  check({1, 20, 4, 2, 8, 8, 16, 4}, {50, 30, 0, 0});   // all 50 keys are there
  check({1, 20, 4, 2, 8, 8, 16, 4}, {36, 44, 28, 0});  // keys at positions 4 ... 31 were dropped
  check({1, 9, 2, 1, 8, 8, -1, 0}, {9, 3, 5, 0});      // the first queries see no key
}

TEST(CudaWindowAttention, MoreFeaturesThanABlockSums) { check({1, 17, 2, 1, 24, 200, 9, 2}); }

TEST(CudaWindowAttention, VisitsOnlyBlocksThatTheMaskLeaves) {
  const auto products = [](std::int64_t L) {
    Problem p({1, L, 1, 1, 8, 8, 32, 8}, {});
    const auto before = cuda::emulator::counters().mma;
    expect_accepted(cuda_forward(p.a, nullptr));
    return cuda::emulator::counters().mma - before;
  };
  const auto a = products(256), b = products(512), c = products(1024);
  EXPECT_EQ(c - b, 2 * (b - a));  // a straight line in L
}

}  // namespace
}  // namespace hymba::kernels::window_attention_detail
