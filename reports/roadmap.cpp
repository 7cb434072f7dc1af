#include "reports/roadmap.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <set>
#include <tuple>

#include "base/error.h"
#include "base/text.h"

namespace hymba::reports {
namespace {

constexpr const char* kStudy = "roadmap";

bool is_curve_point(const Record& r) { return r.extra.contains("pairs") || r.extra.contains("distance"); }

// The Records of one design, by what they measure; a later one replaces an earlier one.
class DesignRecords {
 public:
  using Key = std::tuple<std::string, std::string, std::uint64_t>;  // metric, task, seed

  void add(const Record& record) {
    const Record*& kept = latest_[{record.metric, record.task, record.seed}];
    if (kept == nullptr || kept->time <= record.time) kept = &record;
  }
  const std::map<Key, const Record*>& all() const { return latest_; }

  std::vector<const Record*> of(const std::string& metric) const {
    std::vector<const Record*> list;
    for (const auto& [key, record] : latest_)
      if (std::get<0>(key) == metric) list.push_back(record);
    return list;
  }

  // The mean over seeds of a metric without a task; NaN for none.
  double value(const std::string& metric) const {
    std::vector<double> values;
    for (const Record* r : of(metric))
      if (!std::isnan(r->value)) values.push_back(r->value);
    return mean(values);
  }

