// The CUDA kernels of the scan on the block emulator, against the double reference.
#include "kernels/selective_scan/cuda.cu"

#include "kernels/cuda/testing.h"
#include "kernels/selective_scan/cases.h"

namespace hymba::kernels::scan {
namespace {

using cuda::testing::Arrays;
using cuda::testing::expect_accepted;
using cuda::testing::expect_close;

// Both precisions of a case's inputs; rows lie `gap` floats apart.
struct Problem {
  Arrays arrays;
  Shape s;
  Inputs<float> in;
  Inputs<double> in64;

  Problem(const Case& c, std::int64_t gap) : arrays(c.name()) {
    s = {c.B, c.L, c.E, c.N, c.G, c.softplus};
    const auto rows = [&](std::int64_t width, double scale, double shift) {
      return Rows<const float>{arrays.random(c.B * c.L, width, scale, shift, gap), c.L * (width + gap), width + gap};
    };
    in.u = rows(c.E, 1, 0);
    in.dt = c.softplus ? rows(c.E, 1, -1) : rows(c.E, 0.3, 0);
    if (!c.softplus) arrays.map(const_cast<float*>(in.dt.data), [](float x) { return std::abs(x); });
    if (c.z) in.z = rows(c.E, 2, 0);
    in.B = rows(c.G * c.N, 1, 0), in.C = rows(c.G * c.N, 1, 0);
    in.A = arrays.map(arrays.random(c.E, c.N), [](float x) { return -std::exp(x); });
    if (c.D) in.D = arrays.random(1, c.E);
    if (c.bias) in.dt_bias = arrays.map(arrays.random(1, c.E), [&](float x) { return c.softplus ? x : std::abs(x); });
    if (c.h0) in.h0 = arrays.random(c.B * c.E, c.N);
    in64 = {twin(in.u),        twin(in.dt),       twin(in.z),        twin(in.B),
            twin(in.C),        arrays.twin(in.A), arrays.twin(in.D), arrays.twin(in.dt_bias),
            arrays.twin(in.h0)};
  }

