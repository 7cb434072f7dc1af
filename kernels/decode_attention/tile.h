// Which slots of the cache a decoding query sees, in the order in which they are walked: the pinned prefix, then the
// window, which may go around the ring.
#pragma once

#include "kernels/cuda/device.h"

namespace hymba::kernels::decode_detail {

struct SeenKeys {
  int pinned = 0, total = 0;          // keys of the prefix, all keys
  int start = 0, ring = 0, base = 0;  // the window's first slot within the ring, the ring's size and first slot

  HYMBA_HOST_DEVICE SeenKeys(std::int64_t slots, std::int64_t window, std::int64_t prefix, std::int64_t length) {
    if (length <= 0) return;
    pinned = static_cast<int>(length < prefix ? length : prefix);
    const std::int64_t oldest = window < 0 || length - window < prefix ? prefix : length - window;
    ring = static_cast<int>(slots - prefix), base = static_cast<int>(prefix);
    std::int64_t count = length > oldest && ring > 0 ? length - oldest : 0;
    if (count > ring) count = ring;
    start = ring > 0 ? static_cast<int>((oldest - prefix) % ring) : 0;
    total = pinned + static_cast<int>(count);
  }

  // The slot of the i-th key seen.
  HYMBA_HOST_DEVICE int slot(int i) const {
    if (i < pinned) return i;
    const int at = start + i - pinned;
    return base + (at < ring ? at : at - ring);
  }
};

}  // namespace hymba::kernels::decode_detail
