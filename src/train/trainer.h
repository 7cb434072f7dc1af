// The training loop: packed sequences, accumulation, clipping, schedule, checkpoints, and a stop on NaN or loss spikes.
#pragma once

#include <filesystem>
#include <functional>
#include <string>

#include "data/token_source.h"
#include "model/design.h"
#include "model/language_model.h"
#include "train/checkpoint.h"
#include "train/recipe.h"

namespace hymba {

struct TrainPoint {
  std::int64_t step = 0, tokens = 0;  // done, this step included
  double loss = 0;                    // mean over the steps since the last point, nats a token
  double lr = 0, grad_norm = 0, tokens_per_s = 0;
};

struct TrainJob {
  const Design* design = nullptr;
  const Recipe* recipe = nullptr;
  const TokenSource* source = nullptr;
  std::string tokenizer;        // spec, kept in the checkpoint
  std::uint64_t seed = 0;
  std::filesystem::path run;    // checkpoints go to run/step-NNNNNNNN; empty: none are written
  bool resume = true;           // go on from the newest checkpoint there
  std::function<void(const TrainPoint&)> on_point;                      // at every log interval
  std::function<void(std::int64_t step, std::int64_t steps, double loss)> on_step;  // for progress
};

struct TrainResult {
  std::unique_ptr<LanguageModel> model;
  CheckpointState state;
  std::filesystem::path checkpoint;  // the last one
  std::int64_t resumed_from = 0;     // step; 0 for a fresh start
  double seconds = 0;
};

// Trains to the recipe's end, or goes on from a checkpoint, bit for bit as an uninterrupted run would (one machine, one
// number of threads). UserError if the checkpoint is of another config, recipe or data; Error naming step, parameter
// and the last good checkpoint on NaN or a spike; Interrupted after a checkpoint on ctrl-C.
TrainResult train(const TrainJob& job);

// Hash of all that decides a training run's result: design, recipe, data and seed.
std::string run_hash(const Design& design, const Recipe& recipe, const TokenSource& source, std::uint64_t seed);

// Mean next-token loss (nats) over at most `sequences` validation sequences, with its standard error.
struct ValidationLoss {
  double loss = 0, error = 0;
  std::int64_t tokens = 0;
};
ValidationLoss validation_loss(const LanguageModel& model, const TokenSource& source, std::int64_t length, std::int64_t sequences,
                               std::int64_t batch);

}  // namespace hymba
