// Lanes run over the features: a decoding step has too few rows to fill a vector with them. A task is one sequence, a
// range of its visible keys and some KV heads; it walks the keys in blocks, all its heads a block, so that the cache is
// read in the order in which it lies in memory, and once for the query heads of a group.
#include "kernels/targets.h"
//
#include <hwy/aligned_allocator.h>

#include <algorithm>
#include <cmath>

#include "kernels/decode_attention/kernel.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/decode_attention/cpu.cpp"
#include <hwy/foreach_target.h>
// Must come after foreach_target.h, which includes this file once an instruction set.
#include <hwy/highway.h>

#include "kernels/dispatch.h"
#include "kernels/dot_products-inl.h"
#include "kernels/tile_products-inl.h"

HWY_BEFORE_NAMESPACE();
namespace hymba::kernels::decode_detail {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;
using namespace kernels::HWY_NAMESPACE;  // NOLINT

constexpr FloatTag kTag;
constexpr float kLowest = -1e30f;

std::int64_t whole_vectors(std::int64_t n) { return (n + kLanes - 1) / kLanes * kLanes; }

// Cache lines of rows, asked for in the order in which they lie, a few at each call.
class Lines {
 public:
  // `rows` rows of `bytes` bytes, `stride` bytes apart, spread over this many calls of fetch().
  Lines(const void* first, std::int64_t bytes, std::int64_t stride, std::int64_t rows, std::int64_t calls)
      : row_(static_cast<const char*>(first)),
        bytes_(bytes),
        stride_(stride),
        rows_(rows),
        each_((rows * ((bytes + kLine - 1) / kLine) + calls - 1) / calls) {}

  HWY_INLINE void fetch() {
    for (std::int64_t i = 0; i < each_ && rows_ > 0; ++i) {
      __builtin_prefetch(row_ + done_, 0, 2);
      done_ += kLine;
      if (done_ >= bytes_) done_ = 0, row_ += stride_, --rows_;
    }
  }

 private:
  static constexpr std::int64_t kLine = 64;
  const char* row_;
  std::int64_t bytes_, stride_, rows_, each_, done_ = 0;
};

// What the next block of keys will read, of all heads: a head's own rows are far apart, more streams than the hardware follows, and all
// lines at once would wait for each other, and the block for them.
struct Ahead {
  Lines k, v;  // asked for by the loops that read k and v
};

// scores[c][key] for kCols queries and a block of keys.
template <int kCols, class T>
HWY_INLINE void scores_of(const T* k, std::int64_t stride, std::int64_t keys, const float* q, std::int64_t q_stride,
                          std::int64_t P, float* scores, Ahead& ahead) {
  constexpr int kRows = static_cast<int>(kLanes) / kCols;
  for (std::int64_t key = 0; key < keys; key += kRows) {
    HWY_ALIGN float sums[kLanes];
    ahead.k.fetch();
    hn::Store(dot_products<kRows, kCols>(k + key * stride, stride, keys - key, q, q_stride, P), kTag, sums);
    for (int r = 0; r < kRows; ++r) {  // past the last key: repeated, and not used
      for (int c = 0; c < kCols; ++c) scores[c * kKeyBlock + key + r] = sums[r * kCols + c];
    }
  }
}

// o[g] = alpha[g] * o[g] + sum over keys of weights[g][key] * v[key] for kQueries queries, kVectors vectors of features
// from feature i on; `count` features are left there.
template <int kQueries, int kVectors, bool kPart, class T>
HWY_INLINE void add_values(const T* v, std::int64_t stride, std::int64_t keys, const float* weights, const float* alpha,
                           float* o, std::int64_t o_stride, std::int64_t count, Ahead& ahead) {
  FloatVec sum[kQueries][kVectors];
#pragma GCC unroll 16
  for (int g = 0; g < kQueries; ++g) {
#pragma GCC unroll 16
    for (int j = 0; j < kVectors; ++j) {
      sum[g][j] = hn::Mul(hn::Set(kTag, alpha[g]), hn::Load(kTag, o + g * o_stride + j * kLanes));
    }
  }
  for (std::int64_t key = 0; key < keys; ++key, v += stride) {
    ahead.v.fetch();
    FloatVec x[kVectors];
#pragma GCC unroll 16
    for (int j = 0; j < kVectors; ++j) {
      x[j] = kPart ? load_float_part(v + j * kLanes, count - j * kLanes) : load_float(v + j * kLanes);
    }
#pragma GCC unroll 16
    for (int g = 0; g < kQueries; ++g) {
      const FloatVec weight = hn::Set(kTag, weights[g * kKeyBlock + key]);
#pragma GCC unroll 16
      for (int j = 0; j < kVectors; ++j) sum[g][j] = hn::MulAdd(weight, x[j], sum[g][j]);
    }
  }
#pragma GCC unroll 16
  for (int g = 0; g < kQueries; ++g) {
#pragma GCC unroll 16
    for (int j = 0; j < kVectors; ++j) hn::Store(sum[g][j], kTag, o + g * o_stride + j * kLanes);
  }
}

template <int kQueries, class T>
HWY_INLINE void add_all_values(const T* v, std::int64_t stride, std::int64_t keys, const float* weights,
                               const float* alpha, float* o, std::int64_t o_stride, std::int64_t V, Ahead& ahead) {
  constexpr int kVectors = kQueries == 1 ? 8 : kQueries == 2 ? 4 : kQueries == 3 ? 3 : 2;  // sums that fit 16 registers
  std::int64_t i = 0;
  const auto add = [&](auto vectors) HWY_ATTR {
    add_values<kQueries, vectors, false>(v + i, stride, keys, weights, alpha, o + i, o_stride, 0, ahead);
    i += vectors * kLanes;
  };
  while (i + kVectors * kLanes <= V) add(std::integral_constant<int, kVectors>());
  if constexpr (kVectors > 4) {
    if (i + 4 * kLanes <= V) add(std::integral_constant<int, 4>());
  }
  if constexpr (kVectors > 2) {
    if (i + 2 * kLanes <= V) add(std::integral_constant<int, 2>());
  }
  while (i + kLanes <= V) add(std::integral_constant<int, 1>());
  if (i < V) add_values<kQueries, 1, true>(v + i, stride, keys, weights, alpha, o + i, o_stride, V - i, ahead);
}

// The queries of one KV head: scaled copies, running maximum and sum (in base 2), weighted sums of the values.
struct Head {
  float *q, *o, *top, *sum;
};

struct Scratch {
  std::int64_t q_width, o_width, group;
  float *heads, *scores, *alpha, *wide_k, *wide_v;