 private:
  std::map<Key, const Record*> latest_;
};

// Repeats of one seed are already in a Record's min and max; seeds are combined here.
Speed speed_of(const DesignRecords& records, const std::string& metric) {
  Speed speed;
  std::vector<Sample> samples;
  for (const Record* r : records.of(metric)) {
    if (std::isnan(r->value)) continue;
    samples.push_back({metric, r->seed, r->value, r->error.value_or(kNaN)});
    speed.low = std::fmin(speed.low, extra_number(*r, "min", r->value));
    speed.high = std::fmax(speed.high, extra_number(*r, "max", r->value));
    speed.batch = static_cast<std::int64_t>(extra_number(*r, "batch", 0));
    speed.batch_asked = static_cast<std::int64_t>(extra_number(*r, "batch_asked", 0));
    speed.context = static_cast<std::int64_t>(extra_number(*r, "context", 0));
  }
  const Estimate estimate = combine_suite(samples);
  speed.value = estimate.value;
  speed.error = samples.size() > 1 ? estimate.seed_error : estimate.error;
  return speed;
}

// "acc" of a task, its perplexity and the like; throughput and cache have no task.
bool is_task_metric(const Record& r) { return !r.task.empty() && !is_curve_point(r); }

// Every task on its own, for the details of a row.
std::vector<TaskScore> task_scores(const DesignRecords& records) {
  std::map<std::pair<std::string, std::string>, std::vector<const Record*>> by_task;  // metric, task
  for (const auto& [key, r] : records.all())
    if (is_task_metric(*r)) by_task[{r->metric, r->task}].push_back(r);
  std::vector<TaskScore> scores;
  for (const auto& [key, list] : by_task) {
    TaskScore score{key.second, "", key.first, {}, kNaN, 0};
    std::vector<Sample> samples;
    for (const Record* r : list) {
      samples.push_back({r->task, r->seed, r->value, r->error.value_or(kNaN)});
      score.n += r->n;
      score.suite = extra_text(*r, "suite");
      score.chance = extra_number(*r, "chance", score.chance);
    }
    score.estimate = combine_suite(samples);
    scores.push_back(std::move(score));
  }
  return scores;
}

// The suite's column: see combine_suite for the formula.
Estimate suite_of(const DesignRecords& records, const std::string& suite) {
  std::vector<Sample> samples;
  for (const Record* r : records.of("acc"))
    if (is_task_metric(*r) && extra_text(*r, "suite") == suite)
      samples.push_back({r->task, r->seed, r->value, r->error.value_or(kNaN)});
  return combine_suite(samples);
}

// Tasks differ in their number of choices, so a suite's chance is the mean over those that were measured.
double suite_chance(const std::vector<TaskScore>& tasks, const std::string& suite) {
  std::vector<double> chances;
  for (const TaskScore& t : tasks) {
    if (t.suite != suite || t.metric != "acc" || !t.estimate.measured()) continue;
    if (std::isnan(t.chance)) return kNaN;  // the mean of half the tasks would mislead
    chances.push_back(t.chance);
  }
  return mean(chances);
}

// Names come from the ratio Record, so that a report needs no config reader.
void fill_names(RoadmapRow& row, const DesignRecords& records) {
  for (const Record* r : records.of("ratio")) {
    row.title = extra_text(*r, "title");
    row.group = extra_text(*r, "group");
    row.from = extra_text(*r, "from");
    row.ratio_text = extra_text(*r, "text");
    row.ratio = row.ratio_text.empty() ? r->value : ratio_value(row.ratio_text);
    if (row.ratio_text.empty() && !std::isnan(r->value)) row.ratio_text = fmt::format("1:{:.2f}", r->value);
  }
}

void fill_numbers(RoadmapRow& row, const DesignRecords& records) {
  row.was_run = !records.all().empty();
  row.tasks = task_scores(records);
  row.general = suite_of(records, "general");
  row.recall = suite_of(records, "recall");
  row.general_chance = suite_chance(row.tasks, "general");
  row.recall_chance = suite_chance(row.tasks, "recall");
  row.decode = speed_of(records, "decode_tok_s");
  row.prefill = speed_of(records, "prefill_tok_s");
  row.cache_mb_paper = records.value("cache_mb_paper");
  row.cache_mb_exact = records.value("cache_mb_exact");
  row.cache_mb_measured = records.value("cache_mb_measured");
  row.params_total = records.value("params_total");
  std::set<std::uint64_t> seeds;
  for (const auto& [key, r] : records.all()) {
    if (starts_with(r->metric, "cache_mb_"))
      row.cache_context = static_cast<std::int64_t>(extra_number(*r, "context", 0));
    if (is_task_metric(*r)) seeds.insert(r->seed);
  }
  row.seeds.assign(seeds.begin(), seeds.end());
}

// The paper's row that a design is: its own "row" of the ratio Record, or its name "row-09".
int row_number(const std::string& design, const DesignRecords& records) {
  for (const Record* r : records.of("ratio")) {
    const double row = extra_number(*r, "row", 0);
    if (row > 0) return static_cast<int>(row);
  }
  return paper_row_of(design);
}

// Where there are no Records, the paper's title and group stand and every number is NaN.
RoadmapRow make_row(const std::string& design, const std::string& size, const DesignRecords& records,
                    const PaperRow* paper) {
  RoadmapRow row;
  row.design = design;
  row.size = size;
  fill_names(row, records);
  fill_numbers(row, records);
  if (paper != nullptr) {
    row.paper = *paper;
    row.row = paper->row;
    if (row.title.empty()) row.title = paper->title;
    if (row.group.empty()) row.group = paper->group;
  }
  if (row.title.empty()) row.title = design;
  if (row.group.empty()) row.group = "Own designs";
  return row;
}

// Only the paper's rows take part; own designs have nothing to be compared with.
void fill_agreement(Roadmap& roadmap) {
  struct Pair {
    const char* name;
    double (*ours)(const RoadmapRow&);
    double (*paper)(const PaperRow&);
  };
  const Pair pairs[] = {{"Attention : Mamba ratio", shown_ratio,
                         [](const PaperRow& p) { return ratio_value(p.ratio); }},
                        {"General accuracy", [](const RoadmapRow& r) { return r.general.value; },
                         [](const PaperRow& p) { return p.general; }},
                        {"Recall accuracy", [](const RoadmapRow& r) { return r.recall.value; },
                         [](const PaperRow& p) { return p.recall; }},
                        {"Decode throughput", shown_decode,
                         [](const PaperRow& p) { return p.throughput_tok_s; }},
                        {"Cache, the paper's count", shown_cache,
                         [](const PaperRow& p) { return p.cache_mb; }},
                        {"Cache, exact", shown_cache_exact,
                         [](const PaperRow& p) { return p.cache_mb; }}};
  for (const Pair& pair : pairs) {
    std::vector<double> ours, theirs;
    for (const RoadmapRow& row : roadmap.rows) {
      if (!row.paper) continue;
      ours.push_back(pair.ours(row));
      theirs.push_back(pair.paper(*row.paper));
    }
    roadmap.agreement.push_back({pair.name, kendall(ours, theirs)});
  }
}

}  // namespace

std::vector<std::string> roadmap_sizes(const std::vector<Record>& records) {
  std::map<std::string, int> counts;
  for (const Record& r : records)
    if (r.study == kStudy) ++counts[r.size];
  std::vector<std::string> sizes;
  for (const auto& [size, count] : counts) sizes.push_back(size);
  std::stable_sort(sizes.begin(), sizes.end(),
                   [&](const std::string& a, const std::string& b) { return counts[a] > counts[b]; });
  return sizes;
}

Roadmap build_roadmap(const std::vector<Record>& records, const std::vector<PaperRow>& paper, std::string size) {
  const std::vector<std::string> sizes = roadmap_sizes(records);
  if (size.empty() && !sizes.empty()) size = sizes[0];
  std::map<std::string, DesignRecords> designs;
  std::vector<std::string> order;
  for (const Record& r : records) {
    if (r.study != kStudy || r.size != size || is_curve_point(r)) continue;
    if (designs.find(r.design) == designs.end()) order.push_back(r.design);
    designs[r.design].add(r);
  }
  Roadmap roadmap;
  roadmap.size = size;
  std::map<int, std::string> design_of;  // the paper's row number -> the first design that claims it
  for (const std::string& design : order) design_of.emplace(row_number(design, designs[design]), design);
  std::set<std::string> placed;
  for (const PaperRow& p : paper) {
    const auto it = design_of.find(p.row);
    const std::string design = it != design_of.end() ? it->second : fmt::format("row-{:02}", p.row);
    placed.insert(design);
    roadmap.rows.push_back(make_row(design, size, designs[design], &p));
  }
  for (const std::string& design : order)
    if (placed.count(design) == 0) roadmap.rows.push_back(make_row(design, size, designs[design], nullptr));
  add_paper_shapes(roadmap, records);
  add_warnings(roadmap, records);
  fill_agreement(roadmap);
  return roadmap;
}

double extra_number(const Record& record, const char* key, double fallback) {
  const auto it = record.extra.find(key);
  return it != record.extra.end() && it->is_number() ? it->get<double>() : fallback;
}

std::string extra_text(const Record& record, const char* key) {
  const auto it = record.extra.find(key);
  return it != record.extra.end() && it->is_string() ? it->get<std::string>() : "";
}

}  // namespace hymba::reports
