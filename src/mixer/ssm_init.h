// Initialisation of state space models as their papers prescribe.
#pragma once

#include <algorithm>
#include <cmath>

#include "nn/parameters.h"

namespace hymba {

struct DtRange {
  double low = 0.001, high = 0.1;
};

// The inverse softplus of dt, with dt log-uniform in [low, high] and at least 1e-4 (Mamba, section 3.6).
inline Init init_dt_bias(DtRange range) {
  return [range](at::Tensor& value, Rng& rng) {
    float* data = value.data_ptr<float>();
    for (std::int64_t i = 0; i < value.numel(); ++i) {
      const double log_dt = std::log(range.low) + rng.uniform() * (std::log(range.high) - std::log(range.low));
      const double dt = std::max(std::exp(log_dt), 1e-4);
      data[i] = static_cast<float>(dt + std::log(-std::expm1(-dt)));
    }
  };
}

// A_log of S4D-Real: A = -(1, 2, ..., N) in every channel (Mamba, section 3.6).
inline Init init_s4d_real(std::int64_t state) {
  return [state](at::Tensor& value, Rng&) {
    float* data = value.data_ptr<float>();
    for (std::int64_t i = 0; i < value.numel(); ++i) data[i] = static_cast<float>(std::log(1.0 + static_cast<double>(i % state)));
  };
}

}  // namespace hymba
