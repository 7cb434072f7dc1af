#include "cli/throughput_run.h"

#include "base/error.h"
#include "base/interrupt.h"
#include "base/log.h"
#include "base/median.h"
#include "base/text.h"
#include "nn/device.h"
#include "reports/paper.h"
#include "reports/statistics.h"

namespace hymba::cli {
namespace {

// Above this share of the free memory, models are made anew each round instead of being kept.
constexpr double kKeptShare = 0.1;

double parameter_bytes(const Design& design) {
  return 4.0 * static_cast<double>(LanguageModel(design, 0, /*meta=*/true).param_counts().total);
}

// Weights in fp32 and, while they are converted, the largest matrix once more: checked before anything is made.
void check_weights_fit(const Design& design) {
  const double needed = parameter_bytes(design) * 1.2, available = static_cast<double>(free_memory(model_device()));
  if (needed > available) {
    fail("{}: the weights need {} ({:.0f} bytes) and {} ({:.0f} bytes) of memory are available; use a smaller --size",
         design.name(), format_bytes(needed), needed, format_bytes(available), available);
  }
}

std::unique_ptr<LanguageModel> make_model(const Design& design, const ThroughputOptions& options) {
  check_weights_fit(design);
  auto model = std::make_unique<LanguageModel>(design, options.seed, /*meta=*/false, /*pattern=*/true);
  model->set_weight_type(options.weight_type);
  return model;
}

double element_bytes(at::ScalarType type) { return static_cast<double>(c10::elementSize(type)); }

// What the roofline says of a row, with this machine's limits at one moment.
struct Moment {
  eval::StepTime time;
  double bandwidth = 0;
};

Moment predict(const LanguageModel& model, const eval::SpeedResult& speed, const ThroughputOptions& options) {
  const auto work = eval::step_work(model, speed.context, element_bytes(options.weight_type));
  const auto device = eval::measured_device(speed.batch, options.weight_type);
  return {eval::step_time(work, device, static_cast<double>(speed.batch), element_bytes(options.speed.kv_type)), device.bandwidth};
}

// The median of the moments, part by part; and the devices that are known from their data sheets.
void set_predictions(ThroughputRow& row, const std::vector<Moment>& moments, const ThroughputOptions& options) {
  const auto usual = [&](const auto& part) {
    std::vector<double> values;
    for (const Moment& moment : moments) values.push_back(part(moment));
    return median(values);
  };
  for (double eval::StepTime::*part : {&eval::StepTime::linear, &eval::StepTime::attention, &eval::StepTime::state,
                                       &eval::StepTime::activations, &eval::StepTime::launches}) {
    row.predicted.*part = usual([part](const Moment& moment) { return moment.time.*part; });
  }
  const double bandwidth = usual([](const Moment& moment) { return moment.bandwidth; });
  const auto work = eval::step_work(LanguageModel(*row.design, 0, /*meta=*/true), row.speed.context, element_bytes(options.weight_type));
  const double kv = element_bytes(options.speed.kv_type);
  const auto batch = static_cast<double>(row.speed.batch), asked = static_cast<double>(row.speed.batch_asked);
  row.a100_tok_s = asked / eval::step_time(work, eval::a100(), asked, kv).total();
  row.h100_tok_s = asked / eval::step_time(work, eval::h100(), asked, kv).total();
  row.weight_share = row.speed.decode_tok_s / batch * work.weight_bytes / bandwidth;
}

}  // namespace

void measure_rows(std::vector<ThroughputRow>& rows, const ThroughputOptions& options) {
  double all_bytes = 0;
  for (const auto& row : rows) all_bytes += row.model ? 0 : parameter_bytes(*row.design);
  const bool keep = rows.size() == 1 || all_bytes < kKeptShare * static_cast<double>(free_memory(model_device()));
  const int rounds = options.speed.repeats;
  Progress progress("throughput", static_cast<double>(rounds) * static_cast<double>(rows.size()), "measurements");
  std::vector<eval::SpeedProbe> probes;
  std::vector<std::vector<Moment>> moments(rows.size());
  double done = 0;
  for (std::size_t i = 0; i < rows.size(); ++i) {
    auto speed = options.speed;
    speed.progress = [&, i](double f) { progress.update(done + f, rows[i].design->name()); };
    probes.emplace_back(speed);
  }
  for (int r = 0; r < rounds; ++r) {
    for (std::size_t n = 0; n < rows.size(); ++n) {
      throw_if_interrupted();
      // Each round starts at another row: what comes first or behind a large row has a cost.
      const std::size_t i = (n + static_cast<std::size_t>(r) * rows.size() / static_cast<std::size_t>(rounds)) % rows.size();
      auto& row = rows[i];
      std::unique_ptr<LanguageModel> made;
      if (!row.model) made = make_model(*row.design, options);
      const LanguageModel& model = row.model ? *row.model : *made;
      probes[i].round(model, 1);
      // Beside the row and not at the end: where the machine drifts, both drift.
      moments[i].push_back(predict(model, probes[i].result(), options));
      row.weight_bytes = model.weight_bytes();
      if (made && keep) row.model = std::move(made);
      ++done;
    }
  }
  for (std::size_t i = 0; i < rows.size(); ++i) {
    rows[i].speed = probes[i].result();
    set_predictions(rows[i], moments[i], options);
  }
  progress.finish();
}

double paper_tok_s(const Design& design) {
  static const auto paper = reports::read_paper(home_folder() / "ablations" / "paper" / "roadmap.csv");
  for (const auto& row : paper) {
    if (design.row > 0 && row.row == design.row) return row.throughput_tok_s;
  }
  return reports::kNaN;
}

ColumnAgreement agreement_with_paper(const std::vector<ThroughputRow>& rows) {
  std::vector<double> paper, measured, predicted, a100;
  for (const auto& row : rows) {
    const double value = paper_tok_s(*row.design);
    if (!(value > 0)) continue;
    paper.push_back(value);
    measured.push_back(row.speed.decode_tok_s);
    predicted.push_back(row.predicted_tok_s());
    a100.push_back(row.a100_tok_s);
  }
  ColumnAgreement agreement;
  agreement.rows = paper.size();
  const auto tau = [&](const std::vector<double>& column) {
    return paper.size() < 3 ? reports::kNaN : reports::kendall_tau_b(column, paper);
  };
  agreement.measured = tau(measured);
  agreement.predicted = tau(predicted);
  agreement.a100 = tau(a100);
  return agreement;
}

}  // namespace hymba::cli
