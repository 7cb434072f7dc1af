// What the scan's passes share: tasks, states in scratch, prefetching. Compiled once per instruction set.
#if defined(HYMBA_KERNELS_SCAN_TASKS_INL_H) == defined(HWY_TARGET_TOGGLE)
#ifdef HYMBA_KERNELS_SCAN_TASKS_INL_H
#undef HYMBA_KERNELS_SCAN_TASKS_INL_H
#else
#define HYMBA_KERNELS_SCAN_TASKS_INL_H
#endif

#include <hwy/highway.h>

#include <algorithm>
#include <cstdint>

#include "kernels/selective_scan/kernel.h"
#include "kernels/vector_math-inl.h"

HWY_BEFORE_NAMESPACE();
namespace hymba::kernels::scan {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;
using namespace kernels::HWY_NAMESPACE;  // NOLINT

constexpr FloatTag kTag;
// Not a multiple of 4 KiB: a store to one tile must not look to the processor like a later load from another.
constexpr std::int64_t kTileFloats = kTile * kChunk + 112;

// One task: a span of sequence b, channels [first, last), and where its scratch lies. `width` is the block's width in
// scratch; tiles [begin, end) are counted along the walk.
struct Task {
  std::int64_t b, group, block, first, last, width, span, begin, end;
};

inline Task make_task(const Shape& s, const Spans& spans, std::int64_t index) {
  Task task;
  task.span = index / s.tasks();
  task.begin = spans.edge(task.span, s.tiles()), task.end = spans.edge(task.span + 1, s.tiles());
  index %= s.tasks();
  task.block = index % s.group_blocks();
  task.group = index / s.group_blocks() % s.groups;
  task.b = index / (s.group_blocks() * s.groups);
  task.first = task.group * s.group_channels() + task.block * s.block;
  task.last = std::min(task.first + s.block, (task.group + 1) * s.group_channels());
  task.width = (task.last - task.first + kChunk - 1) / kChunk * kChunk;
  return task;
}

// Where the task's states [channels, N] lie in an array [spans, B, E, N], and its sums in one of [spans, B, E].
inline std::int64_t channel_offset(const Shape& s, const Task& task, std::int64_t span) {
  return (span * s.batch + task.b) * s.channels + task.first;
}
inline std::int64_t state_offset(const Shape& s, const Task& task, std::int64_t span) {
  return channel_offset(s, task, span) * s.states;
}

// The state at which a walk enters the task's span, from `given` [B, E, N] (null: zeros) in span 0; and where to leave
// that at its end: in `last` [B, E, N] (may be null) behind the last span, null where carry() knows it.
inline const float* state_at_entry(const Shape& s, const Spans& spans, const Task& task, const float* given) {
  if (task.span > 0) return spans.states + state_offset(s, task, task.span);
  return given ? given + state_offset(s, task, 0) : nullptr;
}
inline float* state_at_exit(const Shape& s, const Spans& spans, const Task& task, float* last) {
  if (task.span + 1 == spans.count) return last ? last + state_offset(s, task, 0) : nullptr;
  return task.span == 0 ? spans.states + state_offset(s, task, 1) : nullptr;
}

// [channels, N] in memory <-> [N, width] in scratch; absent or padded: zeros.
inline void load_states(const float* from, std::int64_t channels, std::int64_t N, std::int64_t width, float scale,
                        float* to) {
  std::fill(to, to + N * width, 0.0f);
  if (!from) return;
  for (std::int64_t e = 0; e < channels; ++e) {
    for (std::int64_t n = 0; n < N; ++n) to[n * width + e] = from[e * N + n] * scale;
  }
}

inline void store_states(const float* from, std::int64_t channels, std::int64_t N, std::int64_t width, float* to) {
  for (std::int64_t e = 0; e < channels; ++e) {
    for (std::int64_t n = 0; n < N; ++n) to[e * N + n] = from[n * width + e];
  }
}

// Cache lines of the next chunk, asked for one by one in the loops over the states: with thousands of channels every
// row is a page of its own, which the hardware's prefetchers do not cross, and asking for all at once stalls.
class Ahead {
 public:
  // The next chunk: `steps` rows from step t0 of sequence b, from channel e on.
  Ahead(std::int64_t b, std::int64_t t0, std::int64_t e, std::int64_t steps) : b_(b), t0_(t0), e_(e), steps_(steps) {}

