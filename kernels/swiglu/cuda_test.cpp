// The CUDA kernels of SwiGLU on the block emulator, against the double reference.
#include "kernels/swiglu/cuda.cu"

#include "kernels/cuda/testing.h"
#include "kernels/swiglu/cases.h"

namespace hymba::kernels::gate {
namespace {

using cuda::testing::Arrays;
using cuda::testing::expect_accepted;
using cuda::testing::expect_close;

void check(std::int64_t rows, std::int64_t width, std::int64_t gap, double scale) {
  Arrays m("swiglu");
  const Shape s{rows, width, 2 * width + gap};
  const float *x = m.random(rows, 2 * width, scale, 0, gap), *dy = m.random(rows, width);
  float *y = m.empty(rows * width), *dx = m.empty(2 * rows * width);
  expect_accepted(cuda_forward(s, x, y, nullptr));
  expect_accepted(cuda_backward(s, x, dy, dx, nullptr));
  double *y64 = m.zeros(rows * width), *dx64 = m.zeros(2 * rows * width);
  forward_reference(s, m.twin(x), y64);
  backward_reference(s, m.twin(x), m.twin(dy), dx64);
  expect_close("y", y, y64, rows * width, 1e-6);
  expect_close("gradient", dx, dx64, 2 * rows * width, 1e-6);
}

TEST(CudaSwiglu, MatchesReferenceWithItsGradient) {
  for (const auto& sizes : test_cases()) {
    std::int64_t rows = 1;
    for (std::size_t i = 0; i + 1 < sizes.size(); ++i) rows *= sizes[i];
    check(rows, sizes.back() / 2, 0, 1);
  }
  check(5, 12, 4, 1);
  check(5, 12, 3, 1);
  check(4, 64, 0, 1000);
}

}  // namespace
}  // namespace hymba::kernels::gate
