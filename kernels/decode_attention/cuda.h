// Launch of the decoding step's attention on CUDA: one query a sequence against its KV cache (a pinned prefix, then a
// ring), read where it lies in float32, bfloat16 or float16.
#pragma once

#include <cstdint>

#include "kernels/storage.h"

namespace hymba::kernels::decode_detail {

enum class CacheType { kFloat, kBfloat16, kHalf };
inline CacheType cache_type(Storage storage) {
  return storage == Storage::kBFloat16  ? CacheType::kBfloat16
         : storage == Storage::kFloat16 ? CacheType::kHalf
                                        : CacheType::kFloat;
}

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
inline std::int64_t cuda_splits(const CudaArgs& a) {
  constexpr std::int64_t kBlocks = 512, kLeastKeys = 256;  // of a large GPU; of a block
  const std::int64_t most = a.window < 0 || a.window + a.prefix > a.S ? a.S : a.window + a.prefix;
  const std::int64_t wanted = kBlocks / (a.B * a.K > 0 ? a.B * a.K : 1), splits = most / kLeastKeys;
  const std::int64_t chosen = splits < wanted ? splits : wanted;
  return chosen < 1 ? 1 : chosen;
}
inline std::int64_t cuda_workspace_floats(const CudaArgs& a) { return a.B * a.H * cuda_splits(a) * (a.V + 2); }
// Null: accepted; else what is wrong. `stream` is a cudaStream_t.
const char* cuda_run(const CudaArgs& a, float* workspace, void* stream);

// K and V of one step into the cache, rounded to its type: sequence b's row goes to its position lengths[b] - 1, in the
// slot of that position (nowhere if there is none).
struct AppendArgs {
  std::int64_t B = 0, S = 0, K = 0, P = 0, V = 0, prefix = 0;
  bool ring = false;  // slots behind the prefix are a ring
  CacheType type = CacheType::kFloat;
  const float *k_in = nullptr, *v_in = nullptr;  // [B,K,P], [B,K,V]; strides in elements
  std::int64_t k_in_batch = 0, k_in_head = 0, v_in_batch = 0, v_in_head = 0;
  void *k = nullptr, *v = nullptr;
  std::int64_t k_batch = 0, k_slot = 0, k_head = 0, v_batch = 0, v_slot = 0, v_head = 0;
  const std::int64_t* lengths = nullptr;
};
const char* cuda_append(const AppendArgs& a, void* stream);

}  // namespace hymba::kernels::decode_detail