  template <class T>
  void add(const Rows<T>& rows) {
    if (!rows.data || steps_ <= 0) return;
    for (int line = 0; line < 2; ++line) {
      stride_[count_] = rows.row_stride * static_cast<std::int64_t>(sizeof(float));
      start_[count_++] = reinterpret_cast<const char*>(rows.row(b_, t0_) + e_) + 64 * line;
    }
  }

  // Call number `call` of `calls`, each over all steps, fetches the columns [first, last) of lines.
  void share(std::int64_t call, std::int64_t calls, int* first, int* last) const {
    *first = static_cast<int>(count_ * call / calls);
    *last = static_cast<int>(count_ * (call + 1) / calls);
  }

  HWY_INLINE void fetch(int first, int last, std::int64_t step) const {
    for (int i = first; i < last; ++i) __builtin_prefetch(start_[i] + step * stride_[i], 0, 2);
  }

 private:
  std::int64_t b_, t0_, e_, steps_;
  int count_ = 0;
  const char* start_[14];  // two lines each of the backward pass's seven tensors
  std::int64_t stride_[14];
};

// What follows the chunk from channel e0 on in the tile that a walk takes as its i-th: the next one of the tile, else the first of the task's
// next tile, else that of the next task (null: nothing).
template <bool kBackward>
Ahead next_chunk(const Shape& s, const Task& task, const Task* next, std::int64_t i, std::int64_t e0) {
  const auto chunk = [&s](const Task& of, std::int64_t at, std::int64_t e) {
    const std::int64_t t0 = (kBackward ? s.tiles() - 1 - at : at) * kTile;
    return Ahead(of.b, t0, e, std::min(kTile, s.length - t0));
  };
  if (e0 + kChunk < task.last) return chunk(task, i, e0 + kChunk);
  if (i + 1 < task.end) return chunk(task, i + 1, task.first);
  return next ? chunk(*next, next->begin, next->first) : Ahead(0, 0, 0, 0);
}

// Calls walk(task, next task or null) for the tasks [begin, end).
template <class Walk>
void for_each_task(const Shape& s, const Spans& spans, std::int64_t begin, std::int64_t end, const Walk& walk) {
  for (std::int64_t i = begin; i < end; ++i) {
    const Task task = make_task(s, spans, i), next = i + 1 < end ? make_task(s, spans, i + 1) : task;
    walk(task, i + 1 < end ? &next : nullptr);
  }
}

inline FloatVec load_channel(const float* per_channel, std::int64_t e, std::int64_t count) {
  return per_channel ? load_part(per_channel + e, count) : hn::Zero(kTag);
}

// One vector of channels in the rows of a tile; `count` channels are left, all others read as zeros and are not written. Null: absent.
template <class T>
struct Column {
  T* data;
  std::int64_t stride, count;
  Column(const Rows<T>& rows, std::int64_t b, std::int64_t t0, std::int64_t e, std::int64_t channels)
      : data(rows.data ? rows.row(b, t0) + e : nullptr), stride(rows.row_stride), count(channels) {}
  HWY_INLINE FloatVec load(std::int64_t t) const { return load_part(data + t * stride, count); }
  HWY_INLINE void store(FloatVec v, std::int64_t t) const { store_part(v, data + t * stride, count); }
};

// dt (with bias and softplus) and w = dt * u of one vector of channels over a tile, into scratch tiles; with kBackward into `extra` the slope of
// dt by its input, else D * u.
template <bool kBackward>
HWY_INLINE void load_steps(const Shape& s, const Inputs<float>& in, const Column<const float>& dt_in, const Column<const float>& u_in,
                           std::int64_t e, std::int64_t steps, float* HWY_RESTRICT dt, float* HWY_RESTRICT w, float* HWY_RESTRICT extra) {
  const FloatVec bias = load_channel(in.dt_bias, e, dt_in.count), skip = load_channel(in.D, e, dt_in.count);
  const bool with_softplus = s.softplus;
  for (std::int64_t t = 0; t < steps; ++t) {
    FloatVec step = hn::Add(dt_in.load(t), bias), slope = hn::Set(kTag, 1.0f);
    if (with_softplus) step = softplus(step, kBackward ? &slope : nullptr);
    const FloatVec u = u_in.load(t);
    hn::Store(step, kTag, dt + t * kChunk);
    hn::Store(hn::Mul(step, u), kTag, w + t * kChunk);
    hn::Store(kBackward ? slope : hn::Mul(skip, u), kTag, extra + t * kChunk);
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace hymba::kernels::scan
HWY_AFTER_NAMESPACE();

#endif  // HYMBA_KERNELS_SCAN_TASKS_INL_H
