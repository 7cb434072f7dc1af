// The definition in plain loops (README.md, equations 1 to 3). Never optimised.
#include <cmath>
#include <vector>

#include "kernels/ssd/kernel.h"

namespace hymba::kernels::ssd_detail {
namespace {

// dt after bias, softplus and clamp; *slope is its derivative by the raw dt.
double step_size(const Args<double>& a, std::int64_t b, std::int64_t l, std::int64_t h, double* slope) {
  const double raw = *a.dt.at(b, l, h) + (a.bias ? a.bias[h] : 0);
  const double dt = a.softplus ? std::max(raw, 0.0) + std::log1p(std::exp(-std::abs(raw))) : raw;
  *slope = a.softplus ? 1 / (1 + std::exp(-raw)) : 1;
  if (dt < a.dt_min || dt > a.dt_max) *slope = 0;
  return std::clamp(dt, a.dt_min, a.dt_max);
}

// h of head (b, i) before step 0 and after each step: [L + 1][P][N].
std::vector<double> all_states(const Args<double>& a, std::int64_t b, std::int64_t i) {
  const std::int64_t size = a.P * a.N, group = i / (a.H / a.G);
  std::vector<double> h((a.L + 1) * size);
  if (a.h0) std::copy_n(a.h0 + (b * a.H + i) * size, size, h.begin());
  for (std::int64_t l = 0; l < a.L; ++l) {
    double slope;
    const double dt = step_size(a, b, l, i, &slope), decay = std::exp(dt * a.A[i]);
    const double *x = a.x.at(b, l, i), *B = a.Bm.at(b, l, group);
    for (std::int64_t p = 0; p < a.P; ++p)
      for (std::int64_t n = 0; n < a.N; ++n) {
        h[(l + 1) * size + p * a.N + n] = decay * h[l * size + p * a.N + n] + dt * x[p] * B[n];
      }
  }
  return h;
}

}  // namespace

void reference_forward(const Args<double>& a) {
  const std::int64_t size = a.P * a.N;
  for (std::int64_t b = 0; b < a.B; ++b)
    for (std::int64_t i = 0; i < a.H; ++i) {
      const auto h = all_states(a, b, i);
      for (std::int64_t l = 0; l < a.L; ++l)
        for (std::int64_t p = 0; p < a.P; ++p) {
          double y = a.D ? a.D[i] * a.x.at(b, l, i)[p] : 0;
          const double* C = a.Cm.at(b, l, i / (a.H / a.G));
          for (std::int64_t n = 0; n < a.N; ++n) y += h[(l + 1) * size + p * a.N + n] * C[n];
          a.y[((b * a.L + l) * a.H + i) * a.P + p] = y;
        }
      std::copy_n(h.end() - size, size, a.h + (b * a.H + i) * size);
    }
}

void reference_backward(const Args<double>& a) {
  const std::int64_t size = a.P * a.N;
  std::fill_n(a.dB, a.B * a.L * a.G * a.N, 0.0);
  std::fill_n(a.dC, a.B * a.L * a.G * a.N, 0.0);
  for (double* sum : {a.dA, a.dD, a.dbias})
    if (sum) std::fill_n(sum, a.H, 0.0);
  for (std::int64_t b = 0; b < a.B; ++b)
    for (std::int64_t i = 0; i < a.H; ++i) {
      const std::int64_t group = i / (a.H / a.G);
      const auto h = all_states(a, b, i);
      std::vector<double> dh(size, 0.0);
      if (a.dh) std::copy_n(a.dh + (b * a.H + i) * size, size, dh.begin());
      for (std::int64_t l = a.L - 1; l >= 0; --l) {
        double slope, d_decay = 0, d_dt = 0;
        const double dt = step_size(a, b, l, i, &slope), decay = std::exp(dt * a.A[i]);
        const double *x = a.x.at(b, l, i), *dy = a.dy.at(b, l, i), *B = a.Bm.at(b, l, group), *C = a.Cm.at(b, l, group);
        double *dB = a.dB + ((b * a.L + l) * a.G + group) * a.N, *dC = a.dC + ((b * a.L + l) * a.G + group) * a.N;
        for (std::int64_t p = 0; p < a.P; ++p) {
          double du = 0;  // of dt * x[p]
          for (std::int64_t n = 0; n < a.N; ++n) {
            double& g = dh[p * a.N + n];
            g += dy[p] * C[n];
            dC[n] += dy[p] * h[(l + 1) * size + p * a.N + n];
            dB[n] += g * dt * x[p];
            du += g * B[n];
            d_decay += g * h[l * size + p * a.N + n];
            g *= decay;
          }
          a.dx[((b * a.L + l) * a.H + i) * a.P + p] = dt * du + (a.D ? a.D[i] * dy[p] : 0);
          d_dt += x[p] * du;
          if (a.dD) a.dD[i] += x[p] * dy[p];
        }
        a.dA[i] += d_decay * decay * dt;
        const double d_raw = slope * (d_dt + d_decay * decay * a.A[i]);
        a.ddt[(b * a.L + l) * a.H + i] = d_raw;
        if (a.dbias) a.dbias[i] += d_raw;
      }
      if (a.dh0) std::copy_n(dh.begin(), size, a.dh0 + (b * a.H + i) * size);
    }
}

}  // namespace hymba::kernels::ssd_detail
