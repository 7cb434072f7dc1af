// One source for two compilers: what the .cu files of the ops use beside plain C++. nvcc gets pointers, PTX and the
// real intrinsics; g++ gets the block emulator (emulator.h), where the same kernels run on the CPU and every access is
// checked. No torch and no CUDA library header beyond the runtime, so that a .cu file compiles in seconds.
#pragma once

#include <cstdint>

#if defined(__CUDACC__)

#include <cuda_runtime.h>

#define HYMBA_DEVICE __device__ __forceinline__
#define HYMBA_HOST_DEVICE __host__ __device__ __forceinline__
#define HYMBA_KERNEL(threads, blocks) __global__ void __launch_bounds__(threads, blocks)

namespace hymba::kernels::cuda {

using Stream = cudaStream_t;

template <class T>
using Global = T*;
template <class T>
using Shared = T*;

HYMBA_DEVICE Shared<char> shared_pool() {
  extern __shared__ float4 hymba_shared_pool[];
  return reinterpret_cast<char*>(hymba_shared_pool);
}

// A static array of `count` (a constant) elements, one declaration a line.
#define HYMBA_STATIC_SHARED(type, name, count) __shared__ type name[count]

// The next `count` elements of the pool, 16-byte aligned.
template <class T>
HYMBA_DEVICE Shared<T> carve(Shared<char>& pool, int count) {
  T* out = reinterpret_cast<T*>(pool);
  pool += (static_cast<int>(sizeof(T)) * count + 15) / 16 * 16;
  return out;
}

HYMBA_DEVICE float4 load4(const float* p) { return *reinterpret_cast<const float4*>(p); }
HYMBA_DEVICE void store4(float* p, float4 v) { *reinterpret_cast<float4*>(p) = v; }
// 16 bytes as words, of any type in global memory.
template <class T>
HYMBA_DEVICE uint4 load16(const T* p) {
  return *reinterpret_cast<const uint4*>(p);
}

// Copies global to shared memory in the background; zeros where not `valid` (nothing is read then). Bytes: 4 or 16,
// both addresses so aligned.
template <int Bytes>
HYMBA_DEVICE void cp_async(float* to, const float* from, bool valid) {
  const unsigned at = static_cast<unsigned>(__cvta_generic_to_shared(to));
  const int size = valid ? Bytes : 0;
  if constexpr (Bytes == 16) {
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(at), "l"(from), "r"(size) : "memory");
  } else {
    asm volatile("cp.async.ca.shared.global [%0], [%1], 4, %2;" ::"r"(at), "l"(from), "r"(size) : "memory");
  }
}
HYMBA_DEVICE void cp_async_commit() { asm volatile("cp.async.commit_group;" ::: "memory"); }
// Waits until at most `Groups` of this thread's committed groups are under way.
template <int Groups>
HYMBA_DEVICE void cp_async_wait() {
  asm volatile("cp.async.wait_group %0;" ::"n"(Groups) : "memory");
}

// Rounds to the 10 explicit bits that the tensor cores read.
HYMBA_DEVICE float to_tf32(float x) {
  unsigned bits;
  asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(bits) : "f"(x));
  return __uint_as_float(bits);
}

// d += a b, m16n8k8. Lane 4 g + t holds a: rows g, g + 8 of column t, then of column t + 4; b: rows t, t + 4 of column
// g; d: columns 2t, 2t + 1 of row g, then of row g + 8.
HYMBA_DEVICE void mma_tf32(float (&d)[4], const float (&a)[4], const float (&b)[2]) {
  asm volatile(
      "mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(__float_as_uint(a[0])), "r"(__float_as_uint(a[1])), "r"(__float_as_uint(a[2])), "r"(__float_as_uint(a[3])),
        "r"(__float_as_uint(b[0])), "r"(__float_as_uint(b[1])));
}

// 2^x: 2 ulp, 0 below 2^-126.
HYMBA_DEVICE float exp2_approx(float x) {
  float y;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}
HYMBA_DEVICE float divide_approx(float x, float y) { return __fdividef(x, y); }
HYMBA_DEVICE float float_of_bits(unsigned bits) { return __uint_as_float(bits); }
HYMBA_DEVICE float float_of_half(unsigned bits) {
  float x;
  asm("{.reg .b16 h; cvt.u16.u32 h, %1; cvt.f32.f16 %0, h;}" : "=f"(x) : "r"(bits));
  return x;
}

// Rounded to nearest, ties to even.
HYMBA_DEVICE std::uint16_t half_of_float(float x) {
  unsigned short bits;
  asm("cvt.rn.f16.f32 %0, %1;" : "=h"(bits) : "f"(x));
  return bits;
}
HYMBA_DEVICE std::uint16_t bfloat16_of_float(float x) {
  unsigned short bits;
  asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(bits) : "f"(x));
  return bits;
}

// Null where the launch was accepted, else CUDA's own words. Kernels that need more than 48 KiB of dynamic shared
// memory ask for it here.
template <class... P, class... A>
const char* launch(void (*kernel)(P...), dim3 grid, int threads, int shared_bytes, Stream stream, const A&... args) {
  if (grid.x == 0 || grid.y == 0 || grid.z == 0) return nullptr;
  if (shared_bytes > 48 * 1024) {
    const cudaError_t error = cudaFuncSetAttribute(reinterpret_cast<const void*>(kernel),
                                                   cudaFuncAttributeMaxDynamicSharedMemorySize, shared_bytes);
    if (error != cudaSuccess) return cudaGetErrorString(error);
  }
  kernel<<<grid, threads, shared_bytes, stream>>>(args...);
  const cudaError_t error = cudaGetLastError();
  return error == cudaSuccess ? nullptr : cudaGetErrorString(error);
}

}  // namespace hymba::kernels::cuda

#else

#include "kernels/cuda/emulator.h"

#endif

namespace hymba::kernels::cuda {

constexpr unsigned kAllLanes = 0xffffffffu;
constexpr float kLog2e = 1.44269504088896341f;

// One product on the tensor cores at float32's precision: x = hi + lo, each of 11 bits, without lo times lo.
HYMBA_DEVICE void split_tf32(float x, float& hi, float& lo) {
  hi = to_tf32(x);
  lo = to_tf32(x - hi);
}

template <int Count>
struct Split {
  float hi[Count], lo[Count];
  HYMBA_DEVICE void set(int i, float x) { split_tf32(x, hi[i], lo[i]); }
};

HYMBA_DEVICE void mma_3xtf32(float (&d)[4], const Split<4>& a, const Split<2>& b) {
#if defined(__CUDACC__)
  mma_tf32(d, a.lo, b.hi);
  mma_tf32(d, a.hi, b.lo);
  mma_tf32(d, a.hi, b.hi);
#else
  emulator::mma(d, a.hi, b.hi, true);  // the same three, at one meeting of the lanes
#endif
}

HYMBA_DEVICE float sigmoid(float x) { return divide_approx(1.0f, 1.0f + exp2_approx(-kLog2e * x)); }
// log(1 + e^x) without loss for small steps.
HYMBA_DEVICE float softplus(float x) { return x > 20.0f ? x : log1pf(exp2_approx(kLog2e * x)); }

HYMBA_DEVICE float warp_sum(float x) {
  for (int d = 16; d > 0; d /= 2) x += __shfl_xor_sync(kAllLanes, x, d);
  return x;
}

}  // namespace hymba::kernels::cuda
