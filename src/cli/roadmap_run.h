// One row of the roadmap at one seed: train, score, measure. The steps of `hymba roadmap`, shared with its loop.
#pragma once

#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "cli/context.h"
#include "eval/world_suite.h"
#include "reports/roadmap.h"
#include "results/record.h"

namespace hymba::cli {

// The tasks of a study, loaded once for all rows.
struct TaskSet {
  struct Task {
    eval::WorldSuite suite;              // definition, items, and the meta of the world's items
    std::vector<eval::Item> shot_pool;
  };
  std::vector<Task> tasks;
  std::uint64_t hash = 0;  // of which tasks and items these are
};
TaskSet world_tasks(const data::World& world, int items);
// Real tasks below the folders of --tasks; a task whose files are in none of them is left out and named in `missing`.
TaskSet real_tasks(const std::vector<std::string>& folders, const std::string& words, int items, std::vector<std::string>* missing);

struct RowJob {
  const Design* design = nullptr;
  const Recipe* recipe = nullptr;
  const MeasureConfig* measure = nullptr;
  const DataChoice* data = nullptr;
  const TokenSource* source = nullptr;  // of `data` at `seed`
  const TaskSet* tasks = nullptr;
  std::uint64_t seed = 0;
  std::filesystem::path run;                       // checkpoints
  std::function<void(double fraction, const std::string& note)> progress;
};

// Hash of all that decides a row's numbers; a row that is done under it is not run again.
std::string row_hash(const RowJob& job);
// Trains (or goes on training) and measures; every Record of the row, the last one of metric "done".
std::vector<Record> run_row(const RowJob& job);

// The whole command but its output: trains and measures what is not done yet, writes page and tables.
struct RoadmapOutcome {
  reports::Roadmap roadmap;
  std::vector<std::string> files;
};
RoadmapOutcome run_roadmap(const Invocation& invocation);

}  // namespace hymba::cli
