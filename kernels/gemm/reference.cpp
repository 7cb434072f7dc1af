// The definition of the product, in double. Never optimised.
#include "kernels/gemm/kernel.h"

namespace hymba::kernels::gemm {

void reference(const Shape& s, const double* a, const double* b, const double* start, double* c) {
  for (std::int64_t i = 0; i < s.M; ++i) {
    for (std::int64_t j = 0; j < s.N; ++j) {
      double sum = start ? start[i * s.c_row + j] : 0;
      for (std::int64_t k = 0; k < s.K; ++k) sum += a[i * s.a_row + k * s.a_step] * b[k * s.b_row + j];
      c[i * s.c_row + j] = sum;
    }
  }
}

}  // namespace hymba::kernels::gemm
