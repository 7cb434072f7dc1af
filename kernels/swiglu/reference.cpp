// The definition of SwiGLU, in double. Never optimised.
#include <cmath>

#include "kernels/swiglu/kernel.h"

namespace hymba::kernels::gate {
namespace {

double sigmoid(double x) { return 1 / (1 + std::exp(-x)); }

}  // namespace

void forward_reference(const Shape& s, const double* gate_up, double* y) {
  for (std::int64_t r = 0; r < s.rows; ++r, gate_up += s.stride, y += s.width) {
    for (std::int64_t i = 0; i < s.width; ++i) y[i] = gate_up[i] * sigmoid(gate_up[i]) * gate_up[s.width + i];
  }
}

void backward_reference(const Shape& s, const double* gate_up, const double* dy, double* dgate_up) {
  for (std::int64_t r = 0; r < s.rows; ++r, gate_up += s.stride, dy += s.width, dgate_up += 2 * s.width) {
    for (std::int64_t i = 0; i < s.width; ++i) {
      const double gate = gate_up[i], sig = sigmoid(gate);
      dgate_up[i] = dy[i] * gate_up[s.width + i] * sig * (1 + gate * (1 - sig));
      dgate_up[s.width + i] = dy[i] * gate * sig;
    }
  }
}

}  // namespace hymba::kernels::gate
