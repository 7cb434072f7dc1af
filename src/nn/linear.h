// Linear layers and tables of rows whose weights may be stored in 16 bits. Arithmetic is float32 unless training asks
// for products in bf16: on processors without them the library's own 16-bit gemm is a hundred times slower than sgemm.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

namespace hymba {

// x [..., I] -> x weight_OI^T [..., O], plus the residual where there is one. float32 weights: differentiable. 16-bit
// weights: widened tile by tile.
at::Tensor product(const at::Tensor& x, const at::Tensor& weight_OI, const at::Tensor& residual = {});

// While one lives, this thread's product() rounds float32 x and weight to bf16, multiplies them with sums in float32 and
// gives float32, forward and (for what was computed meanwhile) backward; weights and their gradients stay float32. Rows
// that meet a bf16 weight on a CPU are rounded as well; attention without gradients multiplies in bf16 too (mixer/attention.cpp).
class Bf16Products {
 public:
  explicit Bf16Products(bool on);
  ~Bf16Products();
  Bf16Products(const Bf16Products&) = delete;
  Bf16Products& operator=(const Bf16Products&) = delete;
  // The processor multiplies bf16 (AVX-512 BF16; every processor with AMX has it too), and HYMBA_ISA does not forbid it.
  static bool supported();
  static bool on();  // one lives in this thread

 private:
  bool before_;
};

// y_BO = x_BI weight_OI^T, plus what y_BO holds where `add`. Rows may be strided, last axes are dense. Few rows read
// the weight once, at the speed of memory; many go to kernels/gemm.
void product_out(const at::Tensor& y_BO, const at::Tensor& x_BI, const at::Tensor& weight_OI, bool add = false);

// Rows of table_VD in float32: ids [...] int64 -> [..., D]; differentiable where the table is float32.
// The row of padding_id gets no gradient (torch's padding_idx); -1: all do.
at::Tensor table_rows(const at::Tensor& table_VD, const at::Tensor& ids, std::int64_t padding_id = -1);
// The same into y_BD, for ids_B; allocates nothing. The ids were checked by the caller.
void table_rows_out(const at::Tensor& y_BD, const at::Tensor& table_VD, const at::Tensor& ids_B);

}  // namespace hymba
