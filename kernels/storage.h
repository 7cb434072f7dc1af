// Element types that the kernels read from memory: floats, and the two 16-bit formats that are widened on load.
#pragma once

#include <cstdint>

namespace hymba::kernels {

struct BFloat16 {
  std::uint16_t bits;
};
struct Float16 {
  std::uint16_t bits;
};

enum class Storage { kFloat, kBFloat16, kFloat16 };

// Calls f with a null `const T*` of the storage's element type.
template <class F>
decltype(auto) with_storage(Storage storage, const F& f) {
  switch (storage) {
    case Storage::kBFloat16:
      return f(static_cast<const BFloat16*>(nullptr));
    case Storage::kFloat16:
      return f(static_cast<const Float16*>(nullptr));
    default:
      return f(static_cast<const float*>(nullptr));
  }
}

}  // namespace hymba::kernels
