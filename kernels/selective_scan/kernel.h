// What the selective scan's implementations take: raw pointers, no torch. forward.cpp and backward.cpp compute in float
// over a range of tasks; reference.cpp in double over everything.
#pragma once

#include <cstdint>

#include "kernels/rows.h"

namespace hymba::kernels::scan {

constexpr std::int64_t kTile = 32;   // steps between two kept states
constexpr std::int64_t kChunk = 32;  // channels that are walked together: two cache lines a row
constexpr std::int64_t kSpan = 48;   // tiles a span of time has at least: below it starting threads twice costs what they gain

struct Shape {
  std::int64_t batch = 0, length = 0, channels = 0, states = 0, groups = 1;
  bool softplus = true;
  std::int64_t block = kChunk;  // channels a task; depends on the shape only, so that sums have one order

  std::int64_t group_channels() const { return channels / groups; }
  std::int64_t group_blocks() const { return (group_channels() + block - 1) / block; }
  std::int64_t tasks() const { return batch * groups * group_blocks(); }
  std::int64_t tiles() const { return (length + kTile - 1) / kTile; }
};

// Few sequences and channels: time is cut into spans, runs of whole tiles, numbered in the order of the walk (backward:
// from the end). A walk needs the state at which its span is entered. Span 0 is walked at once, while the spans behind
// it but the last are summed up, which costs less: where zeros at entry would lead, and the sum of dt, from which the
// decay over the span follows. carry() makes true states of that, and spans 1, 2, ... are walked, all at once.
struct Spans {
  std::int64_t count = 1;
  std::int64_t lead = 0;    // tiles of span 0, which is shorter: its walk takes as long as another's summing up
  float* states = nullptr;  // [count, B, E, N]: at entry (backward: the gradient of that state), of spans 1, 2, ...
  float* steps = nullptr;   // [count, B, E]: the sum of dt

  // Tiles [edge(i), edge(i + 1)) of span i, counted along the walk.
  std::int64_t edge(std::int64_t i, std::int64_t tiles) const {
    return i == 0 ? 0 : count == 1 ? tiles : lead + (tiles - lead) * (i - 1) / (count - 1);
  }
};

template <class T>
struct Inputs {
  Rows<const T> u, dt, z, B, C;  // B and C: rows of [G, N]
  const T* A = nullptr;          // [E, N]
  const T* D = nullptr;          // [E] or null
  const T* dt_bias = nullptr;    // [E] or null
  const T* h0 = nullptr;         // [B, E, N] or null (zeros)
};

template <class T>
struct Outputs {
  Rows<T> y;
  T* h = nullptr;       // [B, E, N], may be h0
  T* states = nullptr;  // kept for the backward pass, or null: [B, tiles, N, E], the state before each tile,
  Rows<T> ungated{};    // and with a gate y before it
};

// Gradients. backward.cpp leaves partial sums for the caller to add up in a fixed order: A, D, dt_bias per span and
// sequence, B and C per block of a group's channels: [group_blocks, B, L, G, N]. The reference adds to zeroed whole
// gradients instead. In the rows of z backward.cpp finds y before the gate, as the forward pass kept it, and writes the
// gradient over it.
template <class T>
struct Gradients {
  Rows<const T> y;       // given
  const T* h = nullptr;  // given for the final state, or null
  Rows<T> u, dt, z;
  T* A = nullptr;  // [spans, B, E, N]; reference: [E, N]
  T* B = nullptr;
  T* C = nullptr;
  T* D = nullptr;        // [spans, B, E]; reference: [E]
  T* dt_bias = nullptr;  // [spans, B, E]; reference: [E]
  T* h0 = nullptr;       // [B, E, N]
};

// Task i is task i % shape.tasks() of span i / shape.tasks(): [begin, end) of shape.tasks() * spans.count.
void forward(const Shape& shape, const Inputs<float>& in, const Outputs<float>& out, const Spans& spans,
             std::int64_t begin, std::int64_t end);
void backward(const Shape& shape, const Inputs<float>& in, const float* states, const Gradients<float>& grad,
              const Spans& spans, std::int64_t begin, std::int64_t end);

// spans.cpp. The same tasks, of spans 1 to count - 2; `dy` rows: backward, null rows: forward.
void sum_up(const Shape& shape, const Inputs<float>& in, const Rows<const float>& dy, const Spans& spans,
            std::int64_t begin, std::int64_t end);
// States at entry of spans 2, 3, ... for sequences [begin, end), once span 0 is walked and the others are summed up.
void carry(const Shape& shape, const float* A, const Spans& spans, std::int64_t begin, std::int64_t end);

// One step of every sequence (length 1): B and C rows of [G, N], h in place. Tasks: step_tasks().
constexpr std::int64_t kStepBlock = 64;  // channels a task
inline std::int64_t step_tasks(const Shape& s) {
  return s.batch * s.groups * ((s.group_channels() + kStepBlock - 1) / kStepBlock);
}
void step(const Shape& shape, const Inputs<float>& in, const Outputs<float>& out, std::int64_t begin, std::int64_t end);

void forward_reference(const Shape& shape, const Inputs<double>& in, const Outputs<double>& out);
void backward_reference(const Shape& shape, const Inputs<double>& in, const Gradients<double>& grad);

}  // namespace hymba::kernels::scan
