// The CUDA kernels of the causal convolution on the block emulator, against the double reference.
#include "kernels/causal_conv1d/cuda.cu"

#include "kernels/causal_conv1d/cases.h"
#include "kernels/cuda/testing.h"

namespace hymba::kernels::conv {
namespace {

using cuda::testing::Arrays;
using cuda::testing::expect_accepted;
using cuda::testing::expect_close;

struct Problem {
  Arrays m;
  Shape s;
  Inputs<float> in;
  Inputs<double> in64;
  std::int64_t elements, state;

  Problem(const Case& c, std::int64_t gap) : m(c.name()) {
    s = {c.B, c.L, c.E, c.W, c.silu};
    elements = c.B * c.L * c.E, state = c.B * (c.W - 1) * c.E;
    in.x = {m.random(c.B * c.L, c.E, 1, 0, gap), c.L * (c.E + gap), c.E + gap};
    in.weight = m.random(c.E, c.W);
    if (c.bias) in.bias = m.random(1, c.E);
    if (c.state) in.state = m.random(c.B * (c.W - 1), c.E);
    in64 = {
        {m.twin(in.x.data), in.x.batch_stride, in.x.row_stride}, m.twin(in.weight), m.twin(in.bias), m.twin(in.state)};
  }
  Rows<float> out() { return {m.empty(elements), s.length * s.channels, s.channels}; }
  Rows<double> out64() { return {m.zeros(elements), s.length * s.channels, s.channels}; }
};

void expect_outputs(Problem& p, const Outputs<float>& out, const std::string& what) {
  const Outputs<double> expected{p.out64(), p.m.zeros(p.state)};
  forward_reference(p.s, p.in64, expected);
  expect_close(what + " y", out.y.data, expected.y.data, p.elements, 2e-6);
  expect_close(what + " state", out.state, expected.state, p.state, 1e-7);
}

void check(const Case& c, std::int64_t gap, std::uint64_t seed = 1) {
  cuda::emulator::set_seed(seed);
  Problem p(c, gap);
  Arrays& m = p.m;
  const Outputs<float> out{p.out(), m.empty(p.state)};
  expect_accepted(cuda_forward(p.s, p.in, out, nullptr));
  expect_outputs(p, out, c.name());
  const Rows<const float> dy{m.random(c.B * c.L, c.E, 1, 0, gap), c.L * (c.E + gap), c.E + gap};
  const float* dfinal = m.random(1, p.state);
  const Gradients<float> g{
      dy, dfinal, p.out(), m.empty(c.E * c.W), c.bias ? m.empty(c.E) : nullptr, c.state ? m.empty(p.state) : nullptr};
  expect_accepted(cuda_backward(p.s, p.in, g, m.empty(cuda_workspace_floats(p.s)), nullptr));
  const Gradients<double> e{{m.twin(dy.data), dy.batch_stride, dy.row_stride},
                            m.twin(dfinal),
                            p.out64(),
                            m.zeros(c.E * c.W),
                            m.zeros(c.E),
                            c.state ? m.zeros(p.state) : nullptr};
  backward_reference(p.s, p.in64, e);
  expect_close(c.name() + " gradient of x", g.x.data, e.x.data, p.elements, 5e-6);
  expect_close(c.name() + " gradient of weight", g.weight, e.weight, c.E * c.W, 5e-6);
  if (c.bias) expect_close(c.name() + " gradient of bias", g.bias, e.bias, c.E, 5e-6);
  if (c.state) expect_close(c.name() + " gradient of state", g.state, e.state, p.state, 5e-6);
}

TEST(CudaCausalConv1d, MatchesReferenceWithAllGradients) {
  for (const Case& c : test_cases()) check(c, 0);
}

TEST(CudaCausalConv1d, SlicesAlignedAndNot) {
  check({2, 70, 36, 4, true, true}, 4, 2);  // 16 bytes a lane
  check({2, 70, 36, 4, true, true}, 3, 3);
  check({2, 0, 8, 4, true, true}, 0);
}

TEST(CudaCausalConv1d, StepMatchesReference) {
  for (const std::int64_t W : {1, 2, 4, 9}) {
    for (const bool state : {true, false}) {
      Problem p({3, 1, 50, W, true, state}, 5);
      const Outputs<float> out{p.out(), state ? const_cast<float*>(p.in.state) : p.m.empty(p.state)};
      expect_accepted(cuda_step(p.s, p.in, out, nullptr));
      expect_outputs(p, out, "W " + std::to_string(W));
    }
  }
}

}  // namespace
}  // namespace hymba::kernels::conv
