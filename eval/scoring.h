// Scoring: the model's answers to a task's items as metrics with standard errors.
//
// multiple_choice, partial, minimal_pairs   acc: the most likely choice is the gold one (the first wins a tie);
//                                           acc_norm (multiple_choice): log-likelihood / Unicode characters of the choice
// multiple_true   acc: the right choices' share of the probability
// loglikelihood   acc: the answer is what greedy decoding gives; perplexity: exp(-mean log-likelihood of the answer)
// rolling         word_perplexity, byte_perplexity, bits_per_byte over words and bytes of the original text
// completion      contains: the generated text holds the answer or an alias, in any case of letters; exact_match,FILTER:
//                 what the filter takes out of it is the answer (eval/answers.h)
// Standard error of a mean of n scores: their standard deviation / sqrt(n), for 0/1 scores sqrt(m (1 - m) / (n - 1)); of perplexity: value * standard error of the
// mean log-likelihood (delta method; the harness would bootstrap); of the rolling metrics: none.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "data/tokenizer.h"
#include "eval/requests.h"
#include "eval/task.h"

namespace hymba::eval {

struct Metric {
  double value = 0;
  std::optional<double> error;  // standard error
  std::int64_t n = 0;
  std::optional<double> bootstrap = std::nullopt;  // standard error by resampling items, where asked for
};

struct RunOptions {
  std::int64_t max_length = 1024;
  std::optional<int> shots;                // absent: as the task says
  std::span<const Item> shot_pool = {};    // TaskData::shot_pool
  int bootstrap = 0;                       // draws for standard errors by resampling; 0: none
  std::filesystem::path samples_file;      // empty: samples are not written (they are in the result all the same)
};

struct TaskResult {
  std::string task;
  std::string main_metric;                 // key of `metrics` that a study reports
  std::map<std::string, Metric> metrics;
  double chance = 0;                       // of the main metric
  std::map<std::string, Metric> groups;    // the main metric of each group (subject, paradigm), where there are any
  std::map<std::string, Metric> categories;  // means over groups, as the task says
  nlohmann::json samples;                  // one object an item
};

// Asks `scorer` everything in one batch and scores the answers.
TaskResult run_task(const TaskDefinition& task, std::span<const Item> items, const Tokenizer& tokenizer, Scorer& scorer,
                    const RunOptions& options);

// Mean and standard error; no standard error for fewer than two.
Metric mean_of(std::span<const double> scores, int bootstrap = 0);
// Mean over groups, weighted by items or not.
Metric pooled(std::span<const Metric> groups, bool by_size);

}  // namespace hymba::eval
