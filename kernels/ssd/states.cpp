// The states between chunks and their gradients: each chunk's own share (README.md, equations 4 and 6), then the walk
// from chunk to chunk; and the single step of decoding.
#include "kernels/targets.h"
//
#include <algorithm>

#include "kernels/ssd/kernel.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/ssd/states.cpp"
#include <hwy/foreach_target.h>
// Must come after foreach_target.h, which includes this file once an instruction set.
#include <hwy/highway.h>

#include "kernels/dispatch.h"
#include "kernels/ssd/chunk-inl.h"

HWY_BEFORE_NAMESPACE();
namespace hymba::kernels::ssd_detail {
namespace HWY_NAMESPACE {

// states[p][n] = sum over steps of x[t][p] * factor[t] * rows[t][n]; `scaled` is scratch [steps][width].
void sum_of_outer_products(const Args<float>& a, const Chunk& k, const Rows<float>& x, std::int64_t h,
                           const Rows<float>& rows, const float* factor, float* scaled, float* state) {
  const std::int64_t width = padded(a.N);
  for (std::int64_t t = 0; t < k.steps; ++t) {
    scale_padded(rows.at(k.b, k.first + t, h / (a.H / a.G)), factor[t], a.N, width, scaled + t * width);
  }
  std::fill_n(state, a.P * width, 0.0f);
  sum_over_rows({x.at(k.b, k.first, h), 1, x.sl}, k.steps, a.P, scaled, width, state);
}

// Both local passes: the state that the steps of a chunk leave at its end, and the gradient of the state before it.
template <bool kBackward>
void local_pass(const Args<float>& a, std::int64_t begin, std::int64_t end) {
  const std::int64_t longest = (std::min(a.chunk, a.L) + kLanes - 1) / kLanes * kLanes;
  Scratch scratch(Head::kArrays * Scratch::round_up(longest) + longest * padded(a.N) + 32);
  Head head(scratch, longest);
  float* scaled = scratch.take(longest * padded(a.N));
  for (std::int64_t task = begin; task < end; ++task) {
    const std::int64_t h = task % a.H, c = task / a.H % a.chunks(), b = task / a.H / a.chunks();
    const Chunk k = make_chunk<kLanes>(a, b, c);
    head.prepare(a, k, h);
    a.decay[task] = head.total;
    if (kBackward) {
      sum_of_outer_products(a, k, a.dy, h, a.Cm, head.from_start, scaled, state_of(a, a.dstates, b, c, h));
    } else {
      for (std::int64_t t = 0; t < k.steps; ++t) head.to_end[t] *= head.dt[t];
      sum_of_outer_products(a, k, a.x, h, a.Bm, head.to_end, scaled, state_of(a, a.states, b, c + 1, h));
    }
  }
}

void chunk_states_tasks(const Args<float>& a, std::int64_t begin, std::int64_t end) {
  local_pass<false>(a, begin, end);
}
void chunk_gradients_tasks(const Args<float>& a, std::int64_t begin, std::int64_t end) {
  local_pass<true>(a, begin, end);
}

// Some rows of one head's state, which go from chunk to chunk without the others: rows [first, first + rows) of P.
struct StateRows {
  std::int64_t b, h, first, rows, width;

  StateRows(const Args<float>& a, std::int64_t task) : width(padded(a.N)) {
    const std::int64_t blocks = pass_blocks(a);
    b = task / blocks / a.H, h = task / blocks % a.H, first = task % blocks * kPassRows;
    rows = std::min(kPassRows, a.P - first);
  }
  float* of(const Args<float>& a, float* states, std::int64_t c) const {
    return state_of(a, states, b, c, h) + first * width;
  }
  // Their first number in an array [B,H,P,N].
  std::int64_t offset(const Args<float>& a) const { return ((b * a.H + h) * a.P + first) * a.N; }

