#include "eval/scoring.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "base/files.h"
#include "data/utf8.h"

namespace hymba::eval {

namespace {

using nlohmann::json;

// 0/1 scores by metric, in item order.
using Scores = std::map<std::string, std::vector<double>>;

struct Collected {
  Scores scores;
  std::vector<std::string> groups;         // of each item
  std::vector<double> answer_logprobs;     // loglikelihood
  double logprob = 0, words = 0, bytes = 0;  // rolling
};

std::size_t first_argmax(const std::vector<double>& values) {
  return static_cast<std::size_t>(std::max_element(values.begin(), values.end()) - values.begin());
}

// Ties go to the first choice, as numpy's argmax does. acc_norm divides by characters, not bytes or tokens, and without
// the delimiter in front.
void score_choices(const TaskDefinition& task, const Item& item, std::span<const LoglikelihoodResult> results,
                   Collected* all, json* sample) {
  const auto gold = static_cast<std::size_t>(item.gold);
  std::vector<double> logprobs, normed;
  for (std::size_t i = 0; i < results.size(); ++i) {
    logprobs.push_back(results[i].logprob);
    const std::string& choice = item.choices[task.kind == TaskKind::kPartial ? 0 : i];
    normed.push_back(results[i].logprob / static_cast<double>(std::max<std::size_t>(1, count_code_points(choice))));
  }
  const double acc = first_argmax(logprobs) == gold ? 1.0 : 0.0;
  all->scores["acc"].push_back(acc);
  (*sample)["gold"] = item.gold;
  (*sample)["loglikelihoods"] = logprobs;
  (*sample)["acc"] = acc;
  if (task.kind != TaskKind::kMultipleChoice) return;
  const double acc_norm = first_argmax(normed) == gold ? 1.0 : 0.0;
  all->scores["acc_norm"].push_back(acc_norm);
  (*sample)["acc_norm"] = acc_norm;
}

void score_loglikelihood(const TaskDefinition& task, const Item& item, std::span<const LoglikelihoodResult> results,
                         Collected* all, json* sample) {
  if (task.kind == TaskKind::kLoglikelihood) {
    const auto& result = results[0];
    all->scores["acc"].push_back(result.greedy ? 1.0 : 0.0);
    all->answer_logprobs.push_back(result.logprob);
    (*sample)["answer"] = item.answer;
    (*sample)["loglikelihood"] = result.logprob;
    (*sample)["acc"] = result.greedy ? 1.0 : 0.0;
  } else if (task.kind == TaskKind::kRolling) {
    double sum = 0;
    for (const auto& result : results) sum += result.logprob;
    const std::string& original = item.original.empty() ? item.prompt : item.original;
    const auto words = static_cast<double>(count_words(original));
    const auto bytes = static_cast<double>(original.size());
    all->logprob += sum;
    all->words += words;
    all->bytes += bytes;
    (*sample)["loglikelihood"] = sum;
    (*sample)["words"] = words;
    (*sample)["bytes"] = bytes;
  } else {
    score_choices(task, item, results, all, sample);
  }
}

// The response is cut at the stop text, which may stand in the middle of the last token.
void score_completion(const TaskDefinition& task, const Item& item, std::string response, Collected* all, json* sample) {
  const std::string& until = item.until.empty() ? task.until : item.until;
  if (!until.empty()) response = response.substr(0, response.find(until));
  const std::string text = to_lower(response);
  auto holds = [&text](const std::string& answer) {
    const std::string wanted = to_lower(strip(answer));
    return !wanted.empty() && text.find(wanted) != std::string::npos;
  };
  const bool right = holds(item.answer) || std::any_of(item.aliases.begin(), item.aliases.end(), holds);
  all->scores["contains"].push_back(right ? 1.0 : 0.0);
  (*sample)["answer"] = item.answer;
  (*sample)["response"] = replace_utf8_errors(response);
  (*sample)["contains"] = right ? 1.0 : 0.0;
}

// Mean and spread of log-likelihoods as a perplexity.
Metric perplexity_of(std::span<const double> logprobs) {
  const auto n = static_cast<double>(logprobs.size());
  double mean = 0, squares = 0;
  for (const double x : logprobs) mean += x / n;
  for (const double x : logprobs) squares += (x - mean) * (x - mean);
  Metric metric{std::exp(-mean), std::nullopt, static_cast<std::int64_t>(logprobs.size())};
  if (n > 1) metric.error = metric.value * std::sqrt(squares / (n - 1) / n);
  return metric;
}

std::string default_metric(TaskKind kind) {
  if (kind == TaskKind::kRolling) return "word_perplexity";
  return kind == TaskKind::kCompletion ? "contains" : "acc";
}

// Guessing among the choices, item by item: ARC has three to five.
double chance_of(const TaskDefinition& task, std::span<const Item> items) {
  if (task.chance.has_value()) return *task.chance;
  const bool chooses = task.kind == TaskKind::kMultipleChoice || task.kind == TaskKind::kPartial ||
                       task.kind == TaskKind::kMinimalPairs;
  if (!chooses || items.empty()) return 0;
  double sum = 0;
  for (const auto& item : items) {
    sum += 1.0 / static_cast<double>(task.kind == TaskKind::kPartial ? item.contexts.size() : item.choices.size());
  }
  return sum / static_cast<double>(items.size());
}

// All requests go to the scorer at once, so that it can sort them by length and batch them.
void ask_loglikelihoods(const TaskDefinition& task, std::span<const Item> items, const Tokenizer& tokenizer,
                        Scorer& scorer, const RunOptions& options, Collected* all, json* samples) {
  std::vector<LoglikelihoodRequest> requests;
  std::vector<std::size_t> counts;
  for (const auto& item : items) {
    auto of_item = loglikelihood_requests(task, item, tokenizer, options.max_length, options.shot_pool,
                                          options.shots.value_or(task.shots));
    counts.push_back(of_item.size());
    std::move(of_item.begin(), of_item.end(), std::back_inserter(requests));
  }
  const auto results = scorer.loglikelihood(requests);
  if (results.size() != requests.size()) fail("scorer: {} results for {} requests", results.size(), requests.size());
  std::size_t at = 0;
  for (std::size_t i = 0; i < items.size(); ++i) {
    const auto of_item = std::span(results).subspan(at, counts[i]);
    for (const auto& result : of_item) {
      if (std::isnan(result.logprob)) {
        fail("task {} item {}: the model gave no number (NaN) as log-likelihood", task.name, items[i].id);
      }
    }
    score_loglikelihood(task, items[i], of_item, all, &(*samples)[i]);
    at += counts[i];
  }
}

void ask_completions(const TaskDefinition& task, std::span<const Item> items, const Tokenizer& tokenizer, Scorer& scorer,
                     const RunOptions& options, Collected* all, json* samples) {
  const int shots = options.shots.value_or(task.shots);
  std::vector<GenerateRequest> requests;
  for (const auto& item : items) {
    Item asked = item;
    asked.prompt = contexts_with_shots(task, item, options.shot_pool, shots)[0];
    requests.push_back(generate_request(task, asked, tokenizer, options.max_length));
  }
  const auto answers = scorer.generate(requests);
  if (answers.size() != requests.size()) fail("scorer: {} answers for {} requests", answers.size(), requests.size());
  for (std::size_t i = 0; i < items.size(); ++i) {
    score_completion(task, items[i], tokenizer.decode(answers[i]), all, &(*samples)[i]);
  }
}

// The main metric by subject or paradigm; perplexities have no groups.
void add_groups(const Collected& all, TaskResult* result) {
  const auto it = all.scores.find(result->main_metric);
  if (it == all.scores.end()) return;
  std::map<std::string, std::vector<double>> by_group;
  for (std::size_t i = 0; i < it->second.size(); ++i) {
    if (!all.groups[i].empty()) by_group[all.groups[i]].push_back(it->second[i]);
  }
  for (const auto& [group, scores] : by_group) result->groups[group] = mean_of(scores);
}

}  // namespace

Metric mean_of(std::span<const double> scores) {
  const auto n = static_cast<double>(scores.size());
  double sum = 0;
  for (const double score : scores) sum += score;
  Metric metric{n > 0 ? sum / n : 0.0, std::nullopt, static_cast<std::int64_t>(scores.size())};
  if (n > 1) metric.error = std::sqrt(metric.value * (1 - metric.value) / (n - 1));
  return metric;
}

TaskResult run_task(const TaskDefinition& task, std::span<const Item> items, const Tokenizer& tokenizer, Scorer& scorer,
                    const RunOptions& options) {
  require(!items.empty(), "task {}: expected at least one item, found none", task.name);
  TaskResult result;
  result.task = task.name;
  result.main_metric = task.metric.empty() ? default_metric(task.kind) : task.metric;
  result.samples = json::array();
  Collected all;
  for (const auto& item : items) {
    json sample = {{"id", item.id}};
    if (!item.group.empty()) sample["group"] = item.group;
    result.samples.push_back(std::move(sample));
    all.groups.push_back(item.group);
  }
  if (task.kind == TaskKind::kCompletion) {
    ask_completions(task, items, tokenizer, scorer, options, &all, &result.samples);
  } else {
    ask_loglikelihoods(task, items, tokenizer, scorer, options, &all, &result.samples);
  }
  for (const auto& [name, scores] : all.scores) result.metrics[name] = mean_of(scores);
  if (!all.answer_logprobs.empty()) result.metrics["perplexity"] = perplexity_of(all.answer_logprobs);
  if (task.kind == TaskKind::kRolling) {
    const auto n = static_cast<std::int64_t>(items.size());
    require(all.bytes > 0, "task {}: expected text, found none", task.name);
    result.metrics["word_perplexity"] = {std::exp(-all.logprob / all.words), std::nullopt, n};
    result.metrics["byte_perplexity"] = {std::exp(-all.logprob / all.bytes), std::nullopt, n};
    result.metrics["bits_per_byte"] = {-all.logprob / (all.bytes * std::log(2.0)), std::nullopt, n};
  }
  require(result.metrics.contains(result.main_metric), "task {}: expected one of the metrics of the kind {}, found "
          "'metric = {}'", task.name, task_kind_name(task.kind), result.main_metric);
  result.chance = chance_of(task, items);
  add_groups(all, &result);
  if (!options.samples_file.empty()) {
    std::string lines;
    for (const auto& sample : result.samples) lines += sample.dump() + "\n";
    write_file_atomic(options.samples_file, lines);
  }
  return result;
}

}  // namespace hymba::eval
