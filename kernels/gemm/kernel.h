// What the matrix product's implementations take: raw pointers, no torch.
#pragma once

#include <cstdint>

namespace hymba::kernels::gemm {

constexpr std::int64_t kRows = 24;  // rows of C a task

// C[i][j] = (add ? C[i][j] : 0) + sum over k of A(i, k) * B[k][j]. A(i, k) lies at a + i * a_row + k * a_step, so that
// either A or its transpose is dense; rows of B and C are dense. `cpu` reads rows of B in whole vectors: they are
// padded to a multiple of kPad floats.
constexpr std::int64_t kPad = 16;
struct Shape {
  std::int64_t M = 0, N = 0, K = 0;
  std::int64_t a_row = 0, a_step = 0, b_row = 0, c_row = 0;
  bool add = false;

  std::int64_t tasks() const { return (M + kRows - 1) / kRows; }
};

void cpu(const Shape& s, const float* a, const float* b, float* c, std::int64_t begin, std::int64_t end);
void reference(const Shape& s, const double* a, const double* b, double* c);

}  // namespace hymba::kernels::gemm
