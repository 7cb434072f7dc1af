// A LanguageModel as the tasks see it: what texts have in common is read once, texts of like length share a pass, and
// generation runs on caches.
#pragma once

#include <functional>

#include "eval/prefix_tree.h"
#include "eval/requests.h"
#include "model/language_model.h"

namespace hymba::eval {

struct ScorerOptions {
  std::int64_t batch_rows = 0;             // texts of a pass at most; 0: as many as the two bounds below allow
  std::int64_t batch_tokens = 4096;        // padded tokens of a pass: what stays near the processor
  std::int64_t cache_bytes = 512'000'000;  // caches of a pass
  bool share = true;                       // common beginnings are read once; false: every text by itself
  std::function<void(std::int64_t done, std::int64_t total)> progress;  // requests; may be empty
};

// Padding is on the right and every mixer is causal, so neither batching nor sharing changes a score beyond rounding.
// Interrupted on ctrl-C between passes.
class ModelScorer : public Scorer {
 public:
  explicit ModelScorer(const LanguageModel& model, ScorerOptions options = {})
      : model_(model), options_(std::move(options)) {}
  std::vector<LoglikelihoodResult> loglikelihood(std::span<const LoglikelihoodRequest> requests) override;
  std::vector<std::vector<std::int32_t>> generate(std::span<const GenerateRequest> requests) override;
  // Tokens that passes of loglikelihood() have read so far, padding included.
  std::int64_t tokens_read() const { return tokens_read_; }

 private:
  struct Scoring;
  struct Place {  // a row or node, and the sequence of the parent's cache that it goes on from
    const PrefixNode* node;
    std::size_t row;
    std::int64_t parent;
  };
  void descend(Scoring& scoring, std::vector<Place> rows, std::vector<Place> nodes, std::int64_t start,
               const ModelCache* parent);
  void read_rows(Scoring& scoring, std::vector<Place> rows, std::int64_t start, const ModelCache* parent);
  void score(Scoring& scoring, const std::vector<Place>& rows, std::int64_t start, const at::Tensor& hidden_BTD);
  ModelCache branch(const ModelCache* parent, const std::vector<Place>& places, std::int64_t capacity) const;
  std::int64_t rows_of_pass(std::int64_t length, std::int64_t capacity, bool cached) const;
  void generate_short(std::span<const GenerateRequest> requests, std::vector<std::vector<std::int32_t>>& results);
  void generate_long(std::span<const GenerateRequest> requests, std::vector<std::vector<std::int32_t>>& results);
  const LanguageModel& model_;
  ScorerOptions options_;
  std::int64_t tokens_read_ = 0;
};

}  // namespace hymba::eval
