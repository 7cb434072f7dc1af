// hymba erf: effective receptive field against cache size.
#include <cmath>

#include "base/error.h"
#include "cli/study.h"
#include "cli/study_commands.h"
#include "eval/receptive_field.h"
#include "reports/table.h"

namespace hymba::cli {
namespace {

std::vector<Record> measure_erf(const StudyModel& model, const Invocation& invocation) {
  const auto length = invocation.get<std::int64_t>("length");
  const auto field = eval::receptive_field(model.model(), prompt_rows(open_prompts(model, invocation)), invocation.get<int>("probes"), invocation.seed);
  CacheQuery query;
  query.context = invocation.get<std::int64_t>("context");
  require(query.context > 0, "--context {}: expected a positive number", query.context);
  query.accounting = Accounting::kPaper;
  const double cache = model.model().cache_bytes(query).total() / 1e6;
  std::vector<Record> records;
  const auto add = [&](const std::string& metric, double value, double error, const std::string& unit) -> Record& {
    Record r = study_record("erf", model, "");
    r.metric = metric;
    r.value = value;
    if (std::isfinite(error)) r.error = error;
    r.unit = unit;
    r.n = invocation.get<std::int64_t>("prompts");
    r.extra.update({{"length", length}, {"cache_mb", cache}, {"context", query.context}});
    records.push_back(std::move(r));
    return records.back();
  };
  auto& main = add("mean_distance", field.mean_distance, field.error, "token");
  main.extra["meta"] = field.meta;
  main.extra["span90"] = field.span90;
  main.extra["probes"] = invocation.get<int>("probes");
  // The profile in stretches that double: 0, 1, 2-3, 4-7 ... tokens back.
  for (std::size_t low = 0; low < field.by_distance.size();) {
    const std::size_t high = std::min(field.by_distance.size(), low == 0 ? std::size_t{1} : 2 * low);
    double sum = 0;
    for (std::size_t d = low; d < high; ++d) sum += field.by_distance[d];
    auto& part = add("share", sum, std::nan(""), "1");
    part.extra["from"] = low;
    part.extra["to"] = high - 1;
    low = high;
  }
  return records;
}

void run_erf_command(const Invocation& invocation) {
  const auto options = fmt::format("{} {} {}", prompt_options_text(invocation), invocation.get<int>("probes"), invocation.get<std::int64_t>("context"));
  const auto records = measure_models(invocation, "erf", options, [&](const StudyModel& model) { return measure_erf(model, invocation); });
  reports::Table table({{"model", reports::Align::kLeft}, {"mean distance"}, {"stderr"}, {"90 % within"}, {"of meta tokens"}, {"cache MB"}});
  for (const auto& r : records) {
    if (r.metric != "mean_distance") continue;
    const auto& x = r.extra;
    if (invocation.json) {
      print_json({{"design", r.design}, {"seed", r.seed}, {"mean_distance", r.value}, {"stderr", r.error ? nlohmann::json(*r.error) : nlohmann::json(nullptr)},
                  {"span90", x["span90"]}, {"meta", x["meta"]}, {"cache_mb", x["cache_mb"]}, {"length", x["length"]}, {"n", r.n}});
    }
    table.add_row({{record_model(r)}, {fmt::format("{:.2f}", r.value)}, {r.error ? fmt::format("{:.2f}", *r.error) : "-"}, {fmt::format("{:.0f}", x["span90"].get<double>())},
                   {fmt::format("{:.1f} %", 100 * x["meta"].get<double>())}, {fmt::format("{:.4g}", x["cache_mb"].get<double>())}});
  }
  if (!invocation.json) print_text(table.to_terminal({terminal_width(), use_colour()}));
}

}  // namespace

Command erf_command() {
  Command c;
  c.name = "erf";
  c.summary = "effective receptive field, by gradients, against cache size (figure 11)";
  c.arguments = "MODEL...";
  c.example = "  hymba erf results/roadmap-quick\n  hymba erf runs/samba runs/llama --length 256";
  c.min_arguments = 1;
  c.max_arguments = 1000;
  c.options = [](boost::program_options::options_description& o) {
    namespace po = boost::program_options;
    add_prompt_options(o, 128, 4);
    o.add_options()("probes", po::value<int>()->default_value(4), "random directions for the gradient of a prompt")(
        "context", po::value<std::int64_t>()->default_value(8000), "tokens whose cache is counted (fp16, the paper's accounting)");
  };
  c.run = run_erf_command;
  return c;
}

}  // namespace hymba::cli
