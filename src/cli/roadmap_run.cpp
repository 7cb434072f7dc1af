#include "cli/roadmap_run.h"

#include <cmath>

#include "base/error.h"
#include "base/log.h"
#include "base/rng.h"
#include "base/text.h"
#include "eval/model_scorer.h"
#include "eval/speed.h"
#include "train/trainer.h"

namespace hymba::cli {
namespace {

constexpr std::int64_t kMaxLength = 1024;     // tokens a model reads of an item, as the harness' default for small models
constexpr std::size_t kItemsPerClass = 60;  // of recall by pairs and by distance

std::uint64_t hash_items(const eval::WorldSuite& suite, std::uint64_t hash) {
  hash = hash64(suite.definition.name, hash);
  for (const auto& item : suite.items) {
    for (const auto& text : item.contexts) hash = hash64(text, hash);
    for (const auto& text : item.choices) hash = hash64(text, hash);
    hash = hash64(item.prompt + "|" + item.answer + "|" + std::to_string(item.gold), hash);
  }
  return hash;
}

// Writes down Records of one row.
class RowRecords {
 public:
  RowRecords(const RowJob& job, std::string hash) : job_(job), hash_(std::move(hash)) {}

  Record& add(const std::string& metric, double value, const std::string& unit, std::int64_t n, const std::string& study = "roadmap") {
    Record r = record(study, *job_.design, job_.seed, hash_);
    r.metric = metric;
    r.value = value;
    r.unit = unit;
    r.n = n;
    records_.push_back(std::move(r));
    return records_.back();
  }
  std::vector<Record> take() { return std::move(records_); }

