// RoPE on the GPU: a thread turns 1 or 4 neighbouring pairs; lanes lie along a head's features, then along the heads.
#include "kernels/cuda/vectors.h"
#include "kernels/rope/cuda.h"

namespace hymba::kernels::rope_detail {
namespace {

using namespace cuda;  // NOLINT

constexpr int kThreads = 256;

template <int Width>
HYMBA_KERNEL(kThreads, 4)
rope_kernel(Args<float> a, const float* table_in, const std::int64_t* lengths) {
  const std::int64_t half = a.P / 2, pairs = half / Width;
  std::int64_t i = static_cast<std::int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (i >= a.B * a.L * a.H * pairs) return;
  const std::int64_t j = i % pairs * Width, head = i / pairs, h = head % a.H, l = head / a.H % a.L,
                     b = head / a.H / a.L;
  const Global<const float> x = Global<const float>(a.x) + (b * a.sb + l * a.sl + h * a.sh + j);
  std::int64_t turn = l;
  if (lengths) turn = Global<const std::int64_t>(lengths)[l] - 1;
  const Global<const float> table = Global<const float>(table_in) + ((turn > 0 ? turn : 0) * a.P + j);
  const Global<float> out = Global<float>(a.out) + (head * a.P + j);
  const Floats<Width> low = load<Width>(x), high = load<Width>(x + half), c = load<Width>(table),
                      s = load<Width>(table + half);
  Floats<Width> y, z;
  for (int k = 0; k < Width; ++k) {
    const float sine = a.inverse ? -s.v[k] : s.v[k];
    y.v[k] = low.v[k] * c.v[k] - high.v[k] * sine;
    z.v[k] = high.v[k] * c.v[k] + low.v[k] * sine;
  }
  store<Width>(out, y);
  store<Width>(out + half, z);
}

}  // namespace

const char* cuda_run(const Args<float>& a, const float* table, const std::int64_t* lengths, void* stream_in) {
  const Stream stream = static_cast<Stream>(stream_in);
  const bool wide = a.P % 8 == 0 && fits16(a.x, a.sl, a.sb) && a.sh % 4 == 0 && fits16(a.out) && fits16(table);
  const std::int64_t threads = a.B * a.L * a.H * (a.P / 2) / (wide ? 4 : 1);
  const dim3 grid(static_cast<unsigned>((threads + kThreads - 1) / kThreads));
  return wide ? launch(rope_kernel<4>, grid, kThreads, 0, stream, a, table, lengths)
              : launch(rope_kernel<1>, grid, kThreads, 0, stream, a, table, lengths);
}

}  // namespace hymba::kernels::rope_detail
