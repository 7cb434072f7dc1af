// The definition in plain loops. Never optimised.
#include "kernels/gemv/kernel.h"

namespace hymba::kernels::gemv_detail {

void reference(std::int64_t batch, std::int64_t outputs, std::int64_t inputs, const double* x, const double* weight,
               double* y) {
  for (std::int64_t b = 0; b < batch; ++b) {
    for (std::int64_t o = 0; o < outputs; ++o) {
      double sum = 0;
      for (std::int64_t i = 0; i < inputs; ++i) sum += x[b * inputs + i] * weight[o * inputs + i];
      y[b * outputs + o] = sum;
    }
  }
}

}  // namespace hymba::kernels::gemv_detail
