// What op.cpp, reference.cpp and the vector code share: raw pointers and sizes, no tensors, no threads.
#pragma once

#include <cstdint>

namespace hymba::kernels::window_attention_detail {

// Element (b, l, h, i) of a [B,L,H,features] tensor lies at data[b * sb + l * sl + h * sh + i].
template <class T>
struct Rows {
  T* data = nullptr;
  std::int64_t sb = 0, sl = 0, sh = 0;
  T* at(std::int64_t b, std::int64_t l, std::int64_t h) const { return data + b * sb + l * sl + h * sh; }
};

// Outputs are contiguous. The backward reads o and lse and writes dq, dk, dv.
template <class T>
struct Args {
  std::int64_t B = 0, L = 0, S = 0, H = 0, K = 0, P = 0, V = 0;
  std::int64_t window = -1, prefix = 0, q_start = 0, key_gap = 0;
  T scale = 1;
  Rows<const T> q, k, v, o, d_o;
  T* out = nullptr;  // [B,L,H,V], forward
  T* lse = nullptr;  // [B,H,L]: log2 of the sum of exp (vector code), natural log (reference.cpp)
  T *dq = nullptr, *dk = nullptr, *dv = nullptr;
  std::int64_t chunks = 1;  // the queries of one (batch, KV head) are cut into this many backward tasks
  T* partial = nullptr;     // partial_floats(): each task's sums of dk and dv; only where chunks > 1

  std::int64_t key_position(std::int64_t j) const { return j < prefix ? j : j + key_gap; }
};

// reference.cpp: the definition.
void reference_forward(const Args<double>& a);
void reference_backward(const Args<double>& a);

// forward.cpp, backward.cpp: tasks [begin, end), any split, any order.
inline constexpr std::int64_t kTaskRows = 64;  // a forward task is this many (query, head of the group) rows
inline std::int64_t row_tasks(const Args<float>& a) { return (a.L * (a.H / a.K) + kTaskRows - 1) / kTaskRows; }
inline std::int64_t forward_tasks(const Args<float>& a) { return a.B * a.K * row_tasks(a); }
inline std::int64_t backward_tasks(const Args<float>& a) { return a.B * a.K * a.chunks; }
std::int64_t partial_floats(const Args<float>& a);
void cpu_forward(const Args<float>& a, std::int64_t begin, std::int64_t end);
void cpu_backward(const Args<float>& a, std::int64_t begin, std::int64_t end);
// Adds the chunks' partial sums, in order, for keys [begin, end) of the B*S*K key rows; only where chunks > 1.
void cpu_reduce(const Args<float>& a, std::int64_t begin, std::int64_t end);

}  // namespace hymba::kernels::window_attention_detail
