// Launches of the RMS norm's CUDA kernels. Null: accepted; else what is wrong. `stream` is a cudaStream_t.
#pragma once

#include "kernels/rms_norm/kernel.h"

namespace hymba::kernels::norm {

constexpr std::int64_t kCudaRows = 16;  // rows of a backward block

inline std::int64_t cuda_parts(const Shape& s) { return (s.rows + kCudaRows - 1) / kCudaRows; }
inline std::int64_t cuda_workspace_floats(const Shape& s) { return cuda_parts(s) * s.width; }

// y [rows, width]; rstd [rows] or null.
const char* cuda_forward(const Shape& s, const float* x, const float* weight, float* y, float* rstd, void* stream);
// The same for decoding: see OutShape.
const char* cuda_forward_out(const OutShape& s, const float* x, const float* weight, float* y, void* stream);
// dx [rows, width]; dweight [width], whole.
const char* cuda_backward(const Shape& s, const float* x, const float* weight, const float* rstd, const float* dy,
                          float* dx, float* dweight, float* workspace, void* stream);

}  // namespace hymba::kernels::norm
