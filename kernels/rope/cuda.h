// Launch of RoPE's CUDA kernel. Null: accepted; else what is wrong. `stream` is a cudaStream_t.
#pragma once

#include "kernels/rope/kernel.h"

namespace hymba::kernels::rope_detail {

// table [L][2][P/2] on the device: cos, then sin, of row l's angles.
const char* cuda_run(const Args<float>& a, const float* table, void* stream);

}  // namespace hymba::kernels::rope_detail
