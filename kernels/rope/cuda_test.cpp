// The CUDA kernel of RoPE on the block emulator, against the double reference.
#include "kernels/rope/cuda.cu"

#include "kernels/cuda/testing.h"
#include "kernels/rope/cases.h"

namespace hymba::kernels::rope_detail {
namespace {

using cuda::testing::Arrays;
using cuda::testing::expect_accepted;
using cuda::testing::expect_close;

void check(const Case& c, std::int64_t gap, bool inverse) {
  Arrays m(c.name());
  const std::int64_t half = c.P / 2, row = c.H * c.P + gap, size = c.B * c.L * c.H * c.P;
  std::vector<double> frequency(half);
  float* table = m.empty(c.L * c.P);
  for (std::int64_t j = 0; j < half; ++j) frequency[j] = std::pow(10000.0, -2.0 * static_cast<double>(j) / c.P);
  for (std::int64_t i = 0; i < c.L * half; ++i) {
    const double angle = static_cast<double>(c.pos0 + i / half) * frequency[i % half];
    table[i / half * c.P + i % half] = static_cast<float>(std::cos(angle));
    table[i / half * c.P + half + i % half] = static_cast<float>(std::sin(angle));
  }
  Args<float> a{c.B, c.L, c.H, c.P, c.pos0};
  a.x = m.random(c.B * c.L, c.H * c.P, 1, 0, gap), a.sb = c.L * row, a.sl = row, a.sh = c.P;
  a.out = m.empty(size), a.inverse = inverse;
  expect_accepted(cuda_run(a, table, nullptr, nullptr));
  Args<double> e{c.B, c.L, c.H, c.P, c.pos0};
  e.x = m.twin(a.x), e.sb = a.sb, e.sl = a.sl, e.sh = a.sh, e.out = m.zeros(size), e.inverse = inverse;
  reference(e, frequency.data());
  expect_close(c.name(), a.out, e.out, size, 1e-6);
}

TEST(CudaRope, MatchesReferenceWithItsGradient) {
  for (const Case& c : test_cases()) check(c, 0, false), check(c, 0, true);
  check({2, 9, 2, 16, 4}, 4, false);
  check({2, 9, 2, 16, 4}, 3, false);
}

// A step of decoding: each sequence turns by its own position.
TEST(CudaRope, LengthsChooseTheRowsOfTheTable) {
  Arrays m("lengths");
  const std::int64_t P = 8, H = 2;
  const std::vector<std::int64_t> lengths = {3, 1, 0, 6};
  const auto B = static_cast<std::int64_t>(lengths.size());
  cuda::emulator::Buffers memory;
  memory.add(lengths.data(), 8 * lengths.size());
  float* table = m.random(6, P);
  Args<float> a{1, B, H, P, 0};
  a.x = m.random(B, H * P, 1, 0, 4), a.sl = H * P + 4, a.sh = P, a.out = m.empty(B * H * P);
  expect_accepted(cuda_run(a, table, lengths.data(), nullptr));
  for (std::int64_t b = 0; b < B; ++b) {
    Args<float> one{1, 1, H, P, 0};
    one.x = a.x + b * a.sl, one.sh = P, one.out = m.empty(H * P);
    expect_accepted(cuda_run(one, table + std::max<std::int64_t>(lengths[b] - 1, 0) * P, nullptr, nullptr));
    EXPECT_EQ(std::vector<float>(one.out, one.out + H * P),
              std::vector<float>(a.out + b * H * P, a.out + (b + 1) * H * P));
  }
}

}  // namespace
}  // namespace hymba::kernels::rope_detail
