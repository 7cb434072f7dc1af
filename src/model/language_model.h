// LanguageModel = embedding + meta tokens + sublayers + final norm + head (tied or not).
#pragma once

#include <ATen/core/Tensor.h>

#include <memory>
#include <vector>

#include "mixer/sublayer.h"
#include "model/design.h"
#include "nn/cache.h"
#include "nn/parameters.h"

namespace hymba {

struct ParamCounts {
  std::int64_t total = 0, attention = 0, mamba = 0, other = 0, embedding = 0, meta = 0;
  // Mamba parameters for each attention parameter, the paper's 1:x; 0 without recurrent mixers, inf without attention.
  double ratio() const;
  std::string ratio_text() const;  // "1:8.48", "0:1", "1:0"
};

class LanguageModel {
 public:
  // With `meta`, tensors have shapes but no memory: for inspecting designs of any size. With `pattern`, weights repeat:
  // for measuring speed.
  LanguageModel(const Design& design, std::uint64_t seed, bool meta = false, bool pattern = false);
  // A stored model: its parameters are what `source` gives.
  LanguageModel(const Design& design, ParameterSource source);
  LanguageModel(const LanguageModel&) = delete;
  LanguageModel& operator=(const LanguageModel&) = delete;

  // ids_BT int64, on the CPU or the model's device -> hidden states after the final norm [B, T, D], without the rows of the meta tokens. With a cache it
  // continues at cache->position: the first call puts the meta tokens in front. UserError for an id outside [0, V).
  at::Tensor forward(const at::Tensor& ids_BT, ModelCache* cache = nullptr, const std::vector<HeadMask>& masks = {}) const;
  // The two ends of forward(), for passes that studies run layer by layer (model/staged_forward.h): ids [B, T] -> rows
  // of meta tokens and embeddings [B, M + T, D], and these -> hidden states after the final norm [B, T, D].
  at::Tensor embed(const at::Tensor& ids_BT) const;
  at::Tensor finish(const at::Tensor& x_BLD) const;
  // The residual stream [B, M+T, D] of a forward pass: what enters the first block, then what leaves each block.
  std::vector<at::Tensor> hidden_states(const at::Tensor& ids_BT) const;
  // Hidden states [..., D] -> logits [..., V], fp32.
  at::Tensor logits(const at::Tensor& hidden) const;
  // Mean next-token cross-entropy in nats of ids [B, T + 1] over the B*T targets; targets < 0 are left out.
  at::Tensor loss(const at::Tensor& ids_BT, const at::Tensor& targets_BT) const;

  // A cache for `batch` sequences of up to `context` tokens (meta tokens come on top); K and V in `kv_type`.
  ModelCache make_cache(std::int64_t batch, std::int64_t context, at::ScalarType kv_type = at::kFloat) const;
  // Whether texts of `tokens` may be read in parts, as caches that several texts share need it.
  bool reads_in_parts(std::int64_t tokens) const;
  // Feeds the meta tokens into an empty cache: forward() then goes on behind them.
  void prefill_meta(ModelCache* cache) const;
  // One decoding step of a batch as a list of functions (nn/step.h): from ids_B [B] int64, unchecked, to logits_BV.
  std::vector<StepFunction> bind_step(StepBatch& step, const at::Tensor& ids_B, const at::Tensor& logits_BV) const;

  // Stores the matrices of all linear layers and the embedding in `type` (float32, bfloat16, float16), for generation:
  // a model in 16 bits has no gradients. Arithmetic stays float32.
  void set_weight_type(at::ScalarType type);
  std::int64_t weight_bytes() const;        // of all parameters
  std::int64_t weight_bytes_per_step() const;  // what a decoding step reads: an untied embedding is a table, not read whole

  at::Device device() const { return store_.device(); }
  ParameterStore& parameters() { return store_; }
  const ParameterStore& parameters() const { return store_; }
  const std::vector<std::unique_ptr<Sublayer>>& sublayers() const { return sublayers_; }
  const ModelConfig& config() const { return config_; }

  ParamCounts param_counts() const;
  double flops_per_token(double context) const;  // forward, at the end of a context of that many tokens
  CacheBytes cache_bytes(const CacheQuery& query) const;

 private:
  LanguageModel(const Design& design, ParameterStore store);
  at::Tensor run_layers(at::Tensor x_BLD, ModelCache* cache, const std::vector<HeadMask>& masks) const;
  at::Tensor embedding_rows(const at::Tensor& ids_BT) const;  // [B, T, D], scaled; padding_id gets no gradient
  ModelConfig config_;
  ParameterStore store_;
  at::Tensor embedding_VD_, meta_MD_, norm_D_, head_VD_;
  std::vector<std::unique_ptr<Sublayer>> sublayers_;
};

}  // namespace hymba
