// Launches of the selective scan's CUDA kernels. Null: accepted; else what is wrong. `stream` is a cudaStream_t.
#pragma once

#include "kernels/selective_scan/kernel.h"

namespace hymba::kernels::scan {

constexpr std::int64_t kCudaSteps = 128;    // steps of a chunk: 4 for each lane of a warp
constexpr std::int64_t kCudaChannels = 16;  // channels of a block

inline std::int64_t cuda_chunks(const Shape& s) { return (s.length + kCudaSteps - 1) / kCudaSteps; }
inline std::int64_t cuda_group_blocks(const Shape& s) {
  return (s.group_channels() + kCudaChannels - 1) / kCudaChannels;
}
// Floats of the states that a training forward pass keeps, [B, chunks, E, N]: out.states.
inline std::int64_t cuda_state_floats(const Shape& s) { return s.batch * cuda_chunks(s) * s.channels * s.states; }
// Floats of the backward pass' partial sums.
inline std::int64_t cuda_workspace_floats(const Shape& s) {
  return 2 * cuda_group_blocks(s) * s.batch * s.length * s.groups * s.states + s.batch * s.channels * (s.states + 2);
}

const char* cuda_forward(const Shape& s, const Inputs<float>& in, const Outputs<float>& out, void* stream);
// The gradients are whole sums, as those of the reference: A [E, N], B and C [B, L, G, N], D and dt_bias [E]. Sums over
// blocks have a fixed order: two runs are equal bit for bit.
const char* cuda_backward(const Shape& s, const Inputs<float>& in, const float* states, const Gradients<float>& grad,
                          float* workspace, void* stream);
// One decoding step: length 1, h in place (out.h may be in.h0).
const char* cuda_step(const Shape& s, const Inputs<float>& in, const Outputs<float>& out, void* stream);

}  // namespace hymba::kernels::scan