 private:
  const RowJob& job_;
  std::string hash_;
  std::vector<Record> records_;
};

void add_design(const RowJob& job, const LanguageModel& model, RowRecords& records) {
  const auto counts = model.param_counts();
  const auto& d = *job.design;
  nlohmann::json config = nlohmann::json::object();
  for (const auto& [key, value] : d.resolved().resolved()) config[key] = value.value;
  nlohmann::json layers = nlohmann::json::array();  // for the page's layer map: window 0 is full attention or none
  for (const auto& sublayer : model.sublayers()) {
    nlohmann::json box = {{"mixer", sublayer->text()}, {"window", 0}, {"kv_source", -1}, {"meta", model.config().meta_tokens}};
    for (const auto& mixer : sublayer->mixers()) {
      for (const auto& [key, value] : mixer->facts()) {
        if (key == "window" && value > 0) box["window"] = value;
        if (key == "kv_source" && value != sublayer->layer()) box["kv_source"] = value;
      }
    }
    layers.push_back(box);
  }
  auto& ratio = records.add("ratio", std::isfinite(counts.ratio()) ? counts.ratio() : std::nan(""), "1", 1);
  ratio.extra = {{"text", counts.ratio_text()}, {"title", d.title}, {"group", d.group}, {"row", d.row}, {"from", d.from},
                 {"config", d.resolved().text_with_origin()}, {"layers", layers}, {"values", config}};
  records.add("params_total", static_cast<double>(counts.total), "1", 1).extra = {
      {"attention", counts.attention}, {"mamba", counts.mamba}, {"embedding", counts.embedding}, {"other", counts.other}, {"meta", counts.meta}};
}

void add_training(const RowJob& job, const TrainResult& result, RowRecords& records) {
  for (const auto& point : result.state.curve) {
    records.add("loss", point[2].get<double>(), "nat", job.recipe->tokens_per_step(), "train").extra = {
        {"step", point[0]}, {"tokens", point[1]}, {"lr", point[3]}, {"grad_norm", point[4]}};
  }
  const auto valid = validation_loss(*result.model, *job.source, job.recipe->length, job.measure->validation, 16);
  records.add("validation_loss", valid.loss, "nat", valid.tokens).error = valid.error;
  auto& perplexity = records.add("perplexity", std::exp(valid.loss), "1", valid.tokens);
  perplexity.error = std::exp(valid.loss) * valid.error;
  perplexity.extra = {{"per", job.data->tokenizer->name() + " token"}};
}

void add_scores(const RowJob& job, const LanguageModel& model, RowRecords& records) {
  eval::ModelScorer scorer(model);
  for (const auto& task : job.tasks->tasks) {
    const auto& definition = task.suite.definition;
    eval::RunOptions options;
    options.max_length = kMaxLength;
    options.shot_pool = task.shot_pool;
    const auto result = eval::run_task(definition, task.suite.items, *job.data->tokenizer, scorer, options);
    const bool accuracy = definition.suite == "general" || definition.suite == "recall";
    for (const auto& [name, metric] : result.metrics) {
      const bool is_main = name == result.main_metric;
      auto& r = records.add(is_main && accuracy ? "acc" : name, metric.value, "1", metric.n, is_main ? "roadmap" : "eval");
      r.task = definition.name;
      r.error = metric.error;
      r.extra = {{"suite", definition.suite}, {"metric", name}, {"manner", definition.manner}};
      if (is_main) r.extra["chance"] = result.chance;
    }
    if (definition.suite != "recall" || !job.data->world) continue;
    for (const char* key : {"pairs", "distance"}) {
      for (const auto& c : eval::accuracy_by(task.suite, result, key, kItemsPerClass)) {
        auto& r = records.add("acc", c.metric.value, "1", c.metric.n, "breakdown");
        r.task = definition.name;
        r.error = c.metric.error;
        r.extra = {{key, c.mean}, {"low", c.low}, {"high", c.high}, {"chance", result.chance}, {"by", key}};
      }
    }
  }
}

void add_speed(const RowJob& job, const LanguageModel& model, RowRecords& records) {
  eval::SpeedOptions options;
  options.context = job.measure->context;
  options.batch = job.measure->batch;
  options.repeats = static_cast<int>(job.measure->repeats);
  options.steps = static_cast<int>(job.measure->steps);
  const auto speed = eval::measure_speed(model, options);
  if (speed.batch < speed.batch_asked) log_event("roadmap.memory design={} batch={} asked={}", job.design->name(), speed.batch, speed.batch_asked);
  const nlohmann::json extra = {{"batch", speed.batch}, {"batch_asked", speed.batch_asked}, {"context", speed.context}};
  auto& decode = records.add("decode_tok_s", speed.decode_tok_s, "token/s", options.repeats);
  decode.extra = extra;
  decode.extra["min"] = speed.decode_tok_s_min;
  decode.extra["max"] = speed.decode_tok_s_max;
  records.add("prefill_tok_s", speed.prefill_tok_s, "token/s", 1).extra = extra;
  CacheQuery query;
  query.context = speed.context;
  query.accounting = Accounting::kPaper;
  records.add("cache_mb_paper", model.cache_bytes(query).total() / 1e6, "MB", 1).extra = {{"context", query.context}, {"dtype", "fp16"}};
  query.accounting = Accounting::kExact;
  query.bytes_kv = 4;
  records.add("cache_mb_exact", model.cache_bytes(query).total() / 1e6, "MB", 1).extra = {{"context", query.context}, {"dtype", "fp32"}};
  records.add("cache_mb_measured", static_cast<double>(speed.cache_bytes_measured) / static_cast<double>(speed.batch) / 1e6, "MB", 1).extra = {
      {"context", query.context}, {"dtype", "fp32"}};
}

}  // namespace

TaskSet world_tasks(const data::World& world, int items) {
  TaskSet set;
  for (auto& suite : eval::world_suite(world, items)) {
    set.hash = hash_items(suite, set.hash);
    set.tasks.push_back({std::move(suite), {}});
  }
  return set;
}

TaskSet real_tasks(const std::vector<std::string>& folders, const std::string& words, int items, std::vector<std::string>* missing) {
  TaskSet set;
  const auto definitions = eval::load_task_definitions(home_folder() / "eval" / "tasks");
  for (const auto* definition : eval::select_tasks(definitions, words)) {
    std::string reason;
    bool found = false;
    for (const auto& folder : folders) {
      require(std::filesystem::is_directory(folder), "--tasks {}: no such folder", folder);
      try {
        eval::LoadOptions load;
        load.limit = items;
        auto data = eval::load_task(*definition, folder, load);
        eval::WorldSuite suite{*definition, std::move(data.items), {}};
        suite.meta.resize(suite.items.size());
        set.hash = hash_items(suite, set.hash);
        set.tasks.push_back({std::move(suite), std::move(data.shot_pool)});
        found = true;
        break;
      } catch (const eval::NoTaskFiles& error) {
        reason = error.what();
      }
    }
    if (!found && missing != nullptr) missing->push_back(reason);
  }
  require(!set.tasks.empty(), "--tasks: none of the tasks '{}' has its files below {}", words, join(folders, ", "));
  return set;
}

std::string row_hash(const RowJob& job) {
  const auto& m = *job.measure;
  return hex64(hash64(fmt::format("{}|{}|{} {} {} {} {}", run_hash(*job.design, *job.recipe, *job.source, job.seed), job.tasks->hash,
                                  m.context, m.batch, m.repeats, m.steps, m.validation)));
}

std::vector<Record> run_row(const RowJob& job) {
  TrainJob training;
  training.design = job.design;
  training.recipe = job.recipe;
  training.source = job.source;
  training.tokenizer = job.data->tokenizer_spec;
  training.seed = job.seed;
  training.run = job.run;
  training.on_step = [&](std::int64_t step, std::int64_t steps, double loss) {
    job.progress(0.85 * static_cast<double>(step) / static_cast<double>(steps), fmt::format("{} loss {:.3f}", job.design->name(), loss));
  };
  // A run of another config in this place (a changed recipe, say) is of no use any more.
  if (const auto stored = newest_checkpoint(job.run); !stored.empty() &&
      read_checkpoint_state(stored).config_hash != run_hash(*job.design, *job.recipe, *job.source, job.seed)) {
    log_event("roadmap.restart design={} seed={}: its stored run is of another config", job.design->name(), job.seed);
    std::filesystem::remove_all(job.run);
  }
  const auto result = train(training);
  if (result.resumed_from > 0) log_event("roadmap.resumed design={} seed={} step={}", job.design->name(), job.seed, result.resumed_from);
  RowRecords records(job, row_hash(job));
  add_design(job, *result.model, records);
  add_training(job, result, records);
  job.progress(0.86, job.design->name() + " tasks");
  add_scores(job, *result.model, records);
  job.progress(0.97, job.design->name() + " throughput");
  add_speed(job, *result.model, records);
  records.add("train_tok_s", static_cast<double>(result.state.tokens) / std::max(1e-9, result.seconds), "token/s", 1, "train").extra = {{"resumed_from", result.resumed_from}};
  records.add("done", 1, "1", 1, "roadmap.state");
  job.progress(1.0, job.design->name());
  return records.take();
}

}  // namespace hymba::cli
