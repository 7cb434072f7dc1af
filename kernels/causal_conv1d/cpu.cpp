// Vector over channels; a task is one span of one sequence and kBlock channels, and neighbouring blocks are taken together, so
// that memory is read and written in runs. Both passes go by tiles of kTile steps: few enough that a vector's inputs, gradients and taps
// stay in registers, and that the rows, which may lie a page apart, are as many streams as a processor follows.
#include "kernels/targets.h"
//
#include <hwy/aligned_allocator.h>

#include <algorithm>
#include <type_traits>

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
constexpr std::int64_t kWide = 8 * kBlock;  // channels that are taken together

struct Task {
  std::int64_t b, span, begin, end;  // steps [begin, end) of sequence b
  std::int64_t first, channels;      // channels [first, first + channels)
};

Task make_task(const Shape& s, std::int64_t index) {
  const std::int64_t first = index % s.blocks() * kBlock, span = index / s.blocks() % s.spans;
  return {index / s.blocks() / s.spans, span,  s.span_step(span),
          s.span_step(span + 1),        first, std::min(kBlock, s.channels - first)};
}

// weight [channels, W] -> [W, kWide] in scratch, zeros behind the last channel.
void load_taps(const Shape& s, const float* weight, const Task& task, float* taps) {
  std::fill(taps, taps + s.taps * kWide, 0.0f);
  for (std::int64_t e = 0; e < task.channels; ++e) {
    for (std::int64_t k = 0; k < s.taps; ++k) taps[k * kWide + e] = weight[(task.first + e) * s.taps + k];
  }
}

// Input t of one vector of channels; t < 0: the state's.
HWY_INLINE FloatVec load_input(const Shape& s, const Inputs<float>& in, std::int64_t b, std::int64_t t, std::int64_t e,
                               std::int64_t count) {
  if (HWY_LIKELY(t >= 0)) return load_part(in.x.row(b, t) + e, count);
  if (!in.state) return hn::Zero(kTag);
  return load_part(in.state + (b * (s.taps - 1) + t + s.taps - 1) * s.channels + e, count);
}

// The gradient before silu, given the value y there and the gradient behind it.
HWY_INLINE FloatVec before_silu(FloatVec y, FloatVec dy) {
  const FloatVec one = hn::Set(kTag, 1.0f), sig = sigmoid(y);
  return hn::Mul(dy, hn::Mul(sig, hn::MulAdd(y, hn::Sub(one, sig), one)));
}

// Outputs [t0, t0 + steps) of one vector of channels, steps <= kTile; kTaps 0: any number.
template <int kTaps>
HWY_INLINE void forward_tile(const Shape& s, const Inputs<float>& in, const Outputs<float>& out, const Task& task,
                             const float* HWY_RESTRICT taps, std::int64_t t0, std::int64_t steps, std::int64_t v) {
  const std::int64_t before = s.taps - 1, e = task.first + v, count = task.channels - v;
  const FloatVec bias = in.bias ? load_part(in.bias + e, count) : hn::Zero(kTag);
  const auto finish = [&](std::int64_t t, FloatVec y) HWY_ATTR {
    store_part(s.silu ? hn::Mul(y, sigmoid(y)) : y, out.y.row(task.b, t) + e, count);
  };
  if constexpr (kTaps > 0) {
    if (HWY_LIKELY(steps == kTile)) {
      FloatVec x[kTaps - 1 + kTile], tap[kTaps];
#pragma GCC unroll 4
      for (int k = 0; k < kTaps; ++k) tap[k] = hn::Load(kTag, taps + k * kWide + v);
#pragma GCC unroll 16
      for (int i = 0; i < kTaps - 1 + kTile; ++i) x[i] = load_input(s, in, task.b, t0 + i - before, e, count);
#pragma GCC unroll 8
      for (int t = 0; t < kTile; ++t) {
        FloatVec y = bias;
#pragma GCC unroll 4
        for (int k = 0; k < kTaps; ++k) y = hn::MulAdd(x[t + k], tap[k], y);
        finish(t0 + t, y);
      }
      return;
    }
  }
  for (std::int64_t t = t0; t < t0 + steps; ++t) {
    FloatVec y = bias;
    for (std::int64_t k = 0; k < s.taps; ++k) {
      y = hn::MulAdd(load_input(s, in, task.b, t - before + k, e, count), hn::Load(kTag, taps + k * kWide + v), y);
    }
    finish(t, y);
  }
}

