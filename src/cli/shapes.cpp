#include "cli/shapes.h"

#include <cmath>
#include <set>

#include "base/error.h"
#include "base/log.h"

namespace hymba::cli {
namespace {

constexpr std::int64_t kContext = 8000;  // the "8k" of the paper's cache column

std::vector<Record> count(const Design& design) {
  const LanguageModel model(design, 0, /*meta=*/true);
  std::vector<Record> records;
  const auto add = [&](const std::string& metric, double value, const std::string& unit, nlohmann::json extra) {
    Record r = record("shapes", design, 0, design.hash());
    r.metric = metric;
    r.value = value;
    r.unit = unit;
    r.n = 1;
    r.extra = std::move(extra);
    r.extra["row"] = design.row;
    records.push_back(std::move(r));
  };
  const auto counts = model.param_counts();
  add("ratio", std::isfinite(counts.ratio()) ? counts.ratio() : std::nan(""), "1", {{"text", counts.ratio_text()}});
  add("params_total", static_cast<double>(counts.total), "1", nlohmann::json::object());
  CacheQuery query;
  query.context = kContext;
  query.bytes_kv = 2;
  for (const auto accounting : {Accounting::kPaper, Accounting::kExact}) {
    query.accounting = accounting;
    add(accounting == Accounting::kPaper ? "cache_mb_paper" : "cache_mb_exact", model.cache_bytes(query).total() / 1e6, "MB", {{"context", kContext}, {"dtype", "fp16"}});
  }
  return records;
}

}  // namespace

void write_shapes(const std::filesystem::path& file, const std::vector<std::string>& specs, const Invocation& invocation) {
  std::set<std::string> there;
  if (std::filesystem::exists(file)) {
    for (const auto& r : read_records(file))
      if (r.study == "shapes") there.insert(r.design + r.config_hash);
  }
  std::vector<Record> fresh;
  for (const auto& spec : specs) {
    try {
      const auto design = open_design(spec, "paper", invocation);
      if (there.count(design.name() + design.hash()) != 0) continue;
      for (auto& r : count(design)) fresh.push_back(std::move(r));
    } catch (const UserError& error) {
      log_event("shapes.left_out {}: {}", spec, error.what());
    }
  }
  if (fresh.empty()) return;
  RecordWriter writer(file);
  for (const auto& r : fresh) writer.write(r);
}

}  // namespace hymba::cli
