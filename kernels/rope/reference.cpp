// The definition in plain loops (README.md, equation 1). Never optimised.
#include <cmath>

#include "kernels/rope/kernel.h"

namespace hymba::kernels::rope_detail {

void reference(const Args<double>& a, const double* inv_freq) {
  const std::int64_t half = a.P / 2;
  for (std::int64_t b = 0; b < a.B; ++b)
    for (std::int64_t l = 0; l < a.L; ++l)
      for (std::int64_t h = 0; h < a.H; ++h) {
        const double* x = a.x + b * a.sb + l * a.sl + h * a.sh;
        double* out = a.out + ((b * a.L + l) * a.H + h) * a.P;
        for (std::int64_t j = 0; j < half; ++j) {
          const double angle = (a.inverse ? -1.0 : 1.0) * static_cast<double>(a.pos0 + l) * inv_freq[j];
          out[j] = x[j] * std::cos(angle) - x[j + half] * std::sin(angle);
          out[j + half] = x[j + half] * std::cos(angle) + x[j] * std::sin(angle);
        }
      }
}

}  // namespace hymba::kernels::rope_detail
