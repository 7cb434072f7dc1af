// Checks of an op's arguments: UserError "[op] arg: expected float32 [2, 8, 64], got float64 [2, 8, 32]".
#pragma once

#include <ATen/core/Tensor.h>
#include <c10/core/GradMode.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cstdint>
#include <initializer_list>
#include <optional>
#include <string>
#include <vector>

#include "base/error.h"

namespace hymba::kernels {

inline std::string describe(const at::Tensor& t) {
  if (!t.defined()) return "an undefined tensor";
  return fmt::format("{}{} [{}]", t.is_cpu() ? "" : t.device().str() + " ",
                     t.scalar_type() == at::kFloat    ? "float32"
                     : t.scalar_type() == at::kDouble ? "float64"
                                                      : c10::toString(t.scalar_type()),
                     fmt::join(t.sizes(), ", "));
}

// Whether the ops have kernels for a device: the CPU, and where cuda/launches.h has a table, its GPU.
bool has_kernels(const c10::Device& device);
inline bool on_device(const at::Tensor& t) { return !t.is_cpu(); }

// Type and device that all tensors of a call share; a type alone: on the CPU.
struct Kind {
  at::ScalarType type;
  c10::Device device = c10::kCPU;
  Kind(at::ScalarType t) : type(t) {}  // NOLINT
  Kind(at::ScalarType t, c10::Device d) : type(t), device(d) {}
};
inline Kind kind_of(const at::Tensor& t) { return {t.scalar_type(), t.device()}; }

// A tensor of this kind and exactly `sizes`.
inline void check_tensor(const char* op, const char* arg, const at::Tensor& t, const Kind& kind,
                         const std::vector<std::int64_t>& sizes) {
  if (t.defined() && t.device() == kind.device && t.scalar_type() == kind.type && t.sizes() == at::IntArrayRef(sizes)) {
    return;
  }
  user_error("[{}] {}: expected {}{} [{}], got {}", op, arg, kind.device.is_cpu() ? "" : kind.device.str() + " ",
             kind.type == at::kFloat ? "float32" : "float64", fmt::join(sizes, ", "), describe(t));
}

inline void check_optional(const char* op, const char* arg, const at::Tensor& t, const Kind& kind,
                           const std::vector<std::int64_t>& sizes) {
  if (t.defined()) check_tensor(op, arg, t, kind, sizes);
}

// A tensor of float32, or on the CPU float64, with `dims` axes (0: one or more): the one that fixes type, device and
// sizes for the rest.
inline void check_leading(const char* op, const char* arg, const at::Tensor& t, std::int64_t dims) {
  if (t.defined() && has_kernels(t.device()) &&
      (t.scalar_type() == at::kFloat || (t.scalar_type() == at::kDouble && t.is_cpu())) &&
      (dims == 0 ? t.dim() >= 1 : t.dim() == dims)) {
    return;
  }
  user_error("[{}] {}: expected float32 (on the CPU or, with the CUDA kernels loaded, a GPU) or CPU float64, with {} axes, got {}", op, arg,
             dims == 0 ? std::string("one or more") : std::to_string(dims), describe(t));
}

// The tensor itself where the last `inner` axes lie contiguous in memory, else a contiguous copy. The axes before keep
// their strides: a slice of a wider projection costs no copy.
inline at::Tensor with_dense_rows(const at::Tensor& t, std::int64_t inner = 1) {
  if (!t.defined() || t.numel() == 0) return t;
  std::int64_t stride = 1;
  for (std::int64_t i = t.dim() - 1; i >= t.dim() - inner; --i) {
    if (t.size(i) != 1 && t.stride(i) != stride) return t.contiguous();
    stride *= t.size(i);
  }
  return t;
}

// [rows, last axis], rows at one stride: a view if the leading axes collapse into one, else a contiguous copy.
inline at::Tensor as_matrix(const at::Tensor& x) {
  bool regular = x.numel() > 0;
  for (std::int64_t i = 0; i + 2 < x.dim(); ++i) {
    regular &= x.size(i) == 1 || x.stride(i) == x.stride(i + 1) * x.size(i + 1);
  }
  const at::Tensor dense = regular ? with_dense_rows(x) : x.contiguous();
  return dense.reshape({x.size(-1) > 0 ? x.numel() / x.size(-1) : 0, x.size(-1)});
}

// Whether a call with these tensors (undefined ones included) is to be recorded for a backward pass.
inline bool needs_gradient(std::initializer_list<const at::Tensor*> tensors) {
  if (!c10::GradMode::is_enabled()) return false;
  return std::any_of(tensors.begin(), tensors.end(),
                     [](const at::Tensor* t) { return t->defined() && t->requires_grad(); });
}

// How an optional tensor goes through torch::autograd::Function, which takes no undefined ones.
inline std::optional<at::Tensor> if_defined(const at::Tensor& t) {
  return t.defined() ? std::optional<at::Tensor>(t) : std::nullopt;
}

inline at::Tensor contiguous_or_undefined(const at::Tensor& t) { return t.defined() ? t.contiguous() : t; }

}  // namespace hymba::kernels
