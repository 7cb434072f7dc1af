// One decoding step: h is read and written once, which is all the time there is. 8 lanes share a channel, 4 states each
// at a time, as float4 where N is a multiple of 4. Included by cuda.cu.
#pragma once

namespace hymba::kernels::scan {
namespace {

constexpr int kStepLanes = 8;

// Four states of the channel: h in place, returns their part of y.
template <bool Vector>
HYMBA_DEVICE float step_states(const Global<const float>& h_in, const Global<float>& h_out,
                               const Global<const float>& A, const Global<const float>& B, const Global<const float>& C,
                               float dt, float input, int count) {
  float y = 0;
  if constexpr (Vector) {
    const float4 a = load4(A), old = h_in ? load4(h_in) : make_float4(0, 0, 0, 0);
    float4 h;
    h.x = fmaf(exp2_approx(dt * kLog2e * a.x), old.x, input * B[0]);
    h.y = fmaf(exp2_approx(dt * kLog2e * a.y), old.y, input * B[1]);
    h.z = fmaf(exp2_approx(dt * kLog2e * a.z), old.z, input * B[2]);
    h.w = fmaf(exp2_approx(dt * kLog2e * a.w), old.w, input * B[3]);
    store4(h_out, h);
    y = fmaf(h.x, C[0], fmaf(h.y, C[1], fmaf(h.z, C[2], h.w * C[3])));
  } else {
    for (int n = 0; n < count; ++n) {
      const float h = fmaf(exp2_approx(dt * kLog2e * A[n]), h_in ? h_in[n] : 0.0f, input * B[n]);
      h_out[n] = h;
      y = fmaf(h, C[n], y);
    }
  }
  return y;
}

template <bool Vector>
HYMBA_KERNEL(kThreads, 8)
step_kernel(Shape s, Inputs<float> in, Outputs<float> out) {
  const std::int64_t i = (static_cast<std::int64_t>(blockIdx.x) * kThreads + threadIdx.x) / kStepLanes;
  const bool exists = i < s.batch * s.channels;
  const std::int64_t b = exists ? i / s.channels : 0, e = exists ? i % s.channels : 0;
  const int lane = static_cast<int>(threadIdx.x) % kStepLanes, states = static_cast<int>(s.states);
  const float u = row_of(in.u, b, 0, e)[0];
  float dt = row_of(in.dt, b, 0, e)[0] + (in.dt_bias ? Global<const float>(in.dt_bias)[e] : 0.0f);
  if (s.softplus) dt = softplus(dt);
  const std::int64_t group = e / (s.channels / s.groups) * s.states, state = (b * s.channels + e) * s.states;
  const Global<const float> B = row_of(in.B, b, 0, group), C = row_of(in.C, b, 0, group), A = in.A, h0 = in.h0;
  const Global<float> h = out.h;
  float y = 0;
  for (int n = 4 * lane; exists && n < states; n += 4 * kStepLanes) {
    const int count = states - n < 4 ? states - n : 4;
    y += step_states<Vector>(in.h0 ? h0 + (state + n) : h0, h + (state + n), A + (e * s.states + n), B + n, C + n, dt,
                             dt * u, count);
  }
#pragma unroll
  for (int d = kStepLanes / 2; d > 0; d /= 2) y += __shfl_xor_sync(kAllLanes, y, d);
  if (!exists || lane != 0) return;
  if (in.D) y = fmaf(Global<const float>(in.D)[e], u, y);
  if (in.z.data) {
    const float z = row_of(in.z, b, 0, e)[0];
    y *= z * sigmoid(z);
  }
  row_of(out.y, b, 0, e)[0] = y;
}

HYMBA_HOST_DEVICE bool aligned16(const void* p) { return reinterpret_cast<std::uintptr_t>(p) % 16 == 0; }

}  // namespace

const char* cuda_step(const Shape& s, const Inputs<float>& in, const Outputs<float>& out, void* stream) {
  const std::int64_t threads = s.batch * s.channels * kStepLanes;
  const dim3 grid(static_cast<unsigned>((threads + kThreads - 1) / kThreads));
  const bool vector = s.states % 4 == 0 && aligned16(in.A) && aligned16(in.h0) && aligned16(out.h);
  return vector ? launch(step_kernel<true>, grid, kThreads, 0, static_cast<Stream>(stream), s, in, out)
                : launch(step_kernel<false>, grid, kThreads, 0, static_cast<Stream>(stream), s, in, out);
}

}  // namespace hymba::kernels::scan
