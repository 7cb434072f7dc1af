// hymba magnitudes: how large both branches and their gates are in each layer.
#include <cmath>

#include "cli/study.h"
#include "cli/study_commands.h"
#include "eval/branch_magnitudes.h"
#include "reports/table.h"

namespace hymba::cli {
namespace {

std::vector<Record> measure_magnitudes(const StudyModel& model, const Invocation& invocation) {
  std::vector<Record> records;
  for (const auto& m : eval::branch_magnitudes(model.model(), prompt_rows(open_prompts(model, invocation)))) {
    for (const auto& [metric, value] : {std::pair<const char*, double>{"output", m.output}, {"gate", m.gate}, {"fused", m.fused}}) {
      if (!std::isfinite(value)) continue;
      Record r = study_record("magnitudes", model, "");
      r.metric = metric;
      r.value = value;
      r.unit = "1";
      r.n = m.tokens;
      r.extra.update({{"layer", m.layer}, {"branch", m.branch}});
      records.push_back(std::move(r));
    }
  }
  return records;
}

void run_magnitudes_command(const Invocation& invocation) {
  const auto records = measure_models(invocation, "magnitudes", prompt_options_text(invocation), [&](const StudyModel& model) { return measure_magnitudes(model, invocation); });
  reports::Table table({{"model", reports::Align::kLeft}, {"layer"}, {"branch", reports::Align::kLeft}, {"what", reports::Align::kLeft}, {"value"}});
  for (const auto& r : records) {
    if (invocation.json) {
      print_json({{"design", r.design}, {"seed", r.seed}, {"layer", r.extra["layer"]}, {"branch", r.extra["branch"]}, {"metric", r.metric}, {"value", r.value}, {"n", r.n}});
    }
    table.add_row({{record_model(r)}, {r.extra["layer"].dump()}, {r.extra["branch"].get<std::string>()}, {r.metric}, {fmt::format("{:.4f}", r.value)}});
  }
  if (!invocation.json) print_text(table.to_terminal({terminal_width(), use_colour()}));
}

}  // namespace

Command magnitudes_command() {
  Command c;
  c.name = "magnitudes";
  c.summary = "output magnitude and learned gate of both branches by layer (figure 12)";
  c.arguments = "MODEL...";
  c.example = "  hymba magnitudes results/roadmap-quick/runs/row-09-seed0";
  c.min_arguments = 1;
  c.max_arguments = 1000;
  c.options = [](boost::program_options::options_description& o) { add_prompt_options(o, 128, 4); };
  c.run = run_magnitudes_command;
  return c;
}

}  // namespace hymba::cli
