// What the matrix product's implementations take: raw pointers, no torch.
#pragma once

#include <cstdint>

#include "kernels/storage.h"

namespace hymba::kernels::gemm {

constexpr std::int64_t kRows = 24;  // rows of C a task

// C[i][j] = start[i][j] + sum over k of A(i, k) * B[k][j]. A(i, k) lies at a + i * a_row + k * a_step, so that either A or its
// transpose is dense; rows of B, C and start are dense. start: a matrix with C's strides, C itself, or null for zeros.
// `cpu` reads rows of B in whole vectors: they are padded to a multiple of kPad floats.
constexpr std::int64_t kPad = 16;
struct Shape {
  std::int64_t M = 0, N = 0, K = 0;
  std::int64_t a_row = 0, a_step = 0, b_row = 0, c_row = 0;

  std::int64_t tasks() const { return (M + kRows - 1) / kRows; }
};

void cpu(const Shape& s, const float* a, const float* b, const float* start, float* c, std::int64_t begin, std::int64_t end);

// The same for a B beyond the near caches: a task takes a panel of kPanel columns and task_rows rows of C, and copies the
// panel, kRun steps of k at a time, to where it is dense and float32. A's rows are dense (a_step = 1).
constexpr std::int64_t kPanel = 64, kRun = 256;
struct Panels {
  Shape shape;
  bool b_transposed = false;  // B[k][j] lies at b + j * b_row + k, else at b + k * b_row + j; no padding
  Storage storage = Storage::kFloat;
  std::int64_t task_rows = 0;
  // A "float" of A and of a transposed B is a pair of bf16, whose products are added in float32 (K counts pairs). Only where
  // multiplies_bf16() (isa.h).
  bool bf16_pairs = false;

  std::int64_t row_tasks() const { return (shape.M + task_rows - 1) / task_rows; }
  std::int64_t tasks() const { return row_tasks() * ((shape.N + kPanel - 1) / kPanel); }
};

void panels(const Panels& p, const float* a, const void* b, const float* start, float* c, std::int64_t begin, std::int64_t end);

// out[j * out_row + i] = in[i * stride + j] for columns j of tasks [begin, end), kPanel columns a task.
void transpose(const float* in, std::int64_t rows, std::int64_t columns, std::int64_t stride, float* out, std::int64_t out_row,
               std::int64_t begin, std::int64_t end);
void reference(const Shape& s, const double* a, const double* b, const double* start, double* c);

}  // namespace hymba::kernels::gemm
