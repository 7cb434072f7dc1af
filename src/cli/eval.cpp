// hymba eval: a trained model on the world's tasks or on real ones.
#include "base/error.h"
#include "base/log.h"
#include "cli/eval_run.h"
#include "reports/table.h"

namespace hymba::cli {
namespace {

using nlohmann::json;

json or_null(const std::optional<double>& value) { return value ? json(*value) : json(nullptr); }
std::string digits(const std::optional<double>& value) { return value ? fmt::format("{:.4f}", *value) : "-"; }

void print(const Invocation& invocation, const EvalRun& run) {
  reports::Table table({{"task", reports::Align::kLeft}, {"metric", reports::Align::kLeft}, {"value"}, {"stderr"}, {"bootstrap"}, {"n"}, {"chance"}});
  for (const auto& task : run.tasks) {
    const auto& name = task.definition.name;
    const auto row = [&](const std::string& label, const std::string& metric_name, const eval::Metric& metric, const std::string& chance) {
      table.add_row({{label}, {metric_name}, {fmt::format("{:.4f}", metric.value)}, {digits(metric.error)}, {digits(metric.bootstrap)},
                     {std::to_string(metric.n)}, {chance}});
    };
    for (const auto& [metric_name, metric] : task.result.metrics) {
      const bool has_chance = metric_name == task.result.main_metric && eval::higher_is_better(metric_name);
      if (invocation.json) {
        print_json({{"task", name}, {"suite", task.definition.suite}, {"metric", metric_name}, {"value", metric.value},
                    {"stderr", or_null(metric.error ? metric.error : metric.bootstrap)}, {"stderr_bootstrap", or_null(metric.bootstrap)},
                    {"n", metric.n}, {"shots", task.shots}, {"chance", has_chance ? json(task.result.chance) : json(nullptr)}});
      }
      row(name, metric_name, metric, has_chance ? fmt::format("{:.3f}", task.result.chance) : "-");
    }
    for (const auto& [category, metric] : task.result.categories) row("  " + category, task.result.main_metric, metric, "-");
  }
  if (!invocation.json) print_text(table.to_terminal({terminal_width(), use_colour()}));
}

void run_eval_command(const Invocation& invocation) {
  const auto loaded = load_model(invocation.arguments[0]);
  auto settings = eval_settings(invocation);
  settings.log_samples = invocation.values.count("log-samples") != 0;
  require(!settings.log_samples || !settings.out.empty(), "--log-samples needs --out DIR for the samples");
  const auto run = evaluate(loaded, invocation.arguments[0], settings);
  log_event("eval requests={} seconds={:.2f} requests_per_s={:.1f}", run.requests, run.seconds,
            static_cast<double>(run.requests) / std::max(run.seconds, 1e-9));
  write_results(loaded, invocation.arguments[0], settings, run);
  print(invocation, run);
}

}  // namespace

Command eval_command() {
  Command c;
  c.name = "eval";
  c.summary = "scores a model on the world's ten tasks, or on real ones as lm-evaluation-harness does";
  c.arguments = "MODEL";
  c.example = "  hymba eval runs/row9 --tasks recall\n  hymba eval runs/text --tasks arc_easy,piqa,blimp --data ../shared/data --limit 200";
  c.min_arguments = 1;
  c.max_arguments = 1;
  c.options = [](boost::program_options::options_description& o) {
    add_eval_options(o);
    o.add_options()("log-samples", "write samples_TASK.jsonl into --out");
  };
  c.run = run_eval_command;
  return c;
}

}  // namespace hymba::cli