  // Copies rows of N to rows of the padded width, or back; a null source is zeros.
  void widen(std::int64_t N, const float* from, float* to) const {
    for (std::int64_t p = 0; p < rows; ++p) {
      std::fill_n(to + p * width, width, 0.0f);
      if (from) std::copy_n(from + p * N, N, to + p * width);
    }
  }
  void narrow(std::int64_t N, const float* from, float* to) const {
    for (std::int64_t p = 0; p < rows; ++p) std::copy_n(from + p * width, N, to + p * N);
  }
};

void pass_states_tasks(const Args<float>& a, std::int64_t begin, std::int64_t end) {
  const std::int64_t chunks = a.chunks();
  for (std::int64_t task = begin; task < end; ++task) {
    const StateRows r(a, task);
    r.widen(a.N, a.h0 ? a.h0 + r.offset(a) : nullptr, r.of(a, a.states, 0));
    for (std::int64_t c = 0; c < chunks; ++c) {
      add_scaled(r.of(a, a.states, c), a.decay[(r.b * chunks + c) * a.H + r.h], r.rows * r.width,
                 r.of(a, a.states, c + 1));
    }
    r.narrow(a.N, r.of(a, a.states, chunks), a.h + r.offset(a));
  }
}

void pass_gradients_tasks(const Args<float>& a, std::int64_t begin, std::int64_t end) {
  const std::int64_t chunks = a.chunks();
  for (std::int64_t task = begin; task < end; ++task) {
    const StateRows r(a, task);
    r.widen(a.N, a.dh ? a.dh + r.offset(a) : nullptr, r.of(a, a.dstates, chunks));
    for (std::int64_t c = chunks - 1; c >= 0; --c) {
      add_scaled(r.of(a, a.dstates, c + 1), a.decay[(r.b * chunks + c) * a.H + r.h], r.rows * r.width,
                 r.of(a, a.dstates, c));
    }
    if (a.dh0) r.narrow(a.N, r.of(a, a.dstates, 0), a.dh0 + r.offset(a));
  }
}

// One step: lanes run over the state's N.
void step_tasks(const Args<float>& a, std::int64_t begin, std::int64_t end) {
  Scratch scratch(Head::kArrays * kLanes + 128);
  Head head(scratch, kLanes);
  for (std::int64_t task = begin; task < end; ++task) {
    const std::int64_t b = task / a.H, h = task % a.H, g = h / (a.H / a.G);
    head.prepare(a, {b, 0, 0, 1, kLanes}, h);
    const float *x = a.x.at(b, 0, h), *B = a.Bm.at(b, 0, g), *C = a.Cm.at(b, 0, g);
    const V decay = hn::Set(kTag, head.total);
    for (std::int64_t p = 0; p < a.P; ++p) {
      const V u = hn::Set(kTag, head.dt[0] * x[p]);
      float* state = a.h + (task * a.P + p) * a.N;
      V sum = hn::Zero(kTag);
      for (std::int64_t n = 0; n < a.N; n += kLanes) {
        const std::int64_t left = a.N - n;
        const V next = hn::MulAdd(decay, load_part(state + n, left), hn::Mul(u, load_part(B + n, left)));
        store_part(next, state + n, left);
        sum = hn::MulAdd(next, load_part(C + n, left), sum);
      }
      a.y[task * a.P + p] = hn::GetLane(hn::SumOfLanes(kTag, sum)) + (a.D ? a.D[h] * x[p] : 0);
    }
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace hymba::kernels::ssd_detail
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace hymba::kernels::ssd_detail {

HYMBA_DISPATCH_TASKS(chunk_states, chunk_states_tasks, Args<float>);
HYMBA_DISPATCH_TASKS(pass_states, pass_states_tasks, Args<float>);
HYMBA_DISPATCH_TASKS(chunk_gradients, chunk_gradients_tasks, Args<float>);
HYMBA_DISPATCH_TASKS(pass_gradients, pass_gradients_tasks, Args<float>);
HYMBA_DISPATCH_TASKS(step, step_tasks, Args<float>);

std::int64_t state_floats(const Args<float>& a) { return a.B * (a.chunks() + 1) * a.H * a.P * padded(a.N); }

}  // namespace hymba::kernels::ssd_detail
#endif  // HWY_ONCE
