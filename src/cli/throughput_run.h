// The throughput column: every design in rounds, with the roofline's predictions beside what was measured.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "cli/context.h"
#include "eval/roofline.h"
#include "eval/speed.h"

namespace hymba::cli {

struct ThroughputRow {
  std::unique_ptr<Design> design;
  std::unique_ptr<LanguageModel> model;  // of a stored model or a small design; else made anew each round
  eval::SpeedResult speed;
  std::int64_t weight_bytes = 0;
  std::string config_hash;
  eval::StepTime predicted;               // on this machine
  double a100_tok_s = 0, h100_tok_s = 0;  // roofline at the batch that was asked for
  double predicted_tok_s() const { return static_cast<double>(speed.batch) / predicted.total(); }
  // Share of this machine's bandwidth that the weights alone use while decoding.
  double weight_share = 0;
};

struct ThroughputOptions {
  eval::SpeedOptions speed;
  at::ScalarType weight_type = at::kFloat;
  std::uint64_t seed = 0;
};

// Measures all rows, interleaved: round by round, every row once a round.
void measure_rows(std::vector<ThroughputRow>& rows, const ThroughputOptions& options);

// The paper's tokens/s for a row of the roadmap; NaN for other designs.
double paper_tok_s(const Design& design);
// Of this column against the paper's, over the rows that are in it; NaN below three.
struct ColumnAgreement {
  double measured = 0, predicted = 0, a100 = 0;  // Kendall's tau-b
  std::size_t rows = 0;
};
ColumnAgreement agreement_with_paper(const std::vector<ThroughputRow>& rows);

}  // namespace hymba::cli
