#include "train/trainer.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/cross_entropy_loss.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/where.h>

#include <algorithm>
#include <cmath>
#include <optional>

#include "base/error.h"
#include "base/interrupt.h"
#include "base/log.h"
#include "base/rng.h"
#include "base/text.h"
#include "nn/linear.h"

namespace hymba {
namespace {

// Inputs and targets [B, T] of sequences first .. first + B - 1, each T + 1 tokens long.
struct Batch {
  at::Tensor ids, targets;
};

template <class Read>
Batch make_batch(const Read& read, std::int64_t batch, std::int64_t length) {
  const at::Tensor both = at::empty({batch, length + 1}, at::kLong);
  auto* data = both.data_ptr<std::int64_t>();
  std::vector<std::int32_t> tokens(static_cast<std::size_t>(length + 1));
  for (std::int64_t b = 0; b < batch; ++b) {
    read(static_cast<std::uint64_t>(b), std::span<std::int32_t>(tokens));
    std::copy(tokens.begin(), tokens.end(), data + b * (length + 1));
  }
  // ~id: read, not predicted; -1 is the target that the loss ignores.
  const at::Tensor targets = both.narrow(1, 1, length).clamp_min(-1).contiguous();
  return {at::where(both.lt(0), both.bitwise_not(), both).narrow(1, 0, length).contiguous(), targets};
}

// The parameter that explains a loss or gradient that is not finite, for the message.
std::string culprit(const LanguageModel& model) {
  for (const auto& parameter : model.parameters().all()) {
    if (!std::isfinite(parameter.value.sum().item<double>())) return fmt::format("the weights of {} are not finite", parameter.name);
  }
  // Gradients flow from the last layer to the first: the last parameter that is hit stands nearest to the cause.
  std::string last;
  double largest = 0;
  std::string steepest;
  for (const auto& parameter : model.parameters().all()) {
    if (!parameter.value.grad().defined()) continue;
    const double norm = parameter.value.grad().norm().item<double>();
    if (!std::isfinite(norm)) last = parameter.name;
    if (norm > largest) {
      largest = norm;
      steepest = parameter.name;
    }
  }
  if (!last.empty()) return fmt::format("the gradient of {} is not finite", last);
  return fmt::format("the largest gradient is that of {}, norm {:.3g}", steepest, largest);
}

constexpr std::int64_t kHeldOutPoints = 20, kHeldOutSequences = 16;

class Run {
 public:
  explicit Run(const TrainJob& job)
      : job_(job), recipe_(*job.recipe), hash_(run_hash(*job.design, recipe_, *job.source, job.seed)),
        model_(std::make_unique<LanguageModel>(*job.design, job.seed)), optimizer_(model_->parameters(), recipe_) {
    state_.design = job.design->name();
    state_.size = job.design->size();
    state_.title = job.design->title;
    state_.group = job.design->group;
    state_.row = job.design->row;
    state_.seed = job.seed;
    state_.config_hash = hash_;
    state_.data = job.source->describe();
    state_.tokenizer = job.tokenizer;
    state_.extra["train_length"] = recipe_.length;
    if (!job.run.empty() && job.resume) restore();
  }

  TrainResult finish() {
    const Stopwatch watch;
    TrainResult result;
    result.resumed_from = state_.step;
    const std::int64_t steps = recipe_.steps();
    interval_.restart();
    while (state_.step < steps) {
      one_step(steps);
      tell(steps);
      if (state_.step % recipe_.checkpoint_every == 0 && state_.step < steps) save();
      if (interrupted() && state_.step < steps) {
        save();
        throw_if_interrupted();
      }
    }
    if (!job_.run.empty() && (newest_ != state_.step)) save();
    optimizer_.zero_grad();
    result.model = std::move(model_);
    result.state = state_;
    result.checkpoint = last_;
    result.seconds = watch.seconds();
    return result;
  }

 private:
  void restore() {
    prune_checkpoints(job_.run, 2);
    last_ = newest_checkpoint(job_.run);
    if (last_.empty()) return;
    const auto stored = read_checkpoint_state(last_);
    require(stored.config_hash == hash_,
            "{}: this checkpoint was made with another design, recipe, data or seed ({} there, {} now); choose another --out, or delete it",
            last_.string(), stored.config_hash, hash_);
    load_weights(last_, *model_);
    load_optimizer(last_, optimizer_);
    state_ = stored;
    newest_ = state_.step;
    average_ = state_.extra.value("running_loss", 0.0);
    interval_loss_ = state_.extra.value("interval_loss", 0.0);
    interval_steps_ = state_.extra.value("interval_steps", std::int64_t{0});
  }

