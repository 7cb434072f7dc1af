#include "cli/eval_run.h"

#include <algorithm>

#include "base/error.h"
#include "base/files.h"
#include "base/log.h"
#include "base/text.h"
#include "eval/model_scorer.h"
#include "eval/world_suite.h"

namespace hymba::cli {
namespace {

constexpr std::int64_t kLength = 1024;  // where the model does not say

// A word or a number above 0: `auto` is 0.
std::int64_t batch_of(const std::string& word) {
  if (word == "auto") return 0;
  const auto rows = parse_int(word, "--batch");
  require(rows > 0, "--batch {}: expected auto or a positive number", word);
  return rows;
}

// Counts what the tasks ask.
class CountingScorer : public eval::Scorer {
 public:
  explicit CountingScorer(eval::Scorer& scorer) : scorer_(scorer) {}
  std::vector<eval::LoglikelihoodResult> loglikelihood(std::span<const eval::LoglikelihoodRequest> requests) override {
    count += static_cast<std::int64_t>(requests.size());
    return scorer_.loglikelihood(requests);
  }
  std::vector<std::vector<std::int32_t>> generate(std::span<const eval::GenerateRequest> requests) override {
    count += static_cast<std::int64_t>(requests.size());
    return scorer_.generate(requests);
  }
  std::int64_t count = 0;

