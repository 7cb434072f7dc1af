// Results as lm-evaluation-harness writes them: its keys, so that scripts for its files read ours.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "eval/scoring.h"
#include "eval/task.h"

namespace hymba::eval {

struct ScoredTask {
  TaskDefinition definition;
  TaskResult result;
  std::int64_t records = 0;  // in the files; the items scored are the metrics' n
  int shots = 0;
};

struct ResultsHeader {
  std::string model, tokenizer, commit, host, time;
  std::int64_t limit = 0, max_length = 0, parameters = 0;
  int bootstrap = 0;
  double seconds = 0;
};

// Of accuracies; not of perplexities and bits a byte.
bool higher_is_better(const std::string& metric);

// {results, groups, group_subtasks, configs, versions, n-shot, higher_is_better, n-samples, config, ...}. A task with groups
// (mmlu, blimp) stands there as a group: results has TASK, TASK_CATEGORY and TASK_GROUP.
nlohmann::json results_json(const std::vector<ScoredTask>& tasks, const ResultsHeader& header);

}  // namespace hymba::eval
