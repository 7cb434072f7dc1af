// The definition of the RMS norm, in double. Never optimised.
#include <cmath>

#include "kernels/rms_norm/kernel.h"

namespace hymba::kernels::norm {
namespace {

double rstd_of(const Shape& s, const double* x) {
  double sum = 0;
  for (std::int64_t i = 0; i < s.width; ++i) sum += x[i] * x[i];
  return 1 / std::sqrt(sum / static_cast<double>(s.width) + s.eps);
}

}  // namespace

void forward_reference(const Shape& s, const double* x, const double* weight, double* y) {
  for (std::int64_t r = 0; r < s.rows; ++r, x += s.stride, y += s.width) {
    const double rstd = rstd_of(s, x);
    for (std::int64_t i = 0; i < s.width; ++i) y[i] = x[i] * rstd * weight[i];
  }
}

void backward_reference(const Shape& s, const double* x, const double* weight, const double* dy, double* dx,
                        double* dweight) {
  for (std::int64_t r = 0; r < s.rows; ++r, x += s.stride, dy += s.width, dx += s.width) {
    const double rstd = rstd_of(s, x);
    double dot = 0;
    for (std::int64_t i = 0; i < s.width; ++i) {
      dot += dy[i] * weight[i] * x[i];
      dweight[i] += dy[i] * x[i] * rstd;
    }
    for (std::int64_t i = 0; i < s.width; ++i) {
      dx[i] = rstd * (dy[i] * weight[i] - x[i] * rstd * rstd * dot / static_cast<double>(s.width));
    }
  }
}

}  // namespace hymba::kernels::norm
