// Launches of the causal convolution's CUDA kernels. Null: accepted; else what is wrong. `stream` is a cudaStream_t.
#pragma once

#include "kernels/causal_conv1d/kernel.h"

namespace hymba::kernels::conv {

constexpr std::int64_t kCudaSteps = 64;  // rows of a block

// Rows of x and those of the state before it.
inline std::int64_t cuda_parts(const Shape& s) {
  return s.batch * ((s.length + s.taps - 1 + kCudaSteps - 1) / kCudaSteps);
}
inline std::int64_t cuda_workspace_floats(const Shape& s) { return cuda_parts(s) * s.channels * (s.taps + 1); }

// out.state must not be in.state here.
const char* cuda_forward(const Shape& s, const Inputs<float>& in, const Outputs<float>& out, void* stream);
// The gradients are whole sums: weight [E, W], bias [E].
const char* cuda_backward(const Shape& s, const Inputs<float>& in, const Gradients<float>& grad, float* workspace,
                          void* stream);
// One decoding step: length 1; out.state may be in.state.
const char* cuda_step(const Shape& s, const Inputs<float>& in, const Outputs<float>& out, void* stream);

}  // namespace hymba::kernels::conv
