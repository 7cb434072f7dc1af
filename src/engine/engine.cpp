#include "engine/engine.h"

#include <ATen/Parallel.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/zeros.h>

#include <algorithm>
#include <cstring>

#include "base/error.h"
#include "base/interrupt.h"
#include "base/rng.h"
#include "base/text.h"
#include "nn/device.h"
#include "nn/linear.h"

namespace hymba {
namespace {

void check_ids(std::span<const std::int64_t> ids, std::int64_t vocab, std::int64_t least) {
  for (std::size_t i = 0; i < ids.size(); ++i) {
    require(ids[i] >= least && ids[i] < vocab, "token id {} (number {}) is outside the vocabulary of {}", ids[i], i + 1,
            vocab);
  }
}

// Fills a tensor's memory with copies of `pattern`, whatever its type: several times faster than random numbers.
void fill_pattern(const at::Tensor& t, const at::Tensor& pattern_float) {
  const at::Tensor pattern = pattern_float.to(t.scalar_type());
  if (!t.is_cpu()) {  // the first copy from the host, then what is there already, doubled
    const at::Tensor flat = t.view({-1});
    std::int64_t done = std::min(flat.numel(), pattern.numel());
    flat.narrow(0, 0, done).copy_(pattern.narrow(0, 0, done));
    for (; done < flat.numel(); done += std::min(done, flat.numel() - done)) {
      const std::int64_t count = std::min(done, flat.numel() - done);
      flat.narrow(0, done, count).copy_(flat.narrow(0, 0, count));
    }
    return;
  }
  const auto* from = static_cast<const char*>(pattern.const_data_ptr());
  auto* to = static_cast<char*>(t.data_ptr());
  const auto bytes = static_cast<std::int64_t>(t.nbytes()), piece = static_cast<std::int64_t>(pattern.nbytes());
  at::parallel_for(0, (bytes + piece - 1) / piece, 64, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t at = begin * piece; at < std::min(end * piece, bytes); at += piece) {
      std::memcpy(to + at, from, static_cast<std::size_t>(std::min(piece, bytes - at)));
    }
  });
}

}  // namespace

double cache_bytes_of(const LanguageModel& model, const EngineOptions& options, std::int64_t batch,
                      std::int64_t context) {
  CacheQuery query;
  query.context = context;
  query.bytes_kv = options.kv_type == at::kFloat ? 4 : 2;
  return model.cache_bytes(query).total() * static_cast<double>(batch);
}

double generation_bytes(const LanguageModel& model, const EngineOptions& options, std::int64_t batch,
                        std::int64_t context) {
  const auto& c = model.config();
  // The widest moment of a pass holds projections and branches of one layer, about 24 times the hidden width; a prefill
  // chunk further K and V of one layer in float32, twice; and logits.
  const double rows =
      static_cast<double>(batch) + static_cast<double>(std::min(options.chunk, context) + c.meta_tokens);
  double widest = 0;  // bytes a position of one layer's K and V in float32
  for (const auto& sublayer : model.sublayers()) {
    CacheQuery one, two;
    one.context = 1, two.context = 2;
    one.bytes_kv = two.bytes_kv = 4;
    widest = std::max(widest, sublayer->cache_bytes(two).total() - sublayer->cache_bytes(one).total());
  }
  const double logits = (static_cast<double>(batch) + 2) * static_cast<double>(c.vocab) * 4;
  const double keys = 2 * widest * static_cast<double>(context + c.meta_tokens);
  return cache_bytes_of(model, options, batch, context) + keys + rows * static_cast<double>(c.hidden) * 24 * 4 +
         logits + 64e6;
}

Engine::Engine(const LanguageModel& model, const EngineOptions& options) : model_(model), options_(options) {
  require(options.chunk > 0, "prefill chunk of {} tokens: expected 1 or more", options.chunk);
  if (model.config().meta_tokens == 0) return;
  const at::NoGradGuard no_grad;
  start_ = model.make_cache(1, 1, options.kv_type);
  model.prefill_meta(&start_);
}

std::unique_ptr<Batch> Engine::open(std::int64_t batch, std::int64_t context) const {
  require(batch > 0 && context > 0, "generation: expected a positive batch and context, got {} and {}", batch, context);
  const double needed = generation_bytes(model_, options_, batch, context),
               available = static_cast<double>(free_memory(model_.device()));
  if (needed > available) {
    fail(
        "{} sequences of {} tokens need {} ({:.0f} bytes) of memory and {} ({:.0f} bytes) are available; use a smaller "
        "context or batch",
        batch, context, format_bytes(needed), needed, format_bytes(available), available);
  }
  return std::make_unique<Batch>(*this, batch, context);
}

Batch::Batch(const Engine& engine, std::int64_t size, std::int64_t context)
    : engine_(engine), context_(context), cache_(engine.model().make_cache(size, context, engine.options().kv_type)) {
  const at::NoGradGuard no_grad;
  const auto& c = engine.model().config();
  step_.batch = size;
  lengths_.assign(static_cast<std::size_t>(size), c.meta_tokens);
  const at::Device device = engine.model().device();
  host_2B_ = at::zeros({2, size}, at::kLong);
  device_2B_ = device.is_cpu() ? host_2B_ : host_2B_.to(device);
  step_.lengths_B = host_2B_.select(0, 1);
  step_.device_lengths_B = device_2B_.select(0, 1);
  step_.cache = &cache_;
  logits_BV_ = at::empty({size, c.vocab}, at::TensorOptions(at::kFloat).device(device));
  cache_.restart(engine.start());
  functions_ = engine.model().bind_step(step_, device_2B_.select(0, 0), logits_BV_);
}

