// Launch of RoPE's CUDA kernel. Null: accepted; else what is wrong. `stream` is a cudaStream_t.
#pragma once

#include "kernels/rope/kernel.h"

namespace hymba::kernels::rope_detail {

// table [rows][2][P/2] on the device: cos, then sin, of a row's angles. Row l of x turns by table row l, or with
// `lengths` [L] (on the device; for decoding) by row lengths[l] - 1.
const char* cuda_run(const Args<float>& a, const float* table, const std::int64_t* lengths, void* stream);

}  // namespace hymba::kernels::rope_detail
