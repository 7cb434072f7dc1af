// How much memory there is: asked before anything large is allocated.
#pragma once

#include <cstdint>

namespace hymba {

// MemAvailable, or what the control group still allows if that is less. Error where neither can be read.
std::int64_t available_memory();
// The most that this process has had resident, in bytes, since its start or the last reset (where the kernel allows
// it).
std::int64_t peak_rss();
void reset_peak_rss();
std::int64_t current_rss();

}  // namespace hymba