 private:
  eval::Scorer& scorer_;
};

struct TaskItems {
  eval::TaskDefinition definition;
  std::vector<eval::Item> items, shot_pool;
  std::int64_t records = 0;
};

std::vector<TaskItems> world_items(const LoadedModel& loaded, const EvalSettings& settings) {
  require(settings.data.empty(), "--data: this model knows the synthetic world's words alone and cannot read other text");
  const auto suites = eval::world_suite(world_of_spec(loaded.state.tokenizer), settings.limit > 0 ? static_cast<int>(settings.limit) : 500);
  std::vector<std::string> known = {"all", "general", "recall"}, wanted = split(settings.tasks, ',');
  for (const auto& suite : suites) known.push_back(suite.definition.name);
  for (const auto& word : wanted) {
    require(std::find(known.begin(), known.end(), word) != known.end(), "--tasks {}: no such task; there are: {}", word, join(known, ", "));
  }
  std::vector<TaskItems> tasks;
  for (const auto& suite : suites) {
    const auto is = [&](const std::string& word) { return word == "all" || word == suite.definition.suite || word == suite.definition.name; };
    if (std::any_of(wanted.begin(), wanted.end(), is))
      tasks.push_back({suite.definition, suite.items, {}, static_cast<std::int64_t>(suite.items.size())});
  }
  return tasks;
}

std::vector<TaskItems> real_items(const EvalSettings& settings) {
  require(!settings.data.empty(), "--data DIR: say where the tasks' files lie");
  const auto definitions = eval::load_task_definitions(home_folder() / "eval" / "tasks");
  std::vector<TaskItems> tasks;
  for (const auto* task : eval::select_tasks(definitions, settings.tasks)) {
    eval::LoadOptions load;
    load.limit = settings.limit;
    load.limit_groups = true;
    load.shots = settings.shots.value_or(task->shots) > 0;
    auto data = eval::load_task(*task, settings.data, load);
    tasks.push_back({*task, std::move(data.items), std::move(data.shot_pool), data.records});
  }
  return tasks;
}

}  // namespace

void add_eval_options(boost::program_options::options_description& o) {
  namespace po = boost::program_options;
  add_tokenizer_option(o);
  o.add_options()("tasks", po::value<std::string>()->default_value("all"),
                  "tasks or suites (general, recall, knowledge, retrieval, qa, math, lm, grammar, figure-2, figure-9, all), comma-separated")(
      "data", po::value<std::string>()->default_value(""), "folder with the tasks' files")(
      "limit", po::value<std::int64_t>()->default_value(0), "items of a task, of tasks in groups (mmlu, blimp) of each; 0: all")(
      "shots", po::value<int>()->default_value(0), "worked examples before an item, instead of the task's number")(
      "max-length", po::value<std::int64_t>()->default_value(0), "tokens the model reads at most; 0: what its config.json says, else 1024")(
      "batch", po::value<std::string>()->default_value("auto"), "texts of one pass, or auto: as many as the cache near the processor likes")(
      "bootstrap", po::value<int>()->default_value(1000), "draws for standard errors by resampling; 0: none");
}

EvalSettings eval_settings(const Invocation& invocation) {
  EvalSettings s;
  s.tasks = invocation.get<std::string>("tasks");
  s.data = invocation.get<std::string>("data");
  s.tokenizer = given_tokenizer(invocation);
  s.limit = invocation.whole("limit", 0, kMostItems);
  if (invocation.has("shots")) s.shots = invocation.get<int>("shots");
  require(s.shots.value_or(0) >= 0, "--shots {}: expected 0 or more", s.shots.value_or(0));
  s.max_length = invocation.get<std::int64_t>("max-length");
  require(s.max_length >= 0, "--max-length {}: expected a positive number, or 0 for the model's own", s.max_length);
  s.batch = batch_of(invocation.get<std::string>("batch"));
  s.bootstrap = invocation.get<int>("bootstrap");
  require(s.bootstrap >= 0 && s.bootstrap <= 1'000'000, "--bootstrap {}: expected 0 to 1000000", s.bootstrap);
  s.out = invocation.out;
  return s;
}

EvalRun evaluate(const LoadedModel& loaded, const std::string& path, const EvalSettings& settings) {
  EvalRun run;
  run.tokenizer = settings.tokenizer.empty() ? loaded.state.tokenizer : settings.tokenizer;
  const auto tokenizer = open_model_tokenizer(loaded, path, settings.tokenizer);
  require_text(*tokenizer, path);
  run.max_length = settings.max_length > 0 ? settings.max_length : loaded.state.extra.value("max_length", kLength);
  eval::ScorerOptions scoring;
  scoring.batch_rows = settings.batch;
  eval::ModelScorer model(*loaded.model, scoring);
  CountingScorer scorer(model);
  const bool world = settings.tokenizer.empty() && is_world_spec(loaded.state.tokenizer);
  for (auto& task : world ? world_items(loaded, settings) : real_items(settings)) {
    eval::RunOptions options;
    options.max_length = run.max_length;
    options.shots = settings.shots;
    options.shot_pool = task.shot_pool;
    options.bootstrap = settings.bootstrap;
    if (settings.log_samples) options.samples_file = settings.out / fmt::format("samples_{}.jsonl", task.definition.name);
    const Stopwatch watch;
    auto result = eval::run_task(task.definition, task.items, *tokenizer, scorer, options);
    run.seconds += watch.seconds();
    log_event("eval task={} items={} seconds={:.2f}", task.definition.name, task.items.size(), watch.seconds());
    const int shots = settings.shots.value_or(task.definition.shots);
    run.tasks.push_back({std::move(task.definition), std::move(result), task.records, shots});
  }
  run.requests = scorer.count;
  return run;
}

void write_results(const LoadedModel& loaded, const std::string& path, const EvalSettings& settings, const EvalRun& run) {
  if (settings.out.empty()) return;
  RecordWriter writer(settings.out / "records.jsonl");
  for (const auto& task : run.tasks) {
    for (const auto& [name, metric] : task.result.metrics) {
      auto r = record("eval", loaded.design, loaded.state.seed, loaded.state.config_hash);
      r.task = task.definition.name;
      r.metric = name;
      r.value = metric.value;
      r.error = metric.error ? metric.error : metric.bootstrap;
      r.unit = "1";
      r.n = metric.n;
      r.extra = {{"suite", task.definition.suite}, {"chance", task.result.chance}, {"shots", task.shots}};
      writer.write(r);
    }
  }
  eval::ResultsHeader header{path, run.tokenizer, commit(), host(), now_utc(), settings.limit, run.max_length,
                             loaded.model->parameters().count(), settings.bootstrap, run.seconds};
  write_file_atomic(settings.out / "results.json", eval::results_json(run.tasks, header).dump(2, ' ', false, nlohmann::json::error_handler_t::replace) + "\n");
}

}  // namespace hymba::cli
