// Scoring one model on tasks: what `eval` and `compare` have in common.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "cli/context.h"
#include "eval/results_json.h"

namespace hymba::cli {

struct EvalSettings {
  std::string tasks = "all", data, tokenizer;
  std::int64_t limit = 0;       // items of a task; 0: all
  std::optional<int> shots;     // absent: as the task says
  std::int64_t max_length = 0;  // 0: the model's own, else 1024
  std::int64_t batch = 0;       // texts of a pass; 0: by memory
  int bootstrap = 1000;
  bool log_samples = false;
  std::filesystem::path out;    // for samples
};

// Options --tasks, --data ... of a command, and their values.
void add_eval_options(boost::program_options::options_description& options);
EvalSettings eval_settings(const Invocation& invocation);

struct EvalRun {
  std::vector<eval::ScoredTask> tasks;
  std::string tokenizer;
  std::int64_t max_length = 0, requests = 0;
  double seconds = 0;  // of scoring, without loading
};
EvalRun evaluate(const LoadedModel& loaded, const std::string& path, const EvalSettings& settings);

// results.json and records.jsonl in settings.out, and the samples where asked for.
void write_results(const LoadedModel& loaded, const std::string& path, const EvalSettings& settings, const EvalRun& run);

}  // namespace hymba::cli
