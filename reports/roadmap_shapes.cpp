// What rows of a small size are worth at the paper's shapes: counted ratio and cache, measured throughput.
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <map>

#include "reports/roadmap.h"

namespace hymba::reports {
namespace {

// A column holds one size: the paper's shapes unless more rows have a value at their own. A row without one shows none.
// Speeds go by the roadmap's rows where any has one: a fourteenth design timed at the small size takes no column away.
void choose_sizes(Roadmap& roadmap) {
  std::size_t counted[2] = {}, timed[2] = {};  // rows with a value: own size, paper's shapes
  std::vector<std::string> uncounted;
  const bool numbered = std::any_of(roadmap.rows.begin(), roadmap.rows.end(), [](const RoadmapRow& row) {
    return row.row > 0 && !(std::isnan(row.decode.value) && std::isnan(row.at_paper.decode.value));
  });
  for (const RoadmapRow& row : roadmap.rows) {
    counted[0] += !std::isnan(row.cache_mb_paper), counted[1] += !std::isnan(row.at_paper.cache_mb);
    if (row.row > 0 || !numbered)
      timed[0] += !std::isnan(row.decode.value), timed[1] += !std::isnan(row.at_paper.decode.value);
    if (row.was_run && std::isnan(row.at_paper.cache_mb)) uncounted.push_back(row.design);
  }
  for (RoadmapRow& row : roadmap.rows) {
    row.at_paper.counted = counted[1] > 0 && counted[1] >= counted[0];
    row.at_paper.timed = timed[1] > 0 && timed[1] >= timed[0];
  }
  if (counted[1] > 0 && counted[1] < counted[0]) {
    constexpr std::size_t kNamed = 4;
    const bool more = uncounted.size() > kNamed;
    if (more) uncounted.resize(kNamed);
    roadmap.warnings.push_back(
        fmt::format("{}{}: no counts at the paper's shapes, so ratio and cache of all rows are of size {}",
                    fmt::join(uncounted, ", "), more ? " and others" : "", roadmap.size));
  }
}

}  // namespace

void add_paper_shapes(Roadmap& roadmap, const std::vector<Record>& records) {
  std::map<std::string, PaperShapes> found;
  std::map<std::string, const Record*> fastest;
  for (const Record& r : records) {
    if (r.size != "paper") continue;
    if (r.study == "shapes") {
      auto& s = found[r.design];
      if (r.metric == "ratio") s.ratio_text = extra_text(r, "text"), s.ratio = ratio_value(s.ratio_text);
      if (r.metric == "cache_mb_paper")
        s.cache_mb = r.value, s.cache_context = static_cast<std::int64_t>(extra_number(r, "context", 0));
      if (r.metric == "cache_mb_exact") s.cache_mb_exact = r.value;
      if (r.metric == "params_total") s.params_total = r.value;
    } else if (r.study == "throughput" && r.metric == "decode_tok_s" && std::isfinite(r.value)) {
      // Of several settings that of the paper's: 8000 tokens and the largest batch; of one setting the newest.
      const Record*& kept = fastest[r.design];
      const auto rank = [](const Record& x) {
        return std::make_tuple(-std::abs(extra_number(x, "context", 0) - 8000), extra_number(x, "batch_asked", 0),
                               x.time);
      };
      if (kept == nullptr || rank(r) >= rank(*kept)) kept = &r;
    }
  }
  for (const auto& [design, r] : fastest) {
    auto& d = found[design].decode;
    d.value = r->value;
    d.low = extra_number(*r, "decode_tok_s_min", r->value), d.high = extra_number(*r, "decode_tok_s_max", r->value);
    d.batch = static_cast<std::int64_t>(extra_number(*r, "batch", 0)),
    d.batch_asked = static_cast<std::int64_t>(extra_number(*r, "batch_asked", 0));
    d.context = static_cast<std::int64_t>(extra_number(*r, "context", 0));
    found[design].dtype = extra_text(*r, "dtype");
  }
  for (RoadmapRow& row : roadmap.rows) {
    const auto it = found.find(row.design);
    if (it != found.end()) row.at_paper = it->second;
  }
  choose_sizes(roadmap);
}

double shown_ratio(const RoadmapRow& row) { return row.at_paper.counted ? row.at_paper.ratio : row.ratio; }
std::string shown_ratio_text(const RoadmapRow& row) {
  return row.at_paper.counted ? row.at_paper.ratio_text : row.ratio_text;
}
double shown_cache(const RoadmapRow& row) { return row.at_paper.counted ? row.at_paper.cache_mb : row.cache_mb_paper; }
double shown_cache_exact(const RoadmapRow& row) {
  return row.at_paper.counted ? row.at_paper.cache_mb_exact : row.cache_mb_exact;
}
double shown_decode(const RoadmapRow& row) { return row.at_paper.timed ? row.at_paper.decode.value : row.decode.value; }

std::string shapes_note(const Roadmap& roadmap) {
  if (roadmap.rows.empty() || roadmap.size == "paper") return "";
  const bool counted = roadmap.rows[0].at_paper.counted, timed = roadmap.rows[0].at_paper.timed;
  return counted && timed ? "Ratio, cache and decode speed: the paper's shapes. "
         : counted        ? "Ratio and cache: the paper's shapes, by counting. "
         : timed          ? "Decode speed: the paper's shapes. "
                          : "";
}

}  // namespace hymba::reports
