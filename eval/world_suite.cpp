#include "eval/world_suite.h"

#include <algorithm>
#include <numeric>

#include "base/error.h"

namespace hymba::eval {
namespace {

TaskKind kind_of(const std::string& name) {
  if (name == "multiple_choice") return TaskKind::kMultipleChoice;
  if (name == "partial") return TaskKind::kPartial;
  if (name == "completion") return TaskKind::kCompletion;
  fail("the synthetic world has a task of unknown kind '{}'", name);
}

}  // namespace

std::vector<WorldSuite> world_suite(const data::World& world, int items) {
  std::vector<WorldSuite> suites;
  for (const auto& task : world.tasks(items)) {
    WorldSuite suite;
    auto& d = suite.definition;
    d.name = task.name;
    d.title = task.name;
    d.manner = "in the manner of " + task.manner_of;
    d.kind = kind_of(task.kind);
    d.suite = task.suite;
    d.chance = task.chance;
    d.max_new_tokens = 2;  // answers are one word
    for (std::size_t i = 0; i < task.items.size(); ++i) {
      const auto& from = task.items[i];
      Item item;
      item.id = std::to_string(i);
      item.contexts = from.contexts;
      item.choices = from.choices;
      if (d.kind == TaskKind::kPartial) item.choices.resize(1);
      item.gold = from.gold;
      item.prompt = from.prompt;
      item.answer = from.answer;
      suite.items.push_back(std::move(item));
      suite.meta.push_back(from.meta);
    }
    suites.push_back(std::move(suite));
  }
  return suites;
}

std::vector<MetaClass> accuracy_by(const WorldSuite& suite, const TaskResult& result, const std::string& key, std::size_t least) {
  std::vector<std::pair<double, double>> scored;  // meta value, score
  for (std::size_t i = 0; i < suite.meta.size(); ++i) {
    if (!suite.meta[i].contains(key) || !suite.meta[i][key].is_number()) continue;
    const auto& value = result.samples.at(i).at(result.main_metric);
    scored.emplace_back(suite.meta[i][key].get<double>(), value.is_boolean() ? (value.get<bool>() ? 1.0 : 0.0) : value.get<double>());
  }
  std::sort(scored.begin(), scored.end());
  std::vector<MetaClass> classes;
  for (std::size_t i = 0; i < scored.size();) {
    std::size_t end = std::min(scored.size(), i + least);
    while (end < scored.size() && scored[end].first == scored[end - 1].first) ++end;  // equal values stay together
    if (scored.size() - end < least) end = scored.size();
    std::vector<double> scores;
    MetaClass c;
    c.low = scored[i].first;
    c.high = scored[end - 1].first;
    for (; i < end; ++i) {
      scores.push_back(scored[i].second);
      c.mean += scored[i].first;
    }
    c.mean /= static_cast<double>(scores.size());
    c.metric = mean_of(scores);
    classes.push_back(c);
  }
  return classes;
}

}  // namespace hymba::eval
