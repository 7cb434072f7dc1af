// Generation: prompts go into the slots of a batch in chunks, then all slots take one token a step. Slots may hold
// sequences of different lengths, and one may be refilled while the others go on.
//
// The rule: step by step equals one forward pass over everything (with 16-bit caches: of a model whose K and V are
// rounded so). Meta tokens run through the model once, when the engine is made; a slot starts from a copy of their
// cache.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "model/language_model.h"

namespace hymba {

struct EngineOptions {
  at::ScalarType kv_type = at::kFloat;  // of K and V: float32, bfloat16, float16
  std::int64_t chunk = 512;             // tokens of one prefill pass; changes no result
  bool bf16_products = false;           // prefill rounds what it multiplies to bf16 (Bf16Products)
};

// Bytes of the caches of a batch by exact accounting; of all that generation allocates beyond the weights: caches and
// the scratch of a step and of one prefill chunk.
double cache_bytes_of(const LanguageModel& model, const EngineOptions& options, std::int64_t batch,
                      std::int64_t context);
double generation_bytes(const LanguageModel& model, const EngineOptions& options, std::int64_t batch,
                        std::int64_t context);

class Engine;

// The caches of `size()` sequences and one decoding step bound to them. Made by Engine::open; the engine and its model
// must outlive it.
class Batch {
 public:
  Batch(const Engine& engine, std::int64_t size, std::int64_t context);
  Batch(const Batch&) = delete;
  Batch& operator=(const Batch&) = delete;

  std::int64_t size() const { return cache_.batch; }
  std::int64_t context() const { return context_; }  // tokens that a slot can hold, meta tokens not counted
  std::int64_t length(std::int64_t slot) const;      // tokens in it
  // Forgets the slot's sequence: the meta tokens alone remain.
  void restart(std::int64_t slot);
  // Appends a prompt, or a further turn, to the slot; logits [V] behind its last token. UserError for no ids, one
  // outside the vocabulary, or more than the slot still holds. Stops between chunks when interrupted.
  at::Tensor prefill(std::int64_t slot, std::span<const std::int64_t> ids);
  // Appends ids_BT [size(), T] int64 to all slots at once, which must be equally long: for measuring.
  void prefill_all(const at::Tensor& ids_BT);
  // One token for every slot: logits [B, V], on the model's device (this object's: the next step overwrites them). A negative id leaves its
  // slot idle: its row of the logits is not defined, and it must be restarted before it is used again.
  const at::Tensor& step(std::span<const std::int64_t> ids);
  // As if every slot held `tokens` tokens: caches full of small random numbers. For measuring alone.
  void fill_synthetic(std::int64_t tokens);

  std::int64_t vocab() const { return logits_BV_.size(1); }
  at::Device cache_device() const { return logits_BV_.device(); }
  std::int64_t cache_bytes() const { return cache_.bytes(); }
  const ModelCache& cache() const { return cache_; }

 private:
  const Engine& engine_;
  std::int64_t context_;
  std::vector<std::int64_t> lengths_;  // positions in each slot, meta tokens included
  ModelCache cache_;
  StepBatch step_;
  at::Tensor host_2B_, device_2B_;  // ids, then lengths: written here, copied there once a step
  at::Tensor logits_BV_;
  std::vector<StepFunction> functions_;
};

class Engine {
 public:
  explicit Engine(const LanguageModel& model, const EngineOptions& options = {});

  // Error naming the bytes needed and available, before anything is allocated, where they do not fit.
  std::unique_ptr<Batch> open(std::int64_t batch, std::int64_t context) const;
  const LanguageModel& model() const { return model_; }
  const EngineOptions& options() const { return options_; }
  const ModelCache* start() const { return model_.config().meta_tokens > 0 ? &start_ : nullptr; }

 private:
  const LanguageModel& model_;
  EngineOptions options_;
  ModelCache start_;  // of the meta tokens, one sequence
};

// "fp32", "bf16", "fp16"; UserError for another word, naming the option.
at::ScalarType parse_dtype(const std::string& word, const std::string& option);
std::string name_of_dtype(at::ScalarType type);  // the word that parse_dtype reads
// --products: "fp32" false, "bf16" true; UserError for another word, weights of another type, or a processor without.
bool parse_products(const std::string& word, at::ScalarType weights);

}  // namespace hymba
