#include "eval/item_scores.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "data/utf8.h"

namespace hymba::eval {
namespace {

using nlohmann::json;

std::size_t first_argmax(const std::vector<double>& values) {
  return static_cast<std::size_t>(std::max_element(values.begin(), values.end()) - values.begin());
}

// Share of the right choices in the probability of all, in the harness' way: of exp(log-likelihood).
double right_share(const std::vector<double>& logprobs, const std::vector<bool>& right) {
  const double top = *std::max_element(logprobs.begin(), logprobs.end());
  double all = 0, good = 0;
  for (std::size_t i = 0; i < logprobs.size(); ++i) {
    const double p = std::exp(logprobs[i] - top);
    all += p;
    if (right[i]) good += p;
  }
  return good / all;
}

// Ties go to the first choice, as numpy's argmax does. acc_norm divides by characters, not bytes or tokens, and without
// the delimiter in front.
void score_choices(const TaskDefinition& task, const Item& item, const std::vector<double>& logprobs, Collected* all, json* sample) {
  const auto keep = [&](const char* metric, double score) {
    all->scores[metric].push_back(score);
    (*sample)[metric] = score;
  };
  (*sample)["loglikelihoods"] = logprobs;
  if (task.kind == TaskKind::kMultipleTrue) {
    keep("acc", right_share(logprobs, item.right));
    return;
  }
  const auto gold = static_cast<std::size_t>(item.gold);
  (*sample)["gold"] = item.gold;
  keep("acc", first_argmax(logprobs) == gold ? 1.0 : 0.0);
  if (task.kind != TaskKind::kMultipleChoice) return;
  std::vector<double> normed;
  for (std::size_t i = 0; i < logprobs.size(); ++i)
    normed.push_back(logprobs[i] / static_cast<double>(std::max<std::size_t>(1, count_code_points(item.choices[i]))));
  keep("acc_norm", first_argmax(normed) == gold ? 1.0 : 0.0);
}

json number_or_text(std::size_t index, const std::string& id) {
  return id == std::to_string(index) ? json(index) : json(id);
}

}  // namespace

void score_loglikelihoods(const TaskDefinition& task, const Item& item, std::span<const LoglikelihoodResult> results,
                          Collected* all, json* sample) {
  std::vector<double> logprobs;
  for (const auto& result : results) {
    if (std::isnan(result.logprob)) fail("task {} item {}: the model gave no number (NaN) as log-likelihood", task.name, item.id);
    logprobs.push_back(result.logprob);
  }
  (*sample)["resps"] = json::array();
  for (const auto& result : results) (*sample)["resps"].push_back({{result.logprob, result.greedy}});
  if (task.kind == TaskKind::kLoglikelihood) {
    all->scores["acc"].push_back(results[0].greedy ? 1.0 : 0.0);
    all->answer_logprobs.push_back(logprobs[0]);
    (*sample)["answer"] = item.answer;
    (*sample)["loglikelihood"] = logprobs[0];
    (*sample)["acc"] = results[0].greedy ? 1.0 : 0.0;
  } else if (task.kind == TaskKind::kRolling) {
    RatioTerm text;
    for (const double logprob : logprobs) text.logprob += logprob;
    const std::string& original = item.original.empty() ? item.prompt : item.original;
    text.words = static_cast<double>(count_words(original));
    text.bytes = static_cast<double>(original.size());
    (*sample)["loglikelihood"] = text.logprob;
    (*sample)["words"] = text.words;
    (*sample)["bytes"] = text.bytes;
    all->texts.push_back(text);
  } else {
    score_choices(task, item, logprobs, all, sample);
  }
}

// The stop text may stand in the middle of the last token.
void score_completion(const TaskDefinition& task, const Item& item, const std::string& text, Collected* all, json* sample) {
  const std::string response = cut_at_stops(text, stops_of(task, item));
  std::vector<std::string> right = item.aliases;
  right.insert(right.begin(), item.answer);
  (*sample)["answer"] = item.answer;
  (*sample)["response"] = replace_utf8_errors(response);
  const auto keep = [&](const std::string& metric, bool good) {
    all->scores[metric].push_back(good ? 1.0 : 0.0);
    (*sample)[metric] = good ? 1.0 : 0.0;
  };
  if (task.rules.filters.empty()) keep("contains", contains_any(response, right));
  for (const auto& filter : task.rules.filters) {
    const std::string answer = filtered_answer(filter, replace_utf8_errors(response));
    (*sample)["filtered"][filter.name] = answer;
    keep("exact_match," + filter.name, exact_match(task.rules, answer, right));
  }
}

void describe_sample(const TaskDefinition& task, const Item& item, std::size_t index, Shots shots, json* sample) {
  const bool has_choices = !item.choices.empty();
  json arguments = json::array();
  if (task.kind == TaskKind::kRolling) {
    arguments.push_back({item.prompt});
  } else {
    const auto contexts = contexts_with_shots(task, item, shots);
    const std::size_t n = std::max(contexts.size(), std::max<std::size_t>(1, item.choices.size()));
    for (std::size_t i = 0; i < n; ++i) {
      const std::string& context = contexts[contexts.size() == 1 ? 0 : i];
      if (task.kind == TaskKind::kCompletion) {
        arguments.push_back({context, {{"until", stops_of(task, item)}, {"do_sample", false},
                                       {"max_gen_toks", item.max_new_tokens > 0 ? item.max_new_tokens : task.max_new_tokens}}});
      } else {
        arguments.push_back({context, task.delimiter + (has_choices ? item.choices[item.choices.size() == 1 ? 0 : i] : item.answer)});
      }
    }
  }
  json target = item.gold;
  if (!has_choices) target = task.kind == TaskKind::kRolling ? item.original : item.answer;
  sample->update({{"doc_id", number_or_text(index, item.id)}, {"doc", item.doc}, {"target", target}, {"arguments", arguments}});
}

}  // namespace hymba::eval