template <int kTaps>
void forward_task(const Shape& s, const Inputs<float>& in, const Outputs<float>& out, const Task& task, float* taps) {
  const std::int64_t before = s.taps - 1;
  load_taps(s, in.weight, task, taps);
  for (std::int64_t t0 = task.begin; t0 < task.end; t0 += kTile) {
    const std::int64_t steps = std::min(kTile, task.end - t0);
    for (std::int64_t v = 0; v < task.channels; v += kLanes) forward_tile<kTaps>(s, in, out, task, taps, t0, steps, v);
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

// The gradients before silu of the W - 1 steps behind a span, which its last inputs reach: [kWide / kLanes, W - 1,
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
          y = hn::MulAdd(load_input(s, in, task.b, t - before + k, e, count), hn::Load(kTag, taps + k * kWide + v), y);
        }
        g = before_silu(y, g);
      }
      hn::Store(g, kTag, carry + before * v + i * kLanes);
    }
  }
}

// The walk back over one task, from its last tile to its first, a vector of channels at a time.
struct WalkBack {
  const Shape& s;
  const Inputs<float>& in;
  const Gradients<float>& grad;
  const Task& task;
  std::int64_t before = s.taps - 1;
  float *taps, *dtaps, *dbias;  // [W, kWide], [W, kWide], [kWide]
  float* carry;                 // [kWide / kLanes, W - 1, kLanes]: first gradients before silu of the tile behind
  float *window, *g;            // [W - 1 + kTile, kLanes]: inputs; [kTile + W - 1, kLanes]: gradients before silu

  static std::int64_t scratch_floats(const Shape& s) { return (3 * s.taps + 1) * kWide + 2 * (s.taps + kTile) * kLanes; }

  WalkBack(const Shape& shape, const Inputs<float>& inputs, const Gradients<float>& gradients, const Task& one, float* scratch)
      : s(shape), in(inputs), grad(gradients), task(one), taps(scratch) {
    dtaps = taps + s.taps * kWide, dbias = dtaps + s.taps * kWide, carry = dbias + kWide;
    window = carry + before * kWide, g = window + (before + kTile) * kLanes;
    load_taps(s, in.weight, task, taps);
    std::fill(dtaps, window, 0.0f);
    gradients_behind(s, in, grad, task, taps, carry);
  }

  // What a final state's gradient adds to that of input t, one of the last W - 1; else zeros.
  HWY_INLINE FloatVec from_final_state(std::int64_t t, std::int64_t e, std::int64_t count) const {
    const std::int64_t i = t + before - s.length;
    if (!grad.final_state || i < 0) return hn::Zero(kTag);
    return load_part(grad.final_state + (task.b * before + i) * s.channels + e, count);
  }

