// Figures of the studies that look inside: receptive field, attention, magnitudes.
#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "reports/study_figures.h"
#include "reports/study_text.h"

namespace hymba::reports {
namespace {

constexpr std::size_t kModels = 14, kMaps = 6;

// Colours of branches are the same in every figure.
int branch_color(const std::string& branch) { return branch == "ssm" ? 3 : 0; }
std::string branch_name(const std::string& branch) { return branch == "ssm" ? "SSM" : "attention"; }

}  // namespace

std::vector<Figure> field_figures(const StudyView& view) {
  Figure scatter, profile;
  scatter.id = "receptive-field";
  scatter.title = "Effective receptive field against cache";
  scatter.caption =
      "Mean distance to the input positions that the output at the last position depends on, weighted by the gradient; "
      "whiskers: one standard error over prompts and seeds. Numbers: "
      "rows of the roadmap. Up and to the left is better. As figure 11 of the paper.";
  scatter.table = {
      {"model", "cache MB", "mean distance", "stderr", "90 % within", "share of meta tokens", "prompt length", "seeds"}};
  profile.id = "receptive-field-profile";
  profile.title = "Effective receptive field: share of the gradient by distance";
  profile.caption =
      "Share of the gradient's norm that falls on positions so many tokens back, in stretches that double.";
  profile.table = {{"model", "from", "to", "share", "stderr", "seeds"}};
  Panel points, lines;
  points.x = {.label = "cache, MB (log)", .log = true};
  points.y = {.label = "mean distance, tokens", .low = 0};
  lines.x.label = "tokens back";
  lines.y = {.label = "share of the gradient, %", .low = 0, .percent = true};
  Series ours{"ours", 0, Look::kPoints, {}};
  int color = 0;
  for (const auto& [model, records] : view.models) {
    Series line{.name = view.names.at(model), .color = color++, .label = view.labels.at(model)};
    for (const auto& r : records) {
      const double cache = extra_number(r, "cache_mb");
      if (r.metric == "mean_distance") {
        ours.marks.push_back(
            {.x = cache > 0 ? cache : kNaN,
             .y = r.value,
             .error = error_of(r),
             .label = view.labels.at(model),
             .tip = fmt::format("{}|mean distance: {}{} tokens|cache: {} MB", view.names.at(model),
                                number_text(r.value), error_text(error_of(r)), number_text(cache))});
        scatter.table.push_back({view.names.at(model), number_text(cache), number_text(r.value),
                                 number_text(error_of(r)), number_text(extra_number(r, "span90")),
                                 number_text(extra_number(r, "meta")), number_text(extra_number(r, "length")), seeds_text(r)});
      } else if (r.metric == "share") {
        const int from = extra_int(r, "from", 0), to = extra_int(r, "to", 0);
        const std::string name = from == to ? std::to_string(from) : fmt::format("{}-{}", from, to);
        auto& names = lines.x.categories;
        auto at = std::find(names.begin(), names.end(), name);
        if (at == names.end()) at = names.insert(names.end(), name);
        line.marks.push_back(
            {.x = static_cast<double>(at - names.begin()),
             .y = r.value,
             .error = error_of(r),
             .tip = fmt::format("{}|{} tokens back: {}{}", view.names.at(model), name, fraction_text(r.value), error_text(100 * error_of(r)))});
        profile.table.push_back({view.names.at(model), std::to_string(from), std::to_string(to), number_text(r.value), number_text(error_of(r)), seeds_text(r)});
      }
    }
    lines.series.push_back(std::move(line));
  }
  points.series.push_back(std::move(ours));
  scatter.panels.push_back(std::move(points));
  profile.panels.push_back(std::move(lines));
  return {scatter, profile};
}

namespace {

// Stacked masses by layer (mean over heads) of one branch, and its entropy by layer.
struct LayerMass {
  double meta = 0, bos = 0, self = 0, cross = 0, entropy = 0;
  int heads = 0;
};

std::map<int, LayerMass> by_layer(const std::vector<Record>& records, const std::string& branch) {
  std::map<int, LayerMass> layers;
  for (const auto& r : records) {
    if (r.metric != "mass" || r.task != "all" || extra_text(r, "branch") != branch) continue;
    auto& l = layers[extra_int(r, "layer")];
    l.meta += extra_number(r, "meta", 0), l.bos += extra_number(r, "bos", 0), l.self += extra_number(r, "self", 0),
        l.cross += extra_number(r, "cross", 0);
    l.entropy += extra_number(r, "entropy", 0);
    ++l.heads;
  }
  for (auto& [layer, l] : layers) {
    for (double* v : {&l.meta, &l.bos, &l.self, &l.cross, &l.entropy}) *v /= l.heads;
  }
  return layers;
}

Panel mass_panel(const std::string& title, const std::map<int, LayerMass>& layers) {
  Panel panel;
  panel.title = title_text(title);
  panel.x.label = "layer";
  panel.y = {.label = "share of the mass, %", .low = 0, .high = 1, .percent = true};
  const std::pair<const char*, double LayerMass::*> parts[] = {{"meta tokens", &LayerMass::meta},
                                                               {"BOS", &LayerMass::bos},
                                                               {"self", &LayerMass::self},
                                                               {"cross (all others)", &LayerMass::cross}};
  const int colors[] = {2, 1, 3, 0};
  for (int k = 0; k < 4; ++k) {
    Series s{parts[k].first, colors[k], Look::kStack, {}};
    double at = 0;
    for (const auto& [layer, l] : layers) {
      s.marks.push_back(
          {.x = at++,
           .y = l.*parts[k].second,
           .tip = fmt::format("Layer {}|{}: {}", layer, parts[k].first, fraction_text(l.*parts[k].second))});
    }
    panel.series.push_back(std::move(s));
  }
  for (const auto& [layer, l] : layers) panel.x.categories.push_back(std::to_string(layer));
  return panel;
}

Figure mass_figure(const StudyView& view) {
  Figure figure;
  figure.id = "attention-mass";
  figure.title = "Where attention goes: meta tokens, BOS, self, cross";
  figure.caption =
      "Share of the attention of text positions, mean over heads, prompts, positions and seeds; for Mamba heads the absolute "
      "implicit attention, each row scaled to one. As figure 7 of "
      "the paper.";
  figure.table = {{"model", "layer", "branch", "head", "meta", "bos", "self", "cross", "entropy, nats", "queries", "seeds"}};
  for (const auto& [model, records] : view.models) {
    for (const auto& r : records) {
      if (r.metric != "mass" || r.task != "all") continue;
      const int head = extra_int(r, "head");
      figure.table.push_back({(model.row > 0 ? "row " : "") + view.labels.at(model), std::to_string(extra_int(r, "layer")),
                              branch_name(extra_text(r, "branch")), head < 0 ? "all" : std::to_string(head),
                              number_text(extra_number(r, "meta")), number_text(extra_number(r, "bos")),
                              number_text(extra_number(r, "self")), number_text(extra_number(r, "cross")),
                              number_text(extra_number(r, "entropy")), std::to_string(r.n), seeds_text(r)});
    }
    for (const char* branch : {"attention", "ssm"}) {
      const auto layers = by_layer(records, branch);
      if (!layers.empty() && figure.panels.size() < 2 * kModels)
        figure.panels.push_back(mass_panel(fmt::format("{}: {}", branch_name(branch), view.names.at(model)), layers));
    }
  }
  return figure;
}

Figure entropy_figure(const StudyView& view) {
  Figure figure;
  figure.id = "attention-entropy";
  figure.title = "Entropy of attention";
  figure.caption =
      "Mean entropy of a query's attention in nats, by layer, mean over heads: low is focused. Right: the implicit "
      "attention of the Mamba heads.";
  figure.table = {{"model", "branch", "layer", "entropy, nats"}};
  for (const char* branch : {"attention", "ssm"}) {
    Panel panel;
    panel.title = branch == std::string("ssm") ? "Mamba heads, implicit attention" : "Attention heads";
    // The same design has the same colour in both panels.
    panel.x.label = "layer";
    panel.y = {.label = "entropy, nats", .low = 0};
    int color = 0;
    for (const auto& [model, records] : view.models) {
      Series line{.name = view.names.at(model), .color = color++, .label = view.labels.at(model)};
      for (const auto& [layer, l] : by_layer(records, branch)) {
        line.marks.push_back(
            {.x = static_cast<double>(layer),
             .y = l.entropy,
             .tip = fmt::format("{}|layer: {}|entropy: {} nats", view.names.at(model), layer, number_text(l.entropy))});
        figure.table.push_back(
            {view.names.at(model), branch_name(branch), std::to_string(layer), number_text(l.entropy)});
      }
      if (!line.marks.empty()) panel.series.push_back(std::move(line));
    }
    if (!panel.series.empty()) figure.panels.push_back(std::move(panel));
  }
  return figure;
}

Figure meta_figure(const StudyView& view) {
  Figure figure;
  figure.id = "meta-by-domain";
  figure.title = "Which meta tokens a domain uses";
  figure.caption =
      "Attention mass on each meta token in the last layer with attention, mean over heads and positions, by the "
      "domain of the prompt. As figure 5 of the paper.";
  figure.table = {{"model", "domain", "meta token", "mass"}};
  for (const auto& [model, records] : view.models) {
    std::map<std::string, std::pair<std::vector<double>, int>> domains;
    int last = -1;
    for (const auto& r : records) {
      if (r.metric == "mass" && extra_text(r, "branch") == "attention") last = std::max(last, extra_int(r, "layer"));
    }
    for (const auto& r : records) {
      if (extra_int(r, "layer") != last) continue;
      if (r.metric != "mass" || r.task == "all" || extra_text(r, "branch") != "attention" ||
          !r.extra.contains("by_meta") || !r.extra["by_meta"].is_array())
        continue;
      auto& [sum, n] = domains[r.task];
      sum.resize(std::max(sum.size(), r.extra["by_meta"].size()), 0.0);
      for (std::size_t i = 0; i < r.extra["by_meta"].size(); ++i)
        sum[i] += r.extra["by_meta"][i].is_number() ? r.extra["by_meta"][i].get<double>() : 0;
      ++n;
    }
    Panel panel;
    panel.title = title_text(view.names.at(model));
    panel.x.label = "meta token";
    panel.y = {.label = "mass, %", .low = 0, .percent = true};
    int color = 0;
    for (const auto& [domain, entry] : domains) {
      Series line{domain, color++, Look::kLine, {}};
      for (std::size_t i = 0; i < entry.first.size(); ++i) {
        const double v = entry.first[i] / entry.second;
        line.marks.push_back({.x = static_cast<double>(i),
                              .y = v,
                              .tip = fmt::format("{}|meta token: {}|mass: {}", domain, i, fraction_text(v))});
        figure.table.push_back({view.names.at(model), domain, std::to_string(i), number_text(v)});
      }
      if (!line.marks.empty()) panel.series.push_back(std::move(line));
    }
    if (!panel.series.empty() && figure.panels.size() < kMaps) figure.panels.push_back(std::move(panel));
  }
  return figure;
}

// Maps of hybrid models first: they show both parts.
Figure map_figure(const StudyView& view) {
  Figure figure;
  figure.id = "composed-map";
  figure.title = "The attention map of one prompt, as it is composed";
  figure.caption =
      "Rows: positions of the text that look; columns: meta tokens (m), then the text. Attention (mean over heads) and "
      "the implicit attention of the Mamba heads, weighted by the "
      "magnitude of their branches, mean over layers. Each map from white to its largest value. As figure 6 of the "
      "paper.";
  figure.table = {{"model", "layer", "part", "share of attention", "position", "looks at", "weight"}};
  bool parts = true;  // of the first model its layers and parts, of the others the mean over layers
  for (const int rank : {2, 1, 0}) {
    for (const auto& [model, records] : view.models) {
      const auto any = [&](const auto& test) { return std::any_of(records.begin(), records.end(), test); };
      const bool both = any([](const Record&r) { return extra_text(r, "part") == "ssm"; }),
                 meta_tokens = any([](const Record&r) { return r.metric == "map" && extra_int(r, "meta", 0) > 0; });
      bool shown = false;
      for (const auto& r : records) {
        if (r.metric != "map" || both + (both && meta_tokens) != rank || figure.panels.size() >= kMaps ||
            (!parts && extra_int(r, "layer") >= 0))
          continue;
        if (parts && figure.panels.size() >= 4) continue;
        const auto& map = r.extra.value("map", nlohmann::json::array());
        const int meta = extra_int(r, "meta", 0), layer = extra_int(r, "layer");
        if (!map.is_array() || map.empty() || !map[0].is_array() || map.size() > 128) continue;
        Heat heat;
        heat.high = 1e-9;
        const auto& tokens = r.extra.value("tokens", nlohmann::json::array());
        const auto word = [&](std::size_t i) {
          return i < tokens.size() && tokens[i].is_string() ? tokens[i].get<std::string>() : std::to_string(i);
        };
        for (std::size_t c = 0; c < map[0].size(); ++c)
          heat.columns.push_back(c < static_cast<std::size_t>(std::max(0, meta))
                                     ? fmt::format("m{}", c)
                                     : word(c - static_cast<std::size_t>(std::max(0, meta))));
        for (std::size_t i = 0; i < map.size(); ++i) {
          heat.rows.push_back(word(i));
          heat.values.emplace_back();
          for (std::size_t c = 0; c < heat.columns.size(); ++c) {
            const double v = c < map[i].size() && map[i][c].is_number() ? map[i][c].get<double>() : kNaN;
            heat.values.back().push_back(v);
            if (std::isfinite(v)) heat.high = std::max(heat.high, v);
          }
        }
        if (meta > 0) heat.line_before = meta, heat.line_text = "meta | text";
        heat.high = std::min(heat.high, 0.6);  // a few full cells must not hide the rest
        const std::string place =
            layer < 0 ? "mean of layers" : fmt::format("layer {}, {}", layer, extra_text(r, "part"));
        for (std::size_t i = 0; i < map.size() && figure.table.size() < 4000; ++i) {
          for (std::size_t c = 0; c < heat.columns.size(); ++c) {
            if (heat.values[i][c] >= 0.02)
              figure.table.push_back({view.names.at(model), layer < 0 ? "mean" : std::to_string(layer),
                                      extra_text(r, "part"), number_text(r.value), heat.rows[i], heat.columns[c],
                                      number_text(heat.values[i][c])});
          }
        }
        Panel panel;
        panel.title = title_text(fmt::format("{}: {}", place, view.names.at(model)));
        panel.heat = std::move(heat);
        figure.panels.push_back(std::move(panel));
        shown = true;
      }
      parts = parts && !shown;
    }
  }
  return figure;
}

}  // namespace

std::vector<Figure> attention_figures(const StudyView& view) {
  std::vector<Figure> figures;
  for (auto figure : {mass_figure(view), meta_figure(view), map_figure(view), entropy_figure(view)}) {
    if (!figure.panels.empty()) figures.push_back(std::move(figure));
  }
  return figures;
}

std::vector<Figure> magnitude_figures(const StudyView& view) {
  Figure figure;
  figure.id = "magnitudes";
  figure.title = "How large the branches and their gates are";
  figure.caption =
      "Root mean square of a branch's output before its norm, mean |gate| that it learned, and both together as they "
      "enter the fusion, by layer. As figure 12 of the paper.";
  figure.table = {{"model", "layer", "branch", "what", "value", "stderr", "seeds"}};
  const std::pair<const char*, const char*> parts[] = {
      {"output", "output, before the norm"}, {"gate", "gate"}, {"fused", "behind norm and gate"}};
  for (const auto& [model, records] : view.models) {
    for (const auto& r : records) {
      figure.table.push_back({view.names.at(model), std::to_string(extra_int(r, "layer")),
                              branch_name(extra_text(r, "branch")), r.metric, number_text(r.value), number_text(error_of(r)), seeds_text(r)});
    }
    for (const auto& [metric, words] : parts) {
      Panel panel;
      panel.title = title_text(fmt::format("{}: {}", words, view.names.at(model)));
      panel.x.label = "layer";
      panel.y.label = "root mean square";
      if (metric == std::string("gate")) panel.y.label = "mean |gate|";
      int layers = 0;
      for (const char* branch : {"attention", "ssm"}) {
        Series s{branch_name(branch) + " branch", branch_color(branch), Look::kBars, {}};
        for (const auto& r : records) {
          if (r.metric != metric || extra_text(r, "branch") != branch) continue;
          const int layer = extra_int(r, "layer");
          layers = std::max(layers, layer + 1);
          s.marks.push_back(
              {.x = static_cast<double>(layer),
               .y = r.value,
               .error = error_of(r),
               .tip = fmt::format("Layer {}, {}|{}: {}{}", layer, branch_name(branch), words, number_text(r.value), error_text(error_of(r)))});
        }
        if (!s.marks.empty()) panel.series.push_back(std::move(s));
      }
      for (int l = 0; l < layers; ++l) panel.x.categories.push_back(std::to_string(l));
      // Models of one branch have nothing to compare; their numbers are in the table.
      if (panel.series.size() == 2 && figure.panels.size() < 3 * kModels) figure.panels.push_back(std::move(panel));
    }
  }
  if (figure.panels.empty()) figure.notes.push_back("No model of this study has both branches in one layer.");
  return {figure};
}

}  // namespace hymba::reports
