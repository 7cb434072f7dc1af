// This machine's limits for roofline.cpp, measured with the kernels that a step runs, on as many bytes as it reads. The
// median of short runs counts, and of the rounds in which they are taken, as it does for the rows.
#include <ATen/Parallel.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/full.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/zeros.h>

#include <algorithm>
#include <vector>

#include "base/log.h"
#include "base/median.h"
#include "base/stolen_time.h"
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

constexpr double kMostBytes = 256e6;  // of a measurement: far beyond the caches

// Calls of f a second: the median of three runs of at least `least` seconds.
template <class F>
double usual_rate(double least, const F& f) {
  f();
  const auto run = quiet_run(at::get_num_threads(), [&] {
    std::vector<double> rates(3);
    for (double& rate : rates) {
      const Stopwatch watch;
      int calls = 0;
      do {
        f();
        ++calls;
      } while (watch.seconds() < least);
      rate = calls / watch.seconds();
    }
    return median(rates);
  });
  return run.value;
}

// The best of nine on a GPU, which takes calls faster than it runs them: 20 at a time.
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
  // 128 MB, read once a call
  const at::Tensor weight = at::full({8192, 4096}, 0.01f), x = at::ones({1, 4096}), y = at::empty({1, 8192});
  device.bandwidth = static_cast<double>(weight.nbytes()) * usual_rate(0.02, [&] { kernels::gemv_out(y, x, weight); });
  return device;
}

double measured_linear_seconds(const LinearWork& shape, std::int64_t batch, at::ScalarType type) {
  const at::NoGradGuard no_grad;
  const at::Tensor weight = at::full({shape.outputs, shape.inputs}, 0.01f).to(type);
  const auto most = std::max<std::size_t>(1, static_cast<std::size_t>(kMostBytes / static_cast<double>(weight.nbytes())));
  std::vector<at::Tensor> weights{weight};  // one after the other, as a step has them
  while (weights.size() < std::min(most, static_cast<std::size_t>(shape.layers))) weights.push_back(weight.clone());
  const at::Tensor x = at::ones({batch, shape.inputs}), y = at::empty({batch, shape.outputs});
  const double passes = usual_rate(0.005, [&] {
    for (const auto& w : weights) product_out(y, x, w);
  });
  return shape.layers / static_cast<double>(weights.size()) / passes;
}

double measured_attention_seconds(const AttentionWork& a, std::int64_t batch, at::ScalarType kv_type) {
  const at::NoGradGuard no_grad;
  const auto keys = std::max<std::int64_t>(static_cast<std::int64_t>(a.keys), 1);
  const double one = static_cast<double>(keys * a.kv_heads * (a.k_dim + a.v_dim)) * (kv_type == at::kFloat ? 4 : 2);
  // As many sequences as a step reads in all its layers, but a whole number a thread of those.
  const double sequences = static_cast<double>(batch) * a.layers;
  const auto B = static_cast<std::int64_t>(std::max(std::min(sequences, kMostBytes / one), std::min<double>(sequences, at::get_num_threads())));
  const at::Tensor q = at::full({B, a.heads, a.k_dim}, 0.1f), o = at::empty({B, a.heads, a.v_dim});
  const at::Tensor k = at::full({B, keys, a.kv_heads, a.k_dim}, 0.1f, at::TensorOptions(kv_type)),
                   v = at::full({B, keys, a.kv_heads, a.v_dim}, 0.1f, at::TensorOptions(kv_type));
  const at::Tensor lengths = at::full({B}, keys, at::kLong);
  const double calls = usual_rate(0.005, [&] { kernels::decode_attention_out(o, q, k, v, lengths); });
  return sequences / static_cast<double>(B) / calls;
}

double measured_state_seconds(const StateWork& s, std::int64_t batch) {
  const at::NoGradGuard no_grad;
  const std::int64_t N = s.states, E = s.channels;
  const double one = 4.0 * static_cast<double>(E * N), sequences = static_cast<double>(batch) * s.layers;
  const auto B = static_cast<std::int64_t>(std::max(std::min(sequences, kMostBytes / one), 1.0));
  double calls = 0;
  if (s.ssd) {
    const std::int64_t H = s.heads, P = E / H;
    const at::Tensor h = at::zeros({B, H, P, N}), x = at::ones({B, H, P}), y = at::empty({B, H, P}), dt = at::zeros({B, H});
    const at::Tensor A = at::full({H}, -1.0f), b = at::ones({B, 1, N}), D = at::ones({H}), bias = at::zeros({H});
    calls = usual_rate(0.005, [&] { kernels::ssd_state_update_out(y, h, x, dt, A, b, b, D, bias); });
  } else {
    const at::Tensor h = at::zeros({B, E, N}), u = at::ones({B, E}), y = at::empty({B, E}), A = at::full({E, N}, -1.0f);
    const at::Tensor b = at::ones({B, N}), D = at::ones({E}), bias = at::zeros({E});
    calls = usual_rate(0.005, [&] { kernels::selective_state_update_out(y, h, u, u, A, b, b, D, u, bias); });
  }
  return sequences / static_cast<double>(B) / calls;
}

}  // namespace hymba::eval
