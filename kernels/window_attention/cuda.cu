// Window attention on the GPU, after FlashAttention-2 (Dao 2023): a block of 4 warps holds 64 rows and streams the
// other side in blocks of 32 through two cp.async buffers; scores, softmax and accumulators stay in registers, products
// run on the tensor cores. Four kernels share the frame: the output and dq hold queries and stream keys, dk and dv hold
// keys and stream queries. So each result has one writer; scores are computed once more per gradient instead of with
// atomics.
#include "kernels/cuda/device.h"
#include "kernels/cuda/products.h"
#include "kernels/cuda/vectors.h"
#include "kernels/window_attention/cuda.h"
#include "kernels/window_attention/tile.h"

namespace hymba::kernels::window_attention_detail {
namespace {

using namespace cuda;  // NOLINT

constexpr int kHeld = 64, kBlock = 32, kThreads = 128, kTiles = kBlock / 8;

enum class Result { kOut, kDq, kDk, kDv };
HYMBA_HOST_DEVICE constexpr bool holds_queries(Result r) { return r == Result::kOut || r == Result::kDq; }
HYMBA_HOST_DEVICE constexpr bool needs_slope(Result r) { return r == Result::kDq || r == Result::kDk; }
// Width of what a result sums: values (V wide) for the output and dv, keys or queries (P wide) for dq and dk.
HYMBA_HOST_DEVICE constexpr bool sums_values(Result r) { return r == Result::kOut || r == Result::kDv; }

// Rows of one (sequence, KV head): queries with the heads of the group in turn, or keys (group 1).
struct Source {
  Global<const float> data;
  std::int64_t row, head;
  int group, limit, width;
  bool wide;  // 16 bytes at a time
  HYMBA_DEVICE Global<const float> at(int r) const { return data + (r / group * row + r % group * head); }
};

HYMBA_DEVICE Source source_of(const Rows<const float>& rows, std::int64_t b, std::int64_t head, int group, int limit,
                              std::int64_t width, bool wide) {
  return {Global<const float>(rows.data) + (b * rows.sb + head * rows.sh),
          rows.sl,
          rows.sh,
          group,
          limit,
          static_cast<int>(width),
          wide};
}

// Starts the copy of `count` rows from row r0 on; features beyond the width and rows beyond the limit become zeros.
HYMBA_DEVICE void stage(const Shared<float>& tile, const Source& from, int r0, int count) {
  const int stride = tile_stride(from.width), columns = (stride - 4) / (from.wide ? 4 : 1);
  for (int i = static_cast<int>(threadIdx.x); i < count * columns; i += kThreads) {
    const int r = i / columns, c = i % columns * (from.wide ? 4 : 1);
    const bool valid = r0 + r < from.limit && c < from.width;
    const Global<const float> source = valid ? from.at(r0 + r) + c : from.data;
    if (from.wide) {
      cp_async<16>(tile + (r * stride + c), source, valid);
    } else {
      cp_async<4>(tile + (r * stride + c), source, valid);
    }
  }
}

struct Wide {
  bool q, k, v, d_o;
};

// What a block works on, and the two sides of its products: X . Y^T are scores, X2 . Y2^T slopes.
struct Job {
  Mask mask;
  std::int64_t b, kv;
  int held0, slice;  // first held row; first column of the result
  Source q, k, v, d_o;

