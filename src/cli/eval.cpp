// hymba eval: a trained model on the world's tasks or on real ones.
#include <algorithm>

#include "base/error.h"
#include "base/files.h"
#include "base/log.h"
#include "base/text.h"
#include "cli/context.h"
#include "eval/model_scorer.h"
#include "eval/world_suite.h"
#include "reports/table.h"

namespace hymba::cli {
namespace {

struct Job {
  std::string name, suite;
  eval::TaskResult result;
};

void print(const Invocation& invocation, const std::vector<Job>& jobs) {
  reports::Table table({{"task", reports::Align::kLeft}, {"metric", reports::Align::kLeft}, {"value"}, {"stderr"}, {"n"}, {"chance"}});
  for (const auto& job : jobs) {
    for (const auto& [name, metric] : job.result.metrics) {
      const nlohmann::json error = metric.error ? nlohmann::json(*metric.error) : nlohmann::json(nullptr);
      const bool is_main = name == job.result.main_metric;
      if (invocation.json) {
        print_json({{"task", job.name}, {"suite", job.suite}, {"metric", name}, {"value", metric.value}, {"stderr", error}, {"n", metric.n},
                    {"chance", is_main ? nlohmann::json(job.result.chance) : nlohmann::json(nullptr)}});
      }
      table.add_row({{job.name}, {name}, {fmt::format("{:.4f}", metric.value)}, {metric.error ? fmt::format("{:.4f}", *metric.error) : "-"},
                     {std::to_string(metric.n)}, {is_main ? fmt::format("{:.3f}", job.result.chance) : "-"}});
    }
  }
  if (!invocation.json) print_text(table.to_terminal({terminal_width(), use_colour()}));
}

void run_eval_command(const Invocation& invocation) {
  const auto loaded = load_model(invocation.arguments[0]);
  const auto spec = invocation.has("tokenizer") ? invocation.get<std::string>("tokenizer") : loaded.state.tokenizer;
  require(!spec.empty(), "{}: no tokenizer in this folder; give one by --tokenizer FILE", invocation.arguments[0]);
  const auto tokenizer = open_model_tokenizer(spec);
  require_tokenizer_fits(loaded, tokenizer->vocab_size(), spec, invocation.arguments[0]);
  const auto limit = invocation.get<std::int64_t>("limit");
  require(limit >= 0, "--limit {}: expected 0 (all) or more", limit);
  eval::ModelScorer scorer(*loaded.model);
  eval::RunOptions options;
  options.max_length = invocation.get<std::int64_t>("max-length");
  require(options.max_length > 0, "--max-length {}: expected a positive number", options.max_length);
  if (invocation.has("shots")) options.shots = invocation.get<int>("shots");
  const std::filesystem::path out = invocation.out;
  const bool log_samples = invocation.values.count("log-samples") != 0;
  require(!log_samples || !out.empty(), "--log-samples needs --out DIR for the samples");
  const auto words = invocation.get<std::string>("tasks");
  std::vector<Job> jobs;
  const auto score = [&](const eval::TaskDefinition& task, std::span<const eval::Item> items) {
    log_event("eval task={} items={}", task.name, items.size());
    if (log_samples) options.samples_file = out / fmt::format("samples_{}.jsonl", task.name);
    jobs.push_back({task.name, task.suite, eval::run_task(task, items, *tokenizer, scorer, options)});
  };
  if (is_world_spec(loaded.state.tokenizer)) {
    require(!invocation.has("data"), "--data: this model knows the synthetic world's words alone and cannot read other text");
    const auto suites = eval::world_suite(world_of_spec(loaded.state.tokenizer), limit > 0 ? static_cast<int>(limit) : 500);
    std::vector<std::string> known = {"all", "general", "recall"}, wanted = split(words, ',');
    for (const auto& suite : suites) known.push_back(suite.definition.name);
    for (const auto& word : wanted) {
      require(std::find(known.begin(), known.end(), word) != known.end(), "--tasks {}: no such task; there are: {}", word, join(known, ", "));
    }
    for (const auto& suite : suites) {
      const auto is = [&](const std::string& word) { return word == "all" || word == suite.definition.suite || word == suite.definition.name; };
      if (std::any_of(wanted.begin(), wanted.end(), is)) score(suite.definition, suite.items);
    }
  } else {
    require(invocation.has("data"), "--data DIR: say where the tasks' files lie");
    const auto definitions = eval::load_task_definitions(home_folder() / "eval" / "tasks");
    for (const auto* task : eval::select_tasks(definitions, words)) {
      eval::LoadOptions load;
      load.limit = limit;
      const auto data = eval::load_task(*task, invocation.get<std::string>("data"), load);
      options.shot_pool = data.shot_pool;
      score(*task, data.items);
    }
  }
  if (!out.empty()) {
    RecordWriter writer(out / "records.jsonl");
    for (const auto& job : jobs) {
      for (const auto& [name, metric] : job.result.metrics) {
        auto r = record("eval", loaded.design, loaded.state.seed, loaded.state.config_hash);
        r.task = job.name;
        r.metric = name;
        r.value = metric.value;
        r.error = metric.error;
        r.unit = "1";
        r.n = metric.n;
        r.extra = {{"suite", job.suite}, {"chance", job.result.chance}};
        writer.write(r);
      }
    }
  }
  print(invocation, jobs);
}

}  // namespace

Command eval_command() {
  Command c;
  c.name = "eval";
  c.summary = "scores a trained model on the world's ten tasks, or on real ones";
  c.arguments = "MODEL";
  c.example = "  hymba eval runs/row9 --tasks recall\n  hymba eval runs/text --tasks arc_easy,piqa,blimp --data ../shared/data --limit 200";
  c.min_arguments = 1;
  c.max_arguments = 1;
  c.options = [](boost::program_options::options_description& o) {
    namespace po = boost::program_options;
    o.add_options()("tasks", po::value<std::string>()->default_value("all"), "tasks or suites (general, recall, lm, grammar, all), comma-separated")(
        "data", po::value<std::string>()->default_value(""), "folder with the tasks' files")(
        "tokenizer", po::value<std::string>()->default_value(""), "instead of the model's own")(
        "limit", po::value<std::int64_t>()->default_value(0), "items of a task; 0: all")("shots", po::value<int>()->default_value(0), "worked examples before an item")(
        "max-length", po::value<std::int64_t>()->default_value(1024), "tokens the model reads at most")("log-samples", "write samples_TASK.jsonl into --out");
  };
  c.run = run_eval_command;
  return c;
}

}  // namespace hymba::cli
