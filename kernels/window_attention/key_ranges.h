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
  std::int64_t keys() const {
    std::int64_t keys = 0;
    for (int i = 0; i < count; ++i) keys += range[i].hi - range[i].lo;
    return keys;
  }
  // The place of key j among the keys of the ranges; -1: in none of them.
  std::int64_t index(std::int64_t j) const {
    std::int64_t before = 0;
    for (int i = 0; i < count; ++i) {
      if (range[i].lo <= j && j < range[i].hi) return before + j - range[i].lo;
      before += range[i].hi - range[i].lo;
    }
    return -1;
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

// The keys that the rows of chunk c may see: those that it holds partial sums of. All of them where there is one chunk.
inline KeyRanges chunk_keys(const Args<float>& a, std::int64_t c) {
  const std::int64_t first = chunk_row(a, c), last = chunk_row(a, c + 1), group = a.H / a.K;
  KeyRanges all;
  if (a.chunks == 1) all.add({0, a.S, 0, 0});
  if (a.chunks == 1 || first == last) return all;
  return key_ranges(a, a.q_start + first / group, a.q_start + (last - 1) / group);
}

// Keys of chunks 0 ... c - 1 of one (batch, KV head).
inline std::int64_t keys_before(const Args<float>& a, std::int64_t c) {
  std::int64_t keys = 0;
  for (std::int64_t i = 0; i < c; ++i) keys += chunk_keys(a, i).keys();
  return keys;
}

}  // namespace hymba::kernels::window_attention_detail
