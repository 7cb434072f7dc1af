// Which instruction sets Highway compiles a cpu.cpp for: include before any Highway header. SSE4.2 is the baseline
// (every x86-64 of the last fifteen years), so no scalar copy is made; elsewhere Highway's own defaults hold.
#pragma once

#if defined(__x86_64__)
#define HWY_BASELINE_TARGETS HWY_SSE4
// Highway numbers better sets lower: all above AVX-512 as of Skylake are left out, in every version of Highway.
#define HWY_DISABLED_TARGETS (HWY_SSSE3 | (HWY_AVX3 - 1))
#endif
