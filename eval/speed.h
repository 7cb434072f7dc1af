// Throughput of generation: real prefill and decode with caches, timed apart.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "model/language_model.h"

namespace hymba::eval {

struct SpeedOptions {
  std::int64_t context = 2000;  // tokens in the cache while decoding
  std::int64_t batch = 8;       // halved until it fits into memory, as the paper does
  std::int64_t chunk = 512;     // tokens of one prefill pass
  int repeats = 5;              // timed stretches of decoding; the median counts
  int steps = 8;                // decode steps in a stretch
  std::function<void(double fraction)> progress;  // may be empty
};

struct SpeedResult {
  std::int64_t batch = 0, batch_asked = 0, context = 0;
  double prefill_tok_s = 0;
  double decode_tok_s = 0, decode_tok_s_min = 0, decode_tok_s_max = 0;  // batch * steps / time
  std::int64_t cache_bytes_measured = 0;   // owned by the cache's tensors, whole batch
  std::int64_t cache_bytes_predicted = 0;  // exact accounting
  std::int64_t memory_predicted = 0, memory_available = 0, peak_rss_bytes = 0;
};

// Memory that the measurement needs beyond the weights: the cache and the activations of one prefill pass.
std::int64_t predicted_memory(const LanguageModel& model, const SpeedOptions& options, std::int64_t batch);
// MemAvailable, or what the control group still allows if that is less.
std::int64_t available_memory();
std::int64_t peak_rss();

// Error if not even one sequence fits, naming the bytes needed and there.
SpeedResult measure_speed(const LanguageModel& model, const SpeedOptions& options);

}  // namespace hymba::eval
