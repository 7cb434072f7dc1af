// A LanguageModel as the tasks see it: batched scoring with length buckets, greedy generation with caches.
#pragma once

#include <functional>

#include "eval/requests.h"
#include "model/language_model.h"

namespace hymba::eval {

struct ScorerOptions {
  std::int64_t batch_tokens = 16384;  // padded tokens of a batch; bounds the memory for activations and logits
  std::function<void(std::int64_t done, std::int64_t total)> progress;  // requests; may be empty
};

// Sequences of similar length share a batch, padded on the right: every mixer is causal, so padding changes no score
// beyond rounding. Interrupted on ctrl-C between batches.
class ModelScorer : public Scorer {
 public:
  ModelScorer(const LanguageModel& model, ScorerOptions options = {}) : model_(model), options_(std::move(options)) {}
  std::vector<LoglikelihoodResult> loglikelihood(std::span<const LoglikelihoodRequest> requests) override;
  std::vector<std::vector<std::int32_t>> generate(std::span<const GenerateRequest> requests) override;

 private:
  void generate_short(std::span<const GenerateRequest> requests, std::vector<std::vector<std::int32_t>>& results);
  void generate_group(std::span<const GenerateRequest> requests, const std::vector<std::size_t>& group,
                      std::vector<std::vector<std::int32_t>>& results);
  const LanguageModel& model_;
  ScorerOptions options_;
};

}  // namespace hymba::eval
