#include "nn/linear.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/addmm.h>
#include <ATen/ops/embedding.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/index_select.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/mm.h>

#include "kernels/gemm/op.h"
#include "kernels/gemv/op.h"
#include "kernels/isa.h"

namespace hymba {
namespace {

// Up to this many rows the product is bound by reading the weight, and gemv beats the library (measured; see
// docs/throughput.md).
constexpr std::int64_t kGemvRows = 8;

thread_local bool bf16_products = false;

void gemm(const at::Tensor& y, const at::Tensor& x, const at::Tensor& weight, bool add) {
  if (add) {
    at::addmm_out(const_cast<at::Tensor&>(y), y, x, weight.t());
  } else {
    at::mm_out(const_cast<at::Tensor&>(y), x, weight.t());
  }
}

template <class T>
void copy_rows(const at::Tensor& y, const at::Tensor& table, const at::Tensor& ids) {
  const std::int64_t width = table.size(1);
  for (std::int64_t b = 0; b < ids.size(0); ++b) {
    const T* row = table.const_data_ptr<T>() + ids.const_data_ptr<std::int64_t>()[b] * width;
    float* out = y.data_ptr<float>() + b * y.stride(0);
    for (std::int64_t i = 0; i < width; ++i) out[i] = static_cast<float>(row[i]);
  }
}

}  // namespace

Bf16Products::Bf16Products(bool on) : before_(bf16_products) { bf16_products = on; }

Bf16Products::~Bf16Products() { bf16_products = before_; }

bool Bf16Products::on() { return bf16_products; }

bool Bf16Products::supported() { return kernels::multiplies_bf16(); }

at::Tensor product(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& residual) {
  if (bf16_products && x.scalar_type() == at::kFloat && weight.scalar_type() == at::kFloat) {
    const at::Tensor y = at::linear(x.to(at::kBFloat16), weight.to(at::kBFloat16)).to(at::kFloat);
    return residual.defined() ? residual + y : y;
  }
  const bool wide = weight.scalar_type() == at::kFloat;
  if (wide && kernels::prefers_own_gemm(x, weight)) return kernels::linear(x, weight, residual);
  if (residual.defined()) return residual + product(x, weight);
  if (wide) return at::linear(x, weight);
  auto sizes = x.sizes().vec();
  const at::Tensor rows = x.reshape({-1, x.size(-1)});
  sizes.back() = weight.size(0);
  if (!x.is_cpu()) return kernels::gemv(rows, weight).view(sizes);
  const at::Tensor y = at::empty({rows.size(0), weight.size(0)}, x.options());
  product_out(y, rows, weight);
  return y.view(sizes);
}

void product_out(const at::Tensor& y, const at::Tensor& x, const at::Tensor& weight, bool add) {
  if (y.numel() == 0) return;
  const bool round = bf16_products && weight.scalar_type() == at::kBFloat16 && x.is_cpu();
  if (round && x.size(0) <= kGemvRows) return kernels::gemv_out(y, x.to(at::kBFloat16).to(at::kFloat), weight, add);
  if (x.size(0) <= kGemvRows || !x.is_cpu()) {  // on a GPU gemv is the library's product
    kernels::gemv_out(y, x, weight, add);
  } else if (weight.scalar_type() == at::kFloat && !kernels::prefers_own_gemm(x, weight)) {
    gemm(y, x, weight, add);
  } else {
    kernels::linear_out(y, x, weight, add, round);
  }
}

at::Tensor table_rows(const at::Tensor& table, const at::Tensor& ids, std::int64_t padding_id) {
  return at::embedding(table, ids, padding_id).to(at::kFloat);
}

void table_rows_out(const at::Tensor& y, const at::Tensor& table, const at::Tensor& ids) {
  if (!table.is_cpu()) {
    y.copy_(at::index_select(table.detach(), 0, ids));
    return;
  }
  if (table.scalar_type() == at::kBFloat16) return copy_rows<at::BFloat16>(y, table, ids);
  if (table.scalar_type() == at::kHalf) return copy_rows<at::Half>(y, table, ids);
  copy_rows<float>(y, table, ids);
}

}  // namespace hymba
