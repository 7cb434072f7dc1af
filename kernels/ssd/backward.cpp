// The gradients of a chunk's inputs from the states before it and the gradient of the state behind it (README.md,
// equations 7 to 14).
#include "kernels/targets.h"
//
#include <algorithm>

#include "kernels/ssd/kernel.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/ssd/backward.cpp"
#include <hwy/foreach_target.h>
// Must come after foreach_target.h, which includes this file once an instruction set.
#include <hwy/highway.h>

#include "kernels/dispatch.h"
#include "kernels/ssd/group-inl.h"

HWY_BEFORE_NAMESPACE();
namespace hymba::kernels::ssd_detail {
namespace HWY_NAMESPACE {

// The gradients of one head in one chunk (README.md, equations 7 to 14).
template <std::size_t NV>
struct HeadGradient {
  static constexpr std::int64_t T = NV * kLanes;
  const Args<float>& a;
  const Group<NV>& group;
  const std::int64_t longest, width, x_width;
  Head head;
  float *dy_rows, *du, *du_state, *u_rows;       // [steps][x_width] three times, [steps][P]
  float *dy_T, *decayed_T, *by_B, *by_x, *dC_h;  // [P][T] twice, [steps][T] twice, [N][T]
  float *dh_T, *ds, *by_dt;                      // [N][x_width], [steps] twice

  static std::int64_t floats(const Args<float>& a) {
    const std::int64_t steps = Group<NV>::longest_of(a);
    return steps * (Head::kArrays + 3 * padded(a.P) + a.P + 2 * T + 2) + T * (2 * a.P + a.N) + a.N * padded(a.P) + 512;
  }
  HeadGradient(const Args<float>& args, const Group<NV>& shared, Scratch& scratch)
      : a(args),
        group(shared),
        longest(shared.longest),
        width(shared.width),
        x_width(padded(args.P)),
        head(scratch, longest) {
    for (float** rows : {&dy_rows, &du, &du_state}) *rows = scratch.take(longest * x_width);
    u_rows = scratch.take(longest * a.P);
    for (float** tile : {&dy_T, &decayed_T}) *tile = scratch.take(a.P * T);
    for (float** tile : {&by_B, &by_x}) *tile = scratch.take(longest * T);
    dC_h = scratch.take(a.N * T);
    dh_T = scratch.take(a.N * x_width);
    for (float** array : {&ds, &by_dt}) *array = scratch.take(longest);
  }

  // One tile of steps t: adds to dB, du and ds of the steps r <= t; writes this head's dC.
  void tile(const Chunk& k, std::int64_t h, std::int64_t i, float* dB) {
    const std::int64_t t0 = i * T, seen = group.seen(k, i);
    const float *C_T = group.C_tile(i), *pairs = group.pair_tile(i);
    V one[NV], row_sum[NV];
    transpose_tile(dy_rows + t0 * x_width, x_width, a.P, T, dy_T);
    HYMBA_UNROLL
    for (std::size_t j = 0; j < NV; ++j) {
      one[j] = hn::Set(kTag, 1.0f), row_sum[j] = hn::Zero(kTag);
      const V from_start = hn::Load(kTag, head.from_start + t0 + j * kLanes);
      for (std::int64_t p = 0; p < a.P; ++p) {
        const std::int64_t at = p * T + j * kLanes;
        hn::Store(hn::Mul(from_start, hn::Load(kTag, dy_T + at)), kTag, decayed_T + at);
      }
    }
    // Through the state before the chunk: exp(s_t) h^T dy_t.
    std::fill_n(dC_h, a.N * T, 0.0f);
    accumulate<NV>(decayed_T, a.P, state_of(a, a.states, k.b, k.c, h), width, a.N, dC_h, one);
    for (std::int64_t n = 0; n < a.N; ++n) {
      HYMBA_UNROLL
      for (std::size_t j = 0; j < NV; ++j) {
        const std::int64_t at = n * T + j * kLanes;
        row_sum[j] = hn::MulAdd(hn::Load(kTag, C_T + at), hn::Load(kTag, dC_h + at), row_sum[j]);
      }
    }
    // Through the steps of the chunk. by_B: exp(s_t - s_r) dy_t . u_r, by_x: exp(s_t - s_r) C_t . B_r.
    products<NV>(dy_T, a.P, a.x.at(k.b, k.first, h), a.x.sl, seen, by_B);
    for (std::int64_t r = 0; r < seen; ++r) {
      const V dt = hn::Set(kTag, head.dt[r]);
      V column_sum = hn::Zero(kTag);
      HYMBA_UNROLL
      for (std::size_t j = 0; j < NV; ++j) {
        const std::int64_t at = r * T + j * kLanes, t = t0 + j * kLanes;
        const V decay = head.between(r, t, r >= t0), pair = hn::Load(kTag, pairs + at);
        const V b = hn::Mul(hn::Mul(hn::Load(kTag, by_B + at), dt), decay);
        V both = hn::Mul(b, pair);
        if (r >= t0) both = hn::IfThenZeroElse(Head::earlier(t, r + 1), both);  // t = r: no decay between them
        row_sum[j] = hn::Add(row_sum[j], both);
        column_sum = hn::Add(column_sum, both);
        hn::Store(b, kTag, by_B + at);
        hn::Store(hn::Mul(pair, decay), kTag, by_x + at);
      }
      ds[r] -= hn::GetLane(hn::SumOfLanes(kTag, column_sum));
    }
    HYMBA_UNROLL
    for (std::size_t j = 0; j < NV; ++j) {
      float* to = ds + t0 + j * kLanes;
      hn::Store(hn::Add(hn::Load(kTag, to), row_sum[j]), kTag, to);
    }
    accumulate<NV>(by_B, seen, group.B_rows, width, a.N, dC_h, one);
    sum_over_rows({by_B, T, 1}, T, seen, group.C_rows + t0 * width, width, dB);
    sum_over_rows({by_x, T, 1}, T, seen, dy_rows + t0 * x_width, x_width, du);
  }

