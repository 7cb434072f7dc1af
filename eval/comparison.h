// Two models on the same items: differences pair by pair, with intervals and p values.
#pragma once

#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace hymba::eval {

struct Comparison {
  std::string task, metric;
  std::int64_t n = 0;
  double a = 0, b = 0;            // the two values
  double difference = 0;          // b - a
  double error = 0;               // standard error of the difference, by formula
  double low = 0, high = 0;       // 95 % interval: difference +- t * error
  double p = 1;                   // two-sided, paired t test
  double bootstrap_error = 0, bootstrap_low = 0, bootstrap_high = 0, bootstrap_p = 1;  // items drawn with replacement
  std::int64_t a_only = -1, b_only = -1;  // 0/1 scores: items that only one of the two has right; -1: other scores
};

// Samples of one task by item, as run_task gives them or samples_TASK.jsonl has them. Compared are acc, acc_norm, contains,
// exact_match,FILTER, perplexity (of log-likelihoods) and bits_per_byte, as far as both have them.
// UserError naming the task for samples of other items.
std::vector<Comparison> compare_samples(const std::string& task, const nlohmann::json& a, const nlohmann::json& b, int bootstrap);

// Mean over tasks of what is compared, tasks weighted alike and taken as independent.
Comparison average(const std::string& name, const std::vector<Comparison>& tasks);

// {task: samples} of all samples_*.jsonl in a folder; also files that the harness wrote (samples_TASK_DATE.jsonl). UserError
// "file:line" for a broken line, and for a folder without samples.
std::map<std::string, nlohmann::json> read_samples(const std::filesystem::path& folder);

}  // namespace hymba::eval
