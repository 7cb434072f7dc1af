// The definition of the causal convolution, in double. Never optimised.
#include <cmath>
#include <vector>

#include "kernels/causal_conv1d/kernel.h"

namespace hymba::kernels::conv {
namespace {

double sigmoid(double x) { return 1 / (1 + std::exp(-x)); }

// The state's W - 1 inputs followed by the L of x, one channel.
std::vector<double> padded(const Shape& s, const Inputs<double>& in, std::int64_t b, std::int64_t e) {
  std::vector<double> x;
  for (std::int64_t i = 0; i < s.taps - 1; ++i) {
    x.push_back(in.state ? in.state[(b * (s.taps - 1) + i) * s.channels + e] : 0);
  }
  for (std::int64_t t = 0; t < s.length; ++t) x.push_back(in.x.row(b, t)[e]);
  return x;
}

double before_silu(const Shape& s, const Inputs<double>& in, const std::vector<double>& x, std::int64_t t,
                   std::int64_t e) {
  double sum = in.bias ? in.bias[e] : 0;
  for (std::int64_t k = 0; k < s.taps; ++k) sum += in.weight[e * s.taps + k] * x[t + k];
  return sum;
}

}  // namespace

void forward_reference(const Shape& s, const Inputs<double>& in, const Outputs<double>& out) {
  for (std::int64_t b = 0; b < s.batch; ++b) {
    for (std::int64_t e = 0; e < s.channels; ++e) {
      const auto x = padded(s, in, b, e);
      for (std::int64_t t = 0; t < s.length; ++t) {
        const double y = before_silu(s, in, x, t, e);
        out.y.row(b, t)[e] = s.silu ? y * sigmoid(y) : y;
      }
      for (std::int64_t i = 0; i < s.taps - 1; ++i) {
        out.state[(b * (s.taps - 1) + i) * s.channels + e] = x[s.length + i];
      }
    }
  }
}

void backward_reference(const Shape& s, const Inputs<double>& in, const Gradients<double>& grad) {
  const std::int64_t before = s.taps - 1;
  for (std::int64_t b = 0; b < s.batch; ++b) {
    for (std::int64_t e = 0; e < s.channels; ++e) {
      const auto x = padded(s, in, b, e);
      std::vector<double> dx(x.size());
      for (std::int64_t i = 0; grad.final_state && i < before; ++i) {
        dx[s.length + i] = grad.final_state[(b * before + i) * s.channels + e];
      }
      for (std::int64_t t = 0; t < s.length; ++t) {
        double g = grad.y.row(b, t)[e];
        if (s.silu) {
          const double y = before_silu(s, in, x, t, e), sig = sigmoid(y);
          g *= sig * (1 + y * (1 - sig));
        }
        for (std::int64_t k = 0; k < s.taps; ++k) {
          dx[t + k] += g * in.weight[e * s.taps + k];
          grad.weight[e * s.taps + k] += g * x[t + k];
        }
        if (grad.bias) grad.bias[e] += g;
      }
      for (std::int64_t i = 0; grad.state && i < before; ++i) grad.state[(b * before + i) * s.channels + e] = dx[i];
      for (std::int64_t t = 0; t < s.length; ++t) grad.x.row(b, t)[e] = dx[before + t];
    }
  }
}

}  // namespace hymba::kernels::conv
