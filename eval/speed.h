// Throughput of generation on the engine: prefill and decode timed apart, in rounds that may be interleaved with those
// of other designs, so that a drifting machine slows all of them and not the last one.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "engine/engine.h"

namespace hymba::eval {

enum class Fill {
  kReal,       // every slot's cache is filled by a real prefill of random tokens, which is timed whole
  kSynthetic,  // caches are filled with numbers; prefill is timed on one chunk in the middle of the context
};

struct SpeedOptions {
  std::int64_t context = 2000;  // tokens that the cache holds at the end
  std::int64_t batch = 8;       // halved until it fits into memory, as the paper does
  std::int64_t chunk = 1024;    // tokens of one prefill pass
  int repeats = 5;              // timed stretches of decoding; the median counts
  int steps = 8;                // decode steps in a stretch
  Fill fill = Fill::kReal;
  at::ScalarType kv_type = at::kFloat;
  bool bf16_products = false;  // of prefill
  std::function<void(double fraction)> progress;  // may be empty
};

struct SpeedResult {
  std::int64_t batch = 0, batch_asked = 0, context = 0;
  double prefill_tok_s = 0, prefill_tok_s_min = 0, prefill_tok_s_max = 0;
  double decode_tok_s = 0, decode_tok_s_min = 0, decode_tok_s_max = 0;  // batch * steps / time
  std::int64_t cache_bytes_measured = 0;                                // owned by the cache's tensors, whole batch
  std::int64_t cache_bytes_predicted = 0;                               // exact accounting
  std::int64_t memory_predicted = 0, memory_available = 0, peak_rss_bytes = 0;  // of the model's device; on a GPU the peak of its tensors
  int stretches = 0;
  double stolen_share = 0;  // of the stretches' time, taken by the hypervisor for others (stolen_time.h)
};

// Memory that the measurement needs beyond the weights: caches and scratch.
std::int64_t predicted_memory(const LanguageModel& model, const SpeedOptions& options, std::int64_t batch);

// One design's measurement. The first round chooses the batch; error if not even one sequence fits, naming the bytes
// needed and there.
class SpeedProbe {
 public:
  explicit SpeedProbe(const SpeedOptions& options);
  // Fills, warms up and times `stretches` stretches, each of which is timed anew where the hypervisor took part of it. The model may be another object with the same shapes each time.
  void round(const LanguageModel& model, int stretches);
  SpeedResult result() const;

 private:
  void choose_batch(const LanguageModel& model);
  void prefill_sample(const Engine& engine);
  void prefill_whole(Batch& batch, std::int64_t prompt);
  void time_stretch(Batch& batch, const std::vector<std::int64_t>& ids);
  SpeedOptions options_;
  SpeedResult result_;
  std::vector<double> prefill_rates_, decode_rates_;
  double seconds_ = 0, stolen_ = 0;  // of the stretches; stolen: of all threads' time
};

// All of it in one round.
SpeedResult measure_speed(const LanguageModel& model, const SpeedOptions& options);

}  // namespace hymba::eval
