#include "reports/page_data.h"

#include <algorithm>
#include <cmath>
#include <set>

#include "base/error.h"
#include "base/text.h"
#include "reports/roadmap.h"
#include "reports/series.h"

namespace hymba::reports {
namespace {

// Budgets that keep the page below 3 MB whatever the number of designs.
constexpr std::size_t kRecordsInAll = 4000;
constexpr std::size_t kPointsInAll = 20000;
constexpr std::size_t kBreakdownsInAll = 600;

nlohmann::json short_number(double value) {  // five digits are more than a pixel
  return std::isfinite(value) ? nlohmann::json(std::stod(fmt::format("{:.5g}", value))) : nlohmann::json(nullptr);
}

// What many rows say alike (a line of a config, a layer) stands once on the page; rows hold its index.
class Shared {
 public:
  std::size_t index(const nlohmann::json& value) {
    const auto [place, fresh] = at_.emplace(value.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace), list_.size());
    if (fresh) list_.push_back(value);
    return place->second;
  }
  const nlohmann::json& list() const { return list_; }

 private:
  std::map<std::string, std::size_t> at_;
  nlohmann::json list_ = nlohmann::json::array();
};

nlohmann::json layers_json(const std::vector<LayerBox>& layers, Shared& shared) {
  nlohmann::json list = nlohmann::json::array();
  for (const LayerBox& l : layers)
    list.push_back(shared.index({{"mixer", l.mixer}, {"window", l.window}, {"kv_source", l.kv_source}, {"meta", l.meta}}));
  return list;
}

// [index of what is said of the task, value, standard error].
nlohmann::json task_line(const TaskScore& t, Shared& shared) {
  const nlohmann::json about = {{"task", t.task}, {"suite", t.suite}, {"metric", t.metric}, {"chance", number_or_null(t.chance)},
                                {"n", t.n}, {"seeds", t.estimate.seeds}};
  return {shared.index(about), short_number(t.estimate.value), short_number(t.estimate.error)};
}

nlohmann::json config_json(const std::string& config, Shared& shared) {
  nlohmann::json list = nlohmann::json::array();
  for (const auto& line : split(config, '\n')) list.push_back(shared.index(line));
  return list;
}

// A list without keys, in the order of the page's table of Records.
nlohmann::json record_line(const Record& r) {
  return {r.metric,
          r.task,
          number_or_null(r.value),
          r.error ? number_or_null(*r.error) : nlohmann::json(nullptr),
          r.unit,
          r.n,
          r.seed,
          r.commit,
          r.time};
}

nlohmann::json row_json(const RoadmapRow& row, const std::vector<const Record*>& records, std::size_t per_row,
                        const PageOptions& options, Shared& shared) {
  nlohmann::json json = to_json(row);
  json["tasks"] = nlohmann::json::array();
  for (const TaskScore& t : row.tasks) json["tasks"].push_back(task_line(t, shared));
  json["at_paper_shapes"] = shared.index(json["at_paper_shapes"]);
  const auto sized = options.by_size.find({row.design, row.size});
  const auto any = options.details.find(row.design);
  if (sized != options.by_size.end() || any != options.details.end()) {
    const DesignDetails& details = sized != options.by_size.end() ? sized->second : any->second;
    json["config"] = config_json(details.config, shared);
    json["layers"] = layers_json(details.layers, shared);
  }
  nlohmann::json lines = nlohmann::json::array();
  for (std::size_t i = 0; i < std::min(per_row, records.size()); ++i) lines.push_back(record_line(*records[i]));
  json["records"] = lines;
  json["records_total"] = records.size();
  std::set<std::string> hashes, hosts;
  for (const Record* r : records) {
    if (!r->config_hash.empty()) hashes.insert(r->config_hash);
    if (!r->host.empty()) hosts.insert(r->host);
  }
  json["config_hash"] = hashes;
  json["hosts"] = nlohmann::json::array();
  for (const auto& host : hosts) json["hosts"].push_back(shared.index(host));
  return json;
}

nlohmann::json roadmap_json(const Roadmap& roadmap, const std::vector<Record>& records, const PageOptions& options, Shared& shared) {
  std::map<std::string, std::vector<const Record*>> of;
  for (const Record& r : records)
    if (r.size == roadmap.size && r.study == "roadmap") of[r.design].push_back(&r);
  const std::size_t per_row = std::clamp<std::size_t>(kRecordsInAll / std::max<std::size_t>(1, of.size()), 4, 200);
  nlohmann::json rows = nlohmann::json::array(), agreement = nlohmann::json::array();
  for (const RoadmapRow& row : roadmap.rows) rows.push_back(row_json(row, of[row.design], per_row, options, shared));
  for (const ColumnAgreement& c : roadmap.agreement)
    agreement.push_back({{"column", c.column},
                         {"tau", number_or_null(c.agreement.tau)},
                         {"low", number_or_null(c.agreement.low)},
                         {"high", number_or_null(c.agreement.high)},
                         {"p", number_or_null(c.agreement.p_value)},
                         {"n", c.agreement.n}});
  return {{"size", roadmap.size}, {"rows", rows}, {"agreement", agreement}, {"warnings", roadmap.warnings}, {"shapes_note", shapes_note(roadmap)}};
}

// The more curves, the fewer points each, within one budget.
nlohmann::json curves_json(const std::vector<Record>& records) {
  std::set<std::pair<std::string, std::uint64_t>> lines;
  for (const Record& r : records)
    if (r.study == "train" && r.metric == "loss") lines.insert({r.size + '\n' + r.design, r.seed});
  const std::size_t points = std::clamp<std::size_t>(kPointsInAll / std::max<std::size_t>(1, lines.size()), 20, 300);
  nlohmann::json curves = nlohmann::json::array();
  for (const Curve& c : loss_curves(records, points)) {
    nlohmann::json list = nlohmann::json::array();
    for (const Curve::Point& p : c.points) list.push_back({short_number(p.tokens), short_number(p.loss)});
    curves.push_back({{"design", c.design}, {"size", c.size}, {"seed", c.seed}, {"points", list}});
  }
  return curves;
}

nlohmann::json breakdowns_json(const std::vector<Breakdown>& all) {
  nlohmann::json list = nlohmann::json::array();
  for (const Breakdown& b : all) {
    if (list.size() == kBreakdownsInAll) break;
    nlohmann::json points = nlohmann::json::array();
    for (const Breakdown::Point& p : b.points)
      points.push_back({short_number(p.x), short_number(p.estimate.value), short_number(p.estimate.error), p.n});
    list.push_back({{"design", b.design},
                    {"size", b.size},
                    {"task", b.task},
                    {"by", b.by},
                    {"chance", number_or_null(b.chance)},
                    {"points", points}});
  }
  return list;
}

}  // namespace

nlohmann::json page_data(const std::vector<Record>& records, const std::vector<PaperRow>& paper,
                         const PageOptions& options) {
  std::string newest = options.generated;
  if (newest.empty())
    for (const Record& r : records) newest = std::max(newest, r.time);
  std::vector<std::string> sizes = roadmap_sizes(records);
  if (sizes.empty()) sizes.push_back("");
  const auto breakdowns = accuracy_breakdowns(records);
  Shared shared;
  nlohmann::json roadmaps = nlohmann::json::array();
  for (const std::string& size : sizes)
    roadmaps.push_back(roadmap_json(build_roadmap(records, paper, size), records, options, shared));
  return {{"title", options.title},
          {"generated", newest},
          {"roadmaps", roadmaps},
          {"curves", curves_json(records)},
          {"breakdowns", breakdowns_json(breakdowns)},
          {"breakdowns_left_out", breakdowns.size() - std::min(breakdowns.size(), kBreakdownsInAll)},
          {"shared", shared.list()}};
}

}  // namespace hymba::reports
