// Figures of the studies that score: head removal, needle in a haystack.
#include <algorithm>
#include <cmath>
#include <set>

#include "base/error.h"
#include "reports/study_figures.h"
#include "reports/study_text.h"

namespace hymba::reports {
namespace {

constexpr std::size_t kModels = 14, kTasks = 12;  // panels of one figure

struct Removed {
  double difference = kNaN, error = kNaN;
};
using ByBranch = std::map<std::pair<int, std::string>, Removed>;  // layer, branch

// The box ends where the few largest bars would flatten all others; bars beyond carry their value as text.
double box_of(const std::vector<const ByBranch*>& list) {
  std::vector<double> sizes;
  for (const auto* bars : list) {
    for (const auto& [key, bar] : *bars) {
      if (std::isfinite(bar.difference))
        sizes.push_back(std::abs(bar.difference) + (std::isfinite(bar.error) ? bar.error : 0));
    }
  }
  if (sizes.empty()) return 0.1;
  std::sort(sizes.begin(), sizes.end());
  const double typical = 1.8 * sizes[sizes.size() * 3 / 4];
  return std::max(0.01, sizes.back() > 1.7 * typical ? typical : 1.08 * sizes.back());
}

Panel removal_panel(const std::string& title, const ByBranch& bars, int layers) {
  Panel panel;
  panel.title = title;
  panel.x.label = "layer";
  for (int l = 0; l < layers; ++l) panel.x.categories.push_back(std::to_string(l));
  const double box = box_of({&bars});
  panel.y = {.label = "accuracy without it minus intact, points",
             .low = -box,
             .high = std::max(0.35 * box, 0.005),
             .percent = true};
  double highest = 0;
  for (const auto& [key, bar] : bars)
    highest = std::max(highest, bar.difference + (std::isfinite(bar.error) ? bar.error : 0));
  panel.y.high = std::min(box, std::max(panel.y.high, 1.08 * highest));
  for (const auto& [branch, color] : {std::pair<const char*, int>{"attention", 0}, {"ssm", 3}}) {
    Series series{
        branch == std::string("ssm") ? "SSM branch removed" : "attention branch removed", color, Look::kBars, {}};
    for (const auto& [key, bar] : bars) {
      if (key.second != branch) continue;
      series.marks.push_back({.x = static_cast<double>(key.first),
                              .y = bar.difference,
                              .error = bar.error,
                              .tip = fmt::format("Layer {}, {}|difference: {}{} points", key.first,
                                                 branch == std::string("ssm") ? "SSM" : branch,
                                                 points_text(bar.difference), error_text(100 * bar.error, 3))});
    }
    if (!series.marks.empty()) panel.series.push_back(std::move(series));
  }
  return panel;
}

// Mean over tasks (see combine_suite): items of different tasks are independent, a seed is the same in all of them.
ByBranch average(const std::vector<const Record*>& records, std::size_t tasks) {
  std::map<std::pair<int, std::string>, std::vector<Sample>> lists;
  for (const Record* r : records) {
    if (extra_int(*r, "layer") < 0 || extra_int(*r, "head") >= 0) continue;
    lists[{extra_int(*r, "layer"), extra_text(*r, "branch")}].push_back({r->task, r->seed, extra_number(*r, "difference"), extra_number(*r, "stderr")});
  }
  ByBranch mean;
  for (const auto& [key, samples] : lists) {
    const auto e = combine_suite(samples);
    if (e.tasks == tasks) mean[key] = {e.value, e.error};  // a task is missing: no mean over fewer
  }
  return mean;
}

}  // namespace

std::vector<Figure> head_figures(const StudyView& view) {
  std::vector<Figure> figures;
  for (const auto& [model, records] : view.models) {
    std::map<std::string, ByBranch> tasks;
    std::map<std::pair<int, int>, std::vector<double>> heads;  // layer, head -> differences by task
    int layers = 0, most_heads = 0;
    std::string mode, rest;
    Figure figure;
    figure.table = {{"layer", "branch", "head", "task", "value", "baseline", "difference", "stderr", "n", "seeds"}};
    double speedup = kNaN;
    for (const auto& r : records) {
      const int layer = extra_int(r, "layer"), head = extra_int(r, "head");
      if (r.metric == "speedup") speedup = std::isfinite(speedup) ? std::min(speedup, r.value) : r.value;
      if (layer < 0) continue;
      const std::string branch = extra_text(r, "branch");
      layers = std::max({layers, layer + 1, extra_int(r, "layers", 0)});
      mode = extra_text(r, "mode"), rest = extra_text(r, "fusion");
      const double difference = extra_number(r, "difference"), error = extra_number(r, "stderr");
      if (head < 0) {
        tasks[r.task][{layer, branch}] = {difference, error};
      } else if (branch == "attention") {
        heads[{layer, head}].push_back(difference);
        most_heads = std::max(most_heads, head + 1);
      }
      figure.table.push_back({std::to_string(layer), branch, head < 0 ? "all" : std::to_string(head), r.task,
                              number_text(r.value, 6), number_text(extra_number(r, "baseline"), 6),
                              number_text(difference, 6), number_text(error, 4), std::to_string(r.n), seeds_text(r)});
    }
    if (tasks.empty() && heads.empty()) continue;
    figure.id = "heads-" + id_text(model.design);
    figure.title = "Head removal: " + view.names.at(model);
    figure.caption = fmt::format(
        "Accuracy of the model without one branch of one layer minus the intact model's, on the same items; whiskers: "
        "one standard error of the paired "
        "difference, over items and seeds. In the removed branch's place: {}. A bar that leaves the box carries its value in points. As "
        "figures 3 and 13 of the paper.{}",
        mode == "mean"    ? "its mean output over tokens"
        : rest == "whole" ? "nothing, and the other branch is taken whole"
                          : "nothing; the other branch keeps its half of the mean",
        std::isfinite(speedup) ? fmt::format(" Computing the layers below a removal once for all of them took 1/{:.1f} of the time of running each on its own.", speedup) : "");
    if (tasks.size() > 1)
      figure.panels.push_back(removal_panel(fmt::format("Mean of {} tasks", tasks.size()), average(view.single.at(model), tasks.size()), layers));
    for (const auto& [task, bars] : tasks) {
      if (figure.panels.size() < kTasks) figure.panels.push_back(removal_panel(task, bars, layers));
    }
    if (!heads.empty()) {
      Panel panel;
      panel.title = "Single attention heads: drop, points, mean of tasks";
      panel.x.label = "head";
      panel.y.label = "layer";
      Heat heat;
      heat.percent = true;
      heat.numbers = most_heads <= 12;
      heat.high = 0.005;
      for (int h = 0; h < most_heads; ++h) heat.columns.push_back(std::to_string(h));
      for (int l = 0; l < layers; ++l) {
        heat.rows.push_back(std::to_string(l));
        heat.values.emplace_back();
        for (int h = 0; h < most_heads; ++h) {
          const auto found = heads.find({l, h});
          heat.values.back().push_back(found == heads.end() ? kNaN : -mean(found->second));
          if (found != heads.end()) heat.high = std::max(heat.high, heat.values.back().back());
        }
      }
      panel.heat = std::move(heat);
      figure.panels.push_back(std::move(panel));
    }
    figures.push_back(std::move(figure));
    if (figures.size() == kModels) break;
  }
  // Models that share no task cannot be compared with each other.
  std::set<std::string> common, first;
  bool begun = false;
  for (const auto& [model, records] : view.models) {
    std::set<std::string> own;
    for (const auto& r : records) own.insert(r.task);
    if (!begun) common = own;
    std::set<std::string> both;
    std::set_intersection(common.begin(), common.end(), own.begin(), own.end(), std::inserter(both, both.begin()));
    common = both;
    begun = true;
  }
  if (view.models.size() > 1 && common.empty() && !figures.empty())
    figures.front().notes.push_back(
        "The models of this study have no task in common; their bars cannot be compared with each other.");
  return figures;
}

std::vector<Figure> needle_figures(const StudyView& view) {
  Figure maps, lines;
  maps.id = "needle";
  maps.title = "Needle in a haystack";
  maps.caption =
      "Share of items in which the right value is the likeliest, by length of the text and depth of the needle (0: at "
      "its start). The line stands before lengths that no "
      "training sequence had. As figure 10 of the paper.";
  maps.table = {{"model", "length", "depth", "accuracy", "stderr", "n", "chance", "training length", "seeds"}};
  lines.id = "needle-length";
  lines.title = "Needle in a haystack: mean over depths";
  lines.caption = "Whiskers: one standard error over needles and seeds. Dashed: chance. Vertical: the length of training sequences.";
  lines.table = {{"model", "length", "accuracy", "stderr", "n", "seeds"}};
  Panel all;
  all.x = {.label = "length, tokens (log)", .log = true};
  all.y = {.label = "accuracy, %", .low = 0, .percent = true};
  double best = 0.1;
  int color = 0;
  for (const auto& [model, records] : view.models) {
    std::map<int, std::map<double, const Record*>> cells;  // length, depth
    std::set<double> depths;
    double trained = 0;
    for (const auto& r : records) {
      const int length = extra_int(r, "length");
      const double depth = extra_number(r, "depth");
      if (length <= 0 || !std::isfinite(depth)) continue;
      cells[length][depth] = &r;
      depths.insert(depth);
      trained = std::max(trained, extra_number(r, "train_length", 0));
      all.level = extra_number(r, "chance", all.level);
      maps.table.push_back({view.names.at(model), std::to_string(length), number_text(depth), number_text(r.value),
                            number_text(error_of(r)), std::to_string(r.n), number_text(extra_number(r, "chance")),
                            trained > 0 ? number_text(trained) : "not known", seeds_text(r)});
    }
    if (cells.empty()) continue;
    Panel panel;
    panel.title = title_text(view.names.at(model));
    panel.x.label = "length, tokens";
    panel.y.label = "depth";
    Heat heat;
    heat.percent = heat.numbers = true;
    Series mean_line{.name = view.names.at(model), .color = color++, .label = view.labels.at(model)};
    for (const double d : depths) heat.rows.push_back(fmt::format("{:.2f}", d)), heat.values.emplace_back();
    for (const auto& [length, column] : cells) {
      if (trained > 0 && length > trained && heat.line_before < 0)
        heat.line_before = static_cast<double>(heat.columns.size());
      heat.columns.push_back(std::to_string(length));
      std::size_t row = 0;
      for (const double d : depths) {
        const auto found = column.find(d);
        heat.values[row++].push_back(found == column.end() ? kNaN : found->second->value);
      }
    }
    for (const auto& r : records) {
      if (r.metric != "acc_mean") continue;
      const double length = extra_number(r, "length");
      best = std::max(best, r.value + r.error.value_or(0));
      mean_line.marks.push_back({.x = length,
                                 .y = r.value,
                                 .error = error_of(r),
                                 .tip = fmt::format("{}|length: {}|accuracy: {}{}", view.names.at(model), length, fraction_text(r.value), error_text(100 * error_of(r)))});
      lines.table.push_back({view.names.at(model), number_text(length, 7), number_text(r.value), number_text(error_of(r)), std::to_string(r.n), seeds_text(r)});
    }
    heat.line_text = "trained to " + number_text(trained);
    panel.heat = std::move(heat);
    if (maps.panels.size() < kModels) maps.panels.push_back(std::move(panel));
    if (trained > 0 && all.stages.empty()) all.stages.emplace_back(trained, "training");
    all.series.push_back(std::move(mean_line));
  }
  all.y.high = std::min(1.02, best + 0.1);
  lines.panels.push_back(std::move(all));
  if (maps.panels.empty()) return {};
  return {maps, lines};
}

}  // namespace hymba::reports
