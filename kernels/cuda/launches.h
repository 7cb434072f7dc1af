// Kernels for tensors that are not on the CPU, as one table: the plug-in library hands it over when it is loaded, and
// every op.cpp calls through it. Nothing here links against CUDA.
#pragma once

#include <ATen/core/Tensor.h>
#include <c10/core/DeviceGuard.h>

#include <cstdint>

#include "base/error.h"
#include "kernels/causal_conv1d/cuda.h"
#include "kernels/decode_attention/cuda.h"
#include "kernels/rms_norm/cuda.h"
#include "kernels/rope/cuda.h"
#include "kernels/selective_scan/cuda.h"
#include "kernels/ssd/cuda.h"
#include "kernels/swiglu/cuda.h"
#include "kernels/window_attention/cuda.h"

namespace hymba::kernels {

struct DeviceMemory {
  std::int64_t free = 0, total = 0, peak = 0;  // bytes; peak: of the tensors, since the last reset
};

// Each launch returns null where it was accepted, else what is wrong; the last argument is a stream.
struct Launches {
  std::int64_t bytes = sizeof(Launches);  // a library of another version is not called
  c10::DeviceType device = c10::DeviceType::CUDA;
  void* (*stream)(int device) = nullptr;             // the current one
  void (*synchronize)() = nullptr;                   // waits for all work on the current device
  DeviceMemory (*memory)(bool reset_peak) = nullptr;  // of the current device; gives back what the allocator only keeps
  double (*fma_rate)() = nullptr;                    // multiply-adds in registers, flops a second, measured

  decltype(&scan::cuda_forward) scan_forward = &scan::cuda_forward;
  decltype(&scan::cuda_backward) scan_backward = &scan::cuda_backward;
  decltype(&scan::cuda_step) scan_step = &scan::cuda_step;
  decltype(&conv::cuda_forward) conv_forward = &conv::cuda_forward;
  decltype(&conv::cuda_backward) conv_backward = &conv::cuda_backward;
  decltype(&conv::cuda_step) conv_step = &conv::cuda_step;
  decltype(&window_attention_detail::cuda_forward) attention_forward = &window_attention_detail::cuda_forward;
  decltype(&window_attention_detail::cuda_backward) attention_backward = &window_attention_detail::cuda_backward;
  decltype(&decode_detail::cuda_run) decode = &decode_detail::cuda_run;
  decltype(&decode_detail::cuda_append) append = &decode_detail::cuda_append;
  decltype(&ssd_detail::cuda_forward) ssd_forward = &ssd_detail::cuda_forward;
  decltype(&ssd_detail::cuda_backward) ssd_backward = &ssd_detail::cuda_backward;
  decltype(&ssd_detail::cuda_step) ssd_step = &ssd_detail::cuda_step;
  decltype(&norm::cuda_forward) norm_forward = &norm::cuda_forward;
  decltype(&norm::cuda_backward) norm_backward = &norm::cuda_backward;
  decltype(&norm::cuda_forward_out) norm_forward_out = &norm::cuda_forward_out;
  decltype(&gate::cuda_forward) gate_forward = &gate::cuda_forward;
  decltype(&gate::cuda_backward) gate_backward = &gate::cuda_backward;
  decltype(&rope_detail::cuda_run) rope = &rope_detail::cuda_run;
};

// The table of the library that is loaded; null: there is none.
const Launches* device_launches();
void set_device_launches(const Launches* launches);

// launch("op", x, device_launches()->conv_forward, args ...): on x's device and its current stream.
template <class F, class... A>
void launch(const char* op, const at::Tensor& on, F function, const A&... args) {
  const c10::DeviceGuard guard(on.device());
  const char* error = function(args..., device_launches()->stream(on.device().index()));
  require(error == nullptr, "[{}] {}", op, error == nullptr ? "" : error);
}

}  // namespace hymba::kernels
