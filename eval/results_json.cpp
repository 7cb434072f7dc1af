#include "eval/results_json.h"

namespace hymba::eval {
namespace {

using nlohmann::json;

// "acc" -> "acc,none"; "exact_match,strict-match" has its filter already.
std::string key_of(const std::string& metric, bool error) {
  const std::size_t comma = metric.find(',');
  return metric.substr(0, comma) + (error ? "_stderr" : "") + (comma == std::string::npos ? ",none" : metric.substr(comma));
}

// The harness has a resampled error where there is no formula, and "N/A" where it did not resample.
json error_of(const Metric& metric) {
  if (metric.error) return *metric.error;
  return metric.bootstrap ? json(*metric.bootstrap) : json("N/A");
}

void add_metric(json* entry, const std::string& name, const Metric& metric) {
  (*entry)[key_of(name, false)] = metric.value;
  (*entry)[key_of(name, true)] = error_of(metric);
  if (metric.bootstrap) (*entry)["bootstrap_" + key_of(name, true)] = *metric.bootstrap;
}

// What a task is, as its INI says.
json config_of(const ScoredTask& task) {
  const auto& d = task.definition;
  json metrics = json::array();
  for (const auto& [name, metric] : task.result.metrics)
    metrics.push_back({{"metric", name.substr(0, name.find(','))}, {"higher_is_better", higher_is_better(name)}});
  return {{"task", d.name}, {"description", d.title}, {"manner", d.manner}, {"output_type", task_kind_name(d.kind)},
          {"num_fewshot", task.shots}, {"target_delimiter", d.delimiter}, {"fewshot_delimiter", d.shot_delimiter},
          {"metric_list", metrics}, {"suite", d.suite}};
}

class Builder {
 public:
  void add(const ScoredTask& task) {
    const auto& name = task.definition.name;
    json entry = {{"alias", name}, {"chance", task.result.chance}};
    for (const auto& [metric, value] : task.result.metrics) add_metric(&entry, metric, value);
    all_["results"][name] = entry;
    all_["configs"][name] = config_of(task);
    all_["versions"][name] = 1;
    const auto scored = task.result.metrics.at(task.result.main_metric).n;
    describe(name, task, task.records, scored);
    if (task.result.groups.empty()) return;
    all_["groups"][name] = entry;
    all_["group_subtasks"][name] = json::array();
    for (const auto& [category, metric] : task.result.categories) {
      part(name + "_" + category, category, task, metric);
      all_["groups"][name + "_" + category] = all_["results"][name + "_" + category];
    }
    for (const auto& [group, metric] : task.result.groups) {
      part(name + "_" + group, group, task, metric);
      all_["group_subtasks"][name].push_back(name + "_" + group);
    }
  }
  json done() { return std::move(all_); }

 private:
  void part(const std::string& name, const std::string& alias, const ScoredTask& task, const Metric& metric) {
    json entry = {{"alias", alias}};
    add_metric(&entry, task.result.main_metric, metric);
    all_["results"][name] = entry;
    describe(name, task, metric.n, metric.n);
  }
  void describe(const std::string& name, const ScoredTask& task, std::int64_t records, std::int64_t scored) {
    all_["n-shot"][name] = task.shots;
    all_["n-samples"][name] = {{"original", records}, {"effective", scored}};
    for (const auto& [metric, value] : task.result.metrics)
      all_["higher_is_better"][name][metric.substr(0, metric.find(','))] = higher_is_better(metric);
  }

  json all_ = {{"results", json::object()}, {"group_subtasks", json::object()}, {"configs", json::object()}, {"versions", json::object()},
               {"n-shot", json::object()}, {"higher_is_better", json::object()}, {"n-samples", json::object()}};
};

}  // namespace

bool higher_is_better(const std::string& metric) {
  return metric.find("perplexity") == std::string::npos && metric != "bits_per_byte";
}

json results_json(const std::vector<ScoredTask>& tasks, const ResultsHeader& header) {
  Builder builder;
  for (const auto& task : tasks) builder.add(task);
  json all = builder.done();
  all["config"] = {{"model", "hymba"}, {"model_args", "pretrained=" + header.model}, {"model_num_parameters", header.parameters},
                   {"batch_size", "auto"}, {"device", "cpu"}, {"limit", header.limit > 0 ? json(header.limit) : json(nullptr)},
                   {"bootstrap_iters", header.bootstrap}, {"random_seed", 0}, {"fewshot_seed", 1234}};
  all["git_hash"] = header.commit;
  all["date"] = header.time;
  all["pretty_env_info"] = header.host;
  all["model_source"] = "hymba";
  all["model_name"] = header.model;
  all["tokenizer"] = header.tokenizer;
  all["max_length"] = header.max_length;
  all["total_evaluation_time_seconds"] = fmt::format("{:.3f}", header.seconds);
  return all;
}

}  // namespace hymba::eval
