// What the RMS norm's implementations take: raw pointers, no torch. A matrix of rows x width; each row is dense.
#pragma once

#include <cstdint>

namespace hymba::kernels::norm {

constexpr std::int64_t kRows = 64;  // rows a task; the weight's gradient is summed once a task

struct Shape {
  std::int64_t rows = 0, width = 0, stride = 0;  // stride: from a row of x to the next
  double eps = 0;

  std::int64_t tasks() const { return (rows + kRows - 1) / kRows; }
};

// y [rows, width]; rstd [rows] = 1 / sqrt(mean(x^2) + eps), kept for the backward pass, or null.
void forward(const Shape& shape, const float* x, const float* weight, float* y, float* rstd, std::int64_t begin,
             std::int64_t end);
// dx [rows, width]; dweight [tasks, width]: partial sums.
void backward(const Shape& shape, const float* x, const float* weight, const float* rstd, const float* dy, float* dx,
              float* dweight, std::int64_t begin, std::int64_t end);

// Rows of x, repeated `copies` times to the width of weight and y: y = (add ? y : 0) + scale * norm(x) * weight.
struct OutShape {
  std::int64_t rows = 0, width = 0, copies = 1, x_stride = 0, y_stride = 0;
  double eps = 0;
  float scale = 1;
  bool add = false;
};
void forward_out(const OutShape& shape, const float* x, const float* weight, float* y, std::int64_t begin,
                 std::int64_t end);

void forward_reference(const Shape& shape, const double* x, const double* weight, double* y);
// Adds to dweight [width], which the caller has set to zero.
void backward_reference(const Shape& shape, const double* x, const double* weight, const double* dy, double* dx,
                        double* dweight);

}  // namespace hymba::kernels::norm