  void one_step(std::int64_t steps) {
    const double lr = recipe_.lr_at(state_.step);
    optimizer_.zero_grad();
    std::vector<at::Tensor> losses;
    const std::int64_t rows = recipe_.batch_at(state_.step), length = recipe_.length_at(state_.step);
    for (std::int64_t a = 0; a < recipe_.accumulate; ++a) {
      const std::uint64_t first = static_cast<std::uint64_t>((state_.step * recipe_.accumulate + a) * rows);
      const auto batch = make_batch([&](std::uint64_t b, std::span<std::int32_t> out) { job_.source->sequence(first + b, out); },
                                    rows, length);
      const at::Tensor batch_loss = [&] {
        const Bf16Products products(recipe_.autocast == "bf16");
        return model_->loss(batch.ids, batch.targets);
      }();
      losses.push_back(batch_loss.detach());
      (recipe_.accumulate == 1 ? batch_loss : batch_loss / static_cast<double>(recipe_.accumulate)).backward();
    }
    double loss = 0;  // read when all passes are on their way: a GPU does not wait for the host
    for (const auto& one : losses) loss += one.item<double>() / static_cast<double>(recipe_.accumulate);
    check(loss);
    const double norm = optimizer_.clip();
    if (!std::isfinite(norm)) stop("the gradient norm is not finite", loss);
    optimizer_.step(lr);
    ++state_.step;
    state_.tokens += recipe_.tokens_per_step();
    average_ = state_.step == 1 ? loss : 0.98 * average_ + 0.02 * loss;
    interval_loss_ += loss;
    ++interval_steps_;
    last_loss_ = loss;
    if (state_.step % recipe_.log_every == 0 || state_.step == steps) point(lr, norm);
  }

  // A listener that fails (its pipe is closed, its disk is full) costs no step: the checkpoint is written first.
  void tell(std::int64_t steps) {
    try {
      if (job_.on_step) job_.on_step(state_.step, steps, last_loss_);
      if (point_ && job_.on_point) job_.on_point(*point_);
    } catch (const std::exception&) {
      save();
      throw;
    }
    point_.reset();
  }

  void check(double loss) {
    if (!std::isfinite(loss)) stop("the loss is not finite", loss);
    if (recipe_.spike > 0 && state_.step > 20 && loss > average_ + recipe_.spike) stop("the loss jumped", loss);
  }

  [[noreturn]] void stop(const std::string& what, double loss) {
    fail("{}: {} at step {}: loss {:.4g} after a running mean of {:.4g}; {}. Last good checkpoint: {}. A smaller train.lr, a larger "
         "train.warmup or a smaller train.clip helps most often", job_.design->name(), what, state_.step + 1, loss, average_,
         culprit(*model_), last_.empty() ? "none" : last_.string());
  }

  void point(double lr, double norm) {
    TrainPoint p;
    p.step = state_.step;
    p.tokens = state_.tokens;
    p.loss = interval_loss_ / static_cast<double>(interval_steps_);
    p.lr = lr;
    p.grad_norm = norm;
    p.tokens_per_s = static_cast<double>(interval_steps_ * recipe_.tokens_per_step()) / std::max(1e-9, interval_.seconds());
    state_.curve.push_back({p.step, p.tokens, p.loss, p.lr, p.grad_norm});
    interval_loss_ = 0;
    interval_steps_ = 0;
    validate();
    interval_.restart();
    point_ = p;
  }

  // Held-out loss at the log intervals, about twenty times a run; that of the end is the caller's. Nothing that is trained
  // depends on it. Where ctrl-C comes meanwhile, this point is missing and the step is not.
  void validate() {
    const std::int64_t steps = recipe_.steps(), part = kHeldOutPoints * state_.step / steps;
    const auto before = kHeldOutPoints * std::max<std::int64_t>(0, state_.step - recipe_.log_every) / steps;
    if (part == before || state_.step == steps || job_.source->validation_count(recipe_.length + 1) == 0) return;
    try {
      const auto held = validation_loss(*model_, *job_.source, recipe_.length, kHeldOutSequences, recipe_.batch);
      state_.extra["held_out"].push_back({state_.step, state_.tokens, held.loss, held.error, held.tokens});
    } catch (const Interrupted&) {
    }
  }

