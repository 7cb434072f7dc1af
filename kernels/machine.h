// What this machine can do at best, measured: the limits that benchmark rows are held against.
#pragma once

#include <cstdint>

namespace hymba::kernels::bench {

// A second, by all threads of at::get_num_threads(); fma, exp: on the active instruction set.
struct Limits {
  double fma = 0;                        // float32 flops of multiply-adds in registers
  double sgemm = 0;                      // flops of a 1024 x 1024 product by ATen
  double exp = 0;                        // exponentials of a vector in the first cache, as the scan computes them
  double tf32 = 0, bf16 = 0;             // a GPU's: of a 4096 x 4096 product by ATen on its tensor cores
  double triad = 0, read = 0, gemv = 0;  // bytes: a = b + s c; a sum; our gemv, all of 128 MB
  double bandwidth() const { return read > gemv ? read : gemv; }
};

// Each limit is the best of several runs of about `seconds` together.
Limits measure_limits(double seconds);

// Loops for one thread, `rounds` rounds each.
void fma_loop(std::int64_t rounds, float* sink);
constexpr double kFmaFlopsPerRound = 2 * 12;  // times the lanes
constexpr std::int64_t kExpFloats = 2048;
void exp_loop(std::int64_t rounds, float* data);  // data [kExpFloats], 64-byte aligned
float read_loop(const float* data, std::int64_t count);
void triad_loop(float* a, const float* b, const float* c, std::int64_t count);
std::int64_t float_lanes();

}  // namespace hymba::kernels::bench
