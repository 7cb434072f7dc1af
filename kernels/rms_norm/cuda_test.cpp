// The CUDA kernels of the RMS norm on the block emulator, against the double reference.
#include "kernels/rms_norm/cuda.cu"

#include "kernels/cuda/testing.h"
#include "kernels/rms_norm/cases.h"

namespace hymba::kernels::norm {
namespace {

using cuda::testing::Arrays;
using cuda::testing::expect_accepted;
using cuda::testing::expect_close;

void check(const Case& c, std::int64_t gap) {
  Arrays m("rms_norm");
  const std::int64_t width = c.sizes.back();
  std::int64_t rows = 1;
  for (std::size_t i = 0; i + 1 < c.sizes.size(); ++i) rows *= c.sizes[i];
  const Shape s{rows, width, width + gap, c.eps};
  const float *x = m.random(rows, width, 3, 0.5, gap), *w = m.random(1, width), *dy = m.random(rows, width);
  float *y = m.empty(rows * width), *rstd = m.empty(rows), *dx = m.empty(rows * width), *dw = m.empty(width);
  expect_accepted(cuda_forward(s, x, w, y, rstd, nullptr));
  expect_accepted(cuda_backward(s, x, w, rstd, dy, dx, dw, m.empty(cuda_workspace_floats(s)), nullptr));
  double *y64 = m.zeros(rows * width), *dx64 = m.zeros(rows * width), *dw64 = m.zeros(width);
  forward_reference(s, m.twin(x), m.twin(w), y64);
  backward_reference(s, m.twin(x), m.twin(w), m.twin(dy), dx64, dw64);
  const std::string what = "width " + std::to_string(width);
  expect_close(what + " y", y, y64, rows * width, 1e-6);
  // Floor 1, the size of what is subtracted: a row of one number has a gradient of nearly 0.
  expect_close(what + " gradient of x", dx, dx64, rows * width, 3e-6, 1);
  expect_close(what + " gradient of weight", dw, dw64, width, 3e-6);
}

TEST(CudaRmsNorm, MatchesReferenceWithAllGradients) {
  for (const Case& c : test_cases()) check(c, 0);
}

TEST(CudaRmsNorm, Slices) {
  check({{5, 20}}, 4);
  check({{5, 20}}, 3);
}

// A row is repeated to the width of the weight, scaled, and added to what is there; strided rows.
TEST(CudaRmsNorm, DecodingsOutputEqualsTheNormOfRepeatedRows) {
  for (const std::int64_t gap : {4, 3}) {
    for (const bool add : {false, true}) {
      Arrays m("out");
      const std::int64_t rows = 3, width = 12, copies = 2, wide = width * copies;
      const OutShape s{rows, width, copies, width + gap, wide + gap, 1e-5, 0.5f, add};
      const float *x = m.random(rows, width, 2, 0, gap), *w = m.random(1, wide);
      float* y = m.random(rows, wide, 1, 0, gap);
      const std::vector<float> before(y, y + rows * (wide + gap));
      expect_accepted(cuda_forward_out(s, x, w, y, nullptr));
      for (std::int64_t r = 0; r < rows; ++r) {
        double sum = 0;
        for (std::int64_t i = 0; i < width; ++i) sum += std::pow(static_cast<double>(x[r * s.x_stride + i]), 2);
        std::vector<double> expected(wide);
        for (std::int64_t i = 0; i < wide; ++i) {
          expected[i] = 0.5 * x[r * s.x_stride + i % width] * w[i] / std::sqrt(sum / width + 1e-5) +
                        (add ? before[r * s.y_stride + i] : 0.0f);
        }
        expect_close("row", y + r * s.y_stride, expected.data(), wide, 1e-6);
      }
    }
  }
}

}  // namespace
}  // namespace hymba::kernels::norm
