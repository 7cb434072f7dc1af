#include "eval/speed.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/argmax.h>
#include <ATen/ops/empty.h>
#include <sys/resource.h>

#include <algorithm>
#include <fstream>
#include <numeric>
#include <sstream>

#include "base/error.h"
#include "base/interrupt.h"
#include "base/log.h"
#include "base/rng.h"
#include "base/text.h"

namespace hymba::eval {
namespace {

at::Tensor random_ids(std::int64_t batch, std::int64_t length, std::int64_t vocab) {
  Rng rng(1, "speed");
  const at::Tensor ids = at::empty({batch, length}, at::kLong);
  auto* data = ids.data_ptr<std::int64_t>();
  for (std::int64_t i = 0; i < ids.numel(); ++i) data[i] = static_cast<std::int64_t>(rng.below(static_cast<std::uint64_t>(vocab)));
  return ids;
}

std::int64_t number_in(const std::string& path) {
  std::ifstream file(path);
  std::string word;
  file >> word;
  return word.empty() || word == "max" ? -1 : std::atoll(word.c_str());
}

std::int64_t choose_batch(const LanguageModel& model, const SpeedOptions& options, SpeedResult& result) {
  result.memory_available = available_memory();
  std::int64_t batch = options.batch;
  while (true) {
    result.memory_predicted = predicted_memory(model, options, batch);
    if (result.memory_predicted <= result.memory_available) return batch;
    if (batch == 1) {
      fail("a context of {} tokens needs {} for one sequence and {} are free; use a smaller --context", options.context,
           format_bytes(static_cast<double>(result.memory_predicted)), format_bytes(static_cast<double>(result.memory_available)));
    }
    batch /= 2;
  }
}

}  // namespace

std::int64_t predicted_memory(const LanguageModel& model, const SpeedOptions& o, std::int64_t batch) {
  CacheQuery query;
  query.context = o.context + 1;
  query.bytes_kv = 4;
  const double cache = model.cache_bytes(query).total() * static_cast<double>(batch);
  // Widest moment of a pass: projections and branch outputs of one layer, about 16 times the hidden width, K and V
  // gathered once more, and the logits of one position a sequence.
  const auto& c = model.config();
  const double rows = static_cast<double>(batch) * static_cast<double>(std::min(o.chunk, o.context) + c.meta_tokens);
  const double pass = rows * static_cast<double>(c.hidden) * 16 * 4 + static_cast<double>(batch) * static_cast<double>(c.vocab) * 8;
  // Absurd requests must not wrap around.
  return static_cast<std::int64_t>(std::min(cache * 1.1 + pass + 64e6, 9e18));
}

std::int64_t available_memory() {
  std::int64_t available = -1;
  std::ifstream meminfo("/proc/meminfo");
  for (std::string line; std::getline(meminfo, line);) {
    if (starts_with(line, "MemAvailable:")) available = std::atoll(line.substr(13).c_str()) * 1024;
  }
  const std::int64_t limit = number_in("/sys/fs/cgroup/memory.max"), used = number_in("/sys/fs/cgroup/memory.current");
  if (limit >= 0 && used >= 0) available = available < 0 ? limit - used : std::min(available, limit - used);
  if (available < 0) fail("cannot read how much memory is free");
  return available;
}

std::int64_t peak_rss() {
  rusage usage{};
  ::getrusage(RUSAGE_SELF, &usage);
  return usage.ru_maxrss * 1024L;
}

SpeedResult measure_speed(const LanguageModel& model, const SpeedOptions& o) {
  require(o.context > 1 && o.batch > 0 && o.chunk > 0 && o.repeats > 0 && o.steps > 0,
          "throughput: context must be 2 or more; batch, chunk, repeats and steps positive");
  const at::NoGradGuard no_grad;
  SpeedResult result;
  result.batch_asked = o.batch;
  result.context = o.context;
  result.batch = choose_batch(model, o, result);
  const std::int64_t decoded = o.repeats * o.steps + 2;
  const std::int64_t prompt = std::max<std::int64_t>(1, o.context - decoded);
  const at::Tensor ids = random_ids(result.batch, prompt, model.config().vocab);
  {  // warm-up: libraries choose their kernels and the allocator its blocks
    ModelCache cache = model.make_cache(result.batch, o.context);
    model.forward(ids.narrow(1, 0, std::min(o.chunk, prompt)), &cache);
  }
  ModelCache cache = model.make_cache(result.batch, std::max(o.context, prompt + decoded));
  const Stopwatch prefill;
  at::Tensor hidden;
  for (std::int64_t first = 0; first < prompt; first += o.chunk) {
    throw_if_interrupted();
    hidden = model.forward(ids.narrow(1, first, std::min(o.chunk, prompt - first)), &cache);
    if (o.progress) o.progress(0.5 * static_cast<double>(first) / static_cast<double>(prompt));
  }
  at::Tensor next = at::argmax(model.logits(hidden.select(1, hidden.size(1) - 1)), 1).view({-1, 1});
  result.prefill_tok_s = static_cast<double>(result.batch * prompt) / prefill.seconds();
  const auto step = [&] { next = at::argmax(model.logits(model.forward(next, &cache)).select(1, 0), 1).view({-1, 1}); };
  step();
  step();
  std::vector<double> rates;
  for (int r = 0; r < o.repeats; ++r) {
    throw_if_interrupted();
    const Stopwatch watch;
    for (int s = 0; s < o.steps; ++s) step();
    rates.push_back(static_cast<double>(result.batch * o.steps) / watch.seconds());
    if (o.progress) o.progress(0.5 + 0.5 * (r + 1) / o.repeats);
  }
  std::sort(rates.begin(), rates.end());
  result.decode_tok_s = rates[rates.size() / 2];
  result.decode_tok_s_min = rates.front();
  result.decode_tok_s_max = rates.back();
  result.cache_bytes_measured = cache.bytes();
  CacheQuery query;
  query.context = cache.capacity - model.config().meta_tokens;
  query.bytes_kv = 4;
  result.cache_bytes_predicted = static_cast<std::int64_t>(model.cache_bytes(query).total()) * result.batch;
  result.peak_rss_bytes = peak_rss();
  return result;
}

}  // namespace hymba::eval
