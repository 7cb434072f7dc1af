// What the tests of the tasks share: the shared folder, the task files, and a scorer that repeats given results.
#pragma once

#include <cstdlib>
#include <filesystem>
#include <vector>

#include "base/shared_folder.h"
#include "eval/scoring.h"

namespace hymba::eval {

inline const std::vector<TaskDefinition>& all_tasks() {
  static const auto tasks = load_task_definitions(std::filesystem::path(HYMBA_SOURCE_DIR) / "eval" / "tasks");
  return tasks;
}

// Gives the results it was given, in order, and keeps the requests.
class ReplayScorer final : public Scorer {
 public:
  std::vector<LoglikelihoodResult> loglikelihood(std::span<const LoglikelihoodRequest> requests) override {
    asked.assign(requests.begin(), requests.end());
    return results;
  }
  std::vector<std::vector<std::int32_t>> generate(std::span<const GenerateRequest> requests) override {
    prompts.assign(requests.begin(), requests.end());
    return answers;
  }
  std::vector<LoglikelihoodResult> results;
  std::vector<std::vector<std::int32_t>> answers;
  std::vector<LoglikelihoodRequest> asked;
  std::vector<GenerateRequest> prompts;
};

}  // namespace hymba::eval
