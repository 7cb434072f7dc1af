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

  float* pairs = nullptr;  // PairLayout::floats(), filled by cpu_round(): the forward pass multiplies in bf16; null: in float32

  std::int64_t key_position(std::int64_t j) const { return j < prefix ? j : j + key_gap; }
};

// k and v as pairs of bf16, of each (batch, KV head) one behind the other: S rows of pairs of features, then rows of pairs of keys. Those
// are of positions 2 i and 2 i + 1, prefix and window apart, so that a block of keys that ends at an even position ends with a pair.
struct PairLayout {
  std::int64_t keys, split, gap, k_width, v_width;  // keys below `split` are at position j, others at j + gap; floats of a row

  explicit PairLayout(const Args<float>& a)
      : keys(a.S),
        split(a.window < 0 && a.key_gap == 0 ? 0 : a.prefix < a.S ? a.prefix : a.S),
        gap(a.key_gap),
        k_width((a.P + 31) / 32 * 16),
        v_width((a.V + 15) / 16 * 16) {}

  // The row of v's pairs that holds the key; behind the last key: the number of rows.
  std::int64_t v_row(std::int64_t key) const { return key < split ? key / 2 : (key + gap) / 2 - (split + gap) / 2 + (split + 1) / 2; }
  std::int64_t v_rows() const { return keys == 0 ? 0 : v_row(keys - 1) + 1; }
  std::int64_t head_floats() const { return keys * k_width + v_rows() * v_width; }
  std::int64_t floats(const Args<float>& a) const { return a.B * a.K * head_floats(); }
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
inline constexpr std::int64_t kRoundedKeys = 256;  // a task of cpu_round(), of one (batch, KV head)
inline std::int64_t round_tasks(const Args<float>& a) { return a.B * a.K * ((a.S + kRoundedKeys - 1) / kRoundedKeys); }
void cpu_round(const Args<float>& a, std::int64_t begin, std::int64_t end);
void cpu_forward(const Args<float>& a, std::int64_t begin, std::int64_t end);
void cpu_backward(const Args<float>& a, std::int64_t begin, std::int64_t end);
// Adds the chunks' partial sums, in order, for keys [begin, end) of the B*S*K key rows; only where chunks > 1.
void cpu_reduce(const Args<float>& a, std::int64_t begin, std::int64_t end);

}  // namespace hymba::kernels::window_attention_detail
