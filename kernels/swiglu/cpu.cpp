// Vector over a row; one pass over memory each way, the sigmoid is computed again in the backward pass.
#include "kernels/targets.h"
//
#include <algorithm>

#include "kernels/swiglu/kernel.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/swiglu/cpu.cpp"
#include <hwy/foreach_target.h>
// Must come after foreach_target.h, which includes this file once an instruction set.
#include <hwy/highway.h>

#include "kernels/vector_math-inl.h"

HWY_BEFORE_NAMESPACE();
namespace hymba::kernels::gate {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;
using namespace kernels::HWY_NAMESPACE;  // NOLINT

void forward_tasks(const Shape& s, const float* gate_up, float* y, std::int64_t begin, std::int64_t end) {
  for (std::int64_t r = begin * kRows; r < std::min(end * kRows, s.rows); ++r) {
    const float* row = gate_up + r * s.stride;
    for (std::int64_t i = 0; i < s.width; i += kLanes) {
      const std::int64_t count = s.width - i;
      const FloatVec gate = load_part(row + i, count), up = load_part(row + s.width + i, count);
      store_part(hn::Mul(hn::Mul(gate, sigmoid(gate)), up), y + r * s.width + i, count);
    }
  }
}

void backward_tasks(const Shape& s, const float* gate_up, const float* dy, float* dgate_up, std::int64_t begin,
                    std::int64_t end) {
  const FloatVec one = hn::Set(FloatTag(), 1.0f);
  for (std::int64_t r = begin * kRows; r < std::min(end * kRows, s.rows); ++r) {
    const float* row = gate_up + r * s.stride;
    float* out = dgate_up + r * 2 * s.width;
    for (std::int64_t i = 0; i < s.width; i += kLanes) {
      const std::int64_t count = s.width - i;
      const FloatVec gate = load_part(row + i, count), up = load_part(row + s.width + i, count);
      const FloatVec g = load_part(dy + r * s.width + i, count), sig = sigmoid(gate);
      const FloatVec slope = hn::Mul(sig, hn::MulAdd(gate, hn::Sub(one, sig), one));
      store_part(hn::Mul(hn::Mul(g, up), slope), out + i, count);
      store_part(hn::Mul(g, hn::Mul(gate, sig)), out + s.width + i, count);
    }
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace hymba::kernels::gate
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace hymba::kernels::gate {

HWY_EXPORT(forward_tasks);
HWY_EXPORT(backward_tasks);

void forward(const Shape& shape, const float* gate_up, float* y, std::int64_t begin, std::int64_t end) {
  HWY_DYNAMIC_DISPATCH(forward_tasks)(shape, gate_up, y, begin, end);
}

void backward(const Shape& shape, const float* gate_up, const float* dy, float* dgate_up, std::int64_t begin,
              std::int64_t end) {
  HWY_DYNAMIC_DISPATCH(backward_tasks)(shape, gate_up, dy, dgate_up, begin, end);
}

}  // namespace hymba::kernels::gate
#endif  // HWY_ONCE
