// The definition of the selective scan, in double, one channel at a time. Never optimised.
#include <cmath>
#include <vector>

#include "kernels/selective_scan/kernel.h"

namespace hymba::kernels::scan {
namespace {

double sigmoid(double x) { return 1 / (1 + std::exp(-x)); }
double softplus(double x) { return x > 30 ? x : std::log1p(std::exp(x)); }

// One channel of one sequence: every state and the discretised steps.
struct Channel {
  std::vector<double> h, dt, dt_raw, y;  // h: [L + 1, N]; y before the gate
};

Channel run(const Shape& s, const Inputs<double>& in, std::int64_t b, std::int64_t e) {
  const std::int64_t N = s.states, group = e / s.group_channels();
  Channel c;
  c.h.assign((s.length + 1) * N, 0);
  c.dt.resize(s.length), c.dt_raw.resize(s.length), c.y.resize(s.length);
  for (std::int64_t n = 0; in.h0 && n < N; ++n) c.h[n] = in.h0[(b * s.channels + e) * N + n];
  for (std::int64_t t = 0; t < s.length; ++t) {
    const double u = in.u.row(b, t)[e];
    c.dt_raw[t] = in.dt.row(b, t)[e] + (in.dt_bias ? in.dt_bias[e] : 0);
    c.dt[t] = s.softplus ? softplus(c.dt_raw[t]) : c.dt_raw[t];
    c.y[t] = in.D ? in.D[e] * u : 0;
    for (std::int64_t n = 0; n < N; ++n) {
      const double a = std::exp(c.dt[t] * in.A[e * N + n]);
      const double h = a * c.h[t * N + n] + c.dt[t] * u * in.B.row(b, t)[group * N + n];
      c.h[(t + 1) * N + n] = h;
      c.y[t] += h * in.C.row(b, t)[group * N + n];
    }
  }
  return c;
}

}  // namespace

void forward_reference(const Shape& s, const Inputs<double>& in, const Outputs<double>& out) {
  for (std::int64_t b = 0; b < s.batch; ++b) {
    for (std::int64_t e = 0; e < s.channels; ++e) {
      const Channel c = run(s, in, b, e);
      for (std::int64_t t = 0; t < s.length; ++t) {
        const double z = in.z.data ? in.z.row(b, t)[e] : 0;
        out.y.row(b, t)[e] = c.y[t] * (in.z.data ? z * sigmoid(z) : 1);
      }
      for (std::int64_t n = 0; n < s.states; ++n) {
        out.h[(b * s.channels + e) * s.states + n] = c.h[s.length * s.states + n];
      }
    }
  }
}

void backward_reference(const Shape& s, const Inputs<double>& in, const Gradients<double>& grad) {
  const std::int64_t N = s.states;
  std::vector<double> carry(N);  // gradient of the state, times the decay of the step behind it
  for (std::int64_t b = 0; b < s.batch; ++b) {
    for (std::int64_t e = 0; e < s.channels; ++e) {
      const Channel c = run(s, in, b, e);
      const std::int64_t group = e / s.group_channels(), state = (b * s.channels + e) * N;
      for (std::int64_t n = 0; n < N; ++n) carry[n] = grad.h ? grad.h[state + n] : 0;
      for (std::int64_t t = s.length - 1; t >= 0; --t) {
        const double u = in.u.row(b, t)[e];
        double gy = grad.y.row(b, t)[e];
        if (in.z.data) {
          const double z = in.z.row(b, t)[e], sig = sigmoid(z);
          grad.z.row(b, t)[e] = gy * c.y[t] * sig * (1 + z * (1 - sig));
          gy *= z * sig;
        }
        double ddt = 0, ddu = 0;
        for (std::int64_t n = 0; n < N; ++n) {
          const double A = in.A[e * N + n];
          const std::int64_t row = ((b * s.length + t) * s.groups + group) * N + n;
          const double g = carry[n] + gy * in.C.row(b, t)[group * N + n];
          grad.C[row] += gy * c.h[(t + 1) * N + n];
          grad.B[row] += g * c.dt[t] * u;
          ddu += g * in.B.row(b, t)[group * N + n];
          carry[n] = g * std::exp(c.dt[t] * A);
          const double d_dtA = carry[n] * c.h[t * N + n];
          ddt += d_dtA * A;
          grad.A[e * N + n] += d_dtA * c.dt[t];
        }
        ddt += ddu * u;
        if (s.softplus) ddt *= sigmoid(c.dt_raw[t]);
        grad.dt.row(b, t)[e] = ddt;
        grad.u.row(b, t)[e] = ddu * c.dt[t] + (in.D ? in.D[e] * gy : 0);
        if (in.D) grad.D[e] += gy * u;
        if (in.dt_bias) grad.dt_bias[e] += ddt;
      }
      for (std::int64_t n = 0; grad.h0 && n < N; ++n) grad.h0[state + n] = carry[n];
    }
  }
}

}  // namespace hymba::kernels::scan
