// The synthetic world's ten tasks as the harness runs them.
#pragma once

#include <string>
#include <vector>

#include "data/world.h"
#include "eval/scoring.h"
#include "eval/task.h"

namespace hymba::eval {

struct WorldSuite {
  TaskDefinition definition;
  std::vector<Item> items;
  std::vector<nlohmann::json> meta;  // of each item: pairs, distance
};

std::vector<WorldSuite> world_suite(const data::World& world, int items);

// Accuracy of a recall task by what its items' meta says ("pairs" or "distance"), in classes of at least `least` items.
struct MetaClass {
  double low = 0, high = 0, mean = 0;  // of the meta value
  Metric metric;
};
std::vector<MetaClass> accuracy_by(const WorldSuite& suite, const TaskResult& result, const std::string& key, std::size_t least);

}  // namespace hymba::eval
