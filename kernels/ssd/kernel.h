// What op.cpp, reference.cpp and the vector code share: raw pointers and sizes, no tensors, no threads.
#pragma once

#include <algorithm>
#include <cstdint>
#include <limits>

namespace hymba::kernels::ssd_detail {

// Element (b, l, i, j) of a [B,L,I,J] tensor lies at data[b * sb + l * sl + i * si + j].
template <class T>
struct Rows {
  const T* data = nullptr;
  std::int64_t sb = 0, sl = 0, si = 0;
  const T* at(std::int64_t b, std::int64_t l, std::int64_t i) const { return data + b * sb + l * sl + i * si; }
};

template <class T>
struct Args {
  std::int64_t B = 0, L = 0, H = 0, P = 0, G = 1, N = 0, chunk = 64;
  bool softplus = true;
  T dt_min = 0, dt_max = std::numeric_limits<T>::infinity();
  Rows<T> x, dt, Bm, Cm;                                               // dt: [B,L,H,1]
  const T *A = nullptr, *D = nullptr, *bias = nullptr, *h0 = nullptr;  // h0 [B,H,P,N]; the last three may be null
  T *y = nullptr, *h = nullptr;                                        // [B,L,H,P], [B,H,P,N]

  // Backward: gradients of y and h (dh may be null), then what it writes. dA, dD and dbias are partial sums
  // [B * chunks, H] in backward.cpp and sums [H] in reference.cpp; dD, dbias and dh0 may be null.
  Rows<T> dy;
  const T* dh = nullptr;
  T *dx = nullptr, *ddt = nullptr, *dB = nullptr, *dC = nullptr, *dA = nullptr, *dD = nullptr, *dbias = nullptr;
  T* dh0 = nullptr;

  // Vector code: states [B, chunks + 1, H, P, width of N]: h before each chunk and after the last; dstates: the
  // gradients of those; decay [B, chunks, H]: what a chunk leaves of the state before it.
  T *states = nullptr, *dstates = nullptr, *decay = nullptr;

  std::int64_t chunks() const { return (L + chunk - 1) / chunk; }
};

// reference.cpp: the definition.
void reference_forward(const Args<double>& a);
void reference_backward(const Args<double>& a);

// states.cpp, forward.cpp, backward.cpp. Each function takes tasks [begin, end) in any split; the passes run one after
// the other: forward: chunk_states, pass_states, outputs; backward: chunk_gradients, pass_gradients, gradients.
constexpr std::int64_t kPassRows = 8;  // rows of a head's state that pass_states and pass_gradients take at a time
inline std::int64_t pass_blocks(const Args<float>& a) { return (a.P + kPassRows - 1) / kPassRows; }
inline std::int64_t head_tasks(const Args<float>& a) { return a.B * a.chunks() * a.H; }      // chunk_*
inline std::int64_t pass_tasks(const Args<float>& a) { return a.B * a.H * pass_blocks(a); }  // pass_*
inline std::int64_t group_tasks(const Args<float>& a) { return a.B * a.chunks() * a.G; }     // outputs, gradients
std::int64_t state_floats(const Args<float>& a);
void chunk_states(const Args<float>& a, std::int64_t begin, std::int64_t end);
void pass_states(const Args<float>& a, std::int64_t begin, std::int64_t end);
void outputs(const Args<float>& a, std::int64_t begin, std::int64_t end);
void chunk_gradients(const Args<float>& a, std::int64_t begin, std::int64_t end);
void pass_gradients(const Args<float>& a, std::int64_t begin, std::int64_t end);
void gradients(const Args<float>& a, std::int64_t begin, std::int64_t end);
// One step on the state h in place: L = 1, step_tasks.
inline std::int64_t step_tasks(const Args<float>& a) { return a.B * a.H; }
void step(const Args<float>& a, std::int64_t begin, std::int64_t end);

}  // namespace hymba::kernels::ssd_detail
