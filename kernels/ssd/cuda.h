// Launches of SSD's CUDA kernels. Null: accepted; else what is wrong. `stream` is a cudaStream_t. Chunks have 64 steps
// here, whatever Args::chunk says; dA, dD and dbias are whole sums [H].
#pragma once

#include "kernels/ssd/kernel.h"

namespace hymba::kernels::ssd_detail {

constexpr std::int64_t kCudaSteps = 64;

inline std::int64_t cuda_chunks(const Args<float>& a) { return (a.L + kCudaSteps - 1) / kCudaSteps; }
// Floats of a.states: the state before each chunk [B, chunks, H, P, N] and the chunks' decays [B, chunks, H]. The
// backward pass takes what the forward pass left there.
inline std::int64_t cuda_state_floats(const Args<float>& a) { return a.B * cuda_chunks(a) * a.H * (a.P * a.N + 1); }
inline std::int64_t cuda_workspace_floats(const Args<float>& a) {
  const std::int64_t jobs = a.B * cuda_chunks(a) * a.H;
  return jobs * (a.P * a.N + 5 * kCudaSteps + 3) + 2 * a.B * a.L * a.H * a.N;
}

const char* cuda_forward(const Args<float>& a, void* stream);
const char* cuda_backward(const Args<float>& a, float* workspace, void* stream);
// One decoding step: L = 1, the state a.h in place.
const char* cuda_step(const Args<float>& a, void* stream);

}  // namespace hymba::kernels::ssd_detail