  Rows<const double> twin(const Rows<const float>& r) { return {arrays.twin(r.data), r.batch_stride, r.row_stride}; }
  Rows<float> out() { return {arrays.empty(s.batch * s.length * s.channels), s.length * s.channels, s.channels}; }
  Rows<double> out64() { return {arrays.zeros(s.batch * s.length * s.channels), s.length * s.channels, s.channels}; }
  std::int64_t elements() const { return s.batch * s.length * s.channels; }
  std::int64_t state() const { return s.batch * s.channels * s.states; }
};

void expect_forward(Problem& p, const Outputs<float>& out, const std::string& what) {
  const Outputs<double> expected{p.out64(), p.arrays.zeros(p.state()), nullptr};
  forward_reference(p.s, p.in64, expected);
  expect_close(what + " y", out.y.data, expected.y.data, p.elements());
  expect_close(what + " h", out.h, expected.h, p.state());
}

struct Gradient {
  const char* name;
  const float* actual;
  const double* expected;
  std::int64_t size;
};

// All gradients, in a list; runs both the kernels and the reference.
std::vector<Gradient> gradients(Problem& p, const float* states) {
  Arrays& m = p.arrays;
  const Shape& s = p.s;
  const std::int64_t rows = s.batch * s.length * s.groups * s.states, EN = s.channels * s.states;
  const Rows<const float> dy{m.random(s.batch * s.length, s.channels), s.length * s.channels, s.channels};
  const float* dh = m.random(1, p.state());
  const Rows<float> none;
  const Gradients<float> g{dy,
                           dh,
                           p.out(),
                           p.out(),
                           p.in.z.data ? p.out() : none,
                           m.empty(EN),
                           m.empty(rows),
                           m.empty(rows),
                           p.in.D ? m.empty(s.channels) : nullptr,
                           p.in.dt_bias ? m.empty(s.channels) : nullptr,
                           p.in.h0 ? m.empty(p.state()) : nullptr};
  expect_accepted(cuda_backward(s, p.in, states, g, m.empty(cuda_workspace_floats(s)), nullptr));
  const Gradients<double> e{p.twin(dy),
                            m.twin(dh),
                            p.out64(),
                            p.out64(),
                            p.out64(),
                            m.zeros(EN),
                            m.zeros(rows),
                            m.zeros(rows),
                            m.zeros(s.channels),
                            m.zeros(s.channels),
                            p.in.h0 ? m.zeros(p.state()) : nullptr};
  backward_reference(s, p.in64, e);
  std::vector<Gradient> list = {{"u", g.u.data, e.u.data, p.elements()},
                                {"dt", g.dt.data, e.dt.data, p.elements()},
                                {"A", g.A, e.A, EN},
                                {"B", g.B, e.B, rows},
                                {"C", g.C, e.C, rows}};
  if (p.in.z.data) list.push_back({"z", g.z.data, e.z.data, p.elements()});
  if (p.in.D) list.push_back({"D", g.D, e.D, s.channels});
  if (p.in.dt_bias) list.push_back({"dt_bias", g.dt_bias, e.dt_bias, s.channels});
  if (p.in.h0) list.push_back({"h0", g.h0, e.h0, p.state()});
  return list;
}

void check(const Case& c, std::int64_t gap, std::uint64_t seed = 1) {
  cuda::emulator::set_seed(seed);
  Problem p(c, gap);
  const Outputs<float> out{p.out(), p.arrays.empty(p.state()), p.arrays.empty(cuda_state_floats(p.s))};
  expect_accepted(cuda_forward(p.s, p.in, out, nullptr));
  expect_forward(p, out, c.name());
  for (const Gradient& g : gradients(p, out.states)) {
    expect_close(c.name() + " gradient of " + g.name, g.actual, g.expected, g.size, 2e-5);
  }
}

TEST(CudaSelectiveScan, MatchesReferenceWithAllGradients) {
  for (const Case& c : test_cases()) check(c, 0);
}

TEST(CudaSelectiveScan, ManyChunksAndSlices) {
  check({1, 300, 18, 3, 1, true, true, true, true}, 7);
  check({2, 257, 4, 17, 2, true, true, true, true}, 5);
  check({2, 0, 5, 4, 1, true, true, true, true}, 0);
}

TEST(CudaSelectiveScan, AnyOrderOfThreadsGivesTheSameBits) {
  const Case c{1, 150, 20, 5, 1, true, true, true, true};
  std::vector<std::vector<float>> first;
  for (std::uint64_t seed = 1; seed <= 3; ++seed) {
    cuda::emulator::set_seed(seed * 1000);
    Problem p(c, 0);
    const Outputs<float> out{p.out(), p.arrays.empty(p.state()), p.arrays.empty(cuda_state_floats(p.s))};
    expect_accepted(cuda_forward(p.s, p.in, out, nullptr));
    std::vector<std::vector<float>> all = {{out.y.data, out.y.data + p.elements()}};
    for (const Gradient& g : gradients(p, out.states)) all.emplace_back(g.actual, g.actual + g.size);
    if (first.empty()) first = all;
    EXPECT_EQ(first, all);
  }
}

TEST(CudaSelectiveScan, StrongAndTinyDecaysStayFinite) {
  for (const double shift : {40.0, -14.0}) {
    Problem p({1, 140, 17, 4, 1, true, true, true, true}, 0);
    for (std::int64_t i = 0; i < p.elements(); ++i) {
      const_cast<float*>(p.in.dt.data)[i] += static_cast<float>(shift);
      const_cast<double*>(p.in64.dt.data)[i] = p.in.dt.data[i];
    }
    const Outputs<float> out{p.out(), p.arrays.empty(p.state()), p.arrays.empty(cuda_state_floats(p.s))};
    expect_accepted(cuda_forward(p.s, p.in, out, nullptr));
    expect_forward(p, out, "shift " + std::to_string(shift));
    for (const Gradient& g : gradients(p, out.states)) expect_close(g.name, g.actual, g.expected, g.size, 2e-5);
  }
}

TEST(CudaSelectiveScan, StepMatchesReference) {
  for (const std::int64_t N : {1, 6, 16, 40}) {
    for (const bool h0 : {true, false}) {
      Problem p({3, 1, 22, N, 2, true, true, true, h0}, 3);
      // In place where there is a state.
      const Outputs<float> out{p.out(), h0 ? const_cast<float*>(p.in.h0) : p.arrays.empty(p.state()), nullptr};
      expect_accepted(cuda_step(p.s, p.in, out, nullptr));
      expect_forward(p, out, "N " + std::to_string(N));
    }
  }
}

}  // namespace
}  // namespace hymba::kernels::scan