  // kTile steps from t0 on, in registers.
  template <int kTaps>
  HWY_INLINE void whole_tile(std::int64_t t0, std::int64_t v) const {
    const std::int64_t e = task.first + v, count = task.channels - v;
    const FloatVec bias = in.bias ? load_part(in.bias + e, count) : hn::Zero(kTag);
    FloatVec x[kTaps - 1 + kTile], d[kTile + kTaps - 1], tap[kTaps];  // d: gradients before silu
#pragma GCC unroll 4
    for (int k = 0; k < kTaps; ++k) tap[k] = hn::Load(kTag, taps + k * kWide + v);
#pragma GCC unroll 16
    for (int i = 0; i < kTaps - 1 + kTile; ++i) x[i] = load_input(s, in, task.b, t0 + i - before, e, count);
#pragma GCC unroll 4
    for (int i = 0; i < kTaps - 1; ++i) d[kTile + i] = hn::Load(kTag, carry + before * v + i * kLanes);
    FloatVec sum = hn::Load(kTag, dbias + v);
#pragma GCC unroll 8
    for (int t = 0; t < kTile; ++t) {
      d[t] = load_part(grad.y.row(task.b, t0 + t) + e, count);
      if (s.silu) {
        FloatVec y = bias;
#pragma GCC unroll 4
        for (int k = 0; k < kTaps; ++k) y = hn::MulAdd(x[t + k], tap[k], y);
        d[t] = before_silu(y, d[t]);
      }
      sum = hn::Add(sum, d[t]);
    }
    hn::Store(sum, kTag, dbias + v);
#pragma GCC unroll 4
    for (int k = 0; k < kTaps; ++k) {
      FloatVec dtap = hn::Load(kTag, dtaps + k * kWide + v);
#pragma GCC unroll 8
      for (int t = 0; t < kTile; ++t) dtap = hn::MulAdd(d[t], x[t + k], dtap);
      hn::Store(dtap, kTag, dtaps + k * kWide + v);
    }
#pragma GCC unroll 8
    for (int t = 0; t < kTile; ++t) {
      FloatVec dx = from_final_state(t0 + t, e, count);
#pragma GCC unroll 4
      for (int k = 0; k < kTaps; ++k) dx = hn::MulAdd(d[t + kTaps - 1 - k], tap[k], dx);
      store_part(dx, grad.x.row(task.b, t0 + t) + e, count);
    }
#pragma GCC unroll 4
    for (int i = 0; i < kTaps - 1; ++i) hn::Store(d[i], kTag, carry + before * v + i * kLanes);
  }

  // Up to kTile steps from t0 on and any number of taps: what whole_tile() does, by way of scratch.
  void any_tile(std::int64_t t0, std::int64_t steps, std::int64_t v) const {
    const std::int64_t e = task.first + v, count = task.channels - v;
    const FloatVec bias = in.bias ? load_part(in.bias + e, count) : hn::Zero(kTag);
    for (std::int64_t i = 0; i < before + steps; ++i) {
      hn::Store(load_input(s, in, task.b, t0 + i - before, e, count), kTag, window + i * kLanes);
    }
    std::copy(carry + before * v, carry + before * (v + kLanes), g + steps * kLanes);
    FloatVec sum = hn::Load(kTag, dbias + v);
    for (std::int64_t t = 0; t < steps; ++t) {
      FloatVec dy = load_part(grad.y.row(task.b, t0 + t) + e, count);
      if (s.silu) {
        FloatVec y = bias;
        for (std::int64_t k = 0; k < s.taps; ++k) {
          y = hn::MulAdd(hn::Load(kTag, window + (t + k) * kLanes), hn::Load(kTag, taps + k * kWide + v), y);
        }
        dy = before_silu(y, dy);
      }
      hn::Store(dy, kTag, g + t * kLanes);
      sum = hn::Add(sum, dy);
    }
    hn::Store(sum, kTag, dbias + v);
    for (std::int64_t k = 0; k < s.taps; ++k) {
      FloatVec dtap = hn::Load(kTag, dtaps + k * kWide + v);
      for (std::int64_t t = 0; t < steps; ++t) {
        dtap = hn::MulAdd(hn::Load(kTag, g + t * kLanes), hn::Load(kTag, window + (t + k) * kLanes), dtap);
      }
      hn::Store(dtap, kTag, dtaps + k * kWide + v);
    }
    for (std::int64_t t = 0; t < steps; ++t) {
      FloatVec dx = from_final_state(t0 + t, e, count);
      for (std::int64_t k = 0; k < s.taps; ++k) {
        dx = hn::MulAdd(hn::Load(kTag, g + (t + before - k) * kLanes), hn::Load(kTag, taps + k * kWide + v), dx);
      }
      store_part(dx, grad.x.row(task.b, t0 + t) + e, count);
    }
    std::copy(g, g + before * kLanes, carry + before * v);
  }

