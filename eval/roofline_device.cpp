// This machine's limits for roofline.cpp, measured with the kernels that a step runs, on data in the caches (rates) or
// far beyond them (bandwidth). The best of several short runs counts: what the machine can do, not what it does today.
#include <ATen/Parallel.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/full.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/zeros.h>

#include <algorithm>
#include <map>
#include <tuple>

#include "base/log.h"
#include "eval/roofline.h"
#include "kernels/cuda/launches.h"
#include "kernels/decode_attention/op.h"
#include "kernels/gemv/op.h"
#include "kernels/selective_scan/op.h"
#include "kernels/ssd/op.h"
#include "nn/device.h"
#include "nn/linear.h"

namespace hymba::eval {
namespace {

// Calls of f a second: the best of nine runs of at least `least` seconds.
template <class F>
double best_rate(double least, const F& f) {
  f();
  double best = 0;
  for (int run = 0; run < 9; ++run) {
    const Stopwatch watch;
    int calls = 0;
    do {
      f();
      ++calls;
    } while (watch.seconds() < least);
    best = std::max(best, calls / watch.seconds());
  }
  return best;
}

// The same on a GPU, which takes calls faster than it runs them: 20 at a time.
template <class F>
double best_gpu_rate(const at::Device& device, const F& f) {
  f();
  double best = 0;
  for (int run = 0; run < 9; ++run) {
    constexpr int kCalls = 20;
    synchronize(device);
    const Stopwatch watch;
    for (int i = 0; i < kCalls; ++i) f();
    synchronize(device);
    best = std::max(best, kCalls / watch.seconds());
  }
  return best;
}

// Bandwidth: a copy of 512 MB. A multiprocessor takes 128 multiply-adds and 16 exponentials a clock. What a launch
// costs: a kernel with nothing to do.
Device measured_gpu(const at::Device& gpu, std::int64_t batch, at::ScalarType type) {
  const auto options = at::TensorOptions(at::kFloat).device(gpu);
  Device device;
  device.name = "this GPU";
  {
    const at::Tensor from = at::zeros({1 << 27}, options), to = at::empty({1 << 27}, options);
    device.bandwidth = 2.0 * static_cast<double>(from.nbytes()) * best_gpu_rate(gpu, [&] { to.copy_(from); });
  }
  const std::int64_t inputs = 1024, outputs = 4096;
  const at::Tensor weight = at::full({outputs, inputs}, 0.01f, options).to(type), x = at::ones({batch, inputs}, options),
                   y = at::empty({batch, outputs}, options);
  device.gemm_flops =
      2.0 * static_cast<double>(batch * inputs * outputs) * best_gpu_rate(gpu, [&] { product_out(y, x, weight); });
  device.attention_flops = kernels::device_launches()->fma_rate();
  device.state_rate = device.attention_flops / (2 * 128) * 16;
  const at::Tensor small = at::zeros({1}, options);
  device.launch_seconds = 1 / best_gpu_rate(gpu, [&] { small.add_(1); });
  return device;
}

}  // namespace

Device measured_device(std::int64_t batch, at::ScalarType type) {
  const at::NoGradGuard no_grad;
  if (!model_device().is_cpu()) return measured_gpu(model_device(), batch, type);
  Device device;
  device.name = "this CPU";
  {  // 128 MB, read once a call
    const at::Tensor weight = at::full({8192, 4096}, 0.01f), x = at::ones({1, 4096}), y = at::empty({1, 8192});
    device.bandwidth = static_cast<double>(weight.nbytes()) * best_rate(0.02, [&] { kernels::gemv_out(y, x, weight); });
  }
  // A product of the width of the roadmap's designs; few rows are bound by (2)'s first term, which must not count
  // twice.
  const std::int64_t rows = std::max<std::int64_t>(batch, 1), inputs = 1024, outputs = rows <= 8 ? 128 : 4096;
  const at::Tensor weight = at::full({outputs, inputs}, 0.01f).to(type), x = at::ones({rows, inputs}),
                   y = at::empty({rows, outputs});
  device.gemm_flops =
      2.0 * static_cast<double>(rows * inputs * outputs) * best_rate(0.02, [&] { product_out(y, x, weight); });
  return device;
}

double measured_attention_flops(const AttentionWork& a, at::ScalarType kv_type) {
  const at::NoGradGuard no_grad;
  static std::map<std::tuple<std::int64_t, std::int64_t, std::int64_t, std::int64_t, at::ScalarType, int>, double>
      known;
  double& rate = known[{a.heads, a.kv_heads, a.k_dim, a.v_dim, kv_type, at::get_num_threads()}];
  if (rate > 0) return rate;
  // One sequence a thread, its keys in half a megabyte.
  const std::int64_t batch = std::max(at::get_num_threads(), 1);
  const std::int64_t keys = std::clamp<std::int64_t>((1 << 18) / (a.kv_heads * (a.k_dim + a.v_dim)), 32, 1024);
  const at::Tensor q = at::full({batch, a.heads, a.k_dim}, 0.1f), o = at::empty({batch, a.heads, a.v_dim});
  const at::Tensor k = at::full({batch, keys, a.kv_heads, a.k_dim}, 0.1f).to(kv_type),
                   v = at::full({batch, keys, a.kv_heads, a.v_dim}, 0.1f).to(kv_type);
  const at::Tensor lengths = at::full({batch}, keys, at::kLong);
  const double flops = 2.0 * static_cast<double>(batch * keys * a.heads * (a.k_dim + a.v_dim));
  rate = flops * best_rate(0.005, [&] { kernels::decode_attention_out(o, q, k, v, lengths); });
  return rate;
}

double measured_state_rate(const StateWork& s) {
  const at::NoGradGuard no_grad;
  static std::map<std::tuple<bool, std::int64_t, std::int64_t, int>, double> known;
  double& rate = known[{s.ssd, s.channels, s.states, at::get_num_threads()}];
  if (rate > 0) return rate;
  // As many channels as keep the states of a thread in its second-level cache.
  const std::int64_t batch = std::max(at::get_num_threads(), 1), N = s.states;
  if (s.ssd) {
    const std::int64_t P = s.channels / s.heads, H = std::clamp<std::int64_t>((1 << 16) / (P * N), 1, s.heads);
    const at::Tensor h = at::zeros({batch, H, P, N}), x = at::ones({batch, H, P}), y = at::empty({batch, H, P}),
                     dt = at::zeros({batch, H});
    const at::Tensor A = at::full({H}, -1.0f), B = at::ones({batch, 1, N}), D = at::ones({H}), bias = at::zeros({H});
    rate = static_cast<double>(batch * H * P * N) *
           best_rate(0.005, [&] { kernels::ssd_state_update_out(y, h, x, dt, A, B, B, D, bias); });
  } else {
    const std::int64_t E = std::clamp<std::int64_t>((1 << 16) / N, 16, s.channels);
    const at::Tensor h = at::zeros({batch, E, N}), u = at::ones({batch, E}), y = at::empty({batch, E}),
                     A = at::full({E, N}, -1.0f);
    const at::Tensor B = at::ones({batch, N}), D = at::ones({E}), bias = at::zeros({E});
    rate = static_cast<double>(batch * E * N) *
           best_rate(0.005, [&] { kernels::selective_state_update_out(y, h, u, u, A, B, B, D, u, bias); });
  }
  return rate;
}

}  // namespace hymba::eval
