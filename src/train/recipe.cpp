#include "train/recipe.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "nn/linear.h"

namespace hymba {

namespace po = boost::program_options;

po::options_description Recipe::options() {
  po::options_description o;
  o.add_options()("train.tokens", po::value(&tokens)->default_value(1000000), "tokens to train on")(
      "train.batch", po::value(&batch)->default_value(8), "sequences of a step and accumulation")(
      "train.length", po::value(&length)->default_value(256), "tokens of a sequence")(
      "train.short_length", po::value(&short_length)->default_value(0), "tokens of a sequence in the first part of a run; 0: length")(
      "train.short_part", po::value(&short_part)->default_value(0), "that part, as a fraction of the steps")(
      "train.accumulate", po::value(&accumulate)->default_value(1), "batches whose gradients are added up for a step")(
      "train.lr", po::value(&lr)->default_value(0.001), "peak learning rate")(
      "train.min_lr", po::value(&min_lr)->default_value(0.1), "last learning rate as a fraction of the peak")(
      "train.schedule", po::value(&schedule)->default_value("cosine"), "cosine or wsd (warm-up, stable, decay)")(
      "train.warmup", po::value(&warmup)->default_value(0.05), "warm-up as a fraction of the steps")(
      "train.decay", po::value(&decay)->default_value(0.2), "wsd: last fraction of the steps, in which the rate falls")(
      "train.weight_decay", po::value(&weight_decay)->default_value(0.1), "decay of matrices; none on A_log, D, norms, biases, meta tokens")(
      "train.beta1", po::value(&beta1)->default_value(0.9), "AdamW")("train.beta2", po::value(&beta2)->default_value(0.95), "AdamW")(
      "train.optimizer", po::value(&optimizer)->default_value("adamw"),
      "adamw, or muon: the layers' matrices by orthogonal steps of the same size, the rest by AdamW")(
      "train.momentum", po::value(&momentum)->default_value(0.95), "Muon")(
      "train.eps", po::value(&eps)->default_value(1e-8), "AdamW")(
      "train.clip", po::value(&clip)->default_value(1.0), "largest gradient norm; 0: no clipping")(
      "train.spike", po::value(&spike)->default_value(3.0), "nats above the running loss that stop a run; 0: never")(
      "train.autocast", po::value(&autocast)->default_value("none"),
      "none, or bf16: matrix products in bf16 over float32 weights (needs AVX-512 BF16)")(
      "train.log_every", po::value(&log_every)->default_value(20), "steps between points of the loss curve")(
      "train.checkpoint_every", po::value(&checkpoint_every)->default_value(500), "steps between checkpoints");
  return o;
}

void Recipe::check() const {
  require(tokens > 0 && batch > 0 && length > 0 && accumulate > 0 && log_every > 0 && checkpoint_every > 0,
          "recipe: tokens, batch, length, accumulate, log_every and checkpoint_every must be positive");
  // So that tokens of a step and steps of a run are far from the limit of 64 bits.
  constexpr std::int64_t kMost = 1'000'000, kMostTokens = 1'000'000'000'000'000;
  require(batch <= kMost && length <= kMost && accumulate <= kMost && tokens <= kMostTokens,
          "recipe: train.batch = {}, train.length = {}, train.accumulate = {} and train.tokens = {}: expected at most {}, {}, {} and {}", batch, length,
          accumulate, tokens, kMost, kMost, kMost, kMostTokens);
  require(std::isfinite(lr), "recipe: train.lr = {}: expected a finite number", lr);
  require(lr > 0 && min_lr >= 0 && min_lr <= 1, "recipe: train.lr = {} must be positive, train.min_lr = {} in [0, 1]", lr, min_lr);
  require(warmup >= 0 && decay >= 0 && warmup + decay <= 1, "recipe: train.warmup = {} and train.decay = {} must fit into 1", warmup, decay);
  require(short_part >= 0 && short_part <= 1 && (short_part > 0) == (short_length > 0),
          "recipe: train.short_length = {} and train.short_part = {} go together", short_length, short_part);
  require(short_length == 0 || (short_length < length && length % short_length == 0),
          "recipe: train.short_length = {} must divide train.length = {}", short_length, length);
  require(schedule == "cosine" || schedule == "wsd", "recipe: train.schedule = {}: expected cosine or wsd", schedule);
  require(optimizer == "adamw" || optimizer == "muon", "recipe: train.optimizer = {}: expected adamw or muon", optimizer);
  require(autocast == "none" || autocast == "bf16", "recipe: train.autocast = {}: expected none or bf16", autocast);
  require(autocast == "none" || Bf16Products::supported(),
          "recipe: train.autocast = bf16 needs a processor with AVX-512 BF16 or AMX, and this one has neither: products in bf16 would be "
          "many times slower than float32. Leave it at none");
  require(momentum >= 0 && momentum < 1, "recipe: train.momentum = {} must be in [0, 1)", momentum);
  require(beta1 >= 0 && beta1 < 1 && beta2 >= 0 && beta2 < 1 && eps > 0 && clip >= 0 && spike >= 0 && weight_decay >= 0,
          "recipe: beta1 and beta2 must be in [0, 1), eps positive, clip, spike and weight_decay not negative");
}

std::int64_t Recipe::length_at(std::int64_t step) const {
  const bool is_short = static_cast<double>(step) < short_part * static_cast<double>(steps());
  return is_short ? short_length : length;
}

double Recipe::lr_at(std::int64_t step) const {
  const auto total = static_cast<double>(steps());
  const double warm = std::max(1.0, std::round(warmup * total));
  const auto now = static_cast<double>(step);
  if (now < warm) return lr * (now + 1) / warm;
  if (schedule == "wsd") {
    const double start = total - std::round(decay * total);
    const double fall = now < start ? 0 : (now - start + 1) / (total - start + 1);
    return lr * (1 - (1 - min_lr) * fall);
  }
  const double progress = std::min(1.0, (now - warm + 1) / std::max(1.0, total - warm));
  return lr * (min_lr + (1 - min_lr) * 0.5 * (1 + std::cos(3.141592653589793 * progress)));
}

std::set<std::string> recipe_keys() {
  Recipe recipe;
  std::set<std::string> keys;
  const auto options = recipe.options();
  for (const auto& option : options.options()) keys.insert(option->long_name());
  return keys;
}

}  // namespace hymba
