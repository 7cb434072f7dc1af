// hymba throughput: prefill and decode of designs with random or stored weights, beside the roofline's predictions.
#include <ATen/Parallel.h>

#include <cmath>

#include "base/error.h"
#include "base/log.h"
#include "base/stolen_time.h"
#include "base/text.h"
#include "cli/design_argument.h"
#include "cli/throughput_run.h"
#include "nn/device.h"
#include "reports/table.h"

namespace hymba::cli {
namespace {

nlohmann::json number_or_null(double x) { return std::isfinite(x) ? nlohmann::json(x) : nlohmann::json(nullptr); }

// "all", row numbers as 1,5-9, or designs and models as everywhere.
std::vector<std::string> design_list(const std::vector<std::string>& arguments) {
  const auto roadmap = open_designs().roadmap();
  std::vector<std::string> specs;
  for (const auto& word : arguments) {
    if (word == "all") {
      specs.insert(specs.end(), roadmap.begin(), roadmap.end());
    } else if (word.find_first_not_of("0123456789,-") == std::string::npos) {
      for (const int row : parse_ranges(word, 1, static_cast<int>(roadmap.size()), "DESIGN")) specs.push_back(roadmap[static_cast<std::size_t>(row - 1)]);
    } else {
      specs.push_back(word);
    }
  }
  return specs;
}

// --contexts a,b,c, or the one context of --context or the size.
std::vector<std::int64_t> read_contexts(const Invocation& invocation, std::int64_t one) {
  if (!invocation.has("contexts")) return {one};
  require(!invocation.has("context"), "--contexts and --context: give one of them");
  std::vector<std::int64_t> contexts;
  for (const auto& word : split(invocation.get<std::string>("contexts"), ',')) {
    contexts.push_back(parse_int(word, "--contexts"));
    require(contexts.back() > 1 && contexts.back() <= kMostTokens, "--contexts {}: expected numbers from 2 to {}", word, kMostTokens);
  }
  return contexts;
}

std::vector<ThroughputRow> open_rows(const Invocation& invocation, const std::string& size,
                                     at::ScalarType weight_type) {
  std::vector<ThroughputRow> rows;
  for (const auto& spec : design_list(invocation.arguments)) {
    ThroughputRow row;
    if (is_model_path(spec)) {
      auto loaded = load_model(spec);
      row.design = std::make_unique<Design>(loaded.design);
      row.model = std::move(loaded.model);
      row.model->set_weight_type(weight_type);
    } else {
      row.design = std::make_unique<Design>(open_design(spec, size, invocation));
    }
    row.config_hash = row.design->hash();
    rows.push_back(std::move(row));
  }
  return rows;
}

ThroughputOptions read_options(const Invocation& invocation, const std::string& size) {
  const auto measure = open_measure(size);
  ThroughputOptions options;
  options.seed = invocation.seed;
  options.weight_type = parse_dtype(invocation.get<std::string>("dtype"), "--dtype");
  options.speed.kv_type =
      invocation.has("kv-dtype") ? parse_dtype(invocation.get<std::string>("kv-dtype"), "--kv-dtype") : options.weight_type;
  options.speed.bf16_products = parse_products(invocation.get<std::string>("products"), options.weight_type);
  options.speed.context = invocation.has("context") ? invocation.whole("context", 2, kMostTokens) : measure.context;
  options.speed.batch = invocation.has("batch") ? invocation.whole("batch", 1, 1 << 20) : measure.batch;
  options.speed.repeats = invocation.has("rounds") ? invocation.get<int>("rounds") : static_cast<int>(measure.repeats);
  options.speed.steps = invocation.has("steps") ? invocation.get<int>("steps") : static_cast<int>(measure.steps);
  const auto fill = invocation.has("fill") ? invocation.get<std::string>("fill")
                    : size == "paper"      ? "synthetic"
                                           : "real";
  require(fill == "real" || fill == "synthetic", "--fill {}: expected real or synthetic", fill);
  options.speed.fill = fill == "real" ? eval::Fill::kReal : eval::Fill::kSynthetic;
  return options;
}

nlohmann::json json_of(const ThroughputRow& row, const ThroughputOptions& o) {
  const auto& r = row.speed;
  const auto& t = row.predicted;
  return {{"design", row.design->name()},
          {"size", row.design->size()},
          {"batch", r.batch},
          {"batch_asked", r.batch_asked},
          {"context", r.context},
          {"dtype", name_of_dtype(o.weight_type)},
          {"kv_dtype", name_of_dtype(o.speed.kv_type)},
          {"products", o.speed.bf16_products ? "bf16" : "fp32"},
          {"device", model_device().str()},
          {"fill", o.speed.fill == eval::Fill::kReal ? "real" : "synthetic"},
          {"threads", at::get_num_threads()},
          {"prefill_tok_s", r.prefill_tok_s},
          {"prefill_tok_s_min", r.prefill_tok_s_min},
          {"prefill_tok_s_max", r.prefill_tok_s_max},
          {"decode_tok_s", r.decode_tok_s},
          {"decode_tok_s_min", r.decode_tok_s_min},
          {"decode_tok_s_max", r.decode_tok_s_max},
          {"stretches", r.stretches},
          {"stolen_share", r.stolen_share},
          {"steps", o.speed.steps},
          {"cache_bytes_measured", r.cache_bytes_measured},
          {"cache_bytes_predicted", r.cache_bytes_predicted},
          {"weight_bytes", row.weight_bytes},
          {"memory_predicted", r.memory_predicted},
          {"memory_available", r.memory_available},
          {"peak_rss_bytes", r.peak_rss_bytes},
          {"predicted_tok_s", row.predicted_tok_s()},
          {"predicted_seconds",
           {{"linear", t.linear}, {"attention", t.attention}, {"state", t.state}, {"activations", t.activations}}},
          {"weight_bandwidth_share", row.weight_share},
          {"predicted_a100_tok_s", row.a100_tok_s},
          {"predicted_h100_tok_s", row.h100_tok_s},
          {"paper_tok_s", number_or_null(paper_tok_s(*row.design))}};
}

std::string percent(double x) { return std::isfinite(x) ? fmt::format("{:.0f} %", 100 * x) : "-"; }
std::string ratio(double x) { return std::isfinite(x) ? fmt::format("{:.3f}", x) : "-"; }

void print(const std::vector<ThroughputRow>& rows, const ThroughputOptions& options) {
  using reports::Align;
  reports::Table speed({{"design", Align::kLeft},
                        {"batch"},
                        {"prefill tok/s"},
                        {"decode tok/s"},
                        {"min"},
                        {"max"},
                        {"weights, of bandwidth"},
                        {"cache MB/seq"},
                        {"peak GB"}});
  reports::Table model({{"design", Align::kLeft},
                        {"ours / row 1"},
                        {"paper / row 1"},
                        {"predicted / measured"},
                        {"A100 predicted / paper"},
                        {"linear"},
                        {"attention"},
                        {"state"}});
  const bool from_row_1 = rows[0].design->row == 1;
  for (const auto& row : rows) {
    const auto& r = row.speed;
    const auto whole = [](double x) { return reports::Cell(fmt::format("{:.1f}", x)); };
    speed.add_row(
        {{row.design->name()},
         {r.batch == r.batch_asked ? std::to_string(r.batch) : fmt::format("{} of {}", r.batch, r.batch_asked)},
         whole(r.prefill_tok_s),
         whole(r.decode_tok_s),
         whole(r.decode_tok_s_min),
         whole(r.decode_tok_s_max),
         {percent(row.weight_share)},
         {fmt::format("{:.3f}", static_cast<double>(r.cache_bytes_measured) / static_cast<double>(r.batch) / 1e6)},
         {fmt::format("{:.2f}", static_cast<double>(r.peak_rss_bytes) / 1e9)}});
    const double first = from_row_1 ? rows[0].speed.decode_tok_s : std::nan(""), paper = paper_tok_s(*row.design),
                 total = row.predicted.total();
    model.add_row({{row.design->name()},
                   {ratio(r.decode_tok_s / first)},
                   {ratio(from_row_1 ? paper / paper_tok_s(*rows[0].design) : std::nan(""))},
                   {ratio(row.predicted_tok_s() / r.decode_tok_s)},
                   {ratio(row.a100_tok_s / paper)},
                   {percent(row.predicted.linear / total)},
                   {percent(row.predicted.attention / total)},
                   {percent(row.predicted.state / total)}});
  }
  print_text(speed.to_terminal({terminal_width(), use_colour()}));
  print_text("\nRoofline (its equations: eval/roofline.cpp); the last three: shares of the predicted time\n");
  print_text(model.to_terminal({terminal_width(), use_colour()}));
  if (const auto agreement = agreement_with_paper(rows); agreement.rows >= 3) {
    print_text(
        fmt::format("\nKendall's tau with the paper's column, {} rows: measured {:.3f}, predicted here {:.3f}, "
                    "predicted A100 {:.3f}\n",
                    agreement.rows, agreement.measured, agreement.predicted, agreement.a100));
  }
  if (options.speed.fill == eval::Fill::kSynthetic) {
    print_text(fmt::format(
        "decode from a synthetically filled cache; prefill: one chunk of {} tokens of one sequence in mid-context\n",
        std::min(options.speed.chunk, options.speed.context)));
  }
}

void write_records(const Invocation& invocation, const std::vector<ThroughputRow>& rows,
                   const ThroughputOptions& options) {
  RecordWriter writer(std::filesystem::path(invocation.out) / "records.jsonl");
  for (const auto& row : rows) {
    const auto add = [&](const std::string& metric, double value, const std::string& unit) {
      Record r = record("throughput", *row.design, options.seed, row.config_hash);
      r.metric = metric;
      r.value = value;
      r.unit = unit;
      r.n = row.speed.stretches;
      r.extra = json_of(row, options);
      writer.write(r);
    };
    add("decode_tok_s", row.speed.decode_tok_s, "token/s");
    add("prefill_tok_s", row.speed.prefill_tok_s, "token/s");
    add("predicted_tok_s", row.predicted_tok_s(), "token/s");
    add("cache_mb_measured",
        static_cast<double>(row.speed.cache_bytes_measured) / static_cast<double>(row.speed.batch) / 1e6, "MB");
    add("peak_rss_gb", static_cast<double>(row.speed.peak_rss_bytes) / 1e9, "GB");
  }
}

// One line a design, milliseconds a token by context.
void print_contexts(const std::vector<std::vector<ThroughputRow>>& columns) {
  std::vector<reports::Column> heads = {{"decode, ms a token", reports::Align::kLeft}};
  for (const auto& rows : columns) heads.push_back({fmt::format("{}", rows[0].speed.context)});
  heads.push_back({"last / first"});
  reports::Table table(heads);
  for (std::size_t i = 0; i < columns[0].size(); ++i) {
    std::vector<reports::Cell> cells = {{columns[0][i].design->name()}};
    for (const auto& rows : columns) cells.push_back({fmt::format("{:.3g}", 1e3 / rows[i].speed.decode_tok_s)});
    cells.push_back({fmt::format("{:.2f}", columns.front()[i].speed.decode_tok_s / columns.back()[i].speed.decode_tok_s)});
    table.add_row(cells);
  }
  print_text(table.to_terminal({terminal_width(), use_colour()}));
}

void print_column_json(const std::vector<ThroughputRow>& rows, const ThroughputOptions& options) {
  const auto agreement = agreement_with_paper(rows);
  for (const auto& row : rows) {
    auto object = json_of(row, options);
    object["kendall_tau"] = number_or_null(agreement.measured);
    object["kendall_tau_predicted"] = number_or_null(agreement.predicted);
    object["kendall_tau_a100"] = number_or_null(agreement.a100);
    print_json(object);
  }
}

void run_throughput_command(const Invocation& invocation) {
  const auto size = invocation.get<std::string>("size");
  auto options = read_options(invocation, size);
  std::vector<std::vector<ThroughputRow>> columns;
  for (const auto context : read_contexts(invocation, options.speed.context)) {
    options.speed.context = context;
    auto rows = open_rows(invocation, size, options.weight_type);
    measure_rows(rows, options);
    for (auto& row : rows) {
      row.model.reset();
      if (row.speed.stolen_share > kMostStolen) {
        log_event("throughput design={}: other machines of this host took {} of its time", row.design->name(), percent(row.speed.stolen_share));
      }
      if (row.speed.batch == row.speed.batch_asked) continue;
      log_event("throughput design={} batch={} asked={}: {} of memory are free", row.design->name(), row.speed.batch,
                row.speed.batch_asked, format_bytes(static_cast<double>(row.speed.memory_available)));
    }
    if (!invocation.out.empty()) write_records(invocation, rows, options);
    if (invocation.json) print_column_json(rows, options);
    columns.push_back(std::move(rows));
  }
  if (invocation.json) return;
  if (columns.size() == 1) {
    print(columns[0], options);
  } else {
    print_contexts(columns);
  }
}

}  // namespace

Command throughput_command() {
  Command c;
  c.name = "throughput";
  c.summary = "prefill and decode tokens/s with real caches; the batch is halved until it fits";
  c.arguments = "DESIGN|MODEL|all...";
  c.example =
      "  hymba throughput all --size quick\n  hymba throughput all --size paper --context 8000 --batch 128 --dtype "
      "bf16 --out reports/throughput\n  hymba throughput 1,4,6,7,9,12,13 --size paper --contexts 512,2048,8192,32768,65536 "
      "--batch 1 --dtype bf16 --out reports/throughput";
  c.min_arguments = 1;
  c.max_arguments = 100;
  c.overrides.design = true;
  c.options = [](boost::program_options::options_description& o) {
    namespace po = boost::program_options;
    o.add_options()("size", po::value<std::string>()->default_value("quick"), "paper, quick or smoke")(
        "context", po::value<std::int64_t>(), "tokens in the cache; default: the size's")(
        "contexts", po::value<std::string>(), "several contexts, one after the other: 512,2048,8192; a table of times a token")(
        "batch", po::value<std::int64_t>(), "sequences; default: the size's")(
        "products", po::value<std::string>()->default_value("fp32"), kProductsHelp)(
        "dtype", po::value<std::string>()->default_value("fp32"),
        "of weights: fp32, bf16, fp16; arithmetic is fp32")(
        "kv-dtype", po::value<std::string>(), "of K and V in the cache: fp32, bf16, fp16; default: as --dtype")(
        "fill", po::value<std::string>(),
        "real: a whole prefill; synthetic: numbers; default: real, at size paper synthetic")(
        "rounds", po::value<int>(), "timed stretches of each design, interleaved; default: the size's")(
        "steps", po::value<int>(), "decode steps of a stretch; default: the size's");
  };
  c.run = run_throughput_command;
  return c;
}

}  // namespace hymba::cli
