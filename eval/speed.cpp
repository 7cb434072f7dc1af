#include "eval/speed.h"

#include <ATen/Parallel.h>
#include <ATen/ops/empty.h>

#include <algorithm>

#include "base/error.h"
#include "base/interrupt.h"
#include "base/log.h"
#include "base/median.h"
#include "base/rng.h"
#include "base/stolen_time.h"
#include "base/text.h"
#include "nn/device.h"

namespace hymba::eval {
namespace {

constexpr int kWarmUp = 2;  // steps: libraries choose their kernels, pages are touched

std::vector<std::int64_t> random_ids(std::int64_t count, std::int64_t vocab) {
  Rng rng(1, "speed");
  std::vector<std::int64_t> ids;
  for (std::int64_t i = 0; i < count; ++i)
    ids.push_back(static_cast<std::int64_t>(rng.below(static_cast<std::uint64_t>(vocab))));
  return ids;
}

double least(const std::vector<double>& v) { return v.empty() ? 0 : *std::min_element(v.begin(), v.end()); }
double most(const std::vector<double>& v) { return v.empty() ? 0 : *std::max_element(v.begin(), v.end()); }

// Tokens a second of f, which handles that many.
template <class F>
double rate_of(std::int64_t tokens, const at::Device& device, const F& f) {
  synchronize(device);
  const Stopwatch watch;
  f();
  synchronize(device);
  return static_cast<double>(tokens) / watch.seconds();
}

EngineOptions engine_options(const SpeedOptions& o) { return {o.kv_type, o.chunk, o.bf16_products}; }

}  // namespace

std::int64_t predicted_memory(const LanguageModel& model, const SpeedOptions& o, std::int64_t batch) {
  // Absurd requests must not wrap around.
  return static_cast<std::int64_t>(std::min(generation_bytes(model, engine_options(o), batch, o.context), 9e18));
}

SpeedProbe::SpeedProbe(const SpeedOptions& o) : options_(o) {
  require(o.context > 1 && o.batch > 0 && o.chunk > 0 && o.repeats > 0 && o.steps > 0,
          "throughput: context must be 2 or more; batch, chunk, repeats and steps positive");
  result_.batch_asked = o.batch;
  result_.context = o.context;
}

void SpeedProbe::choose_batch(const LanguageModel& model) {
  result_.memory_available = free_memory(model.device());
  std::int64_t batch = options_.batch;
  while (true) {
    result_.memory_predicted = predicted_memory(model, options_, batch);
    if (static_cast<double>(result_.memory_predicted) <= 0.97 * static_cast<double>(result_.memory_available)) break;
    if (batch == 1) {
      fail("a context of {} tokens needs {} for one sequence and {} are free; use a smaller --context",
           options_.context, format_bytes(static_cast<double>(result_.memory_predicted)),
           format_bytes(static_cast<double>(result_.memory_available)));
    }
    batch /= 2;
  }
  result_.batch = batch;
}

// One chunk of one sequence in the middle of the context. A chunk's cost grows linearly with its position (attention)
// or not at all, so the middle one's is the mean over the whole prompt.
void SpeedProbe::prefill_sample(const Engine& engine) {
  const auto batch = engine.open(1, options_.context);
  const std::int64_t count = std::min(options_.chunk, options_.context - 1);
  const std::int64_t before = std::max<std::int64_t>(0, (options_.context - count) / 2);
  const auto ids = random_ids(count, engine.model().config().vocab);
  const auto run = quiet_run(at::get_num_threads(), [&] {
    throw_if_interrupted();
    batch->fill_synthetic(std::max<std::int64_t>(before, 1));
    return rate_of(count, engine.model().device(), [&] { batch->prefill(0, ids); });
  });
  prefill_rates_.push_back(run.value);
}

void SpeedProbe::prefill_whole(Batch& batch, std::int64_t prompt) {
  const std::int64_t vocab = batch.vocab(), size = batch.size();
  const auto ids = random_ids(size * prompt, vocab);
  const at::Tensor ids_BT = at::empty({size, prompt}, at::kLong);
  std::copy(ids.begin(), ids.end(), ids_BT.data_ptr<std::int64_t>());
  prefill_rates_.push_back(rate_of(size * prompt, batch.cache_device(), [&] { batch.prefill_all(ids_BT); }));
}

void SpeedProbe::time_stretch(Batch& batch, const std::vector<std::int64_t>& ids) {
  const auto run = quiet_run(at::get_num_threads(), [&] {
    throw_if_interrupted();
    return rate_of(batch.size() * options_.steps, batch.cache_device(), [&] {
      for (int i = 0; i < options_.steps; ++i) batch.step(ids);
    });
  });
  decode_rates_.push_back(run.value);
  seconds_ += run.seconds, stolen_ += run.stolen;
}

void SpeedProbe::round(const LanguageModel& model, int stretches) {
  if (result_.batch == 0) choose_batch(model);
  reset_peak_memory(model.device());
  const Engine engine(model, engine_options(options_));
  const std::int64_t decoded = static_cast<std::int64_t>(stretches) * options_.steps * kQuietTries + kWarmUp;
  const std::int64_t context = std::max(options_.context, decoded + 1), prompt = context - decoded;
  if (options_.fill == Fill::kSynthetic) prefill_sample(engine);
  const auto batch = engine.open(result_.batch, context);
  if (options_.fill == Fill::kSynthetic) {
    batch->fill_synthetic(prompt);
  } else {
    prefill_whole(*batch, prompt);
  }
  if (options_.progress) options_.progress(0.5);
  const auto ids = random_ids(result_.batch, model.config().vocab);
  for (int i = 0; i < kWarmUp; ++i) batch->step(ids);
  for (int s = 0; s < stretches; ++s) {
    time_stretch(*batch, ids);
    if (options_.progress) options_.progress(0.5 + 0.5 * (s + 1) / stretches);
  }
  result_.cache_bytes_measured = batch->cache_bytes();
  result_.cache_bytes_predicted =
      static_cast<std::int64_t>(cache_bytes_of(model, engine.options(), result_.batch, context));
  result_.peak_rss_bytes = std::max(result_.peak_rss_bytes, peak_memory(model.device()));
}

SpeedResult SpeedProbe::result() const {
  SpeedResult r = result_;
  r.prefill_tok_s = median(prefill_rates_);
  r.prefill_tok_s_min = least(prefill_rates_);
  r.prefill_tok_s_max = most(prefill_rates_);
  r.decode_tok_s = median(decode_rates_);
  r.decode_tok_s_min = least(decode_rates_);
  r.decode_tok_s_max = most(decode_rates_);
  r.stretches = static_cast<int>(decode_rates_.size());
  r.stolen_share = seconds_ > 0 ? stolen_ / seconds_ : 0;
  return r;
}

SpeedResult measure_speed(const LanguageModel& model, const SpeedOptions& options) {
  SpeedProbe probe(options);
  probe.round(model, options.repeats);
  return probe.result();
}

}  // namespace hymba::eval
