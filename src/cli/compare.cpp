// hymba compare: two models on the same items, difference by difference.
#include <map>

#include "base/error.h"
#include "base/text.h"
#include "cli/eval_run.h"
#include "cli/study_commands.h"
#include "eval/comparison.h"
#include "reports/table.h"

namespace hymba::cli {
namespace {

using nlohmann::json;
using Samples = std::map<std::string, json>;

// Samples of a folder that `eval --log-samples` wrote, or of a model that is scored now.
struct Side {
  Samples samples;
  std::map<std::string, std::string> main_metric, suite;  // by task, where it was scored now
};

bool has_samples(const std::string& path) { return model_kind(path) == ModelKind::kNone && std::filesystem::is_directory(path); }

// A slip in the second argument must not cost the time that the first one takes.
void check_side(const std::string& path) {
  if (has_samples(path)) {
    eval::read_samples(path);
  } else {
    read_model_design(path);
  }
}

Side open_side(const std::string& path, const EvalSettings& settings) {
  Side side;
  if (has_samples(path)) {
    side.samples = eval::read_samples(path);
    if (settings.tasks == "all") return side;
    std::map<std::string, json> wanted;
    for (const auto& task : split(settings.tasks, ',')) {
      require(side.samples.contains(task), "{}: no samples_{}.jsonl here", path, task);
      wanted[task] = side.samples.at(task);
    }
    side.samples = std::move(wanted);
    return side;
  }
  const auto loaded = load_model(path);
  auto run = evaluate(loaded, path, settings);
  for (auto& task : run.tasks) {
    side.main_metric[task.definition.name] = task.result.main_metric;
    side.suite[task.definition.name] = task.definition.suite;
    side.samples[task.definition.name] = std::move(task.result.samples);
  }
  return side;
}

std::string p_text(double p) { return p < 0.0001 ? "<0.0001" : fmt::format("{:.4f}", p); }

void print(const Invocation& invocation, const std::vector<eval::Comparison>& all) {
  if (invocation.json) {
    for (const auto& c : all) {
      print_json({{"task", c.task}, {"metric", c.metric}, {"n", c.n}, {"a", c.a}, {"b", c.b}, {"difference", c.difference}, {"stderr", c.error},
                  {"ci_low", c.low}, {"ci_high", c.high}, {"p", c.p}, {"stderr_bootstrap", c.bootstrap_error}, {"ci_low_bootstrap", c.bootstrap_low},
                  {"ci_high_bootstrap", c.bootstrap_high}, {"p_bootstrap", c.bootstrap_p},
                  {"a_only", c.a_only < 0 ? json(nullptr) : json(c.a_only)}, {"b_only", c.b_only < 0 ? json(nullptr) : json(c.b_only)}});
    }
    return;
  }
  const auto right = reports::Align::kRight;
  reports::Table table({{"task", reports::Align::kLeft}, {"metric", reports::Align::kLeft}, {"n"}, {"A"}, {"B"}, {"B - A"}, {"stderr"}, {"95 %"}, {"p"},
                        {"95 % bootstrap", right, 1}, {"p bootstrap", right, 2}});
  for (const auto& c : all) {
    table.add_row({{c.task}, {c.metric}, {std::to_string(c.n)}, {fmt::format("{:.4f}", c.a)}, {fmt::format("{:.4f}", c.b)},
                   {fmt::format("{:+.4f}", c.difference)}, {fmt::format("{:.4f}", c.error)}, {fmt::format("{:+.4f} {:+.4f}", c.low, c.high)}, {p_text(c.p)},
                   {fmt::format("{:+.4f} {:+.4f}", c.bootstrap_low, c.bootstrap_high)}, {p_text(c.bootstrap_p)}});
  }
  print_text(table.to_terminal({terminal_width(), use_colour()}));
}

void run(const Invocation& invocation) {
  const auto settings = eval_settings(invocation);
  require(settings.bootstrap > 0, "--bootstrap 0: a comparison needs draws");
  for (const auto& path : invocation.arguments) check_side(path);
  const Side a = open_side(invocation.arguments[0], settings), b = open_side(invocation.arguments[1], settings);
  std::vector<eval::Comparison> all;
  std::map<std::string, std::vector<eval::Comparison>> accuracies;  // one a task, by suite and together
  for (const auto& [task, samples] : a.samples) {
    const auto found = b.samples.find(task);
    require(found != b.samples.end() || settings.tasks == "all", "{}: no samples of {}", invocation.arguments[1], task);
    if (found == b.samples.end()) continue;
    bool counted = false;
    for (auto& c : eval::compare_samples(task, samples, found->second, settings.bootstrap)) {
      const bool accuracy = c.metric != "perplexity" && c.metric != "bits_per_byte";
      const auto main = a.main_metric.find(task);
      if (accuracy && !counted && (main == a.main_metric.end() || main->second == c.metric)) {
        accuracies["all tasks"].push_back(c);
        if (const auto suite = a.suite.find(task); suite != a.suite.end()) accuracies["suite " + suite->second].push_back(c);
        counted = true;
      }
      all.push_back(std::move(c));
    }
  }
  require(!all.empty(), "{} and {} have no task in common", invocation.arguments[0], invocation.arguments[1]);
  for (const auto& [name, tasks] : accuracies) {
    if (tasks.size() > 1) all.push_back(eval::average(name, tasks));
  }
  print(invocation, all);
}

}  // namespace

Command compare_command() {
  Command c;
  c.name = "compare";
  c.summary = "two models (or folders of samples) on the same items: paired differences, intervals and p values";
  c.arguments = "A B";
  c.example = "  hymba compare runs/row4 runs/row9 --tasks recall\n  hymba compare out/a out/b";
  c.min_arguments = 2;
  c.max_arguments = 2;
  c.options = add_eval_options;
  c.run = run;
  return c;
}

}  // namespace hymba::cli
