#include "kernels/gemv/op.h"

#include <ATen/ops/addmm.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/mm.h>

#include "kernels/access.h"
#include "kernels/check.h"
#include "kernels/gemv/kernel.h"
#include "kernels/parallel.h"
#include "kernels/storage_of.h"

namespace hymba::kernels {
namespace {

constexpr const char* kOp = "gemv";

void check(const at::Tensor& x, const at::Tensor& weight) {
  check_leading(kOp, "x_BI", x, 2);
  const bool sixteen_bit = weight.defined() && is_half_width(weight.scalar_type()) && x.scalar_type() == at::kFloat;
  require(weight.defined() && weight.device() == x.device() && weight.dim() == 2 && weight.size(1) == x.size(1) &&
              (sixteen_bit || weight.scalar_type() == x.scalar_type()),
          "[{}] weight_OI: expected [O, {}] in {} (or bfloat16, float16 beside float32), got {}", kOp, x.size(1),
          c10::toString(x.scalar_type()), describe(weight));
}

// On a GPU: the library's product. 16-bit weights meet x rounded to their type (tensor cores); sums are in float32.
at::Tensor device_product(const at::Tensor& x, const at::Tensor& weight) {
  if (weight.scalar_type() == at::kFloat) return at::mm(x, weight.t());
  if (!weight.is_cuda()) return at::mm(x, weight.to(at::kFloat).t());
  return at::mm(x.to(weight.scalar_type()), weight.t(), at::kFloat);
}

void device_product_out(const at::Tensor& y, const at::Tensor& x, const at::Tensor& weight, bool add) {
  if (weight.scalar_type() == at::kFloat) {
    at::Tensor out = y;
    add ? at::addmm_out(out, y, x, weight.t()) : at::mm_out(out, x, weight.t());
    return;
  }
  const at::Tensor product = device_product(x, weight);
  add ? y.add_(product) : y.copy_(product);
}

bool has_dense_rows(const at::Tensor& t) { return t.size(1) <= 1 || t.stride(1) == 1; }

}  // namespace

void gemv_out(const at::Tensor& y, const at::Tensor& x, const at::Tensor& weight, bool add) {
  check(x, weight);
  require(x.scalar_type() == at::kFloat, "[{}] x_BI: expected float32, got {}", kOp, describe(x));
  check_tensor(kOp, "y_BO", y, {at::kFloat, x.device()}, {x.size(0), weight.size(0)});
  require(has_dense_rows(x) && has_dense_rows(weight) && has_dense_rows(y),
          "[{}] x_BI, weight_OI, y_BO: expected a last axis without gaps", kOp);
  if (on_device(x)) return device_product_out(y, x, weight, add);
  gemv_detail::Args a;
  a.batch = x.size(0), a.outputs = weight.size(0), a.inputs = x.size(1), a.storage = storage_of(weight), a.add = add;
  a.x = x.const_data_ptr<float>(), a.weight = weight.const_data_ptr(), a.y = y.data_ptr<float>();
  a.x_stride = x.stride(0), a.weight_stride = weight.stride(0), a.y_stride = y.stride(0);
  if (y.numel() == 0) return;
  // Memory's share: about 10 bytes a nanosecond and thread.
  const double bytes = static_cast<double>(gemv_detail::kTaskRows * a.inputs * weight.element_size());
  parallel_tasks(a.tasks(), grain_for(bytes / 10),
                 [&](std::int64_t begin, std::int64_t end) { gemv_detail::run(a, begin, end); });
}

at::Tensor gemv(const at::Tensor& x, const at::Tensor& weight) {
  check(x, weight);
  if (on_device(x)) return device_product(x, weight);
  const at::Tensor y = at::empty({x.size(0), weight.size(0)}, x.options());
  if (x.scalar_type() == at::kDouble) {
    const at::Tensor dense_x = x.contiguous(), dense_weight = weight.contiguous();
    gemv_detail::reference(x.size(0), weight.size(0), x.size(1), data<const double>(dense_x),
                           data<const double>(dense_weight), data<double>(y));
  } else {
    gemv_out(y, with_dense_rows(x), with_dense_rows(weight));
  }
  return y;
}

}  // namespace hymba::kernels
