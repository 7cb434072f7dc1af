// hymba cache: how large the cache of a design is, by part.
#include "base/error.h"
#include "base/text.h"
#include "cli/context.h"
#include "cli/design_argument.h"
#include "reports/table.h"

namespace hymba::cli {
namespace {

double bytes_of(const std::string& dtype) {
  if (dtype == "fp32") return 4;
  if (dtype == "fp16" || dtype == "bf16") return 2;
  user_error("--dtype {}: expected fp32, fp16 or bf16", dtype);
}

void run_cache_command(const Invocation& invocation) {
  CacheQuery query;
  query.context = invocation.whole("context", 1, kMostTokens);
  const auto dtype = invocation.get<std::string>("dtype"), accounting = invocation.get<std::string>("accounting");
  query.bytes_kv = bytes_of(dtype);
  require(accounting == "paper" || accounting == "exact", "--accounting {}: expected paper or exact", accounting);
  query.accounting = accounting == "paper" ? Accounting::kPaper : Accounting::kExact;
  std::vector<std::string> specs = invocation.arguments;
  if (specs[0] == "all") specs = open_designs().roadmap();
  reports::Table table({{"design", reports::Align::kLeft}, {"MB"}, {"KV full"}, {"KV window"}, {"conv"}, {"SSM"}, {"meta"}, {"saved by sharing"}});
  for (const auto& spec : specs) {
    const auto opened = open_design_argument(spec, invocation.get<std::string>("size"), invocation);
    const auto b = opened.model->cache_bytes(query);
    if (invocation.json) {
      print_json({{"design", opened.design->name()}, {"size", opened.design->size()}, {"context", query.context}, {"dtype", dtype},
                  {"accounting", accounting}, {"bytes", b.total()}, {"mb", b.total() / 1e6}, {"kv_full", b.kv_full}, {"kv_window", b.kv_window},
                  {"kv_shared_saved", b.kv_shared_saved}, {"conv", b.conv}, {"ssm", b.ssm}, {"meta", b.meta}});
    }
    const auto mb = [](double bytes) { return reports::Cell(fmt::format("{:.2f}", bytes / 1e6)); };
    table.add_row({{opened.design->name()}, mb(b.total()), mb(b.kv_full), mb(b.kv_window), mb(b.conv), mb(b.ssm), mb(b.meta), mb(b.kv_shared_saved)});
  }
  if (invocation.json) return;
  print_text(table.to_terminal({terminal_width(), use_colour()}));
  print_text(fmt::format("one sequence of {} tokens, {}, {} accounting, MB = 10^6 bytes\n", query.context, dtype, accounting));
}

}  // namespace

Command cache_command() {
  Command c;
  c.name = "cache";
  c.summary = "cache size of a design by part: full and window KV, conv and SSM state, meta tokens";
  c.arguments = "DESIGN|MODEL|all";
  c.example = "  hymba cache all --context 8000 --dtype fp16 --accounting paper";
  c.min_arguments = 1;
  c.max_arguments = 1;
  c.overrides.design = true;
  c.options = [](boost::program_options::options_description& o) {
    namespace po = boost::program_options;
    o.add_options()("context", po::value<std::int64_t>()->default_value(8000), "tokens of a sequence, without meta tokens")(
        "dtype", po::value<std::string>()->default_value("fp16"), "of K and V: fp32, fp16, bf16")(
        "accounting", po::value<std::string>()->default_value("exact"), "exact: every byte a generating model holds; paper: Table 1's rules")(
        "size", po::value<std::string>()->default_value("paper"), "paper, quick or smoke");
  };
  c.run = run_cache_command;
  return c;
}

}  // namespace hymba::cli