std::int64_t Batch::length(std::int64_t slot) const {
  return lengths_[static_cast<std::size_t>(slot)] - engine_.model().config().meta_tokens;
}

void Batch::restart(std::int64_t slot) {
  const at::NoGradGuard no_grad;
  ModelCache one = cache_.sequence(slot, 0);
  one.restart(engine_.start());
  lengths_[static_cast<std::size_t>(slot)] = one.position;
}

at::Tensor Batch::prefill(std::int64_t slot, std::span<const std::int64_t> ids) {
  const at::NoGradGuard no_grad;
  const auto& model = engine_.model();
  const auto count = static_cast<std::int64_t>(ids.size());
  require(count > 0, "an empty prompt: give at least one token");
  check_ids(ids, model.config().vocab, 0);
  require(length(slot) + count <= context_,
          "{} tokens do not fit: the context of {} holds {} already; ask for a larger one", count, context_,
          length(slot));
  std::int64_t& total = lengths_[static_cast<std::size_t>(slot)];
  ModelCache one = cache_.sequence(slot, total);
  const at::Tensor all = at::empty({1, count}, at::kLong);
  std::copy(ids.begin(), ids.end(), all.data_ptr<std::int64_t>());
  at::Tensor hidden;
  for (std::int64_t first = 0; first < count; first += engine_.options().chunk) {
    throw_if_interrupted();
    const Bf16Products products(engine_.options().bf16_products);
    hidden = model.forward(all.narrow(1, first, std::min(engine_.options().chunk, count - first)), &one);
    total = one.position;
  }
  return model.logits(hidden.select(1, hidden.size(1) - 1)).select(0, 0);
}

void Batch::prefill_all(const at::Tensor& ids_BT) {
  const at::NoGradGuard no_grad;
  const std::int64_t count = ids_BT.size(1), chunk = std::max<std::int64_t>(engine_.options().chunk / size(), 1);
  require(std::all_of(lengths_.begin(), lengths_.end(), [&](std::int64_t n) { return n == lengths_[0]; }) &&
              length(0) + count <= context_,
          "prefill of a whole batch: expected equally long slots with room for {} tokens", count);
  cache_.position = lengths_[0];
  for (std::int64_t first = 0; first < count; first += chunk) {
    throw_if_interrupted();
    const Bf16Products products(engine_.options().bf16_products);
    engine_.model().forward(ids_BT.narrow(1, first, std::min(chunk, count - first)), &cache_);
  }
  std::fill(lengths_.begin(), lengths_.end(), cache_.position);
}

const at::Tensor& Batch::step(std::span<const std::int64_t> ids) {
  const at::NoGradGuard no_grad;
  require(static_cast<std::int64_t>(ids.size()) == size(), "a step of {} ids for a batch of {}", ids.size(), size());
  check_ids(ids, engine_.model().config().vocab, -1);
  const std::int64_t meta = engine_.model().config().meta_tokens;
  for (std::size_t b = 0; b < ids.size(); ++b) {
    require(ids[b] < 0 || lengths_[b] < context_ + meta, "the context of {} tokens is full; ask for a larger one",
            context_);
  }
  for (std::size_t b = 0; b < ids.size(); ++b) {
    if (ids[b] >= 0) ++lengths_[b];
    host_2B_.data_ptr<std::int64_t>()[b] = std::max<std::int64_t>(ids[b], 0);
    // An idle slot works on its last position once more, an empty one on its first.
    step_.lengths_B.data_ptr<std::int64_t>()[b] = std::max(lengths_[b], meta + 1);
  }
  if (!device_2B_.is_cpu()) device_2B_.copy_(host_2B_);
  for (const auto& run : functions_) run();
  return logits_BV_;
}

void Batch::fill_synthetic(std::int64_t tokens) {
  require(tokens > 0 && tokens <= context_, "synthetic fill of {} tokens into a context of {}", tokens, context_);
  Rng rng(1, "synthetic fill");
  const at::Tensor pattern = at::empty({1 << 16}, at::kFloat);
  for (std::int64_t i = 0; i < pattern.numel(); ++i)
    pattern.data_ptr<float>()[i] = static_cast<float>(0.1 * rng.normal());
  for (auto& sublayer : cache_.sublayers) {
    for (auto& mixer : sublayer) {
      if (mixer.kv) fill_pattern(mixer.kv->k(), pattern), fill_pattern(mixer.kv->v(), pattern);
      if (mixer.state) fill_pattern(mixer.state->conv_BSE, pattern), fill_pattern(mixer.state->ssm, pattern);
    }
  }
  std::fill(lengths_.begin(), lengths_.end(), tokens + engine_.model().config().meta_tokens);
}

bool parse_products(const std::string& word, at::ScalarType weights) {
  require(word == "fp32" || word == "bf16", "--products {}: expected fp32 or bf16", word);
  if (word == "fp32") return false;
  require(weights == at::kBFloat16, "--products bf16: the weights are not bf16; add --dtype bf16");
  require(Bf16Products::supported(), "--products bf16: this processor has no AVX-512 BF16 (or HYMBA_ISA forbids it); leave --products out");
  return true;
}

at::ScalarType parse_dtype(const std::string& word, const std::string& option) {
  if (word == "fp32") return at::kFloat;
  if (word == "bf16") return at::kBFloat16;
  if (word == "fp16") return at::kHalf;
  user_error("{} {}: expected fp32, bf16 or fp16", option, word);
}

std::string name_of_dtype(at::ScalarType type) {
  return type == at::kFloat ? "fp32" : type == at::kBFloat16 ? "bf16" : "fp16";
}

}  // namespace hymba