  // Every step of the task, then the sums over them. kTaps 0: any number.
  template <int kTaps>
  void run() const {
    const std::int64_t tiles = (task.end - task.begin + kTile - 1) / kTile;
    for (std::int64_t t0 = task.begin + (tiles - 1) * kTile; t0 >= task.begin; t0 -= kTile) {
      const std::int64_t steps = std::min(kTile, task.end - t0);
      for (std::int64_t v = 0; v < task.channels; v += kLanes) {
        if constexpr (kTaps > 0) {
          if (HWY_LIKELY(steps == kTile)) {
            whole_tile<kTaps>(t0, v);
            continue;
          }
        }
        any_tile(t0, steps, v);
      }
    }
    const std::int64_t sums = (task.b * s.spans + task.span) * s.channels + task.first;
    for (std::int64_t e = 0; e < task.channels; ++e) {
      for (std::int64_t k = 0; k < s.taps; ++k) grad.weight[(sums + e) * s.taps + k] = dtaps[k * kWide + e];
      if (grad.bias) grad.bias[sums + e] = dbias[e];
    }
    if (grad.state && task.span == 0) state();
  }

  // The inputs before x: `carry` holds the gradients of the first W - 1 outputs (zeros behind the last one).
  void state() const {
    for (std::int64_t v = 0; v < task.channels; v += kLanes) {
      const std::int64_t e = task.first + v, count = task.channels - v;
      for (std::int64_t i = 0; i < before; ++i) {
        FloatVec dx = from_final_state(i - before, e, count);
        for (std::int64_t k = 0; k <= i; ++k) {
          dx = hn::MulAdd(hn::Load(kTag, carry + before * v + (i - k) * kLanes), hn::Load(kTag, taps + k * kWide + v), dx);
        }
        store_part(dx, grad.state + (task.b * before + i) * s.channels + e, count);
      }
    }
  }
};

// Calls run(k), k a constant: the number of taps where it is one that models use, else 0.
template <class Run>
HWY_INLINE void with_taps(std::int64_t taps, const Run& run) {
  if (taps == 4) return run(std::integral_constant<int, 4>());
  if (taps == 3) return run(std::integral_constant<int, 3>());
  if (taps == 2) return run(std::integral_constant<int, 2>());
  run(std::integral_constant<int, 0>());
}

// Calls run(task) for tasks [begin, end), neighbouring blocks of channels together.
template <class Run>
void for_wide_tasks(const Shape& s, std::int64_t begin, std::int64_t end, const Run& run) {
  for (std::int64_t i = begin; i < end;) {
    Task task = make_task(s, i);
    const std::int64_t blocks = std::min({kWide / kBlock, end - i, s.blocks() - task.first / kBlock});
    task.channels = std::min(blocks * kBlock, s.channels - task.first);
    run(task);
    i += blocks;
  }
}

void forward_tasks(const Shape& s, const Inputs<float>& in, const Outputs<float>& out, std::int64_t begin,
                   std::int64_t end) {
  auto taps = hwy::AllocateAligned<float>(s.taps * kWide);
  for_wide_tasks(s, begin, end, [&](const Task& task) {
    with_taps(s.taps, [&](auto number) HWY_ATTR { forward_task<number>(s, in, out, task, taps.get()); });
  });
}

void backward_tasks(const Shape& s, const Inputs<float>& in, const Gradients<float>& grad, std::int64_t begin,
                    std::int64_t end) {
  auto scratch = hwy::AllocateAligned<float>(WalkBack::scratch_floats(s));
  for_wide_tasks(s, begin, end, [&](const Task& task) {
    const WalkBack walk(s, in, grad, task, scratch.get());
    with_taps(s.taps, [&](auto number) HWY_ATTR { walk.run<number>(); });
  });
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
