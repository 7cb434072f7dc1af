// hymba train: one design on the synthetic world or on text.
#include "train/trainer.h"

#include "base/error.h"
#include "base/files.h"
#include "base/interrupt.h"
#include "base/log.h"
#include "base/text.h"
#include "cli/context.h"

namespace hymba::cli {
namespace {

Recipe recipe_of(const Invocation& invocation, const std::string& size) {
  require(!(invocation.has("steps") && invocation.has("tokens")), "--steps and --tokens: give one of them");
  Recipe recipe = open_recipe(size, invocation.overrides);
  if (invocation.has("tokens")) recipe.tokens = invocation.whole("tokens", 1, kMostTokens);
  if (invocation.has("steps")) recipe.tokens = invocation.whole("steps", 1, kMostTokens / recipe.tokens_per_step()) * recipe.tokens_per_step();
  recipe.check();
  return recipe;
}

void run_train_command(const Invocation& invocation) {
  const auto size = invocation.get<std::string>("size");
  const Recipe recipe = recipe_of(invocation, size);
  const auto data = open_data(invocation.list("data"), invocation.get<std::string>("tokenizer"), size, invocation.overrides);
  const auto design = open_design_for(*data.tokenizer, invocation.arguments[0], size, invocation);
  const auto source = data.source(invocation.seed);
  const std::filesystem::path out = invocation.out.empty() ? fmt::format("runs/{}-{}-seed{}", design.name(), size, invocation.seed) : invocation.out;
  interrupt_at_closed_pipe();
  const FolderLock lock(out);
  require(invocation.values.count("resume") != 0 || newest_checkpoint(out).empty(),
          "{}: a run is here already; --resume goes on with it, another --out starts anew", out.string());
  Progress progress(design.name(), static_cast<double>(recipe.steps()), "steps");
  TrainJob job;
  job.design = &design;
  job.recipe = &recipe;
  job.source = source.get();
  job.tokenizer = data.tokenizer_spec;
  job.seed = invocation.seed;
  job.run = out;
  job.on_step = [&](std::int64_t step, std::int64_t, double loss) { progress.update(static_cast<double>(step), fmt::format("loss {:.3f}", loss)); };
  job.on_point = [&](const TrainPoint& p) {
    if (invocation.json) {
      print_json({{"step", p.step}, {"tokens", p.tokens}, {"loss", p.loss}, {"lr", p.lr}, {"grad_norm", p.grad_norm}, {"tokens_per_s", p.tokens_per_s}});
    } else {
      log_event("train design={} step={} tokens={} loss={:.4f} lr={:.2e} grad_norm={:.3g} tokens_per_s={:.0f}", design.name(), p.step, p.tokens, p.loss, p.lr, p.grad_norm, p.tokens_per_s);
    }
  };
  log_event("train design={} size={} seed={} hash={} data=\"{}\" steps={}", design.name(), size, invocation.seed,
            run_hash(design, recipe, *source, invocation.seed), source->describe(), recipe.steps());
  const auto result = train(job);
  progress.finish();
  const auto valid = validation_loss(*result.model, *source, recipe.length, 64, recipe.batch);
  RecordWriter writer(out / "records.jsonl");
  const auto& hash = result.state.config_hash;
  for (const auto& point : result.state.curve) {
    auto r = record("train", design, invocation.seed, hash);
    r.metric = "loss";
    r.value = point[2].get<double>();
    r.unit = "nat";
    r.n = recipe.tokens_per_step();
    r.extra = {{"step", point[0]}, {"tokens", point[1]}, {"lr", point[3]}};
    writer.write(r);
  }
  auto r = record("train", design, invocation.seed, hash);
  r.metric = "validation_loss";
  r.value = valid.loss;
  r.error = valid.error;
  r.unit = "nat";
  r.n = valid.tokens;
  writer.write(r);
  if (invocation.json) {
    print_json({{"checkpoint", result.checkpoint.string()}, {"step", result.state.step}, {"tokens", result.state.tokens}, {"validation_loss", valid.loss}, {"validation_stderr", valid.error}});
  } else {
    print_text(fmt::format("validation loss {:.4f} +- {:.4f} nats a token over {} tokens\ncheckpoint {}\n", valid.loss, valid.error, valid.tokens, result.checkpoint.string()));
  }
}

}  // namespace

Command train_command() {
  Command c;
  c.name = "train";
  c.summary = "trains a design on the synthetic world or on text; goes on where it was stopped";
  c.arguments = "DESIGN";
  c.example = "  hymba train 9 --size quick --seed 1 --out runs/row9\n  hymba train samba --size smoke --data FILE.txt --tokenizer bytes --train.lr=0.002";
  c.min_arguments = 1;
  c.max_arguments = 1;
  c.overrides = {.design = true, .recipe = true, .world = true};
  c.options = [](boost::program_options::options_description& o) {
    namespace po = boost::program_options;
    o.add_options()("size", po::value<std::string>()->default_value("quick"), "paper, quick or smoke")(
        "data", po::value<std::vector<std::string>>()->composing(), "text: file or folder; repeatable. Without it the synthetic world")(
        "tokenizer", po::value<std::string>()->default_value(""), "bytes (default with --data), FILE.model (SentencePiece), tokenizer.json, FILE.bin (llama2.c) or a folder with one of them")(
        "steps", po::value<std::int64_t>(), "optimizer steps")("tokens", po::value<std::int64_t>(), "tokens, instead of steps")(
        "resume", "go on from the newest checkpoint in --out");
  };
  c.run = run_train_command;
  return c;
}

}  // namespace hymba::cli
