// What op.cpp, reference.cpp and cpu.cpp share.
#pragma once

#include <cstdint>

namespace hymba::kernels::rope_detail {

// Element (b, l, h, i) of x lies at x[b * sb + l * sl + h * sh + i]; out is contiguous [B,L,H,P].
template <class T>
struct Args {
  std::int64_t B = 0, L = 0, H = 0, P = 0, pos0 = 0;
  const T* x = nullptr;
  std::int64_t sb = 0, sl = 0, sh = 0;
  T* out = nullptr;
  bool inverse = false;  // the rotation back: the gradient
};

void reference(const Args<double>& a, const double* inv_freq);

// table [L][2][P/2]: cos, then sin, of row l's angles. Tasks are the B*L rows.
void cpu(const Args<float>& a, const float* table, std::int64_t begin, std::int64_t end);

}  // namespace hymba::kernels::rope_detail
