// Products of tiles in shared memory on the tensor cores, at float32's precision (three TF32 products each). A warp
// owns 16 rows; rows lie `stride` floats apart, and strides of 4 more than a multiple of 8 leave no bank conflict.
#pragma once

#include "kernels/cuda/device.h"

namespace hymba::kernels::cuda {

HYMBA_HOST_DEVICE constexpr int padded8(int n) { return (n + 7) / 8 * 8; }
HYMBA_HOST_DEVICE int tile_stride(int features) { return (features + 7) / 8 * 8 + 4; }

HYMBA_DEVICE int lane_row() { return static_cast<int>(threadIdx.x) % 32 / 4; }     // g of a fragment
HYMBA_DEVICE int lane_column() { return static_cast<int>(threadIdx.x) % 32 % 4; }  // t of a fragment

// d[j] += X Y^T: 16 rows of X against rows 8 j + (0..7) of Y, over `steps` times 8 features.
template <int Tiles>
HYMBA_DEVICE void multiply_rows(float (&d)[Tiles][4], const Shared<float>& x, int x_stride, const Shared<float>& y,
                                int y_stride, int steps) {
  const int g = lane_row(), t = lane_column();
#pragma unroll 1
  for (int k = 0; k < steps; ++k) {
    Split<4> a;
#pragma unroll
    for (int i = 0; i < 4; ++i) a.set(i, x[(g + i % 2 * 8) * x_stride + k * 8 + t + i / 2 * 4]);
#pragma unroll
    for (int j = 0; j < Tiles; ++j) {
      Split<2> b;
#pragma unroll
      for (int i = 0; i < 2; ++i) b.set(i, y[(j * 8 + g) * y_stride + k * 8 + t + i * 4]);
      mma_3xtf32(d[j], a, b);
    }
  }
}

// d[j] += P Z: P is 16 x 8 Inner as multiply_rows leaves it in registers, Z has 8 Inner rows; columns 8 j + (0..7) from
// `z` on, the first `tiles` of them. Lane t's results belong to columns 2t and 2t + 1 of P, so rows of Z are taken in
// that order: the sum over them does not care, and no lane has to pass anything on.
template <int Tiles, int Inner>
HYMBA_DEVICE void multiply_held(float (&d)[Tiles][4], const float (&p)[Inner][4], const Shared<float>& z, int z_stride,
                                int tiles) {
  const int g = lane_row(), t = lane_column();
#pragma unroll
  for (int k = 0; k < Inner; ++k) {
    Split<4> a;
    a.set(0, p[k][0]), a.set(1, p[k][2]), a.set(2, p[k][1]), a.set(3, p[k][3]);
#pragma unroll
    for (int j = 0; j < Tiles; ++j) {
      if (j >= tiles) break;
      Split<2> b;
#pragma unroll
      for (int i = 0; i < 2; ++i) b.set(i, z[(k * 8 + 2 * t + i) * z_stride + j * 8 + g]);
      mma_3xtf32(d[j], a, b);
    }
  }
}

// d[j] += X Z: 16 rows of X against 8 `steps` rows of Z, columns 8 j + (0..7); rows of Z in the order as above.
template <int Tiles>
HYMBA_DEVICE void multiply(float (&d)[Tiles][4], const Shared<float>& x, int x_stride, const Shared<float>& z,
                           int z_stride, int steps) {
  const int g = lane_row(), t = lane_column();
#pragma unroll 1
  for (int k = 0; k < steps; ++k) {
    float held[1][4];
#pragma unroll
    for (int i = 0; i < 4; ++i) held[0][i] = x[(g + i / 2 * 8) * x_stride + k * 8 + 2 * t + i % 2];
    multiply_held(d, held, z + k * 8 * z_stride, z_stride, Tiles);
  }
}

// d[j] += X^T Z: 16 columns of X from `x` on against columns 8 j + (0..7) of Z, over 8 `steps` rows of both.
template <int Tiles>
HYMBA_DEVICE void multiply_columns(float (&d)[Tiles][4], const Shared<float>& x, int x_stride, const Shared<float>& z,
                                   int z_stride, int steps) {
  const int g = lane_row(), t = lane_column();
#pragma unroll 1
  for (int k = 0; k < steps; ++k) {
    float held[1][4];
#pragma unroll
    for (int i = 0; i < 4; ++i) held[0][i] = x[(k * 8 + 2 * t + i % 2) * x_stride + g + i / 2 * 8];
    multiply_held(d, held, z + k * 8 * z_stride, z_stride, Tiles);
  }
}

}  // namespace hymba::kernels::cuda
