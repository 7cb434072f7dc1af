// The CUDA kernels of SSD on the block emulator, against the double reference.
#include "kernels/ssd/cuda.cu"

#include "kernels/cuda/testing.h"
#include "kernels/ssd/cases.h"

namespace hymba::kernels::ssd_detail {
namespace {

using cuda::testing::Arrays;
using cuda::testing::expect_accepted;
using cuda::testing::expect_close;

struct Problem {
  Arrays m;
  Args<float> a;
  Args<double> e;
  std::int64_t outputs, state, pairs;

  Problem(const Case& c, std::int64_t gap) : m(c.name()) {
    a.B = c.B, a.L = c.L, a.H = c.H, a.P = c.P, a.G = c.G, a.N = c.N, a.softplus = c.softplus;
    a.dt_min = static_cast<float>(c.dt_min), a.dt_max = static_cast<float>(c.dt_max);
    outputs = c.B * c.L * c.H * c.P, state = c.B * c.H * c.P * c.N, pairs = c.B * c.L * c.G * c.N;
    a.x = rows(c.H, c.P, gap), a.dy = rows(c.H, c.P, gap), a.Bm = rows(c.G, c.N, gap), a.Cm = rows(c.G, c.N, gap);
    a.dt = rows(c.H, 1, gap, c.softplus ? 1 : 0.3, c.softplus ? -1 : 0);
    if (!c.softplus) m.map(const_cast<float*>(a.dt.data), [](float x) { return std::abs(x); });
    a.A = m.map(m.random(1, c.H), [](float x) { return -std::exp(x); });
    if (c.D) a.D = m.random(1, c.H);
    if (c.bias) a.bias = m.random(1, c.H, 0.5);
    if (c.h0) a.h0 = m.random(1, state);
    a.y = m.empty(outputs), a.h = m.empty(state), a.states = m.empty(cuda_state_floats(a));
    a.dh = m.random(1, state);
    a.dx = m.empty(outputs), a.ddt = m.empty(c.B * c.L * c.H), a.dB = m.empty(pairs), a.dC = m.empty(pairs);
    a.dA = m.empty(c.H), a.dD = c.D ? m.empty(c.H) : nullptr, a.dbias = c.bias ? m.empty(c.H) : nullptr;
    a.dh0 = c.h0 ? m.empty(state) : nullptr;
    make_twins();
  }

  Rows<float> rows(std::int64_t heads, std::int64_t width, std::int64_t gap, double scale = 1, double shift = 0) {
    const std::int64_t row = heads * width + gap;
    return {m.random(a.B * a.L, heads * width, scale, shift, gap), a.L * row, row, width};
  }
  Rows<double> twin(const Rows<float>& r) { return {m.twin(r.data), r.sb, r.sl, r.si}; }

  void make_twins() {
    e.B = a.B, e.L = a.L, e.H = a.H, e.P = a.P, e.G = a.G, e.N = a.N, e.softplus = a.softplus;
    e.dt_min = a.dt_min, e.dt_max = a.dt_max;
    e.x = twin(a.x), e.dy = twin(a.dy), e.Bm = twin(a.Bm), e.Cm = twin(a.Cm), e.dt = twin(a.dt);
    e.A = m.twin(a.A), e.D = m.twin(a.D), e.bias = m.twin(a.bias), e.h0 = m.twin(a.h0), e.dh = m.twin(a.dh);
    e.y = m.zeros(outputs), e.h = m.zeros(state), e.dx = m.zeros(outputs), e.ddt = m.zeros(a.B * a.L * a.H);
    e.dB = m.zeros(pairs), e.dC = m.zeros(pairs), e.dA = m.zeros(a.H), e.dD = a.dD ? m.zeros(a.H) : nullptr;
    e.dbias = a.dbias ? m.zeros(a.H) : nullptr, e.dh0 = a.dh0 ? m.zeros(state) : nullptr;
  }

  void expect_forward(const std::string& what) {
    reference_forward(e);
    expect_close(what + " y", a.y, e.y, outputs);
    expect_close(what + " h", a.h, e.h, state);
  }
};

void check(const Case& c, std::int64_t gap = 0, std::uint64_t seed = 1, double decay = 1) {
  cuda::emulator::set_seed(seed);
  Problem p(c, gap);
  if (decay != 1) {
    for (std::int64_t h = 0; h < c.H; ++h) {
      const_cast<float*>(p.a.A)[h] *= static_cast<float>(decay);
      const_cast<double*>(p.e.A)[h] = p.a.A[h];
    }
  }
  expect_accepted(cuda_forward(p.a, nullptr));
  p.expect_forward(c.name());
  expect_accepted(cuda_backward(p.a, p.m.empty(cuda_workspace_floats(p.a)), nullptr));
  reference_backward(p.e);
  const auto compare = [&](const char* name, const float* actual, const double* expected, std::int64_t size) {
    if (actual) expect_close(c.name() + " gradient of " + name, actual, expected, size, 2e-5);
  };
  compare("x", p.a.dx, p.e.dx, p.outputs), compare("dt", p.a.ddt, p.e.ddt, c.B * c.L * c.H);
  compare("A", p.a.dA, p.e.dA, c.H), compare("B", p.a.dB, p.e.dB, p.pairs), compare("C", p.a.dC, p.e.dC, p.pairs);
  compare("D", p.a.dD, p.e.dD, c.H), compare("dt_bias", p.a.dbias, p.e.dbias, c.H);
  compare("h0", p.a.dh0, p.e.dh0, p.state);
}

TEST(CudaSsd, MatchesReferenceWithAllGradients) {
  for (const Case& c : test_cases()) check(c);
}

TEST(CudaSsd, SlicesOrdersAndLengthZero) {
  check({2, 70, 4, 8, 16, 2, true, true, true}, 3, 2);
  check({2, 0, 4, 3, 5, 2, true, true, true});
  check({1, 20, 1, 70, 9, 1, true, true, true}, 0, 3);  // more features than a tile
}

TEST(CudaSsd, StrongDecaysStayFinite) { check({1, 100, 2, 8, 8, 1, true, true, true}, 0, 1, 50); }

TEST(CudaSsd, StepMatchesReference) {
  for (const std::int64_t N : {3, 16, 70}) {
    Problem p({2, 1, 4, 5, N, 2, true, true, true}, 2);
    p.a.h = const_cast<float*>(p.a.h0);  // in place
    expect_accepted(cuda_step(p.a, nullptr));
    p.expect_forward("N " + std::to_string(N));
  }
}

}  // namespace
}  // namespace hymba::kernels::ssd_detail