  // Through the state after the chunk, with its gradient dh: to dB and to du.
  void from_state(const Chunk& k, std::int64_t h, const float* dh, float* dB) {
    for (std::int64_t t = 0; t < k.steps; ++t) {
      scale_row(a.x.at(k.b, k.first + t, h), head.dt[t] * head.to_end[t], a.P, u_rows + t * a.P);
    }
    sum_over_rows({u_rows, a.P, 1}, a.P, k.steps, dh, width, dB);
    // Past the last row: repeated into the padding.
    transpose_rows([=, last = a.P - 1, this](std::int64_t p) { return dh + std::min(p, last) * width; }, x_width, a.N, dh_T, x_width);
    std::fill_n(du_state, k.steps * x_width, 0.0f);
    sum_over_rows({group.B_rows, width, 1}, a.N, k.steps, dh_T, x_width, du_state);
  }

  // dx, ddt and this chunk's share of dA, dD and dbias.
  void finish(const Chunk& k, std::int64_t h, const float* dh) {
    const float *h_in = state_of(a, a.states, k.b, k.c, h), D_h = a.D ? a.D[h] : 0;
    V state_dot = hn::Zero(kTag), skip_sum = hn::Zero(kTag);
    for (std::int64_t i = 0; i < a.P * width; i += kLanes) {
      const std::int64_t left = a.P * width - i;
      state_dot = hn::MulAdd(load_part(dh + i, left), load_part(h_in + i, left), state_dot);
    }
    // exp(s_last): all of it through the state, the end's exp(s_last - s_r) of every step r.
    double suffix = static_cast<double>(head.total) * hn::GetLane(hn::SumOfLanes(kTag, state_dot));
    for (std::int64_t t = 0; t < k.steps; ++t) {
      const V dt = hn::Set(kTag, head.dt[t]), to_end = hn::Set(kTag, head.to_end[t]), skip = hn::Set(kTag, D_h);
      const float* x = a.x.at(k.b, k.first + t, h);
      float* dx = a.dx + ((k.b * a.L + k.first + t) * a.H + h) * a.P;
      V x_du = hn::Zero(kTag), x_state = hn::Zero(kTag);
      for (std::int64_t p = 0; p < a.P; p += kLanes) {
        const std::int64_t left = a.P - p;
        const V xs = load_part(x + p, left), dy = load_part(dy_rows + t * x_width + p, left);
        const V by_state = hn::Mul(to_end, load_part(du_state + t * x_width + p, left));
        const V all = hn::Add(by_state, load_part(du + t * x_width + p, left));
        x_state = hn::MulAdd(xs, by_state, x_state);
        x_du = hn::MulAdd(xs, all, x_du);
        skip_sum = hn::MulAdd(xs, dy, skip_sum);
        store_part(hn::MulAdd(dt, all, hn::Mul(skip, dy)), dx + p, left);
      }
      by_dt[t] = hn::GetLane(hn::SumOfLanes(kTag, x_du));
      const float kept = head.dt[t] * hn::GetLane(hn::SumOfLanes(kTag, x_state));
      ds[t] -= kept;
      suffix += kept;
    }
    // s_t is a sum over the steps up to t: the gradient of dt_t A is the sum of ds over the steps from t on.
    double dA = 0, dbias = 0;
    for (std::int64_t t = k.steps - 1; t >= 0; --t) {
      suffix += ds[t];
      const float ddt = head.slope[t] * (by_dt[t] + a.A[h] * static_cast<float>(suffix));
      a.ddt[(k.b * a.L + k.first + t) * a.H + h] = ddt;
      dA += head.dt[t] * suffix;
      dbias += ddt;
    }
    const std::int64_t at = (k.b * a.chunks() + k.c) * a.H + h;
    a.dA[at] = static_cast<float>(dA);
    if (a.dbias) a.dbias[at] = static_cast<float>(dbias);
    if (a.dD) a.dD[at] = hn::GetLane(hn::SumOfLanes(kTag, skip_sum));
  }
};

template <std::size_t NV>
void gradients_range(const Args<float>& a, std::int64_t begin, std::int64_t end) {
  constexpr std::int64_t T = NV * kLanes;
  const std::int64_t longest = Group<NV>::longest_of(a), heads = a.H / a.G, width = padded(a.N);
  Scratch scratch(Group<NV>::floats(a) + HeadGradient<NV>::floats(a) + longest * (width + a.N) + 64);
  Group<NV> group(a, scratch);
  HeadGradient<NV> head(a, group, scratch);
  float *dB = scratch.take(longest * width), *dC_T = scratch.take(longest * a.N);
  for (std::int64_t task = begin; task < end; ++task) {
    const std::int64_t g = task % a.G, c = task / a.G % a.chunks(), b = task / a.G / a.chunks();
    const Chunk k = make_chunk<T>(a, b, c);
    group.prepare(k, g);
    std::fill_n(dB, k.padded_steps * width, 0.0f);
    std::fill_n(dC_T, k.padded_steps * a.N, 0.0f);
    for (std::int64_t h = g * heads; h < (g + 1) * heads; ++h) {
      const float* dh = state_of(a, a.dstates, b, c + 1, h);
      head.head.prepare(a, k, h);
      pack_rows(k, a.dy, h, a.P, head.x_width, head.dy_rows);
      std::fill_n(head.du, k.padded_steps * head.x_width, 0.0f);
      std::fill_n(head.ds, k.padded_steps, 0.0f);
      for (std::int64_t i = 0; i < k.padded_steps / T; ++i) {
        head.tile(k, h, i, dB);
        add_scaled(head.dC_h, 1.0f, a.N * T, dC_T + i * a.N * T);
      }
      head.from_state(k, h, dh, dB);
      head.finish(k, h, dh);
    }
    const std::int64_t row = ((b * a.L + k.first) * a.G + g) * a.N;
    for (std::int64_t t = 0; t < k.steps; ++t) std::copy_n(dB + t * width, a.N, a.dB + row + t * a.G * a.N);
    for (std::int64_t t = 0; t < k.steps; t += T) {
      write_tile(dC_T + t * a.N, a.N, T, std::min(k.steps - t, T), a.G * a.N, a.dC + row + t * a.G * a.N);
    }
  }
}

void gradients_tasks(const Args<float>& a, std::int64_t begin, std::int64_t end) {
  two_vectors(a) ? gradients_range<2>(a, begin, end) : gradients_range<1>(a, begin, end);
}

}  // namespace HWY_NAMESPACE
}  // namespace hymba::kernels::ssd_detail
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace hymba::kernels::ssd_detail {

HYMBA_DISPATCH_TASKS(gradients, gradients_tasks, Args<float>);

}  // namespace hymba::kernels::ssd_detail
#endif  // HWY_ONCE
