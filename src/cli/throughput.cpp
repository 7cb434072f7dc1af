// hymba throughput: prefill and decode of a design with random or stored weights.
#include "base/error.h"
#include "base/log.h"
#include "base/text.h"
#include "cli/context.h"
#include "cli/design_argument.h"
#include "eval/speed.h"
#include "reports/table.h"

namespace hymba::cli {
namespace {

void run(const Invocation& invocation) {
  const auto size = invocation.get<std::string>("size");
  const auto dtype = invocation.get<std::string>("dtype");
  require(dtype == "fp32", "--dtype {}: generation runs in fp32 alone in this version", dtype);
  const auto measure = open_measure(size);
  eval::SpeedOptions options;
  options.context = invocation.has("context") ? invocation.get<std::int64_t>("context") : measure.context;
  options.batch = invocation.has("batch") ? invocation.get<std::int64_t>("batch") : measure.batch;
  options.repeats = static_cast<int>(measure.repeats);
  options.steps = static_cast<int>(measure.steps);
  std::vector<std::string> specs = invocation.arguments;
  if (specs[0] == "all") specs = open_designs().roadmap();
  reports::Table table({{"design", reports::Align::kLeft}, {"batch"}, {"context"}, {"prefill tok/s"}, {"decode tok/s"}, {"min"}, {"max"}, {"cache MB/seq"}});
  Progress progress("throughput", static_cast<double>(specs.size()), "designs");
  for (std::size_t i = 0; i < specs.size(); ++i) {
    std::unique_ptr<Design> design;
    std::unique_ptr<LanguageModel> model;
    if (is_model_path(specs[i])) {
      auto loaded = load_model(specs[i]);
      design = std::make_unique<Design>(loaded.design);
      model = std::move(loaded.model);
    } else {
      design = std::make_unique<Design>(open_design(specs[i], size, invocation));
      model = std::make_unique<LanguageModel>(*design, invocation.seed);
    }
    options.progress = [&](double f) { progress.update(static_cast<double>(i) + f, design->name()); };
    const auto r = eval::measure_speed(*model, options);
    if (r.batch < r.batch_asked) log_event("throughput design={} batch={} asked={}: {} of memory are free", design->name(), r.batch, r.batch_asked, format_bytes(static_cast<double>(r.memory_available)));
    if (invocation.json) {
      print_json({{"design", design->name()}, {"size", design->size()}, {"batch", r.batch}, {"batch_asked", r.batch_asked}, {"context", r.context},
                  {"prefill_tok_s", r.prefill_tok_s}, {"decode_tok_s", r.decode_tok_s}, {"decode_tok_s_min", r.decode_tok_s_min},
                  {"decode_tok_s_max", r.decode_tok_s_max}, {"cache_bytes_measured", r.cache_bytes_measured},
                  {"cache_bytes_predicted", r.cache_bytes_predicted}, {"peak_rss_bytes", r.peak_rss_bytes}, {"predicted_tok_s", nullptr}});
    }
    const auto number = [](double x) { return reports::Cell(fmt::format("{:.0f}", x)); };
    table.add_row({{design->name()}, {std::to_string(r.batch)}, {std::to_string(r.context)}, number(r.prefill_tok_s), number(r.decode_tok_s),
                   number(r.decode_tok_s_min), number(r.decode_tok_s_max), {fmt::format("{:.3f}", static_cast<double>(r.cache_bytes_measured) / static_cast<double>(r.batch) / 1e6)}});
  }
  progress.finish();
  if (!invocation.json) print_text(table.to_terminal({terminal_width(), use_colour()}));
}

}  // namespace

Command throughput_command() {
  Command c;
  c.name = "throughput";
  c.summary = "prefill and decode tokens/s with real caches; the batch is halved until it fits";
  c.arguments = "DESIGN|MODEL|all";
  c.example = "  hymba throughput all --size quick\n  hymba throughput 9 --size paper --context 2000 --batch 1";
  c.min_arguments = 1;
  c.max_arguments = 1;
  c.takes_overrides = true;
  c.options = [](boost::program_options::options_description& o) {
    namespace po = boost::program_options;
    o.add_options()("size", po::value<std::string>()->default_value("quick"), "paper, quick or smoke")(
        "context", po::value<std::int64_t>(), "tokens in the cache; default: the size's")("batch", po::value<std::int64_t>(), "sequences; default: the size's")(
        "dtype", po::value<std::string>()->default_value("fp32"), "of weights and cache");
  };
  c.run = run;
  return c;
}

}  // namespace hymba::cli
