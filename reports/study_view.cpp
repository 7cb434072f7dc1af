#include <algorithm>
#include <cmath>
#include <set>

#include "base/error.h"
#include "reports/study_figures.h"

namespace hymba::reports {
namespace {

// "row 9, 8) + cross-layer KV sharing". Seeds are named where designs have not equally many ("(3 seeds)"; the caption names
// them else), one seed where it is not the first.
std::string model_name(const Record& r, int row, const std::set<std::uint64_t>& seeds, bool even) {
  std::string title = extra_text(r, "title");
  if (title.empty()) title = r.design;
  std::string name = row > 0 ? fmt::format("row {}, {}", row, title) : title == r.design ? title : fmt::format("{}, {}", r.design, title);
  if (seeds.size() > 1) return even ? name : name + fmt::format(" ({} seeds)", seeds.size());
  return *seeds.begin() == 0 ? name : name + fmt::format(" (seed {})", *seeds.begin());
}

// How many seeds designs have: one number where all have equally many.
std::set<std::size_t> seed_counts(const StudyView& view) {
  std::set<std::size_t> counts;
  for (const auto& [key, n] : view.seeds) counts.insert(n);
  return counts;
}

// A mean over one seed beside means over three is said aloud, not only in the name.
void note_uneven_seeds(StudyView& view) {
  const auto counts = seed_counts(view);
  std::string list;
  if (counts.size() < 2) return;
  for (const auto& [key, n] : view.seeds)
    if (n < *counts.rbegin()) list += fmt::format("{}{} ({})", list.empty() ? "" : ", ", key.row > 0 ? fmt::format("row {}", key.row) : key.design, n);
  view.notes.push_back(fmt::format("Not every design has {} seeds here: {}.", *counts.rbegin(), list));
}

}  // namespace

StudyView view_study(const std::vector<Record>& records, const std::string& study) {
  StudyView view;
  using Piece = std::pair<ModelKey, std::string>;  // model and task
  struct Run {
    std::string hash, time;
    std::size_t hashes = 0;
  };
  std::map<Piece, Run> newest;
  std::map<Piece, std::set<std::string>> hashes, commits;
  const auto key_of = [](const Record& r) {
    const double row = extra_number(r, "row", 0);
    return ModelKey{static_cast<int>(row), r.design, r.size, r.seed};
  };
  for (const auto& r : records) {
    if (r.study != study) continue;
    const Piece piece{key_of(r), r.task};
    hashes[piece].insert(r.config_hash);
    Run& run = newest[piece];
    if (run.hash.empty() || r.time >= run.time) run.hash = r.config_hash, run.time = std::max(run.time, r.time);
  }
  std::set<std::string> several;
  std::map<ModelKey, std::vector<const Record*>> shown;
  std::map<ModelKey, std::set<std::uint64_t>> seeds;
  for (const auto& r : records) {
    if (r.study != study) continue;
    ModelKey key = key_of(r);
    const Piece piece{key, r.task};
    if (newest[piece].hash != r.config_hash) continue;
    commits[piece].insert(r.commit);
    seeds[key.of_all_seeds()].insert(key.seed);
    shown[key.of_all_seeds()].push_back(&r);
  }
  for (const auto& [key, set] : seeds) view.seeds[key] = set.size();
  const bool even = seed_counts(view).size() == 1;
  for (const auto& [key, list] : shown) {
    view.models[key] = combine_seeds(list);
    view.names[key] = model_name(*list.front(), key.row, seeds[key], even);
    view.labels[key] = key.row > 0 ? std::to_string(key.row) : key.design;
  }
  view.single = std::move(shown);
  note_uneven_seeds(view);
  for (const auto& [piece, set] : hashes) {
    const auto& name = view.names[piece.first.of_all_seeds()];
    if (set.size() > 1 && several.insert(name).second)
      view.notes.push_back(fmt::format("{}: measured under {} sets of options; the newest one is shown.", name, set.size()));
  }
  for (const auto& [piece, set] : commits) {
    if (set.size() > 1) {
      view.notes.push_back(fmt::format(
          "{}{}: Records of one run come from {} commits ({}); they may contradict each other.",
          view.names[piece.first.of_all_seeds()], piece.second.empty() ? "" : ", " + piece.second, set.size(), fmt::join(set, ", ")));
    }
  }
  return view;
}

std::vector<bool> pareto_front(const std::vector<std::vector<double>>& values) {
  std::vector<bool> front(values.size(), true);
  for (std::size_t i = 0; i < values.size(); ++i) {
    for (const double v : values[i]) front[i] = front[i] && !std::isnan(v);
    for (std::size_t j = 0; j < values.size() && front[i]; ++j) {
      bool no_worse = j != i, better = false;
      for (std::size_t k = 0; k < values[i].size(); ++k) {
        no_worse = no_worse && values[j][k] >= values[i][k];  // false for NaN
        better = better || values[j][k] > values[i][k];
      }
      if (no_worse && better) front[i] = false;
    }
  }
  return front;
}

std::vector<Figure> study_figures(const std::vector<Record>& records) {
  std::vector<Figure> all;
  const auto add = [&](std::vector<Figure> figures, const StudyView& view) {
    const auto counts = seed_counts(view);
    const std::size_t seeds = *counts.begin();
    for (auto& figure : figures) {
      if (counts.size() == 1 && seeds > 1)
        figure.caption += figure.id == "composed-map" ? " The first seed's." : fmt::format(" {} seeds a design.", seeds);
      if (&figure == &figures.front()) figure.notes.insert(figure.notes.end(), view.notes.begin(), view.notes.end());
      all.push_back(std::move(figure));
    }
  };
  using Make = std::vector<Figure> (*)(const StudyView&);
  const std::pair<const char*, Make> studies[] = {
      {"heads", head_figures},          {"needle", needle_figures},        {"erf", field_figures},
      {"attention", attention_figures}, {"magnitudes", magnitude_figures}, {"curves", curve_figures}};
  for (const auto& [study, make] : studies) {
    const auto view = view_study(records, study);
    if (!view.models.empty()) add(make(view), view);
  }
  return all;
}

}  // namespace hymba::reports