  void save() {
    if (job_.run.empty()) return;
    state_.extra["running_loss"] = average_;
    state_.extra["interval_loss"] = interval_loss_;
    state_.extra["interval_steps"] = interval_steps_;
    const auto next = job_.run / fmt::format("step-{:08d}", state_.step);
    try {
      save_checkpoint(next, *job_.design, *model_, &optimizer_, state_);
    } catch (const Error& error) {
      fail("{}. Last good checkpoint: {}", error.what(), last_.empty() ? "none" : last_.string());
    }
    last_ = next;
    newest_ = state_.step;
    prune_checkpoints(job_.run, 2);
  }

  const TrainJob& job_;
  const Recipe& recipe_;
  std::string hash_;
  std::unique_ptr<LanguageModel> model_;
  Optimizer optimizer_;
  CheckpointState state_;
  std::filesystem::path last_;
  std::int64_t newest_ = -1, interval_steps_ = 0;
  double average_ = 0, interval_loss_ = 0, last_loss_ = 0;
  std::optional<TrainPoint> point_;  // not told yet
  Stopwatch interval_;
};

}  // namespace

std::string run_hash(const Design& design, const Recipe& recipe, const TokenSource& source, std::uint64_t seed) {
  Recipe r = recipe;
  std::string text = design.resolved().text();
  // How often a run logs and saves does not decide its result.
  text += fmt::format("|{} {} {} {}|{} {} {} {} {}|{} {} {} {} {} {}|{} {}", r.tokens, r.batch, r.length, r.accumulate, r.lr, r.min_lr, r.warmup,
                      r.decay, r.schedule, r.weight_decay, r.beta1, r.beta2, r.eps, r.clip, r.spike,
                      r.short_length, r.short_part);
  if (r.autocast != "none") text += "|autocast " + r.autocast;  // the hashes of older runs stay as they are
  if (r.optimizer != "adamw") text += fmt::format("|{} {}", r.optimizer, r.momentum);
  text += fmt::format("|{}|{}", source.hash(), seed);
  return hex64(hash64(text));
}

TrainResult train(const TrainJob& job) {
  job.recipe->check();
  return Run(job).finish();
}

ValidationLoss validation_loss(const LanguageModel& model, const TokenSource& source, std::int64_t length, std::int64_t sequences,
                               std::int64_t batch) {
  const at::NoGradGuard no_grad;
  const std::int64_t count = std::min(sequences, source.validation_count(length + 1));
  require(count > 0, "the validation text is shorter than {} tokens; give more text", length + 1);
  double sum = 0, squares = 0;
  std::int64_t tokens = 0;
  for (std::int64_t first = 0; first < count; first += batch) {
    throw_if_interrupted();
    const std::int64_t n = std::min(batch, count - first);
    const auto b = make_batch(
        [&](std::uint64_t i, std::span<std::int32_t> out) { source.validation(static_cast<std::uint64_t>(first) + i, out); }, n, length);
    const at::Tensor logits = model.logits(model.forward(b.ids)).view({n * length, -1});
    const at::Tensor all = at::cross_entropy_loss(logits, b.targets.view({-1}).to(logits.device()), {}, /*reduction=none*/ 0, /*ignore_index=*/-1)
                               .view({n, length}).to(at::kCPU);
    const at::Tensor counted = b.targets.ne(-1).sum(1);
    const at::Tensor each = all.sum(1) / counted.clamp_min(1);
    tokens += counted.sum().item<std::int64_t>();
    for (std::int64_t i = 0; i < n; ++i) {
      const double loss = each[i].item<double>();
      sum += loss;
      squares += loss * loss;
    }
  }
  ValidationLoss result;
  const auto m = static_cast<double>(count);
  result.loss = sum / m;
  result.error = count > 1 ? std::sqrt(std::max(0.0, squares / m - result.loss * result.loss) / (m - 1)) : 0;
  result.tokens = tokens;
  return result;
}

}  // namespace hymba
