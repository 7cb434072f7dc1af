#include "eval/scoring.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "base/files.h"
#include "eval/bootstrap.h"
#include "eval/item_scores.h"
#include "eval/shots.h"

namespace hymba::eval {

namespace {

using nlohmann::json;

// Mean and spread of log-likelihoods as a perplexity.
Metric perplexity_of(std::span<const double> logprobs, int repeats) {
  const auto n = static_cast<double>(logprobs.size());
  Metric metric{std::exp(-mean(logprobs)), std::nullopt, static_cast<std::int64_t>(logprobs.size()), std::nullopt};
  if (n > 1) metric.error = metric.value * standard_deviation(logprobs) / std::sqrt(n);
  if (n > 1 && repeats > 0) {
    metric.bootstrap = standard_deviation(bootstrap(logprobs.size(), repeats, [&](std::span<const std::size_t> items) {
      double sum = 0;
      for (const auto i : items) sum += logprobs[i];
      return std::exp(-sum / n);
    }));
  }
  return metric;
}

// exp or bits of the log-likelihood a word or byte.
Metric ratio_of(const std::vector<RatioTerm>& texts, double RatioTerm::*unit, bool bits, int repeats) {
  const auto value = [&](const RatioTerm& sum) { return bits ? -sum.logprob / (sum.*unit * std::log(2.0)) : std::exp(-sum.logprob / (sum.*unit)); };
  const auto add = [&](RatioTerm* sum, const RatioTerm& text) {
    sum->logprob += text.logprob;
    sum->*unit += text.*unit;
  };
  RatioTerm all;
  for (const auto& text : texts) add(&all, text);
  Metric metric{value(all), std::nullopt, static_cast<std::int64_t>(texts.size()), std::nullopt};
  if (texts.size() > 1 && repeats > 0) {
    metric.bootstrap = standard_deviation(bootstrap(texts.size(), repeats, [&](std::span<const std::size_t> items) {
      RatioTerm sum;
      for (const auto i : items) add(&sum, texts[i]);
      return value(sum);
    }));
  }
  return metric;
}

std::string default_metric(const TaskDefinition& task) {
  if (task.kind == TaskKind::kRolling) return "word_perplexity";
  if (!task.rules.filters.empty()) return "exact_match," + task.rules.filters[0].name;
  return task.kind == TaskKind::kCompletion ? "contains" : "acc";
}

// Guessing among the choices, item by item: ARC has three to five.
double chance_of(const TaskDefinition& task, std::span<const Item> items) {
  if (task.chance.has_value()) return *task.chance;
  const bool chooses = task.kind == TaskKind::kMultipleChoice || task.kind == TaskKind::kMultipleTrue ||
                       task.kind == TaskKind::kPartial || task.kind == TaskKind::kMinimalPairs;
  if (!chooses || items.empty()) return 0;
  double sum = 0;
  for (const auto& item : items) {
    if (task.kind == TaskKind::kMultipleTrue) {  // equal probabilities
      sum += static_cast<double>(std::count(item.right.begin(), item.right.end(), true)) / static_cast<double>(item.choices.size());
      continue;
    }
    sum += 1.0 / static_cast<double>(task.kind == TaskKind::kPartial ? item.contexts.size() : item.choices.size());
  }
  return sum / static_cast<double>(items.size());
}

using AllShots = std::vector<std::vector<const Item*>>;

// All requests go to the scorer at once, so that it can sort them by length and batch them.
void ask_loglikelihoods(const TaskDefinition& task, std::span<const Item> items, const Tokenizer& tokenizer,
                        Scorer& scorer, const RunOptions& options, const AllShots& shots, Collected* all, json* samples) {
  std::vector<LoglikelihoodRequest> requests;
  std::vector<std::size_t> counts;
  for (std::size_t i = 0; i < items.size(); ++i) {
    auto of_item = loglikelihood_requests(task, items[i], tokenizer, options.max_length, shots[i]);
    counts.push_back(of_item.size());
    std::move(of_item.begin(), of_item.end(), std::back_inserter(requests));
  }
  const auto results = scorer.loglikelihood(requests);
  if (results.size() != requests.size()) fail("scorer: {} results for {} requests", results.size(), requests.size());
  std::size_t at = 0;
  for (std::size_t i = 0; i < items.size(); ++i) {
    score_loglikelihoods(task, items[i], std::span(results).subspan(at, counts[i]), all, &(*samples)[i]);
    at += counts[i];
  }
}

void ask_completions(const TaskDefinition& task, std::span<const Item> items, const Tokenizer& tokenizer, Scorer& scorer,
                     const RunOptions& options, const AllShots& shots, Collected* all, json* samples) {
  std::vector<GenerateRequest> requests;
  for (std::size_t i = 0; i < items.size(); ++i) {
    Item asked = items[i];
    asked.prompt = contexts_with_shots(task, items[i], shots[i])[0];
    requests.push_back(generate_request(task, asked, tokenizer, options.max_length));
  }
  const auto answers = scorer.generate(requests);
  if (answers.size() != requests.size()) fail("scorer: {} answers for {} requests", answers.size(), requests.size());
  for (std::size_t i = 0; i < items.size(); ++i) {
    score_completion(task, items[i], tokenizer.decode(answers[i]), all, &(*samples)[i]);
  }
}

// The main metric by subject or paradigm, and means over those; perplexities have no groups.
void add_groups(const TaskDefinition& task, const Collected& all, std::span<const Item> items, TaskResult* result) {
  const auto it = all.scores.find(result->main_metric);
  if (it == all.scores.end()) return;
  std::map<std::string, std::vector<double>> by_group;
  for (std::size_t i = 0; i < it->second.size(); ++i) {
    if (!items[i].group.empty()) by_group[items[i].group].push_back(it->second[i]);
  }
  std::vector<Metric> everything;
  for (const auto& [group, scores] : by_group) {
    result->groups[group] = mean_of(scores);
    everything.push_back(result->groups[group]);
  }
  if (!everything.empty()) {
    const auto bootstrap = result->metrics[result->main_metric].bootstrap;
    result->metrics[result->main_metric] = pooled(everything, task.by_size);
    result->metrics[result->main_metric].bootstrap = bootstrap;
  }
  for (const auto& [category, groups] : task.categories) {
    std::vector<Metric> some;
    for (const auto& group : groups) {
      if (result->groups.contains(group)) some.push_back(result->groups[group]);
    }
    if (!some.empty()) result->categories[category] = pooled(some, task.by_size);
  }
}

void write_samples(const TaskDefinition& task, std::span<const Item> items, const AllShots& shots, const RunOptions& options,
                   const TaskResult& result) {
  std::string lines;
  for (std::size_t i = 0; i < items.size(); ++i) {
    json sample = result.samples[i];
    describe_sample(task, items[i], i, shots[i], &sample);
    sample["metrics"] = json::array();
    for (const auto& [name, metric] : result.metrics) sample["metrics"].push_back(name);
    lines += sample.dump(-1, ' ', false, json::error_handler_t::replace) + "\n";
  }
  write_file_atomic(options.samples_file, lines);
}

}  // namespace

Metric mean_of(std::span<const double> scores, int repeats) {
  const auto n = static_cast<double>(scores.size());
  Metric metric{mean(scores), std::nullopt, static_cast<std::int64_t>(scores.size()), std::nullopt};
  if (n > 1) metric.error = standard_deviation(scores) / std::sqrt(n);
  if (n > 1 && repeats > 0) {
    metric.bootstrap = standard_deviation(bootstrap(scores.size(), repeats, [&](std::span<const std::size_t> items) {
      double sum = 0;
      for (const auto i : items) sum += scores[i];
      return sum / n;
    }));
  }
  return metric;
}

// The harness' pooled_sample_stderr, by items: the variance around the groups' means over all items; else its
// unweighted_mean_stderr.
Metric pooled(std::span<const Metric> groups, bool by_size) {
  Metric metric;
  double items = 0, variance = 0, weights = 0, squares = 0;
  for (const auto& group : groups) {
    const auto n = static_cast<double>(group.n);
    const double weight = by_size ? n : 1;
    metric.value += weight * group.value;
    weights += weight;
    items += n;
    metric.n += group.n;
    if (group.error) variance += (n - 1) * *group.error * *group.error * n;
    if (group.error) squares += *group.error * *group.error;
  }
  const double freedom = items - static_cast<double>(groups.size());
  metric.value /= weights;
  if (freedom > 0) metric.error = by_size ? std::sqrt(variance / freedom / items) : std::sqrt(squares) / weights;
  return metric;
}

TaskResult run_task(const TaskDefinition& task, std::span<const Item> items, const Tokenizer& tokenizer, Scorer& scorer,
                    const RunOptions& options) {
  require(!items.empty(), "task {}: expected at least one item, found none", task.name);
  TaskResult result;
  result.task = task.name;
  result.main_metric = task.metric.empty() ? default_metric(task) : task.metric;
  result.samples = json::array();
  Collected all;
  for (const auto& item : items) {
    json sample = {{"id", item.id}};
    if (!item.group.empty()) sample["group"] = item.group;
    result.samples.push_back(std::move(sample));
  }
  const auto shots = choose_shots(task, items, options.shot_pool, options.shots.value_or(task.shots));
  if (task.kind == TaskKind::kCompletion) {
    ask_completions(task, items, tokenizer, scorer, options, shots, &all, &result.samples);
  } else {
    ask_loglikelihoods(task, items, tokenizer, scorer, options, shots, &all, &result.samples);
  }
  for (const auto& [name, scores] : all.scores) result.metrics[name] = mean_of(scores, options.bootstrap);
  if (!all.answer_logprobs.empty()) result.metrics["perplexity"] = perplexity_of(all.answer_logprobs, options.bootstrap);
  if (task.kind == TaskKind::kRolling) {
    const bool text = std::any_of(all.texts.begin(), all.texts.end(), [](const RatioTerm& t) { return t.bytes > 0; });
    require(text, "task {}: expected text, found none", task.name);
    result.metrics["word_perplexity"] = ratio_of(all.texts, &RatioTerm::words, false, options.bootstrap);
    result.metrics["byte_perplexity"] = ratio_of(all.texts, &RatioTerm::bytes, false, options.bootstrap);
    result.metrics["bits_per_byte"] = ratio_of(all.texts, &RatioTerm::bytes, true, options.bootstrap);
  }
  require(result.metrics.contains(result.main_metric), "task {}: expected one of the metrics of the kind {}, found "
          "'metric = {}'", task.name, task_kind_name(task.kind), result.main_metric);
  result.chance = chance_of(task, items);
  add_groups(task, all, items, &result);
  if (!options.samples_file.empty()) write_samples(task, items, shots, options, result);
  return result;
}

}  // namespace hymba::eval
