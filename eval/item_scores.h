// One item's scores from the model's answers. See eval/scoring.h for the rules.
#pragma once

#include <map>
#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <vector>

#include "eval/requests.h"
#include "eval/task.h"

namespace hymba::eval {

// A sum over items divided by another: minus the log-likelihood of a text over its words or bytes.
struct RatioTerm {
  double logprob = 0, words = 0, bytes = 0;
};

// Scores of all items, in item order.
struct Collected {
  std::map<std::string, std::vector<double>> scores;  // by metric; means are reported
  std::vector<double> answer_logprobs;                // loglikelihood: a perplexity
  std::vector<RatioTerm> texts;                       // rolling
};

void score_loglikelihoods(const TaskDefinition& task, const Item& item, std::span<const LoglikelihoodResult> results,
                          Collected* all, nlohmann::json* sample);
void score_completion(const TaskDefinition& task, const Item& item, const std::string& text, Collected* all,
                      nlohmann::json* sample);

// What the harness' sample files say besides: document, target, requests and responses.
void describe_sample(const TaskDefinition& task, const Item& item, std::size_t index, Shots shots, nlohmann::json* sample);

}  // namespace hymba::eval
