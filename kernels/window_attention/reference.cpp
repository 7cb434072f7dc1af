// The definition in plain loops (README.md, equations 1 to 6). Never optimised.
#include <cmath>
#include <limits>
#include <vector>

#include "kernels/window_attention/kernel.h"

namespace hymba::kernels::window_attention_detail {
namespace {

bool visible(const Args<double>& a, std::int64_t query, std::int64_t key) {
  const std::int64_t at = a.q_start + query, seen = a.key_position(key);
  return seen <= at && (a.window < 0 || at - seen < a.window || seen < a.prefix);
}

double dot(const double* x, const double* y, std::int64_t n) {
  double sum = 0;
  for (std::int64_t i = 0; i < n; ++i) sum += x[i] * y[i];
  return sum;
}

}  // namespace

void reference_forward(const Args<double>& a) {
  const std::int64_t group = a.H / a.K;
  std::vector<double> s(a.S);
  for (std::int64_t b = 0; b < a.B; ++b)
    for (std::int64_t l = 0; l < a.L; ++l)
      for (std::int64_t h = 0; h < a.H; ++h) {
        const double* q = a.q.at(b, l, h);
        double* out = a.out + ((b * a.L + l) * a.H + h) * a.V;
        double top = -std::numeric_limits<double>::infinity(), sum = 0;
        for (std::int64_t j = 0; j < a.S; ++j) {
          if (!visible(a, l, j)) continue;
          s[j] = a.scale * dot(q, a.k.at(b, j, h / group), a.P);
          top = std::max(top, s[j]);
        }
        for (std::int64_t i = 0; i < a.V; ++i) out[i] = 0;
        for (std::int64_t j = 0; j < a.S; ++j) {
          if (!visible(a, l, j)) continue;
          const double p = std::exp(s[j] - top);
          sum += p;
          for (std::int64_t i = 0; i < a.V; ++i) out[i] += p * a.v.at(b, j, h / group)[i];
        }
        if (sum > 0)
          for (std::int64_t i = 0; i < a.V; ++i) out[i] /= sum;
        a.lse[(b * a.H + h) * a.L + l] = top + std::log(sum);
      }
}

void reference_backward(const Args<double>& a) {
  const std::int64_t group = a.H / a.K;
  std::fill(a.dq, a.dq + a.B * a.L * a.H * a.P, 0.0);
  std::fill(a.dk, a.dk + a.B * a.S * a.K * a.P, 0.0);
  std::fill(a.dv, a.dv + a.B * a.S * a.K * a.V, 0.0);
  for (std::int64_t b = 0; b < a.B; ++b)
    for (std::int64_t l = 0; l < a.L; ++l)
      for (std::int64_t h = 0; h < a.H; ++h) {
        const double *q = a.q.at(b, l, h), *d_o = a.d_o.at(b, l, h);
        double* dq = a.dq + ((b * a.L + l) * a.H + h) * a.P;
        const double delta = dot(d_o, a.o.at(b, l, h), a.V);  // sum over keys of p * dp
        for (std::int64_t j = 0; j < a.S; ++j) {
          if (!visible(a, l, j)) continue;
          const double *k = a.k.at(b, j, h / group), *v = a.v.at(b, j, h / group);
          double* dk = a.dk + ((b * a.S + j) * a.K + h / group) * a.P;
          double* dv = a.dv + ((b * a.S + j) * a.K + h / group) * a.V;
          const double p = std::exp(a.scale * dot(q, k, a.P) - a.lse[(b * a.H + h) * a.L + l]);
          const double ds = a.scale * p * (dot(d_o, v, a.V) - delta);
          for (std::int64_t i = 0; i < a.P; ++i) dq[i] += ds * k[i], dk[i] += ds * q[i];
          for (std::int64_t i = 0; i < a.V; ++i) dv[i] += p * d_o[i];
        }
      }
}

}  // namespace hymba::kernels::window_attention_detail
