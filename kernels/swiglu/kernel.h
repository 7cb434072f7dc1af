// What SwiGLU's implementations take: raw pointers, no torch. Rows of gate_up hold 2 * width numbers, gate first.
#pragma once

#include <cstdint>

namespace hymba::kernels::gate {

constexpr std::int64_t kRows = 16;  // rows a task

struct Shape {
  std::int64_t rows = 0, width = 0, stride = 0;  // stride: from a row of gate_up to the next

  std::int64_t tasks() const { return (rows + kRows - 1) / kRows; }
};

void forward(const Shape& shape, const float* gate_up, float* y, std::int64_t begin, std::int64_t end);
// dgate_up [rows, 2 * width], dense.
void backward(const Shape& shape, const float* gate_up, const float* dy, float* dgate_up, std::int64_t begin,
              std::int64_t end);

void forward_reference(const Shape& shape, const double* gate_up, double* y);
void backward_reference(const Shape& shape, const double* gate_up, const double* dy, double* dgate_up);

}  // namespace hymba::kernels::gate
