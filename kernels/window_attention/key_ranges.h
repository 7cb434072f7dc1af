// Which keys a run of queries may see, and how the backward pass cuts its queries: the same on every instruction set.
#pragma once

#include <algorithm>
#include <cstdint>

#include "kernels/window_attention/kernel.h"

namespace hymba::kernels::window_attention_detail {

// Keys [lo, hi) that some row of the tile may see; key j is at position j + offset; visible if 0 <= a - b < window.
struct KeyRange {
  std::int64_t lo, hi, offset, window;
};
struct KeyRanges {
  KeyRange range[2];
  int count = 0;
  void add(const KeyRange& r) {
    if (r.lo < r.hi) range[count++] = r;
  }
  bool contains(std::int64_t j) const {
    for (int i = 0; i < count; ++i)
      if (range[i].lo <= j && j < range[i].hi) return true;
    return false;
  }
};

// For queries at positions first .. last.
inline KeyRanges key_ranges(const Args<float>& a, std::int64_t first, std::int64_t last) {
  constexpr std::int64_t kNoWindow = std::int64_t{1} << 30;
  const std::int64_t window = a.window < 0 ? kNoWindow : a.window, prefix = std::min(a.prefix, a.S);
  KeyRanges ranges;
  const std::int64_t hi = std::min(a.S, last - a.key_gap + 1);
  if (a.window < 0 && a.key_gap == 0) {
    ranges.add({0, hi, 0, kNoWindow});
    return ranges;
  }
  ranges.add({0, std::min(prefix, last + 1), 0, kNoWindow});
  ranges.add({std::max(prefix, first - window + 1 - a.key_gap), hi, a.key_gap, window});
  return ranges;
}

// First row of chunk c; chunks start at multiples of kTaskRows.
inline std::int64_t chunk_row(const Args<float>& a, std::int64_t c) {
  return std::min(a.L * (a.H / a.K), row_tasks(a) * c / a.chunks * kTaskRows);
}

}  // namespace hymba::kernels::window_attention_detail
