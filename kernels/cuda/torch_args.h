// From CUDA tensors to what the launches take; the plug-in's torch glue only.
#pragma once

#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>

#include <optional>
#include <string>
#include <vector>

#include "kernels/access.h"
#include "kernels/check.h"

namespace hymba::kernels::cuda {

using Optional = std::optional<at::Tensor>;

inline at::Tensor or_undefined(const Optional& t) { return t.value_or(at::Tensor()); }

// A CUDA float32 tensor of these sizes (-1: any), on the device of the op's first tensor.
inline void expect(const char* op, const char* arg, const at::Tensor& t, const std::vector<std::int64_t>& sizes) {
  bool fits =
      t.defined() && t.is_cuda() && t.scalar_type() == at::kFloat && t.dim() == static_cast<std::int64_t>(sizes.size());
  for (std::size_t i = 0; fits && i < sizes.size(); ++i)
    fits = sizes[i] < 0 || t.size(static_cast<std::int64_t>(i)) == sizes[i];
  require(fits, "[{}] {}: expected cuda float32 [{}] (-1: any), got {}", op, arg, fmt::join(sizes, ", "), describe(t));
}

inline void expect_if_defined(const char* op, const char* arg, const at::Tensor& t,
                              const std::vector<std::int64_t>& sizes) {
  if (t.defined()) expect(op, arg, t, sizes);
}

// Makes the tensor's device current, and gives its stream.
class OnDevice {
 public:
  explicit OnDevice(const at::Tensor& t)
      : guard_(t.device()), stream_(c10::cuda::getCurrentCUDAStream(t.device().index()).stream()) {}
  operator void*() const { return stream_; }  // NOLINT: a cudaStream_t as the launches take it

 private:
  c10::cuda::CUDAGuard guard_;
  cudaStream_t stream_;
};

inline void check_launch(const char* op, const char* error) {
  require(error == nullptr, "[{}] {}", op, error == nullptr ? "" : error);
}

inline at::Tensor like(const at::Tensor& t, std::vector<std::int64_t> sizes) { return at::empty(sizes, t.options()); }
inline at::Tensor like_if(const at::Tensor& t) { return t.defined() ? at::empty(t.sizes(), t.options()) : t; }
// Undefined tensors do not leave an op: an empty one stands for them.
inline at::Tensor or_empty(const at::Tensor& t, const at::Tensor& model) { return t.defined() ? t : like(model, {0}); }

}  // namespace hymba::kernels::cuda
