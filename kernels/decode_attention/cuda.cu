// Attention of a decoding step on the GPU: reading the cache once, in full cache lines, is all the time there is. A
// block takes one (sequence, KV head) and a share of its keys; each of its 4 warps walks tiles of 32 keys with an
// online softmax of its own for up to 4 heads of the group. Scores: 8 lanes share a key, 16 bytes at a time; sums:
// lanes lie along the features of v. The warps' results are merged in shared memory, those of the blocks by a second
// kernel, both in a fixed order.
#include "kernels/cuda/device.h"
#include "kernels/cuda/vectors.h"
#include "kernels/decode_attention/cuda.h"
#include "kernels/decode_attention/tile.h"

namespace hymba::kernels::decode_detail {
namespace {

using namespace cuda;  // NOLINT

constexpr int kThreads = 128, kWarps = 4, kHeads = 4, kSums = 4;  // heads of a pass; v's features of a pass: 32 * kSums
constexpr int kSlice = 32 * kSums;

template <CacheType kType>
struct Element {
  using Type = std::uint16_t;
};
template <>
struct Element<CacheType::kFloat> {
  using Type = float;
};

template <CacheType kType>
HYMBA_DEVICE typename Element<kType>::Type rounded(float x) {
  if constexpr (kType == CacheType::kFloat) return x;
  if constexpr (kType == CacheType::kBfloat16) return bfloat16_of_float(x);
  if constexpr (kType == CacheType::kHalf) return half_of_float(x);
  return {};
}

template <CacheType kType, class T>
HYMBA_DEVICE float widen(T x) {
  if constexpr (kType == CacheType::kFloat) return x;
  if constexpr (kType == CacheType::kBfloat16) return float_of_bits(static_cast<unsigned>(x) << 16);
  if constexpr (kType == CacheType::kHalf) return float_of_half(x);
  return 0;
}

// 16 bytes of a row as floats: 4 or 8 of them.
template <CacheType kType>
constexpr int kRun = kType == CacheType::kFloat ? 4 : 8;

template <CacheType kType>
HYMBA_DEVICE void load_run(const Global<const typename Element<kType>::Type>& p, bool wide, int count,
                           float (&x)[kRun<kType>]) {
  if (wide) {
    const uint4 bits = load16(p);
    const unsigned words[4] = {bits.x, bits.y, bits.z, bits.w};
#pragma unroll
    for (int i = 0; i < kRun<kType>; ++i) {
      if constexpr (kType == CacheType::kFloat) {
        x[i] = float_of_bits(words[i]);
      } else {
        x[i] = widen<kType>(static_cast<std::uint16_t>(words[i / 2] >> (i % 2 * 16)));
      }
    }
    return;
  }
#pragma unroll
  for (int i = 0; i < kRun<kType>; ++i) x[i] = i < count ? widen<kType>(p[i < count ? i : 0]) : 0.0f;
}

// The part of the work of a block, and what its warps keep.
struct Job {
  std::int64_t b, kv;
  int head0, heads, slice, split, first, last;  // heads of the group, first column of v, keys [first, last)
};

HYMBA_DEVICE Job job_of(const CudaArgs& a, const SeenKeys& seen, std::int64_t b, int passes, int slices, int splits) {
  const int group = static_cast<int>(a.H / a.K);
  std::int64_t i = blockIdx.x / a.B;
  Job j;
  j.b = b;
  j.split = static_cast<int>(i % splits), i /= splits;
  j.slice = static_cast<int>(i % slices) * kSlice, i /= slices;
  j.head0 = static_cast<int>(i % passes) * kHeads;
  j.kv = i / passes;
  j.heads = group - j.head0 < kHeads ? group - j.head0 : kHeads;
  const int share = ((seen.total + splits - 1) / splits + 31) / 32 * 32;
  j.first = j.split * share < seen.total ? j.split * share : seen.total;
  j.last = j.first + share < seen.total ? j.first + share : seen.total;
  return j;
}

// Scores of keys 4 r + lane / 8 (r < 8) of the tile for each head; 8 lanes share a key. q: [heads][P] in shared memory.
template <CacheType kType>
HYMBA_DEVICE void tile_scores(const CudaArgs& a, const Job& job, const SeenKeys& seen, const Shared<float>& q, int key0,
                              bool wide, float (&scores)[kHeads]) {
  using T = typename Element<kType>::Type;
  const int lane = static_cast<int>(threadIdx.x) % 32, P = static_cast<int>(a.P);
  const Global<const T> k = Global<const T>(static_cast<const T*>(a.k)) + (job.b * a.k_batch + job.kv * a.k_head);
  for (int r = 0; r < 8; ++r) {
    const int key = key0 + 4 * r + lane / 8;
    float dot[kHeads] = {};
    const Global<const T> row = k + (key < job.last ? seen.slot(key) * a.k_slot : 0);
    for (int p = lane % 8 * kRun<kType>; key < job.last && p < P; p += 8 * kRun<kType>) {
      float x[kRun<kType>];
      load_run<kType>(row + p, wide, P - p, x);
#pragma unroll
      for (int h = 0; h < kHeads; ++h) {
        for (int i = 0; h < job.heads && i < kRun<kType>; ++i) {
          if (p + i < P) dot[h] = fmaf(x[i], q[h * P + p + i], dot[h]);
        }
      }
    }
#pragma unroll
    for (int h = 0; h < kHeads; ++h) {
      for (int d = 1; d < 8; d *= 2) dot[h] += __shfl_xor_sync(kAllLanes, dot[h], d);
      // Key 4 r + i of the tile goes to lane 4 r + i; its sum is in lanes 8 i ... 8 i + 7.
      const float passed = __shfl_sync(kAllLanes, dot[h], lane % 4 * 8);
      if (lane / 4 == r) scores[h] = key0 + lane < job.last ? passed * a.scale * kLog2e : -INFINITY;
    }
  }
}

struct State {
  float top[kHeads], sum[kHeads], v[kHeads][kSums];
};

HYMBA_DEVICE float warp_max(float x) {
  for (int d = 16; d > 0; d /= 2) x = fmaxf(x, __shfl_xor_sync(kAllLanes, x, d));
  return x;
}

// Adds the tile's values, weighted; lane l sums features l + 32 i.
template <CacheType kType>
HYMBA_DEVICE void add_tile(const CudaArgs& a, const Job& job, const SeenKeys& seen, int key0,
                           const float (&scores)[kHeads], State& state) {
  using T = typename Element<kType>::Type;
  const int lane = static_cast<int>(threadIdx.x) % 32;
  float weight[kHeads];
#pragma unroll
  for (int h = 0; h < kHeads; ++h) {
    const float top = fmaxf(state.top[h], warp_max(scores[h]));
    const float shrink = state.top[h] == -INFINITY ? 0.0f : exp2_approx(state.top[h] - top);
    weight[h] = scores[h] == -INFINITY ? 0.0f : exp2_approx(scores[h] - top);
    state.top[h] = top;
    state.sum[h] = fmaf(state.sum[h], shrink, warp_sum(weight[h]));
#pragma unroll
    for (int i = 0; i < kSums; ++i) state.v[h][i] *= shrink;
  }
  const Global<const T> v = Global<const T>(static_cast<const T*>(a.v)) + (job.b * a.v_batch + job.kv * a.v_head);
  const int count = job.last - key0 < 32 ? job.last - key0 : 32;
#pragma unroll 4
  for (int k = 0; k < count; ++k) {
    const Global<const T> row = v + seen.slot(key0 + k) * a.v_slot;
    float x[kSums];
#pragma unroll
    for (int i = 0; i < kSums; ++i) {
      const int column = job.slice + lane + 32 * i;
      x[i] = column < a.V ? widen<kType>(row[column < a.V ? column : 0]) : 0.0f;
    }
#pragma unroll
    for (int h = 0; h < kHeads; ++h) {
      const float w = __shfl_sync(kAllLanes, weight[h], k);
#pragma unroll
      for (int i = 0; i < kSums; ++i) state.v[h][i] = fmaf(w, x[i], state.v[h][i]);
    }
  }
}

// The warps' states of one head, merged in order; thread t writes feature t. With one split the output is finished.
HYMBA_DEVICE void merge_warps(const CudaArgs& a, const Job& job, const Shared<float>& sums, const Shared<float>& tops,
                              int h, int splits, float* partial_in) {
  float top = -INFINITY, sum = 0, value = 0;
  const int t = static_cast<int>(threadIdx.x);
  for (int w = 0; w < kWarps; ++w) top = fmaxf(top, tops[(w * kHeads + h) * 2]);
  for (int w = 0; w < kWarps; ++w) {
    const float of_warp = tops[(w * kHeads + h) * 2];
    const float factor = of_warp == -INFINITY ? 0.0f : exp2_approx(of_warp - top);
    sum = fmaf(factor, tops[(w * kHeads + h) * 2 + 1], sum);
    value = fmaf(factor, sums[(w * kHeads + h) * kSlice + t], value);
  }
  const std::int64_t head = job.b * a.H + job.kv * (a.H / a.K) + job.head0 + h;
  const int column = job.slice + t;
  if (splits == 1) {
    if (column < a.V) Global<float>(a.out)[head * a.V + column] = sum > 0 ? value / sum : 0.0f;
    return;
  }
  const Global<float> partial = Global<float>(partial_in) + (head * splits + job.split) * (a.V + 2);
  if (column < a.V) partial[column] = value;
  if (job.slice == 0 && t == 0) partial[a.V] = top, partial[a.V + 1] = sum;
}

template <CacheType kType>
HYMBA_KERNEL(kThreads, 4)
decode_kernel(CudaArgs a, int passes, int slices, int splits, bool wide, float* partial) {
  const std::int64_t b = blockIdx.x % a.B;
  const SeenKeys seen(a.S, a.window, a.prefix, Global<const std::int64_t>(a.lengths)[b]);
  const Job job = job_of(a, seen, b, passes, slices, splits);
  const int warp = static_cast<int>(threadIdx.x) / 32, lane = static_cast<int>(threadIdx.x) % 32;
  const int P = static_cast<int>(a.P), group = static_cast<int>(a.H / a.K);
  Shared<char> pool = shared_pool();
  const Shared<float> q = carve<float>(pool, kHeads * P), sums = carve<float>(pool, kWarps * kHeads * kSlice);
  const Shared<float> tops = carve<float>(pool, kWarps * kHeads * 2);
  const Global<const float> queries =
      Global<const float>(a.q) + (b * a.q_batch + (job.kv * group + job.head0) * a.q_head);
  for (int i = static_cast<int>(threadIdx.x); i < job.heads * P; i += kThreads)
    q[i] = queries[i / P * a.q_head + i % P];
  __syncthreads();
  State state = {};
  for (int h = 0; h < kHeads; ++h) state.top[h] = -INFINITY;
  for (int key0 = job.first + 32 * warp; key0 < job.last; key0 += 32 * kWarps) {
    float scores[kHeads];
    tile_scores<kType>(a, job, seen, q, key0, wide, scores);
    add_tile<kType>(a, job, seen, key0, scores, state);
  }
#pragma unroll
  for (int h = 0; h < kHeads; ++h) {
    for (int i = 0; i < kSums; ++i) sums[(warp * kHeads + h) * kSlice + lane + 32 * i] = state.v[h][i];
    if (lane == 0) tops[(warp * kHeads + h) * 2] = state.top[h], tops[(warp * kHeads + h) * 2 + 1] = state.sum[h];
  }
  __syncthreads();
  for (int h = 0; h < job.heads; ++h) merge_warps(a, job, sums, tops, h, splits, partial);
}

// The splits' results of one head, merged in order; a block a head.
HYMBA_KERNEL(kThreads, 8) merge_kernel(CudaArgs a, int splits, const float* partial_in) {
  const std::int64_t head = blockIdx.x;
  const Global<const float> partial = Global<const float>(partial_in) + head * splits * (a.V + 2);
  float top = -INFINITY;
  for (int s = 0; s < splits; ++s) top = fmaxf(top, partial[s * (a.V + 2) + a.V]);
  for (std::int64_t column = threadIdx.x; column < a.V; column += kThreads) {
    float sum = 0, value = 0;
    for (int s = 0; s < splits; ++s) {
      const float of_split = partial[s * (a.V + 2) + a.V];
      const float factor = of_split == -INFINITY ? 0.0f : exp2_approx(of_split - top);
      sum = fmaf(factor, partial[s * (a.V + 2) + a.V + 1], sum);
      value = fmaf(factor, partial[s * (a.V + 2) + column], value);
    }
    Global<float>(a.out)[head * a.V + column] = sum > 0 ? value / sum : 0.0f;
  }
}

template <CacheType kType>
const char* run_type(const CudaArgs& a, float* workspace, Stream stream) {
  const int splits = static_cast<int>(cuda_splits(a)), group = static_cast<int>(a.H / a.K);
  const int passes = (group + kHeads - 1) / kHeads, slices = static_cast<int>((a.V + kSlice - 1) / kSlice);
  constexpr int kAlign = kRun<kType>;  // 16-byte rows
  const bool wide = reinterpret_cast<std::uintptr_t>(a.k) % 16 == 0 && a.P % kAlign == 0 && a.k_batch % kAlign == 0 &&
                    a.k_slot % kAlign == 0 && a.k_head % kAlign == 0;
  const int bytes = 4 * (kHeads * static_cast<int>(a.P) + kWarps * kHeads * (kSlice + 2)) + 48;
  const char* error = launch(decode_kernel<kType>, dim3(static_cast<unsigned>(a.B * a.K * passes * slices * splits)),
                             kThreads, bytes, stream, a, passes, slices, splits, wide, workspace);
  if (error || splits == 1) return error;
  return launch(merge_kernel, dim3(static_cast<unsigned>(a.B * a.H)), kThreads, 0, stream, a, splits, workspace);
}

// A thread an element of a sequence's K and V.
template <CacheType kType>
HYMBA_KERNEL(kThreads, 8) append_kernel(AppendArgs a) {
  using T = typename Element<kType>::Type;
  const std::int64_t width = a.K * (a.P + a.V), i = static_cast<std::int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (i >= a.B * width) return;
  const std::int64_t b = i / width, head = i % width / (a.P + a.V), column = i % width % (a.P + a.V);
  const std::int64_t t = Global<const std::int64_t>(a.lengths)[b] - 1;
  const std::int64_t slot = t < a.prefix || !a.ring ? t : a.prefix + (t - a.prefix) % (a.S - a.prefix);
  if (slot < 0 || slot >= a.S) return;
  if (column < a.P) {
    const float x = (Global<const float>(a.k_in) + (b * a.k_in_batch + head * a.k_in_head))[column];
    (Global<T>(static_cast<T*>(a.k)) + (b * a.k_batch + slot * a.k_slot + head * a.k_head))[column] = rounded<kType>(x);
  } else {
    const float x = (Global<const float>(a.v_in) + (b * a.v_in_batch + head * a.v_in_head))[column - a.P];
    (Global<T>(static_cast<T*>(a.v)) + (b * a.v_batch + slot * a.v_slot + head * a.v_head))[column - a.P] =
        rounded<kType>(x);
  }
}

}  // namespace

const char* cuda_append(const AppendArgs& a, void* stream_in) {
  const Stream stream = static_cast<Stream>(stream_in);
  const std::int64_t elements = a.B * a.K * (a.P + a.V);
  const dim3 grid(static_cast<unsigned>((elements + kThreads - 1) / kThreads));
  if (a.type == CacheType::kBfloat16) return launch(append_kernel<CacheType::kBfloat16>, grid, kThreads, 0, stream, a);
  if (a.type == CacheType::kHalf) return launch(append_kernel<CacheType::kHalf>, grid, kThreads, 0, stream, a);
  return launch(append_kernel<CacheType::kFloat>, grid, kThreads, 0, stream, a);
}

const char* cuda_run(const CudaArgs& a, float* workspace, void* stream_in) {
  const Stream stream = static_cast<Stream>(stream_in);
  if (a.type == CacheType::kBfloat16) return run_type<CacheType::kBfloat16>(a, workspace, stream);
  if (a.type == CacheType::kHalf) return run_type<CacheType::kHalf>(a, workspace, stream);
  return run_type<CacheType::kFloat>(a, workspace, stream);
}

}  // namespace hymba::kernels::decode_detail