  Head head(std::int64_t i) const {
    float* at = heads + i * head_floats();
    return {at, at + group * q_width, at + group * (q_width + o_width), at + group * (q_width + o_width) + group};
  }
  std::int64_t head_floats() const { return whole_vectors(group * (q_width + o_width + 2)); }
};

// Widens a block of 16-bit rows where several passes would each do it, with zeros up to a whole vector.
template <class T>
const float* widen(const T* rows, std::int64_t stride, std::int64_t keys, std::int64_t n, std::int64_t width,
                   float* to) {
  for (std::int64_t key = 0; key < keys; ++key) {
    std::int64_t i = 0;
    for (; i + kLanes <= n; i += kLanes) hn::Store(load_float(rows + key * stride + i), kTag, to + key * width + i);
    if (i < n) hn::Store(load_float_part(rows + key * stride + i, n - i), kTag, to + key * width + i);
  }
  return to;
}

template <class T>
void all_scores(const T* k, std::int64_t stride, std::int64_t keys, const Head& head, const Scratch& s, std::int64_t P,
                float* scores, Ahead& ahead) {
  std::int64_t g = 0;
  for (; g + 2 <= s.group; g += 2) {
    scores_of<2>(k, stride, keys, head.q + g * s.q_width, s.q_width, P, scores + g * kKeyBlock, ahead);
  }
  if (g < s.group) scores_of<1>(k, stride, keys, head.q + g * s.q_width, s.q_width, P, scores + g * kKeyBlock, ahead);
}

template <class T>
void all_values(const T* v, std::int64_t stride, std::int64_t keys, const Head& head, const Scratch& s,
                std::int64_t V, Ahead& ahead) {
  for (std::int64_t g = 0; g < s.group;) {
    const std::int64_t left = s.group - g;
    const float *weights = s.scores + g * kKeyBlock, *alpha = s.alpha + g;
    float* o = head.o + g * s.o_width;
    const auto add = [&](auto queries) HWY_ATTR {
      add_all_values<queries>(v, stride, keys, weights, alpha, o, s.o_width, V, ahead);
      g += queries;
    };
    if (left == 5) {
      add(std::integral_constant<int, 5>());
    } else if (left >= 4) {
      add(std::integral_constant<int, 4>());
    } else if (left == 3) {
      add(std::integral_constant<int, 3>());
    } else if (left == 2) {
      add(std::integral_constant<int, 2>());
    } else {
      add(std::integral_constant<int, 1>());
    }
  }
}

// Scores -> weights 2^(score - maximum), maximum and sum carried on; alpha: what the earlier sums are multiplied with.
void weigh(std::int64_t keys, std::int64_t group, const Head& head, float* scores, float* alpha) {
  for (std::int64_t g = 0; g < group; ++g) {
    float* row = scores + g * kKeyBlock;
    for (std::int64_t i = keys; i < whole_vectors(keys); ++i) row[i] = kLowest;
    FloatVec high = hn::Set(kTag, head.top[g]);
    for (std::int64_t i = 0; i < keys; i += kLanes) high = hn::Max(high, hn::Load(kTag, row + i));
    high = hn::MaxOfLanes(kTag, high);
    FloatVec sum = hn::Zero(kTag);
    for (std::int64_t i = 0; i < keys; i += kLanes) {
      const FloatVec weight = exp2_or_zero(hn::Sub(hn::Load(kTag, row + i), high));
      hn::Store(weight, kTag, row + i);
      sum = hn::Add(sum, weight);
    }
    const float top = hn::GetLane(high);
    alpha[g] = hn::GetLane(exp2_or_zero(hn::Set(kTag, head.top[g] - top)));
    head.sum[g] = head.sum[g] * alpha[g] + hn::GetLane(hn::SumOfLanes(kTag, sum));
    head.top[g] = top;
  }
}

// The first of the rows of a KV head from a slot on.
template <class T>
struct Rows {
  const T *k, *v;
  Rows(const Args& a, std::int64_t b, std::int64_t slot, std::int64_t kv_head)
      : k(static_cast<const T*>(a.k) + b * a.k_batch + slot * a.k_slot + kv_head * a.k_head),
        v(static_cast<const T*>(a.v) + b * a.v_batch + slot * a.v_slot + kv_head * a.v_head) {}
};

template <class T>
void block(const Args& a, std::int64_t b, std::int64_t slot, std::int64_t keys, std::int64_t kv_head, const Head& head,
           const Scratch& s, Ahead& ahead) {
  const auto [k, v] = Rows<T>(a, b, slot, kv_head);
  constexpr bool kWiden = !std::is_same_v<T, float>;
  if (kWiden && s.group > 2) {
    all_scores(widen(k, a.k_slot, keys, a.P, s.q_width, s.wide_k), s.q_width, keys, head, s, s.q_width, s.scores, ahead);
  } else {
    all_scores(k, a.k_slot, keys, head, s, a.P, s.scores, ahead);
  }
  weigh(keys, s.group, head, s.scores, s.alpha);
  if (kWiden && s.group > 5) {
    all_values(widen(v, a.v_slot, keys, a.V, s.o_width, s.wide_v), s.o_width, keys, head, s, s.o_width, ahead);
  } else {
    all_values(v, a.v_slot, keys, head, s, a.V, ahead);
  }
}

// `keys` rows of KV heads [head0, head1) from a slot on, for a block of `count` keys: as many calls as that makes, or fewer.
template <class T>
Ahead rows_ahead(const Args& a, std::int64_t b, std::int64_t slot, std::int64_t keys, std::int64_t head0, std::int64_t head1,
                 std::int64_t count) {
  constexpr std::int64_t kSize = sizeof(T);
  const auto [k, v] = Rows<T>(a, b, slot, head0);
  const std::int64_t heads = head1 - head0;
  return {Lines(k, ((heads - 1) * a.k_head + a.P) * kSize, a.k_slot * kSize, keys, heads * ((count + kLanes - 1) / kLanes)),
          Lines(v, ((heads - 1) * a.v_head + a.V) * kSize, a.v_slot * kSize, keys, heads * count)};
}

void begin_head(const Args& a, std::int64_t b, std::int64_t kv_head, const Head& head, const Scratch& s) {
  const float scale = a.scale * kLog2e;
  for (std::int64_t g = 0; g < s.group; ++g) {
    const float* q = a.q + b * a.q_batch + (kv_head * s.group + g) * a.q_head;
    float* to = head.q + g * s.q_width;
    for (std::int64_t i = 0; i < a.P; ++i) to[i] = q[i] * scale;
    std::fill(to + a.P, to + s.q_width, 0.0f);
    head.top[g] = kLowest, head.sum[g] = 0;
  }
  std::fill(head.o, head.o + s.group * s.o_width, 0.0f);
}

// The last word where the sequence has one split, else its partial sums.
void end_head(const Args& a, std::int64_t b, std::int64_t split, bool whole, std::int64_t kv_head, const Head& head,
              const Scratch& s) {
  for (std::int64_t g = 0; g < s.group; ++g) {
    const std::int64_t h = kv_head * s.group + g;
    const float* o = head.o + g * s.o_width;
    if (whole) {
      const float inverse = head.sum[g] > 0 ? 1 / head.sum[g] : 0;
      float* out = a.out + (b * a.H + h) * a.V;
      for (std::int64_t i = 0; i < a.V; ++i) out[i] = o[i] * inverse;
    } else {
      float* out = a.partial + ((b * a.splits + split) * a.H + h) * (a.V + 2);
      std::copy(o, o + a.V, out);
      out[a.V] = head.top[g], out[a.V + 1] = head.sum[g];
    }
  }
}

template <class T>
void run_range(const Args& a, std::int64_t begin, std::int64_t end) {
  Scratch s;
  s.group = a.H / a.K, s.q_width = whole_vectors(a.P), s.o_width = whole_vectors(a.V);
  const std::int64_t most_heads = (a.K + a.head_parts - 1) / a.head_parts, alphas = whole_vectors(s.group);
  const bool wide = !std::is_same_v<T, float> && s.group > 2;
  const std::int64_t wide_floats = wide ? kKeyBlock * (s.q_width + s.o_width) : 0;
  thread_local hwy::AlignedFreeUniquePtr<float[]> memory;  // kept: a decoding step must not allocate
  thread_local std::int64_t have = 0;
  const std::int64_t need = most_heads * s.head_floats() + s.group * kKeyBlock + alphas + wide_floats;
  if (have < need) memory = hwy::AllocateAligned<float>(static_cast<std::size_t>(need)), have = need;
  s.heads = memory.get(), s.scores = s.heads + most_heads * s.head_floats(), s.alpha = s.scores + s.group * kKeyBlock;
  s.wide_k = s.alpha + alphas, s.wide_v = s.wide_k + kKeyBlock * s.q_width;
  for (std::int64_t task = begin; task < end; ++task) {
    const std::int64_t part = task % a.head_parts, split = task / a.head_parts % a.splits;
    const std::int64_t b = task / a.head_parts / a.splits;
    const Visible visible = a.visible(b);
    const std::int64_t keys = visible.total(), splits = a.splits_of(keys);
    if (split >= splits) continue;
    // Whole blocks a split, so that few blocks are short.
    const std::int64_t blocks = (keys + kKeyBlock - 1) / kKeyBlock;
    std::int64_t first = blocks * split / splits * kKeyBlock;
    const std::int64_t last = std::min(keys, blocks * (split + 1) / splits * kKeyBlock);
    const std::int64_t head0 = a.K * part / a.head_parts, head1 = a.K * (part + 1) / a.head_parts;
    for (std::int64_t i = head0; i < head1; ++i) begin_head(a, b, i, s.head(i - head0), s);
    std::int64_t before = 0;  // visible keys of the ranges before
    for (const SlotRange& range : visible.range) {
      while (first < std::min(last, before + range.size())) {
        const std::int64_t slot = range.lo + first - before;
        const std::int64_t count = std::min({kKeyBlock, last - first, range.hi - slot});
        const std::int64_t next = std::max<std::int64_t>(0, std::min({kKeyBlock, last - first - count, range.hi - slot - count}));
        Ahead ahead = rows_ahead<T>(a, b, slot + count, next, head0, head1, count);
        for (std::int64_t i = head0; i < head1; ++i) block<T>(a, b, slot, count, i, s.head(i - head0), s, ahead);
        first += count;
      }
      before += range.size();
    }
    for (std::int64_t i = head0; i < head1; ++i) end_head(a, b, split, splits == 1, i, s.head(i - head0), s);
  }
}

void run_tasks(const Args& a, std::int64_t begin, std::int64_t end) {
  with_storage(a.storage, [&]<class T>(const T*) { run_range<T>(a, begin, end); });
}

}  // namespace HWY_NAMESPACE
}  // namespace hymba::kernels::decode_detail
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace hymba::kernels::decode_detail {

HYMBA_DISPATCH_TASKS(run, run_tasks, Args);

void merge(const Args& a, std::int64_t begin, std::int64_t end) {
  for (std::int64_t i = begin; i < end; ++i) {
    const std::int64_t b = i / a.H, h = i % a.H, splits = a.splits_of(a.visible(b).total());
    if (splits == 1) continue;  // written already
    const std::int64_t stride = a.H * (a.V + 2);
    const float* part = a.partial + (b * a.splits * a.H + h) * (a.V + 2);
    float *out = a.out + i * a.V, top = part[a.V], sum = 0;
    for (std::int64_t s = 1; s < splits; ++s) top = std::max(top, part[s * stride + a.V]);
    std::fill(out, out + a.V, 0.0f);
    for (std::int64_t s = 0; s < splits; ++s) {
      const float* from = part + s * stride;
      const float weight = std::exp2(from[a.V] - top);
      sum += weight * from[a.V + 1];
      for (std::int64_t j = 0; j < a.V; ++j) out[j] += weight * from[j];
    }
    for (std::int64_t j = 0; j < a.V; ++j) out[j] /= sum;
  }
}

}  // namespace hymba::kernels::decode_detail
#endif  // HWY_ONCE
