// Vector over channels; a task is one span of one sequence and kBlock channels. Forward takes neighbouring blocks
// together, row by row. Backward walks tiles of kTile steps: each vector's column of inputs, with the W - 1 before it, is
// copied to a window in scratch, where every tap reads it.
#include "kernels/targets.h"
//
#include <hwy/aligned_allocator.h>

#include <algorithm>

#include "kernels/causal_conv1d/kernel.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/causal_conv1d/cpu.cpp"
#include <hwy/foreach_target.h>
// Must come after foreach_target.h, which includes this file once an instruction set.
#include <hwy/highway.h>

#include "kernels/vector_math-inl.h"

HWY_BEFORE_NAMESPACE();
namespace hymba::kernels::conv {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;
using namespace kernels::HWY_NAMESPACE;  // NOLINT

constexpr FloatTag kTag;
constexpr std::int64_t kWide = 8 * kBlock;  // channels that forward takes together

struct Task {
  std::int64_t b, span, begin, end;  // steps [begin, end) of sequence b
  std::int64_t first, channels;      // channels [first, first + channels)
};

Task make_task(const Shape& s, std::int64_t index) {
  const std::int64_t first = index % s.blocks() * kBlock, span = index / s.blocks() % s.spans;
  return {index / s.blocks() / s.spans, span,  s.span_step(span),
          s.span_step(span + 1),        first, std::min(kBlock, s.channels - first)};
}

// weight [channels, W] -> [W, width] in scratch, zeros behind the last channel.
void load_taps(const Shape& s, const float* weight, const Task& task, std::int64_t width, float* taps) {
  std::fill(taps, taps + s.taps * width, 0.0f);
  for (std::int64_t e = 0; e < task.channels; ++e) {
    for (std::int64_t k = 0; k < s.taps; ++k) taps[k * width + e] = weight[(task.first + e) * s.taps + k];
  }
}

// Input t of one vector of channels; t < 0: the state's.
HWY_INLINE FloatVec load_input(const Shape& s, const Inputs<float>& in, std::int64_t b, std::int64_t t, std::int64_t e,
                               std::int64_t count) {
  if (HWY_LIKELY(t >= 0)) return load_part(in.x.row(b, t) + e, count);
  if (!in.state) return hn::Zero(kTag);
  return load_part(in.state + (b * (s.taps - 1) + t + s.taps - 1) * s.channels + e, count);
}

// bias + the taps over the window from step t; kTaps 0: any number.
template <int kTaps>
HWY_INLINE FloatVec convolve(const float* HWY_RESTRICT window, const float* HWY_RESTRICT taps, FloatVec bias,
                             std::int64_t count) {
  FloatVec sum = bias;
  const std::int64_t number = kTaps ? kTaps : count;
#pragma GCC unroll 4
  for (std::int64_t k = 0; k < number; ++k) {
    sum = hn::MulAdd(hn::Load(kTag, window + k * kLanes), hn::Load(kTag, taps + k * kBlock), sum);
  }
  return sum;
}

// The gradient before silu, given the value y there and the gradient behind it.
HWY_INLINE FloatVec before_silu(FloatVec y, FloatVec dy) {
  const FloatVec one = hn::Set(kTag, 1.0f), sig = sigmoid(y);
  return hn::Mul(dy, hn::Mul(sig, hn::MulAdd(y, hn::Sub(one, sig), one)));
}

// Row by row, so that memory is read and written in runs; the taps of all channels stay in the L1 cache, and so do the
// W - 1 rows before.
template <int kTaps>
void forward_task(const Shape& s, const Inputs<float>& in, const Outputs<float>& out, const Task& task, float* taps) {
  const std::int64_t before = s.taps - 1, number = kTaps ? kTaps : s.taps;
  load_taps(s, in.weight, task, kWide, taps);
  for (std::int64_t t = task.begin; t < task.end; ++t) {
    const bool inside = t >= before;  // else the taps reach into the state
    const float* x = in.x.row(task.b, inside ? t - before : 0) + task.first;
    float* y_row = out.y.row(task.b, t) + task.first;
    for (std::int64_t v = 0; v < task.channels; v += kLanes) {
      const std::int64_t e = task.first + v, count = task.channels - v;
      FloatVec y = in.bias ? load_part(in.bias + e, count) : hn::Zero(kTag);
#pragma GCC unroll 4
      for (std::int64_t k = 0; k < number; ++k) {
        const FloatVec input = HWY_LIKELY(inside) ? load_part(x + k * in.x.row_stride + v, count)
                                                  : load_input(s, in, task.b, t - before + k, e, count);
        y = hn::MulAdd(input, hn::Load(kTag, taps + k * kWide + v), y);
      }
      if (s.silu) y = hn::Mul(y, sigmoid(y));
      store_part(y, y_row + v, count);
    }
  }
  if (task.span + 1 < s.spans) return;
  for (std::int64_t i = 0; i < before; ++i) {
    float* row = out.state + (task.b * before + i) * s.channels + task.first;
    for (std::int64_t v = 0; v < task.channels; v += kLanes) {
      const std::int64_t count = task.channels - v;
      store_part(load_input(s, in, task.b, task.end + i - before, task.first + v, count), row + v, count);
    }
  }
}

// The gradients before silu of the W - 1 steps behind a span, which its last inputs reach: [kBlock / kLanes, W - 1,
// kLanes], zeros behind the last step.
void gradients_behind(const Shape& s, const Inputs<float>& in, const Gradients<float>& grad, const Task& task,
                      const float* taps, float* carry) {
  const std::int64_t before = s.taps - 1;
  for (std::int64_t v = 0; v < task.channels; v += kLanes) {
    const std::int64_t e = task.first + v, count = task.channels - v;
    for (std::int64_t i = 0; i < before && task.end + i < s.length; ++i) {
      const std::int64_t t = task.end + i;
      FloatVec g = load_part(grad.y.row(task.b, t) + e, count);
      if (s.silu) {
        FloatVec y = in.bias ? load_part(in.bias + e, count) : hn::Zero(kTag);
        for (std::int64_t k = 0; k < s.taps; ++k) {
          y = hn::MulAdd(load_input(s, in, task.b, t - before + k, e, count), hn::Load(kTag, taps + k * kBlock + v), y);
        }
        g = before_silu(y, g);
      }
      hn::Store(g, kTag, carry + before * v + i * kLanes);
    }
  }
}

template <int kTaps>
void backward_task(const Shape& s, const Inputs<float>& in, const Gradients<float>& grad, const Task& task,
                   float* scratch) {
  const std::int64_t before = s.taps - 1, b = task.b;
  float* taps = scratch;
  float* dtaps = taps + s.taps * kBlock;    // [W, kBlock]
  float* dbias = dtaps + s.taps * kBlock;   // [kBlock]
  float* carry = dbias + kBlock;            // [kBlock / kLanes, W - 1, kLanes]: first gradients of the tile behind
  float* window = carry + before * kBlock;  // [W - 1 + kTile, kLanes]: inputs
  float* g = window + (before + kTile) * kLanes;  // [kTile + W - 1, kLanes]: gradients before silu
  load_taps(s, in.weight, task, kBlock, taps);
  std::fill(dtaps, window, 0.0f);
  gradients_behind(s, in, grad, task, taps, carry);
  const auto final_row = [&](std::int64_t i) { return grad.final_state + (b * before + i) * s.channels; };

  const std::int64_t tiles = (task.end - task.begin + kTile - 1) / kTile;
  for (std::int64_t t0 = task.begin + (tiles - 1) * kTile; t0 >= task.begin; t0 -= kTile) {
    const std::int64_t steps = std::min(kTile, task.end - t0);
    for (std::int64_t v = 0; v < task.channels; v += kLanes) {
      const std::int64_t e = task.first + v, count = task.channels - v;
      const FloatVec bias = in.bias ? load_part(in.bias + e, count) : hn::Zero(kTag);
      for (std::int64_t i = 0; i < before; ++i) {
        hn::Store(load_input(s, in, b, t0 + i - before, e, count), kTag, window + i * kLanes);
      }
      std::copy(carry + before * v, carry + before * (v + kLanes), g + steps * kLanes);
      FloatVec sum = hn::Load(kTag, dbias + v);
      for (std::int64_t t = 0; t < steps; ++t) {
        hn::Store(load_part(in.x.row(b, t0 + t) + e, count), kTag, window + (before + t) * kLanes);
        FloatVec dy = load_part(grad.y.row(b, t0 + t) + e, count);
        if (s.silu) {
          dy = before_silu(convolve<kTaps>(window + t * kLanes, taps + v, bias, s.taps), dy);
        }
        hn::Store(dy, kTag, g + t * kLanes);
        sum = hn::Add(sum, dy);
      }
      hn::Store(sum, kTag, dbias + v);
      for (std::int64_t k = 0; k < s.taps; ++k) {
        FloatVec dtap = hn::Load(kTag, dtaps + k * kBlock + v);
        for (std::int64_t t = 0; t < steps; ++t) {
          dtap = hn::MulAdd(hn::Load(kTag, g + t * kLanes), hn::Load(kTag, window + (t + k) * kLanes), dtap);
        }
        hn::Store(dtap, kTag, dtaps + k * kBlock + v);
      }
      for (std::int64_t t = 0; t < steps; ++t) {
        const std::int64_t i = t0 + t + before - s.length;  // this input's row in the final state, if >= 0
        FloatVec dx = grad.final_state && i >= 0 ? load_part(final_row(i) + e, count) : hn::Zero(kTag);
        const std::int64_t number = kTaps ? kTaps : s.taps;
#pragma GCC unroll 4
        for (std::int64_t k = 0; k < number; ++k) {
          dx = hn::MulAdd(hn::Load(kTag, g + (t + number - 1 - k) * kLanes), hn::Load(kTag, taps + k * kBlock + v), dx);
        }
        store_part(dx, grad.x.row(b, t0 + t) + e, count);
      }
      std::copy(g, g + before * kLanes, carry + before * v);
    }
  }

  const std::int64_t sums = (b * s.spans + task.span) * s.channels + task.first;
  for (std::int64_t e = 0; e < task.channels; ++e) {
    for (std::int64_t k = 0; k < s.taps; ++k) grad.weight[(sums + e) * s.taps + k] = dtaps[k * kBlock + e];
    if (grad.bias) grad.bias[sums + e] = dbias[e];
  }
  if (task.span > 0) return;
  // The inputs before x: `carry` now holds the gradients of the first W - 1 outputs (zeros behind the last one).
  for (std::int64_t v = 0; grad.state && v < task.channels; v += kLanes) {
    const std::int64_t e = task.first + v, count = task.channels - v;
    for (std::int64_t i = 0; i < before; ++i) {
      const bool kept = grad.final_state && i >= s.length;
      FloatVec dx = kept ? load_part(final_row(i - s.length) + e, count) : hn::Zero(kTag);
      for (std::int64_t k = 0; k <= i; ++k) {
        dx = hn::MulAdd(hn::Load(kTag, carry + before * v + (i - k) * kLanes), hn::Load(kTag, taps + k * kBlock + v),
                        dx);
      }
      store_part(dx, grad.state + (b * before + i) * s.channels + e, count);
    }
  }
}

void forward_tasks(const Shape& s, const Inputs<float>& in, const Outputs<float>& out, std::int64_t begin,
                   std::int64_t end) {
  auto taps = hwy::AllocateAligned<float>(s.taps * kWide);
  for (std::int64_t i = begin; i < end;) {
    Task task = make_task(s, i);
    const std::int64_t blocks = std::min({kWide / kBlock, end - i, s.blocks() - task.first / kBlock});
    task.channels = std::min(blocks * kBlock, s.channels - task.first);
    s.taps == 4 ? forward_task<4>(s, in, out, task, taps.get()) : forward_task<0>(s, in, out, task, taps.get());
    i += blocks;
  }
}

void backward_tasks(const Shape& s, const Inputs<float>& in, const Gradients<float>& grad, std::int64_t begin,
                    std::int64_t end) {
  auto scratch = hwy::AllocateAligned<float>((3 * s.taps + 1) * kBlock + 2 * (s.taps + kTile) * kLanes);
  for (std::int64_t i = begin; i < end; ++i) {
    const Task task = make_task(s, i);
    s.taps == 4 ? backward_task<4>(s, in, grad, task, scratch.get())
                : backward_task<0>(s, in, grad, task, scratch.get());
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace hymba::kernels::conv
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace hymba::kernels::conv {

HWY_EXPORT(forward_tasks);
HWY_EXPORT(backward_tasks);

void forward(const Shape& shape, const Inputs<float>& in, const Outputs<float>& out, std::int64_t begin,
             std::int64_t end) {
  HWY_DYNAMIC_DISPATCH(forward_tasks)(shape, in, out, begin, end);
}

void backward(const Shape& shape, const Inputs<float>& in, const Gradients<float>& grad, std::int64_t begin,
              std::int64_t end) {
  HWY_DYNAMIC_DISPATCH(backward_tasks)(shape, in, grad, begin, end);
}

}  // namespace hymba::kernels::conv
#endif  // HWY_ONCE
