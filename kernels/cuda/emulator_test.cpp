// The emulator itself: that right kernels compute and that each class of bug is caught.
#include <gtest/gtest.h>

#include <functional>
#include <numeric>

#include "kernels/cuda/device.h"

namespace hymba::kernels::cuda {
namespace {

// Runs `kernel` on one block and gives the emulator's complaint, "" if none.
std::string complaint(int threads, int shared_bytes, const std::function<void()>& kernel) {
  try {
    emulator::run(dim3(1), threads, shared_bytes, kernel);
  } catch (const emulator::Error& error) {
    return error.what();
  }
  return "";
}

void expect_caught(const std::string& found, const std::string& part) {
  EXPECT_NE(found.find(part), std::string::npos) << "expected '" << part << "', found '" << found << "'";
}

int lane() { return static_cast<int>(threadIdx.x % 32); }

TEST(CudaEmulator, ReversesThroughSharedMemoryInAnyOrder) {
  std::vector<float> x(64), y(64);
  std::iota(x.begin(), x.end(), 0.0f);
  for (std::uint64_t seed = 1; seed <= 5; ++seed) {
    emulator::set_seed(seed);
    emulator::Buffers memory;
    memory.add(x), memory.add(y);
    EXPECT_EQ(complaint(64, 256,
                        [&] {
                          Global<const float> from = x.data();
                          Global<float> to = y.data();
                          Shared<char> pool = shared_pool();
                          Shared<float> s = carve<float>(pool, 64);
                          s[threadIdx.x] = from[threadIdx.x];
                          __syncthreads();
                          to[threadIdx.x] = s[63 - threadIdx.x];
                        }),
              "");
    for (int i = 0; i < 64; ++i) EXPECT_EQ(y[i], static_cast<float>(63 - i));
  }
}

TEST(CudaEmulator, ShufflesAndVotes) {
  EXPECT_EQ(complaint(64, 0,
                      [] {
                        const int i = lane();
                        if (__shfl_up_sync(kAllLanes, i, 1) != (i ? i - 1 : 0)) emulator::fail("up");
                        if (__shfl_down_sync(kAllLanes, i, 3) != (i < 29 ? i + 3 : i)) emulator::fail("down");
                        if (__shfl_xor_sync(kAllLanes, i, 5) != (i ^ 5)) emulator::fail("xor");
                        if (__shfl_sync(kAllLanes, i, 7) != 7) emulator::fail("index");
                        if (__shfl_sync(kAllLanes, i, 2, 8) != i / 8 * 8 + 2) emulator::fail("width");
                        if (__ballot_sync(kAllLanes, i % 2) != 0xaaaaaaaau) emulator::fail("ballot");
                        if (i < 16 && __shfl_xor_sync(0xffffu, i, 1) != (i ^ 1)) emulator::fail("mask");
                        if (warp_sum(1.0f) != 32.0f) emulator::fail("sum");
                      }),
            "");
}

TEST(CudaEmulator, MmaMultipliesFragments) {
  float a[16][8], b[8][8];
  for (int i = 0; i < 128; ++i) a[i / 8][i % 8] = static_cast<float>(i % 13 - 5);
  for (int i = 0; i < 64; ++i) b[i / 8][i % 8] = static_cast<float>(i % 7 - 2);
  EXPECT_EQ(
      complaint(
          32, 0,
          [&] {
            const int g = lane() / 4, t = lane() % 4;
            const float fa[4] = {a[g][t], a[g + 8][t], a[g][t + 4], a[g + 8][t + 4]}, fb[2] = {b[t][g], b[t + 4][g]};
            float d[4] = {1, 1, 1, 1};
            mma_tf32(d, fa, fb);
            for (int i = 0; i < 4; ++i) {
              float sum = 1;
              for (int k = 0; k < 8; ++k) sum += a[g + i / 2 * 8][k] * b[k][2 * t + i % 2];
              if (sum != d[i]) emulator::fail("mma");
            }
          }),
      "");
}

TEST(CudaEmulator, MmaReadsTenBitsAndThreeProductsRestoreTheRest) {
  EXPECT_EQ(complaint(32, 0,
                      [&] {
                        const float x = 1.0f + 1.0f / 4096, fa[4] = {x, x, x, x}, fb[2] = {1, 1};
                        float rough[4] = {}, exact[4] = {};
                        mma_tf32(rough, fa, fb);
                        Split<4> a;
                        Split<2> b;
                        for (int i = 0; i < 4; ++i) a.set(i, x);
                        for (int i = 0; i < 2; ++i) b.set(i, 1);
                        mma_3xtf32(exact, a, b);
                        if (rough[0] != 8.0f) emulator::fail("expected the low bits to be lost");
                        if (exact[0] != 8 * x) emulator::fail("expected the low bits to be kept");
                      }),
            "");
}

TEST(CudaEmulator, HalvesAreWidened) {
  EXPECT_EQ(float_of_half(0x3c00u), 1.0f);
  EXPECT_EQ(float_of_half(0xc000u), -2.0f);
  EXPECT_EQ(float_of_half(0x0001u), std::ldexp(1.0f, -24));
  EXPECT_EQ(float_of_half(0x7bffu), 65504.0f);
  EXPECT_EQ(float_of_half(0x8000u), 0.0f);
}

TEST(CudaEmulator, AsyncCopiesLandAtTheWait) {
  alignas(16) static float x[64];
  std::iota(x, x + 64, 0.0f);
  emulator::Buffers memory;
  memory.add(x, sizeof x);
  const auto copy = [](bool wait, bool sync) {
    return complaint(16, 256, [=] {
      Global<const float> from = x;
      Shared<char> pool = shared_pool();
      Shared<float> s = carve<float>(pool, 64);
      const int i = static_cast<int>(threadIdx.x);
      cp_async<16>(s + 4 * i, from + 4 * i, i != 3);
      cp_async_commit();
      if (wait) cp_async_wait<0>();
      if (sync) __syncthreads();
      const float got = s[4 * i + 1];
      if (got != (i == 3 ? 0.0f : x[4 * i + 1])) emulator::fail("value");
      if (sync && s[63 - 4 * i] != (i == 12 ? 0.0f : x[63 - 4 * i])) emulator::fail("value of another thread");
    });
  };
  EXPECT_EQ(copy(true, true), "");
  EXPECT_EQ(copy(true, false), "");
  expect_caught(copy(false, true), "before the cp.async into it was waited for");
}

TEST(CudaEmulator, CatchesMemoryOutOfBounds) {
  std::vector<float> x(8);
  emulator::Buffers memory;
  memory.add(x);
  const auto touch = [&](int i) { return complaint(1, 0, [&] { Global<float>(x.data())[i] = 1; }); };
  EXPECT_EQ(touch(7), "");
  expect_caught(touch(8), "global memory out of bounds");
  expect_caught(touch(-1), "global memory out of bounds");
  expect_caught(complaint(1, 0, [] { Global<float>(nullptr)[0] = 1; }), "null pointer");
  float stranger = 0;
  expect_caught(complaint(1, 0, [&] { (Global<float>{&stranger})[0] = 1; }), "outside every buffer");
  const auto shared = [](int i) {
    return complaint(1, 64, [=] {
      Shared<char> pool = shared_pool();
      Shared<float> a = carve<float>(pool, 6), b = carve<float>(pool, 4);
      b[0] = 0;
      a[i] = 1;
    });
  };
  EXPECT_EQ(shared(5), "");
  expect_caught(shared(6), "shared memory out of bounds");  // padding, then another array
  expect_caught(complaint(1, 16,
                          [] {
                            Shared<char> pool = shared_pool();
                            carve<float>(pool, 5);
                          }),
                "too little shared memory");
  expect_caught(complaint(1, 0,
                          [] {
                            HYMBA_STATIC_SHARED(float, s, 4);
                            s[4] = 1;
                          }),
                "shared memory out of bounds");
}

TEST(CudaEmulator, CatchesUnalignedVectors) {
  alignas(16) static float x[8];
  emulator::Buffers memory;
  memory.add(x, sizeof x);
  EXPECT_EQ(complaint(1, 0, [] { load4(Global<const float>(x) + 4); }), "");
  expect_caught(complaint(1, 0, [] { load4(Global<const float>(x) + 1); }), "not aligned");
}

TEST(CudaEmulator, CatchesUnwrittenSharedMemory) {
  expect_caught(complaint(2, 0,
                          [] {
                            HYMBA_STATIC_SHARED(float, s, 2);
                            s[0] = 1;
                            __syncthreads();
                            if (threadIdx.x == 1 && s[1] > 0) return;
                          }),
                "race");  // both threads wrote s[0]
  expect_caught(complaint(2, 0,
                          [] {
                            HYMBA_STATIC_SHARED(float, s, 2);
                            if (threadIdx.x == 0) s[0] = 1;
                            __syncthreads();
                            if (s[1] > 0) return;
                          }),
                "read before it was written");
}

// `sync`: 0 none, 1 warp, 2 block. Thread 0 writes, thread `reader` reads.
std::string race(int reader, int sync, bool reader_first) {
  return complaint(64, 0, [=] {
    HYMBA_STATIC_SHARED(float, s, 1);
    if (threadIdx.x == 0) s[0] = 1;
    __syncthreads();
    if (static_cast<int>(threadIdx.x) == (reader_first ? reader : 0)) {
      if (reader_first) static_cast<void>(static_cast<float>(s[0]));
      if (!reader_first) s[0] = 2;
    }
    if (sync == 1) __syncwarp();
    if (sync == 2) __syncthreads();
    if (static_cast<int>(threadIdx.x) == (reader_first ? 0 : reader)) {
      if (reader_first) s[0] = 2;
      if (!reader_first) static_cast<void>(static_cast<float>(s[0]));
    }
  });
}

TEST(CudaEmulator, CatchesRaces) {
  int caught = 0;
  for (std::uint64_t seed = 1; seed <= 4; ++seed) {  // any order of the threads
    emulator::set_seed(seed);
    for (const bool first : {false, true}) {
      for (const int reader : {1, 40}) caught += race(reader, 0, first).find("race") != std::string::npos;
      EXPECT_EQ(race(1, 1, first), "");
      EXPECT_EQ(race(1, 2, first), "");
      EXPECT_EQ(race(40, 2, first), "");
      expect_caught(race(40, 1, first), "race");  // a warp's barrier orders no other warp
    }
  }
  EXPECT_EQ(caught, 16);
}

TEST(CudaEmulator, CatchesMissingAndDivergentBarriers) {
  expect_caught(complaint(64, 0,
                          [] {
                            if (threadIdx.x < 32) __syncthreads();
                          }),
                "wait for others that never come");
  expect_caught(complaint(64, 0,
                          [] {
                            if (threadIdx.x < 32) {
                              __syncthreads();
                            } else {
                              __syncthreads();
                            }
                          }),
                "__syncthreads at line");
  expect_caught(complaint(32, 0,
                          [] {
                            if (threadIdx.x < 16) static_cast<void>(__shfl_xor_sync(kAllLanes, 1, 1));
                          }),
                "wait for others that never come");
  expect_caught(complaint(32, 0,
                          [] {
                            if (threadIdx.x < 16) {
                              static_cast<void>(__shfl_xor_sync(kAllLanes, 1, 1));
                            } else {
                              static_cast<void>(__shfl_xor_sync(kAllLanes, 1, 1));
                            }
                          }),
                "other lanes of the warp wait");
}

TEST(CudaEmulator, CatchesLanesOutsideTheMask) {
  expect_caught(complaint(32, 0,
                          [] {
                            if (threadIdx.x < 16) static_cast<void>(__shfl_sync(0xffffu, 1, 20));
                          }),
                "not in the mask");
  expect_caught(complaint(32, 0,
                          [] {
                            if (threadIdx.x < 16) static_cast<void>(__ballot_sync(0xff00u, true));
                          }),
                "not in its mask");
}

TEST(CudaEmulator, CatchesLaunchesBeyondTheLimits) {
  expect_caught(complaint(2048, 0, [] {}), "beyond the limits");
  expect_caught(complaint(32, 300 * 1024, [] {}), "beyond the limits");
}

}  // namespace
}  // namespace hymba::kernels::cuda
