// What gemv's implementations take: raw pointers, no torch.
#pragma once

#include <cstdint>

#include "kernels/storage.h"

namespace hymba::kernels::gemv_detail {

constexpr std::int64_t kTaskRows = 32;  // rows of the weight a task: 16 to 64 KB at usual widths

// y[b, o] = (add ? y[b, o] : 0) + sum over i of x[b, i] * weight[o, i].
struct Args {
  std::int64_t batch = 0, outputs = 0, inputs = 0;
  Storage storage = Storage::kFloat;
  const float* x = nullptr;
  const void* weight = nullptr;
  float* y = nullptr;
  std::int64_t x_stride = 0, weight_stride = 0, y_stride = 0;  // of rows, in elements
  bool add = false;

  std::int64_t tasks() const { return (outputs + kTaskRows - 1) / kTaskRows; }
};

void run(const Args& args, std::int64_t begin, std::int64_t end);

void reference(std::int64_t batch, std::int64_t outputs, std::int64_t inputs, const double* x, const double* weight,
               double* y);

}  // namespace hymba::kernels::gemv_detail
