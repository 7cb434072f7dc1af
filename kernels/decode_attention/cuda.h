// Launch of the decoding step's attention on CUDA: one query a sequence against its KV cache (a pinned prefix, then a
// ring), read where it lies in float32, bfloat16 or float16.
#pragma once

#include <cstdint>

namespace hymba::kernels::decode_detail {

enum class CacheType { kFloat, kBfloat16, kHalf };

struct CudaArgs {
  std::int64_t B = 0, S = 0, H = 0, K = 0, P = 0, V = 0, window = -1, prefix = 0;
  float scale = 1;
  CacheType type = CacheType::kFloat;
  const float* q = nullptr;  // [B,H,P]; strides in elements
  const void *k = nullptr, *v = nullptr;
  std::int64_t q_batch = 0, q_head = 0;
  std::int64_t k_batch = 0, k_slot = 0, k_head = 0, v_batch = 0, v_slot = 0, v_head = 0;
  const std::int64_t* lengths = nullptr;  // [B], on the device
  float* out = nullptr;                   // [B,H,V]
};

// Blocks that share the keys of one sequence, so that a batch of one fills the GPU.
std::int64_t cuda_splits(const CudaArgs& a);
inline std::int64_t cuda_workspace_floats(const CudaArgs& a) { return a.B * a.H * cuda_splits(a) * (a.V + 2); }
// Null: accepted; else what is wrong. `stream` is a cudaStream_t.
const char* cuda_run(const CudaArgs& a, float* workspace, void* stream);

}  // namespace hymba::kernels::decode_detail
