// Launches of SwiGLU's CUDA kernels. Null: accepted; else what is wrong. `stream` is a cudaStream_t.
#pragma once

#include "kernels/swiglu/kernel.h"

namespace hymba::kernels::gate {

const char* cuda_forward(const Shape& s, const float* gate_up, float* y, void* stream);
// dgate_up [rows, 2 * width], dense.
const char* cuda_backward(const Shape& s, const float* gate_up, const float* dy, float* dgate_up, void* stream);

}  // namespace hymba::kernels::gate