  HYMBA_DEVICE Job(const Args<float>& a, const Wide& wide, int slices, int columns, bool queries) : mask(a) {
    const int held = queries ? mask.rows() : mask.keys, blocks = (held + kHeld - 1) / kHeld;
    std::int64_t i = blockIdx.x;
    slice = static_cast<int>(i % slices) * columns, i /= slices;
    held0 = static_cast<int>(i % blocks) * kHeld, i /= blocks;
    kv = i % a.K, b = i / a.K;
    q = source_of(a.q, b, kv * mask.group, mask.group, mask.rows(), a.P, wide.q);
    k = source_of(a.k, b, kv, 1, mask.keys, a.P, wide.k);
    v = source_of(a.v, b, kv, 1, mask.keys, a.V, wide.v);
    d_o = a.d_o.data ? source_of(a.d_o, b, kv * mask.group, mask.group, mask.rows(), a.V, wide.d_o) : v;
  }
};

template <Result kResult>
struct Tiles {
  Shared<float> x, x2, y, y2, lse, delta;  // the last four: two buffers each
  HYMBA_DEVICE Tiles(int P, int V) {
    Shared<char> pool = shared_pool();
    x = carve<float>(pool, kHeld * tile_stride(P));
    if (needs_slope(kResult)) x2 = carve<float>(pool, kHeld * tile_stride(V));
    y = carve<float>(pool, 2 * kBlock * tile_stride(P)), y2 = carve<float>(pool, 2 * kBlock * tile_stride(V));
    if (!holds_queries(kResult)) lse = carve<float>(pool, 2 * kBlock), delta = carve<float>(pool, 2 * kBlock);
  }
};

// Where lse and delta of a row lie: [B, H, L].
HYMBA_DEVICE std::int64_t row_statistic(const Args<float>& a, const Job& job, int row) {
  const std::int64_t head = job.kv * job.mask.group + row % job.mask.group;
  return (job.b * a.H + head) * a.L + row / job.mask.group;
}

template <Result kResult>
HYMBA_DEVICE void stage_block(const Args<float>& a, const Job& job, const Tiles<kResult>& tiles, const float* delta,
                              int row0, int buffer) {
  stage(tiles.y + buffer * kBlock * tile_stride(static_cast<int>(a.P)), holds_queries(kResult) ? job.k : job.q, row0,
        kBlock);
  stage(tiles.y2 + buffer * kBlock * tile_stride(static_cast<int>(a.V)), holds_queries(kResult) ? job.v : job.d_o, row0,
        kBlock);
  if (!holds_queries(kResult) && threadIdx.x < kBlock) {
    const int row = row0 + static_cast<int>(threadIdx.x);
    const bool valid = row < job.mask.rows();
    const std::int64_t at = valid ? row_statistic(a, job, row) : 0;
    cp_async<4>(tiles.lse + (buffer * kBlock + threadIdx.x), Global<const float>(a.lse) + at, valid);
    if (needs_slope(kResult))
      cp_async<4>(tiles.delta + (buffer * kBlock + threadIdx.x), Global<const float>(delta) + at, valid);
  }
  cp_async_commit();
}

// Whether each of the lane's scores counts: bit 4 j + i for element i of tile j.
template <Result kResult>
HYMBA_DEVICE unsigned visible_bits(const Job& job, const Span& block) {
  const Mask& mask = job.mask;
  const int warp_row = job.held0 + static_cast<int>(threadIdx.x) / 32 * 16, g = lane_row(), t = lane_column();
  const int limit = holds_queries(kResult) ? mask.rows() : mask.keys;
  const Span held{warp_row, warp_row + 16};
  const bool whole = held.end <= limit && block.end - block.begin == kBlock;
  if (whole && (holds_queries(kResult) ? mask.all_visible(held, block) : mask.all_visible(block, held)))
    return ~0u >> (32 - 4 * kTiles);
  unsigned bits = 0;
#pragma unroll
  for (int i = 0; i < 2; ++i) {
    const int row = warp_row + g + 8 * i;
    if (row >= limit) continue;
    const int at = holds_queries(kResult) ? mask.query_position(row) : 0;
#pragma unroll
    for (int j = 0; j < 2 * kTiles; ++j) {
      const int other = block.begin + j / 2 * 8 + 2 * t + j % 2;
      if (other >= block.end) continue;
      const bool seen =
          holds_queries(kResult) ? mask.visible(at, other) : mask.visible(mask.query_position(other), row);
      if (seen) bits |= 1u << (j / 2 * 4 + 2 * i + j % 2);
    }
  }
  return bits;
}

// The running maximum and sum of rows g and g + 8; the same in the four lanes of a row.
struct Softmax {
  float top[2] = {-INFINITY, -INFINITY}, sum[2] = {0, 0};
};

// Scores (base 2) turn into weights; returns by which factor what was summed before shrinks.
HYMBA_DEVICE void soften(float (&s)[kTiles][4], unsigned bits, Softmax& state, float (&shrink)[2]) {
#pragma unroll
  for (int i = 0; i < 2; ++i) {
    float top = state.top[i];
#pragma unroll
    for (int j = 0; j < 2 * kTiles; ++j) {
      if (bits >> (j / 2 * 4 + 2 * i + j % 2) & 1) top = fmaxf(top, s[j / 2][2 * i + j % 2]);
    }
    top = fmaxf(top, __shfl_xor_sync(kAllLanes, top, 1));
    top = fmaxf(top, __shfl_xor_sync(kAllLanes, top, 2));
    shrink[i] = state.top[i] == -INFINITY ? 0.0f : exp2_approx(state.top[i] - top);
    float sum = 0;
#pragma unroll
    for (int j = 0; j < 2 * kTiles; ++j) {
      float& x = s[j / 2][2 * i + j % 2];
      x = bits >> (j / 2 * 4 + 2 * i + j % 2) & 1 ? exp2_approx(x - top) : 0.0f;
      sum += x;
    }
    sum += __shfl_xor_sync(kAllLanes, sum, 1);
    sum += __shfl_xor_sync(kAllLanes, sum, 2);
    state.top[i] = top, state.sum[i] = fmaf(state.sum[i], shrink[i], sum);
  }
}

// Scores turn into p (for dv) or into ds = scale p (dp - delta), with the statistics of the queries' rows.
template <Result kResult>
HYMBA_DEVICE void differentiate(float (&s)[kTiles][4], const float (&dp)[kTiles][4], unsigned bits, float scale,
                                const float (&lse)[2], const float (&delta)[2], const Shared<float>& lse_of,
                                const Shared<float>& delta_of) {
  const int t = lane_column();
#pragma unroll
  for (int j = 0; j < kTiles; ++j) {
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const int column = j * 8 + 2 * t + i % 2;
      const float base = holds_queries(kResult) ? lse[i / 2] : static_cast<float>(lse_of[column]);
      float p = bits >> (4 * j + i) & 1 ? exp2_approx(s[j][i] - base) : 0.0f;
      if (needs_slope(kResult)) {
        const float mean = holds_queries(kResult) ? delta[i / 2] : static_cast<float>(delta_of[column]);
        p *= scale * (dp[j][i] - mean);
      }
      s[j][i] = p;
    }
  }
}

// Columns of the result: `columns` 8-column tiles from job.slice on, of `width`; row r at out + r's offset.
template <Result kResult, int kColumns>
HYMBA_DEVICE void write_result(const Args<float>& a, const Job& job, const float (&sum)[kColumns][4], float* out_in,
                               int width, const float (&factor)[2]) {
  const Global<float> out = out_in;
  const int group = job.mask.group, limit = holds_queries(kResult) ? job.mask.rows() : job.mask.keys;
#pragma unroll
  for (int i = 0; i < 2; ++i) {
    const int row = job.held0 + static_cast<int>(threadIdx.x) / 32 * 16 + lane_row() + 8 * i;
    if (row >= limit) continue;
    const std::int64_t at = holds_queries(kResult) ? (job.b * a.L + row / group) * a.H + job.kv * group + row % group
                                                   : (job.b * a.S + row) * a.K + job.kv;
#pragma unroll
    for (int j = 0; j < 2 * kColumns; ++j) {
      const int column = job.slice + j / 2 * 8 + 2 * lane_column() + j % 2;
      if (column < width) out[at * width + column] = sum[j / 2][2 * i + j % 2] * factor[i];
    }
  }
}

template <Result kResult, int kColumns>
HYMBA_KERNEL(kThreads, kColumns > 8 ? 1 : 2)
attention_kernel(Args<float> a, Wide wide, int slices, float* out, const float* delta_in) {
  const Job job(a, wide, slices, kColumns * 8, holds_queries(kResult));
  const Tiles<kResult> tiles(static_cast<int>(a.P), static_cast<int>(a.V));
  const int limit = holds_queries(kResult) ? job.mask.rows() : job.mask.keys;
  const Span held{job.held0, job.held0 + kHeld < limit ? job.held0 + kHeld : limit};
  const Blocks blocks = holds_queries(kResult) ? job.mask.keys_for(held) : job.mask.rows_for(held);
  const int count = blocks.count(kBlock), warp16 = static_cast<int>(threadIdx.x) / 32 * 16;
  const int P = static_cast<int>(a.P), V = static_cast<int>(a.V), width = sums_values(kResult) ? V : P;
  const int left = padded8(width) - job.slice, used = left / 8 < kColumns ? left / 8 : kColumns;
  stage(tiles.x, holds_queries(kResult) ? job.q : job.k, job.held0, kHeld);
  if (needs_slope(kResult)) stage(tiles.x2, holds_queries(kResult) ? job.d_o : job.v, job.held0, kHeld);
  if (count > 0) stage_block<kResult>(a, job, tiles, delta_in, blocks.at(0, kBlock).begin, 0);
  float sum[kColumns][4] = {}, lse[2] = {}, delta[2] = {}, factor[2] = {1, 1};
  Softmax softmax;
  for (int i = 0; i < 2 && kResult == Result::kDq; ++i) {
    const int row = job.held0 + warp16 + lane_row() + 8 * i;
    if (row >= limit) continue;
    lse[i] = Global<const float>(a.lse)[row_statistic(a, job, row)];
    delta[i] = Global<const float>(delta_in)[row_statistic(a, job, row)];
  }
  for (int n = 0; n < count; ++n) {
    const int buffer = n % 2;
    if (n + 1 < count) {
      stage_block<kResult>(a, job, tiles, delta_in, blocks.at(n + 1, kBlock).begin, 1 - buffer);
      cp_async_wait<1>();
    } else {
      cp_async_wait<0>();
    }
    __syncthreads();
    const unsigned bits = visible_bits<kResult>(job, blocks.at(n, kBlock));
    if (__any_sync(kAllLanes, bits != 0)) {
      const Shared<float> y = tiles.y + buffer * kBlock * tile_stride(P),
                          y2 = tiles.y2 + buffer * kBlock * tile_stride(V);
      float s[kTiles][4] = {}, dp[kTiles][4] = {};
      multiply_rows(s, tiles.x + warp16 * tile_stride(P), tile_stride(P), y, tile_stride(P), padded8(P) / 8);
      if (needs_slope(kResult)) {
        multiply_rows(dp, tiles.x2 + warp16 * tile_stride(V), tile_stride(V), y2, tile_stride(V), padded8(V) / 8);
      }
#pragma unroll
      for (int j = 0; j < 4 * kTiles; ++j) s[j / 4][j % 4] *= a.scale * kLog2e;
      if constexpr (kResult == Result::kOut) {
        float shrink[2];
        soften(s, bits, softmax, shrink);
#pragma unroll
        for (int j = 0; j < 4 * kColumns; ++j) sum[j / 4][j % 4] *= shrink[j % 4 / 2];
      } else {
        differentiate<kResult>(s, dp, bits, a.scale, lse, delta, tiles.lse + buffer * kBlock,
                               tiles.delta + buffer * kBlock);
      }
      const int stride = tile_stride(width);
      multiply_held(sum, s, (sums_values(kResult) ? y2 : y) + job.slice, stride, used);
    }
    __syncthreads();
  }
  cp_async_wait<0>();
  if constexpr (kResult == Result::kOut) {
    for (int i = 0; i < 2; ++i) {
      factor[i] = softmax.sum[i] > 0 ? divide_approx(1.0f, softmax.sum[i]) : 0.0f;
      const int row = job.held0 + warp16 + lane_row() + 8 * i;
      if (a.lse && job.slice == 0 && lane_column() == 0 && row < limit) {
        Global<float>(a.lse)[row_statistic(a, job, row)] =
            softmax.sum[i] > 0 ? softmax.top[i] + log2f(softmax.sum[i]) : INFINITY;
      }
    }
  }
  write_result<kResult>(a, job, sum, out, width, factor);
}

// delta [B, H, L] = do . o, a warp a row.
HYMBA_KERNEL(kThreads, 8) delta_kernel(Args<float> a, float* delta) {
  const std::int64_t row = static_cast<std::int64_t>(blockIdx.x) * (kThreads / 32) + threadIdx.x / 32;
  if (row >= a.B * a.H * a.L) return;
  const std::int64_t l = row % a.L, h = row / a.L % a.H, b = row / a.L / a.H;
  const Global<const float> o = Global<const float>(a.o.data) + (b * a.o.sb + l * a.o.sl + h * a.o.sh);
  const Global<const float> d_o = Global<const float>(a.d_o.data) + (b * a.d_o.sb + l * a.d_o.sl + h * a.d_o.sh);
  float sum = 0;
  for (std::int64_t i = threadIdx.x % 32; i < a.V; i += 32) sum = fmaf(o[i], d_o[i], sum);
  sum = warp_sum(sum);
  const Global<float> to = delta;
  if (threadIdx.x % 32 == 0) to[row] = sum;
}

bool fits(const Rows<const float>& r, std::int64_t width) {
  return width % 4 == 0 && fits16(r.data, r.sl, r.sb) && r.sh % 4 == 0;
}

template <Result kResult, int kColumns>
const char* run_columns(const Args<float>& a, float* out, const float* delta, Stream stream) {
  const int P = static_cast<int>(a.P), V = static_cast<int>(a.V), width = sums_values(kResult) ? V : P;
  const int slices = (padded8(width) + kColumns * 8 - 1) / (kColumns * 8);
  const std::int64_t held = holds_queries(kResult) ? a.L * (a.H / a.K) : a.S;
  const std::int64_t blocks = a.B * a.K * ((held + kHeld - 1) / kHeld) * slices;
  const int floats = (kHeld + 2 * kBlock) * tile_stride(P) +
                     ((needs_slope(kResult) ? kHeld : 0) + 2 * kBlock) * tile_stride(V) + 4 * kBlock;
  if (4 * floats > 227 * 1024) return "[window_attention] q_BLHP, v_BSKV: more features than shared memory holds";
  const Wide wide{fits(a.q, a.P), fits(a.k, a.P), fits(a.v, a.V), fits(a.d_o, a.V)};
  return launch(attention_kernel<kResult, kColumns>, dim3(static_cast<unsigned>(blocks)), kThreads, 4 * floats, stream,
                a, wide, slices, out, delta);
}

// Accumulators for as many columns as there are, 128 at most: beyond, blocks take 128 each.
template <Result kResult>
const char* run(const Args<float>& a, float* out, const float* delta, Stream stream) {
  const std::int64_t width = sums_values(kResult) ? a.V : a.P;
  if (width <= 16) return run_columns<kResult, 2>(a, out, delta, stream);
  if (width <= 64) return run_columns<kResult, 8>(a, out, delta, stream);
  return run_columns<kResult, 16>(a, out, delta, stream);
}

}  // namespace

const char* cuda_forward(const Args<float>& a, void* stream) {
  return run<Result::kOut>(a, a.out, nullptr, static_cast<Stream>(stream));
}

const char* cuda_backward(const Args<float>& a, float* workspace, void* stream_in) {
  const Stream stream = static_cast<Stream>(stream_in);
  const std::int64_t rows = a.B * a.H * a.L, warps = kThreads / 32;
  const char* error =
      launch(delta_kernel, dim3(static_cast<unsigned>((rows + warps - 1) / warps)), kThreads, 0, stream, a, workspace);
  if (!error) error = run<Result::kDq>(a, a.dq, workspace, stream);
  if (!error) error = run<Result::kDk>(a, a.dk, workspace, stream);
  return error ? error : run<Result::kDv>(a, a.dv, workspace, stream);
}

}  // namespace hymba::kernels::window_attention_detail
