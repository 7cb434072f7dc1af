#pragma once

namespace hymba::kernels::cuda {

double fma_rate();  // of the current device, flops a second; 0: not measured

}  // namespace hymba::kernels::cuda
