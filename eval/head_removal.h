// Head removal (Hymba, arXiv 2411.13676, figures 3 and 13): a branch or a single head of one layer is taken away, and
// tasks are scored again. docs/studies.md has the definitions.
#pragma once

#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "eval/requests.h"
#include "model/language_model.h"
#include "model/staged_forward.h"

namespace hymba {
class LineAppender;
}

namespace hymba::eval {

// One thing to remove. head -1: the whole branch.
struct Removal {
  std::int64_t layer = 0;
  std::string branch;  // "attention" or "ssm"
  std::int64_t head = -1;
  std::size_t sublayer = 0, mixer = 0;  // indices in the model
};

// All removals of the model from the lowest layer up. layers: block indices, empty for all; branch: "attention", "ssm" or
// "both". UserError for a layer that is not there or has no such branch, and for a model without it.
std::vector<Removal> list_removals(const LanguageModel& model, const std::vector<std::int64_t>& layers, const std::string& branch,
                                   bool per_head);

enum class RemovalMode { kZero, kMean };  // what stands in for the removed: nothing, or its mean output over tokens
enum class FusionRest { kHalf, kWhole };  // mean fusion: the other branch keeps its half, or is taken whole

struct RemovalOptions {
  RemovalMode mode = RemovalMode::kZero;
  FusionRest rest = FusionRest::kHalf;
  std::int64_t batch_tokens = 16384;  // padded tokens of a batch
  bool share = true;                  // false: every removal runs the whole model again (to measure what sharing saves)
  std::filesystem::path journal;      // finished batches are kept here and not asked again; empty: none
  std::function<void(double fraction)> progress;
};

// The masks of one removal. mean_E: mean output of the branch (kMean), else undefined.
std::vector<HeadMask> removal_masks(const LanguageModel& model, const Removal& removal, const RemovalOptions& options,
                                    const at::Tensor& mean_E);

// Scores requests for the intact model and all removals in one go: the layers below a removal are computed once a batch,
// and the mixers of the layer itself once for all that is removed from it. Requests that share a row of ids (choices of
// one word, say) share its computation.
class RemovalScorer : public Scorer {
 public:
  RemovalScorer(const LanguageModel& model, std::vector<Removal> removals, RemovalOptions options);
  ~RemovalScorer() override;
  // Whose answers the next calls give: -1 the intact model, else an index into the removals.
  void select(int removal) { selected_ = static_cast<std::size_t>(removal + 1); }

  std::vector<LoglikelihoodResult> loglikelihood(std::span<const LoglikelihoodRequest> requests) override;
  std::vector<std::vector<std::int32_t>> generate(std::span<const GenerateRequest> requests) override;

 private:
  using Ids = std::vector<std::int32_t>;
  // One padded row of a batch and the requests whose ids it begins with.
  struct Row {
    Ids ids;
    std::vector<std::size_t> requests;
  };
  // Called with the hidden states [B, T, D] of variant v (0 intact, else removal v - 1).
  using Visit = std::function<void(std::size_t variant, const at::Tensor& hidden_BTD)>;
  void each_variant(const at::Tensor& ids_BT, const Visit& visit);
  void learn_means(const std::vector<std::vector<Row>>& batches);
  void score_batch(std::span<const LoglikelihoodRequest> requests, const std::vector<Row>& rows);
  bool restore(std::uint64_t hash, std::size_t batch, const std::vector<Row>& rows);  // from the journal
  void store(std::uint64_t hash, std::size_t batch, const std::vector<Row>& rows);
  void generate_steps(std::span<const GenerateRequest> requests, std::int32_t longest);
  void generate_cached(std::span<const GenerateRequest> requests, std::size_t variant);
  std::vector<HeadMask> masks(std::size_t removal) const { return removal_masks(model_, removals_[removal], options_, means_[removal]); }

  const LanguageModel& model_;
  std::vector<Removal> removals_;
  RemovalOptions options_;
  std::size_t selected_ = 0;
  std::vector<at::Tensor> means_;                             // of each removal; undefined in kZero
  std::uint64_t asked_ = 0;                                   // hash of the requests that the answers below belong to
  std::vector<std::vector<LoglikelihoodResult>> answers_;     // [variant][request]
  std::vector<std::vector<Ids>> texts_;                       // [variant][request]
  std::map<std::string, std::string> kept_;                   // journal: key -> line
  std::unique_ptr<LineAppender> journal_;
};

}  // namespace hymba::eval
