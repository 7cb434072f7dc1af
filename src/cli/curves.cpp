// hymba curves: loss and learning rate over the tokens of a training run, with its stages.
#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "base/log.h"
#include "cli/study.h"
#include "cli/study_commands.h"
#include "reports/table.h"
#include "reports/unicode.h"
#include "train/trainer.h"

namespace hymba::cli {
namespace {

// The schedule's stages as the learning rate shows them: rising, at its height, falling.
std::vector<std::string> stages_of(const nlohmann::json& curve) {
  double peak = 0;
  for (const auto& point : curve) peak = std::max(peak, point.at(3).get<double>());
  std::vector<std::string> stages;
  bool reached = false;
  for (const auto& point : curve) {
    const bool high = point.at(3).get<double>() >= peak * (1 - 1e-6);
    reached = reached || high;
    stages.push_back(!reached ? "warm-up" : high ? "stable" : "annealing");
  }
  return stages;
}

// Loss on held-out text as training kept it; models of older programs have none.
std::vector<Record> kept_validation(const StudyModel& model, const std::vector<std::string>& stages) {
  const auto& state = model.loaded.state;
  std::vector<Record> records;
  for (const auto& point : state.extra.value("held_out", nlohmann::json::array())) {
    Record r = study_record("curves", model, "");
    r.metric = "validation_loss";
    r.value = point.at(2).get<double>();
    r.error = point.at(3).get<double>();
    r.unit = "nat";
    r.n = point.at(4).get<std::int64_t>();
    r.extra.update({{"step", point.at(0)}, {"tokens", point.at(1)}});
    for (std::size_t i = 0; i < stages.size(); ++i) {
      if (state.curve[i].at(0) == point.at(0)) r.extra["stage"] = stages[i];
    }
    records.push_back(std::move(r));
  }
  return records;
}

std::vector<Record> measure_curves(const StudyModel& model, const Invocation& invocation) {
  const auto& state = model.loaded.state;
  require(!state.curve.empty(), "{}: this model keeps no training curve (only runs of `train` and `roadmap` do)", model.path);
  std::vector<Record> records;
  const auto stages = stages_of(state.curve);
  for (std::size_t i = 0; i < state.curve.size(); ++i) {
    const auto& point = state.curve[i];
    Record r = study_record("curves", model, "");
    r.metric = "loss";
    r.value = point.at(2).get<double>();
    r.unit = "nat";
    r.n = point.at(1).get<std::int64_t>() - (i > 0 ? state.curve[i - 1].at(1).get<std::int64_t>() : 0);
    r.extra.update({{"step", point.at(0)}, {"tokens", point.at(1)}, {"lr", point.at(3)}, {"stage", stages[i]}});
    records.push_back(std::move(r));
  }
  const auto kept = kept_validation(model, stages);
  records.insert(records.end(), kept.begin(), kept.end());
  const auto data = invocation.list("data");
  if (!model.world && data.empty()) {
    log_event("curves.note {}: no loss on held-out text at the end without --data", model.name());
    return records;
  }
  DataChoice choice;
  if (model.world) {
    choice.world = std::make_shared<const data::World>(world_of_spec(state.tokenizer));
  } else {
    choice = open_data(data, state.tokenizer, model.design().size(), {});
  }
  const std::int64_t length = train_length(model) > 0 ? train_length(model) : 256;
  const auto valid = validation_loss(model.model(), *choice.source(state.seed), length, invocation.get<std::int64_t>("validation"), 16);
  Record r = study_record("curves", model, "");
  r.metric = "validation_loss";
  r.value = valid.loss;
  r.error = valid.error;
  r.unit = "nat";
  r.n = valid.tokens;
  r.extra.update({{"step", state.step}, {"tokens", state.tokens}, {"stage", stages.back()}});
  records.push_back(std::move(r));
  return records;
}

void run_curves_command(const Invocation& invocation) {
  std::string options = std::to_string(invocation.get<std::int64_t>("validation"));
  for (const auto& path : invocation.list("data")) options += " " + path;
  const auto records = measure_models(invocation, "curves", options, [&](const StudyModel& model) { return measure_curves(model, invocation); });
  reports::Table table({{"model", reports::Align::kLeft}, {"tokens"}, {"loss at the end"}, {"held-out loss"}, {"loss", reports::Align::kLeft}, {"held-out", reports::Align::kLeft, 2}, {"learning rate", reports::Align::kLeft, 1}});
  for (std::size_t i = 0; i < records.size();) {
    std::size_t end = i;
    std::vector<double> loss, lr, held_out;
    std::string held = "-";
    for (; end < records.size() && records[end].config_hash == records[i].config_hash; ++end) {
      const auto& r = records[end];
      if (invocation.json) {
        print_json({{"design", r.design}, {"seed", r.seed}, {"metric", r.metric}, {"step", r.extra["step"]}, {"tokens", r.extra["tokens"]}, {"value", r.value},
                    {"stderr", r.error ? nlohmann::json(*r.error) : nlohmann::json(nullptr)}, {"lr", r.extra.value("lr", nlohmann::json(nullptr))}, {"stage", r.extra.value("stage", nlohmann::json(nullptr))}});
      }
      if (r.metric == "loss") {
        loss.push_back(r.value);
        lr.push_back(r.extra.value("lr", 0.0));
      } else {
        held_out.push_back(r.value);
        held = fmt::format("{:.4f} ±{:.4f}", r.value, r.error.value_or(0));
      }
    }
    table.add_row({{record_model(records[i])}, {records[end - 1].extra["tokens"].dump()}, {loss.empty() ? "-" : fmt::format("{:.4f}", loss.back())}, {held}, {reports::sparkline(loss, 20)}, {reports::sparkline(held_out, 20)}, {reports::sparkline(lr, 20)}});
    i = end;
  }
  if (!invocation.json) print_text(table.to_terminal({terminal_width(), use_colour()}));
}

}  // namespace

Command curves_command() {
  Command c;
  c.name = "curves";
  c.summary = "training loss, held-out loss and learning rate over tokens, with stages (figure 14)";
  c.arguments = "MODEL...";
  c.example = "  hymba curves results/roadmap-quick";
  c.min_arguments = 1;
  c.max_arguments = 1000;
  c.options = [](boost::program_options::options_description& o) {
    namespace po = boost::program_options;
    o.add_options()("data", po::value<std::vector<std::string>>()->composing(), "the text that models of real text were trained on, for their held-out part; repeatable")(
        "validation", po::value<std::int64_t>()->default_value(64), "held-out sequences");
  };
  c.run = run_curves_command;
  return c;
}

}  // namespace hymba::cli
