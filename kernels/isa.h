// The instruction set that the kernels run on: the best one present, or the one that HYMBA_ISA names.
#pragma once

#include <string>
#include <vector>

namespace hymba::kernels {

// Levels compiled in and supported by this machine, lowest first: of "baseline" (SSE4.2), "avx2", "avx512".
std::vector<std::string> present_isas();

// The level in use. Reads HYMBA_ISA at the first call; UserError if that names a level that is not present.
std::string active_isa();

// Uses one level from here on ("" for the best one present): for tests and benchmarks, not while a kernel runs. UserError, which begins with
// `asked_by`, if it is not present.
void force_isa(const std::string& level, const char* asked_by = "HYMBA_ISA");

// Applies HYMBA_ISA once; parallel_tasks() calls it, so that no kernel starts on another level.
void prepare_isa();

// The processor multiplies pairs of bf16 (AVX-512 BF16), and the level in use is AVX-512's.
bool multiplies_bf16();

}  // namespace hymba::kernels
