// What the causal convolution's implementations take: raw pointers, no torch.
#pragma once

#include <algorithm>
#include <cstdint>

#include "kernels/rows.h"

namespace hymba::kernels::conv {

constexpr std::int64_t kTile = 8;    // steps that are walked together
constexpr std::int64_t kBlock = 64;  // channels a task

struct Shape {
  std::int64_t batch = 0, length = 0, channels = 0, taps = 0;
  bool silu = false;
  std::int64_t spans = 1;  // runs of whole tiles that forward and backward take as tasks of their own

  std::int64_t blocks() const { return (channels + kBlock - 1) / kBlock; }
  std::int64_t tasks() const { return batch * spans * blocks(); }
  std::int64_t tiles() const { return (length + kTile - 1) / kTile; }
  std::int64_t span_step(std::int64_t i) const { return std::min(length, tiles() * i / spans * kTile); }  // its first
};

template <class T>
struct Inputs {
  Rows<const T> x;
  const T* weight = nullptr;  // [E, W]
  const T* bias = nullptr;    // [E] or null
  const T* state = nullptr;   // [B, W - 1, E] or null (zeros)
};

template <class T>
struct Outputs {
  Rows<T> y;
  T* state = nullptr;  // [B, W - 1, E]; of one step: may be the input's
};

// cpu.cpp leaves sums per sequence and span for weight and bias, the reference adds to zeroed whole gradients.
template <class T>
struct Gradients {
  Rows<const T> y;                 // given
  const T* final_state = nullptr;  // given, or null
  Rows<T> x;
  T* weight = nullptr;  // [B, spans, E, W]; reference: [E, W]
  T* bias = nullptr;    // [B, spans, E]; reference: [E]; or null
  T* state = nullptr;   // [B, W - 1, E] or null
};

void forward(const Shape& shape, const Inputs<float>& in, const Outputs<float>& out, std::int64_t begin,
             std::int64_t end);
void backward(const Shape& shape, const Inputs<float>& in, const Gradients<float>& grad, std::int64_t begin,
              std::int64_t end);

// One step (length 1), the state in place: out.state is in.state. Tasks: step_tasks().
constexpr std::int64_t kStepBlock = 512;  // channels a task
inline std::int64_t step_tasks(const Shape& s) { return s.batch * ((s.channels + kStepBlock - 1) / kStepBlock); }
void step(const Shape& shape, const Inputs<float>& in, const Outputs<float>& out, std::int64_t begin, std::int64_t end);

void forward_reference(const Shape& shape, const Inputs<double>& in, const Outputs<double>& out);
void backward_reference(const Shape& shape, const Inputs<double>& in, const Gradients<double>& grad);

}  // namespace hymba::kernels::conv
