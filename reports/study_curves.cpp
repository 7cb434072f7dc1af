// Figures of training curves and of the trade-off between accuracy, cache and throughput.
#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "reports/study_figures.h"
#include "reports/study_text.h"

namespace hymba::reports {

std::vector<Figure> curve_figures(const StudyView& view) {
  Figure figure;
  figure.id = "curves";
  figure.title = "Loss and learning rate over tokens";
  figure.caption =
      "Training loss (lines), loss on held-out text (dashed; points with one standard error where only the end was measured) and learning "
      "rate, means over seeds. Vertical: where a stage begins. As figure 14 of the paper.";
  figure.table = {{"model", "tokens", "what", "value", "stderr", "stage", "seeds"}};
  Panel loss, rate;
  loss.title = "Loss";
  rate.title = "Learning rate";
  loss.x.label = rate.x.label = "tokens";
  loss.y.label = "nats a token";
  rate.y = {.label = "learning rate", .low = 0};
  int color = 0;
  for (const auto& [model, records] : view.models) {
    Series line{.name = view.names.at(model), .color = color, .label = view.labels.at(model)}, lr = line,
        held{"held-out text", color, Look::kPoints, {}};
    ++color;
    lr.label.clear();  // the rates of all designs are often one line
    std::map<double, const Record*> points;
    for (const auto& r : records) {
      const double tokens = extra_number(r, "tokens");
      if (!std::isfinite(tokens)) continue;
      figure.table.push_back({view.names.at(model), number_text(tokens, 9), r.metric, number_text(r.value, 6),
                              number_text(error_of(r)), extra_text(r, "stage"), seeds_text(r)});
      if (r.metric == "loss") points[tokens] = &r;
      if (r.metric == "validation_loss") {
        held.marks.push_back(
            {.x = tokens,
             .y = r.value,
             .error = error_of(r),
             .tip = fmt::format("{}|held-out loss: {}{}|tokens: {}", view.names.at(model), number_text(r.value),
                                error_text(error_of(r)), number_text(tokens, 6))});
      }
    }
    std::string stage;
    std::size_t i = 0;
    const std::size_t every = std::max<std::size_t>(1, points.size() / 120);
    for (const auto& [tokens, r] : points) {
      const std::string now = extra_text(*r, "stage");
      if (now != stage && color == 1 && !now.empty()) {
        for (Panel* p : {&loss, &rate}) p->stages.emplace_back(tokens, now);
      }
      stage = now;
      if (i++ % every != 0 && i != points.size()) continue;
      line.marks.push_back({.x = tokens,
                            .y = r->value,
                            .tip = fmt::format("{}|loss: {}|tokens: {}|stage: {}", view.names.at(model),
                                               number_text(r->value), number_text(tokens, 6), now)});
      lr.marks.push_back({.x = tokens,
                          .y = extra_number(*r, "lr"),
                          .tip = fmt::format("{}|learning rate: {}|tokens: {}", view.names.at(model),
                                             number_text(extra_number(*r, "lr")), number_text(tokens, 6))});
    }
    std::sort(held.marks.begin(), held.marks.end(), [](const Mark& a, const Mark& b) { return a.x < b.x; });
    if (held.marks.size() > 1) held.look = Look::kLine, held.dashed = true;
    loss.series.push_back(std::move(line));
    if (!held.marks.empty()) loss.series.push_back(std::move(held));
    if (color <= 7) rate.series.push_back(std::move(lr));
  }
  figure.panels = {std::move(loss), std::move(rate)};
  return {figure};
}

namespace {

struct Place {
  double cost = kNaN, accuracy = kNaN, error = kNaN, third = kNaN;
  std::string name, label;
  int color = 0;
};

// Points of one source and the line along those that no other one beats. cost_sign -1: less is better.
void add_points(Panel& panel, const std::string& source, const std::vector<Place>& places, double cost_sign, Look look,
                const std::string& cost_name, const std::string& third_name) {
  double largest = 1e-12;
  for (const auto& p : places) {
    if (std::isfinite(p.third)) largest = std::max(largest, p.third);
  }
  Series points{source, look == Look::kPoints ? 0 : 4, look, {}};
  std::vector<std::vector<double>> values;
  for (const auto& p : places) {
    values.push_back({cost_sign * p.cost, p.accuracy});
    points.marks.push_back(
        {.x = p.cost > 0 ? p.cost : kNaN,
         .y = p.accuracy,
         .error = p.error,
         .size = std::isfinite(p.third) ? p.third / largest : kNaN,
         .label = p.label,
         .tip = fmt::format("{} ({})|accuracy: {}{}|{}: {}|{}: {}", p.name, source, fraction_text(p.accuracy),
                            std::isfinite(p.error) ? fmt::format(" ± {:.2f}", 100 * p.error) : "", cost_name,
                            number_text(p.cost), third_name, number_text(p.third))});
  }
  const auto front = pareto_front(values);
  Series line{source + ": Pareto front", look == Look::kPoints ? 0 : 4, Look::kLine, {}, true};
  for (std::size_t i = 0; i < places.size(); ++i) {
    if (front[i] && places[i].cost > 0) line.marks.push_back({.x = places[i].cost, .y = places[i].accuracy});
  }
  std::sort(line.marks.begin(), line.marks.end(), [](const Mark& a, const Mark& b) { return a.x < b.x; });
  if (!line.marks.empty()) panel.series.push_back(std::move(line));
  panel.series.push_back(std::move(points));
}

}  // namespace

namespace {

constexpr std::size_t kMostRows = 150;

// Of very many designs the paper's rows, those that no other one beats, and as many more as can be told apart.
std::vector<RoadmapRow> shown_rows(const Roadmap& roadmap, std::vector<std::string>* notes) {
  if (roadmap.rows.size() <= kMostRows) return roadmap.rows;
  std::vector<std::vector<double>> values[2];
  for (const auto& r : roadmap.rows) {
    values[0].push_back({-shown_cache(r), shown_decode(r), r.recall.value});
    values[1].push_back({-shown_cache(r), shown_decode(r), r.general.value});
  }
  const auto recall = pareto_front(values[0]), general = pareto_front(values[1]);
  std::vector<RoadmapRow> rows;
  for (std::size_t i = 0; i < roadmap.rows.size(); ++i) {
    if (rows.size() < kMostRows || ((recall[i] || general[i]) && rows.size() < 2 * kMostRows))
      rows.push_back(roadmap.rows[i]);
  }
  notes->push_back(
      fmt::format("{} of {} designs are drawn: the first ones and those on a front; the roadmap's table has all.",
                  rows.size(), roadmap.rows.size()));
  return rows;
}

}  // namespace

Figure tradeoff_figure(const Roadmap& roadmap) {
  Figure figure;
  const auto rows = shown_rows(roadmap, &figure.notes);
  figure.id = "tradeoff";
  figure.title = "Accuracy against cache and throughput";
  figure.caption = std::string() +
      "Filled: ours, one standard error; rings: the paper's (300M parameters, one A100). Area: the third quantity, "
      "relative to the largest of its source. Dashed: Pareto fronts, the "
      "designs that no other one beats in both. As figures 2 and 9 of the paper. " +
      shapes_note(roadmap);
  figure.table = {{"source", "design", "suite", "accuracy", "stderr", "cache MB", "decode tok/s",
                   "on the front of cache", "on the front of throughput"}};
  for (const bool recall : {true, false}) {
    for (const bool cache : {true, false}) {
      Panel panel;
      panel.title =
          fmt::format("{} accuracy against {}", recall ? "Recall" : "General", cache ? "cache" : "throughput");
      panel.x = {.label = cache ? "cache, MB (log)" : "decode, tokens/s (log)", .log = true};
      panel.y = {.label = "accuracy, %", .percent = true};
      std::vector<Place> ours, paper;
      for (const auto& r : rows) {
        const auto& e = recall ? r.recall : r.general;
        const std::string label = r.row > 0 ? std::to_string(r.row) : r.design,
                          name = r.row > 0 ? fmt::format("row {}, {}", r.row, r.title) : r.title;
        if (r.was_run)
          ours.push_back({cache ? shown_cache(r) : shown_decode(r), e.value, e.error,
                          cache ? shown_decode(r) : shown_cache(r), name, label});
        if (r.paper) {
          paper.push_back({cache ? r.paper->cache_mb : r.paper->throughput_tok_s,
                           recall ? r.paper->recall : r.paper->general, kNaN,
                           cache ? r.paper->throughput_tok_s : r.paper->cache_mb, name, label});
        }
      }
      const char *cost = cache ? "cache, MB" : "tokens/s", *third = cache ? "tokens/s" : "cache, MB";
      add_points(panel, "paper", paper, cache ? -1 : 1, Look::kRings, cost, third);
      add_points(panel, "ours", ours, cache ? -1 : 1, Look::kPoints, cost, third);
      figure.panels.push_back(std::move(panel));
      if (cache) continue;
      for (const auto& [source, list] : {std::pair<const char*, bool>{"ours", true}, {"paper", false}}) {
        std::vector<std::vector<double>> by_cache, by_speed;
        std::vector<std::vector<std::string>> lines;
        for (const auto& r : rows) {
          if (list ? !r.was_run : !r.paper.has_value()) continue;
          const auto& e = recall ? r.recall : r.general;
          const double accuracy = list     ? e.value
                                  : recall ? r.paper->recall
                                           : r.paper->general,
                       mb = list ? shown_cache(r) : r.paper->cache_mb,
                       speed = list ? shown_decode(r) : r.paper->throughput_tok_s;
          by_cache.push_back({-mb, accuracy});
          by_speed.push_back({speed, accuracy});
          lines.push_back({source, r.design, recall ? "recall" : "general", number_text(accuracy, 6),
                           list ? number_text(e.error) : "", number_text(mb, 6), number_text(speed, 6)});
        }
        const auto cache_front = pareto_front(by_cache), speed_front = pareto_front(by_speed);
        for (std::size_t i = 0; i < lines.size(); ++i) {
          lines[i].push_back(cache_front[i] ? "yes" : "no");
          lines[i].push_back(speed_front[i] ? "yes" : "no");
          figure.table.push_back(lines[i]);
        }
      }
    }
  }
  return figure;
}

}  // namespace hymba::reports
