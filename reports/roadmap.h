// From Records to the roadmap: one row a design, the paper's row beside it.
#pragma once

#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "reports/paper.h"
#include "reports/statistics.h"
#include "results/record.h"

namespace hymba::reports {

struct Speed {
  double value = kNaN;  // tokens/s, mean over seeds
  double error = kNaN;  // over seeds; of a single seed the Record's own
  double low = kNaN;    // smallest and largest of all repeats
  double high = kNaN;
  std::int64_t batch = 0;
  std::int64_t batch_asked = 0;  // larger than batch where memory forced a smaller one
  std::int64_t context = 0;
};

struct TaskScore {
  std::string task;
  std::string suite;   // "general", "recall", or "" where it counts in neither
  std::string metric;  // "acc", "perplexity" ...
  Estimate estimate;
  double chance = kNaN;
  std::int64_t n = 0;  // items, summed over seeds
};

// The same design at the paper's shapes, as far as Records of `shapes` and `throughput` have it; and whether that is
// what the columns of ratio and cache (counted) and of decode speed (timed) show, the same in all rows.
struct PaperShapes {
  bool counted = false, timed = false;
  std::string ratio_text;
  double ratio = kNaN, cache_mb = kNaN, cache_mb_exact = kNaN, params_total = kNaN;
  std::int64_t cache_context = 0;
  Speed decode;
  std::string dtype;
};

struct RoadmapRow {
  int row = 0;  // of the paper's table, 0 for a design of the user's own
  std::string design, title, group, from, size;
  std::string ratio_text;  // "1:8.48"
  double ratio = kNaN;     // Mamba per attention; infinite for "0:1"
  Estimate general, recall;
  double general_chance = kNaN, recall_chance = kNaN;
  Speed decode, prefill;
  double cache_mb_paper = kNaN, cache_mb_exact = kNaN, cache_mb_measured = kNaN;
  std::int64_t cache_context = 0;
  double params_total = kNaN;
  std::vector<std::uint64_t> seeds;
  std::vector<TaskScore> tasks;
  std::optional<PaperRow> paper;
  PaperShapes at_paper;
  bool was_run = false;  // any Record of it at all
};

struct ColumnAgreement {
  std::string column;  // "General accuracy" ...
  Agreement agreement;
};

struct Roadmap {
  std::string size;
  std::vector<RoadmapRow> rows;  // the paper's rows in order, run or not, then own designs as they appear
  std::vector<ColumnAgreement> agreement;
  std::vector<std::string> warnings;  // e.g. a suite that lacks a task in one row
};

// The sizes that roadmap Records have, the one with most Records first.
std::vector<std::string> roadmap_sizes(const std::vector<Record>& records);

// The rows of one size ("": the first of roadmap_sizes). Of two Records of one metric, task and seed the later counts.
// Records that are points of a curve (extra "pairs" or "distance") belong to the figures and not to the suites.
Roadmap build_roadmap(const std::vector<Record>& records, const std::vector<PaperRow>& paper, std::string size = "");

// Called by build_roadmap once the rows are there.
void add_paper_shapes(Roadmap& roadmap, const std::vector<Record>& records);
void add_warnings(Roadmap& roadmap, const std::vector<Record>& records);

// What tables put beside the paper's columns: at the paper's shapes where that is known, else of the roadmap's own
// size.
double shown_ratio(const RoadmapRow& row);
std::string shown_ratio_text(const RoadmapRow& row);
double shown_cache(const RoadmapRow& row);
double shown_cache_exact(const RoadmapRow& row);
double shown_decode(const RoadmapRow& row);
// Says which columns are of the paper's shapes; empty for none.
std::string shapes_note(const Roadmap& roadmap);

// The keys of CLI.md's `roadmap`. Accuracies are fractions, the paper's too; what was not measured is null.
nlohmann::json to_json(const RoadmapRow& row);

// Reading `extra`, which is free: the fallback where a key is missing or of another type.
double extra_number(const Record& record, const char* key, double fallback = kNaN);
std::string extra_text(const Record& record, const char* key);

// null for NaN and infinity.
nlohmann::json number_or_null(double value);

}  // namespace hymba::reports
