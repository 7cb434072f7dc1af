// The definition in plain loops (README.md, equations 1 to 3). Never optimised.
#include <cmath>
#include <vector>

#include "kernels/decode_attention/kernel.h"

namespace hymba::kernels::decode_detail {

void reference(const ReferenceArgs& a) {
  std::vector<double> scores;
  for (std::int64_t b = 0; b < a.B; ++b) {
    for (std::int64_t h = 0; h < a.H; ++h) {
      const std::int64_t kv_head = h / (a.H / a.K), at = a.lengths[b] - 1;
      const auto slot = [&](std::int64_t t) { return t < a.prefix ? t : a.prefix + (t - a.prefix) % (a.S - a.prefix); };
      const auto row = [&](std::int64_t t) { return (b * a.S + slot(t)) * a.K + kv_head; };
      const auto visible = [&](std::int64_t t) { return t < a.prefix || a.window < 0 || at - t < a.window; };
      const double* q = a.q + (b * a.H + h) * a.P;
      double* out = a.out + (b * a.H + h) * a.V;
      scores.assign(static_cast<std::size_t>(at + 1), 0);
      double top = -1e300, sum = 0;
      for (std::int64_t t = 0; t <= at; ++t) {
        if (!visible(t)) continue;
        for (std::int64_t i = 0; i < a.P; ++i) scores[t] += a.scale * q[i] * a.k[row(t) * a.P + i];
        top = std::max(top, scores[t]);
      }
      for (std::int64_t i = 0; i < a.V; ++i) out[i] = 0;
      for (std::int64_t t = 0; t <= at; ++t) {
        if (!visible(t)) continue;
        const double weight = std::exp(scores[t] - top);
        sum += weight;
        for (std::int64_t i = 0; i < a.V; ++i) out[i] += weight * a.v[row(t) * a.V + i];
      }
      for (std::int64_t i = 0; i < a.V && sum > 0; ++i) out[i] /= sum;
    }
  }
}

}  // namespace hymba::kernels::decode_detail
