// Which queries see which keys, for single pairs and for tiles: what decides the blocks that a kernel visits. A row is
// one (query, head of the group) pair: row r is query r / group, head r % group.
#pragma once

#include "kernels/cuda/device.h"
#include "kernels/window_attention/kernel.h"

namespace hymba::kernels::window_attention_detail {

// Rows [begin, end).
struct Span {
  int begin = 0, end = 0;
};

// Two spans, walked in blocks of `block` rows, each from its own begin.
struct Blocks {
  Span first, second;
  HYMBA_HOST_DEVICE int of(const Span& s, int block) const {
    return s.end > s.begin ? (s.end - s.begin + block - 1) / block : 0;
  }
  HYMBA_HOST_DEVICE int count(int block) const { return of(first, block) + of(second, block); }
  HYMBA_HOST_DEVICE Span at(int i, int block) const {
    const int in_first = of(first, block);
    const Span& s = i < in_first ? first : second;
    const int begin = s.begin + (i < in_first ? i : i - in_first) * block;
    return {begin, begin + block < s.end ? begin + block : s.end};
  }
};

struct Mask {
  int window, prefix, q_start, key_gap, queries, keys, group;

  HYMBA_HOST_DEVICE explicit Mask(const Args<float>& a)
      : window(static_cast<int>(a.window)),
        prefix(static_cast<int>(a.prefix)),
        q_start(static_cast<int>(a.q_start)),
        key_gap(static_cast<int>(a.key_gap)),
        queries(static_cast<int>(a.L)),
        keys(static_cast<int>(a.S)),
        group(static_cast<int>(a.H / a.K)) {}

  HYMBA_HOST_DEVICE int rows() const { return queries * group; }
  HYMBA_HOST_DEVICE int position(int key) const { return key < prefix ? key : key + key_gap; }
  HYMBA_HOST_DEVICE int query_position(int row) const { return q_start + row / group; }

  // Equation 1 for a query's position and a key.
  HYMBA_HOST_DEVICE bool visible(int at, int key) const {
    const int seen = position(key);
    return seen <= at && (window < 0 || at - seen < window || key < prefix);
  }

  // Whether every row of the one sees every key of the other: no mask is needed.
  HYMBA_HOST_DEVICE bool all_visible(const Span& r, const Span& k) const {
    const int low = query_position(r.begin), high = query_position(r.end - 1);
    return position(k.end - 1) <= low && (window < 0 || high - position(k.begin) < window || k.end <= prefix);
  }

  // The keys that some row of the span sees: of the prefix, then of the window.
  HYMBA_HOST_DEVICE Blocks keys_for(const Span& r) const {
    const int low = query_position(r.begin), high = query_position(r.end - 1);
    int end = high - key_gap + 1;
    if (end <= prefix) end = high + 1 < prefix ? high + 1 : prefix;
    if (end > keys) end = keys;
    if (end < 0) end = 0;
    int begin = window < 0 ? 0 : low - window + 1 - key_gap;
    const int pinned = prefix < end ? prefix : end;
    if (begin <= pinned) return {{0, end}, {0, 0}};
    return {{0, pinned}, {begin, end}};
  }

  // The rows that see some key of the span.
  HYMBA_HOST_DEVICE Blocks rows_for(const Span& k) const {
    int begin = position(k.begin) - q_start, end = queries;
    if (begin < 0) begin = 0;
    if (window >= 0 && k.begin >= prefix) {
      const int last = position(k.end - 1) + window - q_start;  // first query beyond the window
      if (last < end) end = last;
    }
    return {{begin * group, end * group}, {0, 0}};
  }
};

}  // namespace hymba::kernels::window_attention_detail
