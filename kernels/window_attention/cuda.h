// Launches of window attention's CUDA kernels. Null: accepted; else what is wrong. `stream` is a cudaStream_t.
#pragma once

#include "kernels/window_attention/kernel.h"

namespace hymba::kernels::window_attention_detail {

// Writes a.out [B,L,H,V] and a.lse [B,H,L] (base 2).
const char* cuda_forward(const Args<float>& a, void* stream);
// Reads a.o, a.d_o and a.lse; writes a.dq, a.dk and a.dv, each output by one block: no atomics, two runs are equal bit
// for bit. workspace: B * H * L floats.
const char* cuda_backward(const Args<float>& a, float* workspace, void* stream);

}  // namespace hymba::kernels::window_attention_detail
