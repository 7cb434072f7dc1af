// Vector over a row. Sums run in four vectors, so that their error stays small for wide rows.
#include "kernels/targets.h"
//
#include <algorithm>
#include <cmath>

#include "kernels/rms_norm/kernel.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/rms_norm/cpu.cpp"
#include <hwy/foreach_target.h>
// Must come after foreach_target.h, which includes this file once an instruction set.
#include <hwy/highway.h>

#include "kernels/vector_math-inl.h"

HWY_BEFORE_NAMESPACE();
namespace hymba::kernels::norm {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;
using namespace kernels::HWY_NAMESPACE;  // NOLINT

constexpr FloatTag kTag;

HWY_INLINE float total(const FloatVec (&sums)[4]) {
  return hn::GetLane(hn::SumOfLanes(kTag, hn::Add(hn::Add(sums[0], sums[1]), hn::Add(sums[2], sums[3]))));
}

// 1 / sqrt(mean(row^2) + eps).
HWY_INLINE float inverse_rms(const float* row, std::int64_t width, double eps) {
  FloatVec sums[4] = {hn::Zero(kTag), hn::Zero(kTag), hn::Zero(kTag), hn::Zero(kTag)};
  std::int64_t i = 0;
  for (; i + 4 * kLanes <= width; i += 4 * kLanes) {
#pragma GCC unroll 4
    for (int k = 0; k < 4; ++k) {
      const FloatVec v = hn::LoadU(kTag, row + i + k * kLanes);
      sums[k] = hn::MulAdd(v, v, sums[k]);
    }
  }
  for (; i < width; i += kLanes) {
    const FloatVec v = load_part(row + i, width - i);
    sums[0] = hn::MulAdd(v, v, sums[0]);
  }
  const double mean = static_cast<double>(total(sums)) / static_cast<double>(width);
  return static_cast<float>(1 / std::sqrt(mean + eps));
}

void forward_tasks(const Shape& s, const float* x, const float* weight, float* y, float* rstd, std::int64_t begin,
                   std::int64_t end) {
  const std::int64_t last = std::min(end * kRows, s.rows);
  for (std::int64_t r = begin * kRows; r < last; ++r) {
    const float* row = x + r * s.stride;
    const float scale = inverse_rms(row, s.width, s.eps);
    if (rstd) rstd[r] = scale;
    const FloatVec factor = hn::Set(kTag, scale);
    for (std::int64_t i = 0; i < s.width; i += kLanes) {
      const FloatVec v = hn::Mul(load_part(row + i, s.width - i), factor);
      store_part(hn::Mul(v, load_part(weight + i, s.width - i)), y + r * s.width + i, s.width - i);
    }
  }
}

void forward_out_rows(const OutShape& s, const float* x, const float* weight, float* y, std::int64_t begin,
                      std::int64_t end) {
  for (std::int64_t r = begin; r < end; ++r) {
    const float* row = x + r * s.x_stride;
    const FloatVec factor = hn::Set(kTag, s.scale * inverse_rms(row, s.width, s.eps));
    for (std::int64_t copy = 0; copy < s.copies; ++copy) {
      const float* w = weight + copy * s.width;
      float* out = y + r * s.y_stride + copy * s.width;
      for (std::int64_t i = 0; i < s.width; i += kLanes) {
        const std::int64_t count = s.width - i;
        const FloatVec v = hn::Mul(hn::Mul(load_part(row + i, count), factor), load_part(w + i, count));
        store_part(s.add ? hn::Add(load_part(out + i, count), v) : v, out + i, count);
      }
    }
  }
}

// dx = rstd * (dy * weight - x * rstd^2 * mean(dy * weight * x)).
void backward_tasks(const Shape& s, const float* x, const float* weight, const float* rstd, const float* dy, float* dx,
                    float* dweight, std::int64_t begin, std::int64_t end) {
  for (std::int64_t task = begin; task < end; ++task) {
    float* sum_weight = dweight + task * s.width;
    std::fill(sum_weight, sum_weight + s.width, 0.0f);
    for (std::int64_t r = task * kRows; r < std::min((task + 1) * kRows, s.rows); ++r) {
      const float* row = x + r * s.stride;
      const float* grad = dy + r * s.width;
      const FloatVec scale = hn::Set(kTag, rstd[r]);
      FloatVec sums[4] = {hn::Zero(kTag), hn::Zero(kTag), hn::Zero(kTag), hn::Zero(kTag)};
      int k = 0;
      for (std::int64_t i = 0; i < s.width; i += kLanes, k = (k + 1) % 4) {
        const std::int64_t count = s.width - i;
        const FloatVec v = load_part(row + i, count), g = load_part(grad + i, count);
        const FloatVec gv = hn::Mul(g, v);
        sums[k] = hn::MulAdd(gv, load_part(weight + i, count), sums[k]);
        store_part(hn::MulAdd(gv, scale, load_part(sum_weight + i, count)), sum_weight + i, count);
      }
      const double mean = static_cast<double>(total(sums)) / static_cast<double>(s.width);
      const FloatVec pull = hn::Set(kTag, static_cast<float>(-mean * rstd[r] * rstd[r]));
      for (std::int64_t i = 0; i < s.width; i += kLanes) {
        const std::int64_t count = s.width - i;
        const FloatVec v = load_part(row + i, count), g = load_part(grad + i, count);
        const FloatVec sum = hn::MulAdd(v, pull, hn::Mul(g, load_part(weight + i, count)));
        store_part(hn::Mul(scale, sum), dx + r * s.width + i, count);
      }
    }
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace hymba::kernels::norm
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace hymba::kernels::norm {

HWY_EXPORT(forward_tasks);
HWY_EXPORT(forward_out_rows);
HWY_EXPORT(backward_tasks);

void forward(const Shape& shape, const float* x, const float* weight, float* y, float* rstd, std::int64_t begin,
             std::int64_t end) {
  HWY_DYNAMIC_DISPATCH(forward_tasks)(shape, x, weight, y, rstd, begin, end);
}

void forward_out(const OutShape& shape, const float* x, const float* weight, float* y, std::int64_t begin,
                 std::int64_t end) {
  HWY_DYNAMIC_DISPATCH(forward_out_rows)(shape, x, weight, y, begin, end);
}

void backward(const Shape& shape, const float* x, const float* weight, const float* rstd, const float* dy, float* dx,
              float* dweight, std::int64_t begin, std::int64_t end) {
  HWY_DYNAMIC_DISPATCH(backward_tasks)(shape, x, weight, rstd, dy, dx, dweight, begin, end);
}

}  // namespace hymba::kernels::norm
#endif  // HWY_ONCE
