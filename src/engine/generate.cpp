#include "engine/generate.h"

#include <algorithm>
#include <optional>

#include "base/error.h"
#include "base/interrupt.h"
#include "base/log.h"

namespace hymba {
namespace {

// A slot of the batch with the prompt that it works on.
struct Slot {
  std::size_t prompt = 0;
  std::optional<Sampler> sampler;
  std::int64_t next_id = -1;  // goes into the next step; -1: idle
};

void check(const Engine& engine, const std::vector<Prompt>& prompts, const GenerateOptions& options) {
  options.sampling.check();
  require(options.batch > 0, "generation: expected a positive batch, got {}", options.batch);
  const std::int64_t vocab = engine.model().config().vocab;
  for (const auto& prompt : prompts) {
    require(!prompt.ids.empty(), "an empty prompt: give at least one token");
    require(prompt.max_new_tokens >= 0, "max-new-tokens {}: expected 0 or more", prompt.max_new_tokens);
    for (const auto id : prompt.ids) {
      require(id >= 0 && id < vocab, "prompt id {} is outside the vocabulary of {} (ids 0 to {})", id, vocab,
              vocab - 1);
    }
  }
}

class Run {
 public:
  Run(const Engine& engine, const std::vector<Prompt>& prompts, const GenerateOptions& options)
      : engine_(engine), prompts_(prompts), options_(options) {
    result_.ids.resize(prompts.size());
  }

  GenerateResult all() {
    std::int64_t context = 1;
    for (const auto& p : prompts_)
      context = std::max(context, static_cast<std::int64_t>(p.ids.size()) + p.max_new_tokens);
    const auto rows = std::min<std::int64_t>(options_.batch, static_cast<std::int64_t>(prompts_.size()));
    if (rows == 0) return result_;
    batch_ = engine_.open(rows, context);
    result_.cache_bytes = batch_->cache_bytes();
    slots_.resize(static_cast<std::size_t>(rows));
    ids_.resize(slots_.size());
    for (std::size_t s = 0; s < slots_.size(); ++s) fill(s);
    while (std::any_of(slots_.begin(), slots_.end(), [](const Slot& slot) { return slot.next_id >= 0; })) step();
    return std::move(result_);
  }

 private:
  // Puts waiting prompts into a slot until one of them wants a step.
  void fill(std::size_t s) {
    Slot& slot = slots_[s];
    slot.next_id = -1;
    while (slot.next_id < 0 && waiting_ < prompts_.size()) {
      slot.prompt = waiting_++;
      const auto& prompt = prompts_[slot.prompt];
      if (prompt.max_new_tokens == 0) continue;
      slot.sampler.emplace(options_.sampling, slot.prompt);
      const Stopwatch watch;
      batch_->restart(static_cast<std::int64_t>(s));
      const at::Tensor logits_V = batch_->prefill(static_cast<std::int64_t>(s), prompt.ids).to(at::kCPU);
      result_.prefill_seconds += watch.seconds();
      result_.prompt_tokens += static_cast<std::int64_t>(prompt.ids.size());
      take(slot, {logits_V.const_data_ptr<float>(), static_cast<std::size_t>(logits_V.numel())});
    }
  }

  // Chooses the slot's next token; next_id stays -1 where the sequence ends with it.
  void take(Slot& slot, std::span<const float> logits) {
    const std::int64_t id = slot.sampler->next(logits);
    slot.next_id = -1;
    if (id == options_.eos) return;
    auto& ids = result_.ids[slot.prompt];
    ids.push_back(id);
    ++result_.new_tokens;
    const bool go_on = !options_.on_token || options_.on_token(slot.prompt, id);
    if (go_on && static_cast<std::int64_t>(ids.size()) < prompts_[slot.prompt].max_new_tokens) slot.next_id = id;
  }

  void step() {
    throw_if_interrupted();
    const Stopwatch watch;
    for (std::size_t s = 0; s < slots_.size(); ++s) {
      ids_[s] = slots_[s].next_id;
      result_.decoded += ids_[s] >= 0 ? 1 : 0;
    }
    const at::Tensor logits_BV = batch_->step(ids_).to(at::kCPU);
    const auto vocab = static_cast<std::size_t>(logits_BV.size(1));
    for (std::size_t s = 0; s < slots_.size(); ++s) {
      if (ids_[s] >= 0) take(slots_[s], {logits_BV.const_data_ptr<float>() + s * vocab, vocab});
    }
    result_.decode_seconds += watch.seconds();
    ++result_.decode_steps;
    for (std::size_t s = 0; s < slots_.size(); ++s) {
      if (ids_[s] >= 0 && slots_[s].next_id < 0) fill(s);
    }
  }

  const Engine& engine_;
  const std::vector<Prompt>& prompts_;
  const GenerateOptions& options_;
  GenerateResult result_;
  std::unique_ptr<Batch> batch_;
  std::vector<Slot> slots_;
  std::vector<std::int64_t> ids_;
  std::size_t waiting_ = 0;
};

}  // namespace

GenerateResult generate(const Engine& engine, const std::vector<Prompt>& prompts, const GenerateOptions& options) {
  check(engine, prompts, options);
  return Run(engine, prompts, options).all();
}

}  // namespace hymba
