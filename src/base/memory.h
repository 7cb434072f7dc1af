// How much memory there is: asked before anything large is allocated.
#pragma once

#include <cstdint>

namespace hymba {

// For the start of main, before any thread: LibTorch's tensors of megabytes ask for huge pages (decoding, which reads all weights a
// token, is up to 1.1 x as fast), and freed memory stays with the process (a training step frees and takes the same tensors
// again, and the kernel spent up to 9 % of it on clearing their pages).
void settle_memory();

// MemAvailable, or what the control group still allows if that is less; freed memory is given back first. Error where neither can be read.
std::int64_t available_memory();
// The most that this process has had resident, in bytes, since its start or the last reset (where the kernel allows
// it).
std::int64_t peak_rss();
void reset_peak_rss();
std::int64_t current_rss();

}  // namespace hymba
