#include "reports/findings.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <set>

#include "base/error.h"
#include "base/median.h"
#include "reports/study_figures.h"
#include "reports/study_text.h"

namespace hymba::reports {
namespace {

constexpr const char* kNone = "not run";
constexpr int kMamba = 1, kLlama = 6, kHymbaNoMeta = 9, kHymba = 13;

// A number and its standard error.
struct Known {
  double value = kNaN, error = kNaN;
  bool known() const { return std::isfinite(value); }
};
// Of an unknown error nothing is known to be above or below: NaN stays NaN.
Known minus(const Known& a, const Known& b) { return {a.value - b.value, std::hypot(a.error, b.error)}; }
bool above(const Known& difference) { return difference.value > 2 * difference.error && difference.value > 0; }
bool below(const Known& difference) { return -difference.value > 2 * difference.error && difference.value < 0; }

std::string points(const Known& k) { return std::isfinite(k.error) ? fmt::format("{:.1f} ± {:.1f} %", 100 * k.value, 100 * k.error) : fmt::format("{:.1f} %", 100 * k.value); }
std::string plain(const Known& k, int digits = 3) { return number_text(k.value, digits) + error_text(k.error); }

using Lists = std::map<std::uint64_t, std::vector<double>>;  // by seed

// Mean over seeds of each seed's mean. The error: over seeds, and `item` within one (NaN: not known) as far as there are any.
Known mean_over_seeds(const Lists& lists, double item = kNaN) {
  std::vector<double> means;
  for (const auto& [seed, list] : lists) means.push_back(mean(list));
  const double seeds = standard_error(means);
  return {mean(means), std::isnan(seeds) ? item : std::isnan(item) ? seeds : std::hypot(seeds, item)};
}

// Row `row` of a study, or null.
const ModelKey* find_row(const StudyView& view, int row) {
  for (const auto& [key, records] : view.models)
    if (key.row == row) return &key;
  return nullptr;
}

// The items behind a row's Records are the same ones, so their error is that of one Record: the root mean square.
template <class Test, class Value>
Known row_mean(const StudyView& view, int row, const Test& test, const Value& value) {
  const ModelKey* key = find_row(view, row);
  Lists lists;
  std::vector<double> squares;
  if (key == nullptr) return {};
  for (const Record* r : view.single.at(*key)) {
    if (!test(*r) || !std::isfinite(value(*r))) continue;
    lists[r->seed].push_back(value(*r));
    if (r->error) squares.push_back(*r->error * *r->error);
  }
  return lists.empty() ? Known{} : mean_over_seeds(lists, std::sqrt(mean(squares)));
}

Finding table_finding(const Roadmap& roadmap) {
  Finding f{"Table 1: order of the rows", "accuracies, throughput and cache of 13 designs", kNone, kNone, "τ of both accuracies above 0 with an interval that leaves out 0"};
  std::string text;
  int clear = 0, seen = 0;
  for (const auto& c : roadmap.agreement) {
    if (!std::isfinite(c.agreement.tau)) continue;
    text += fmt::format("{}{} τ {:+.2f} ({:+.2f} to {:+.2f})", text.empty() ? "" : "; ", c.column, c.agreement.tau, c.agreement.low, c.agreement.high);
    if (c.column == "General accuracy" || c.column == "Recall accuracy") ++seen, clear += c.agreement.low > 0;
  }
  if (!text.empty()) f.measured = "Kendall's τ-b with the paper's column and its 95 % interval: " + text, f.verdict = seen == 0 ? "unclear" : clear == seen ? "agrees" : clear > 0 ? "partly" : "unclear";
  return f;
}

Finding tradeoff_finding(const Roadmap& roadmap) {
  Finding f{"2, 9: accuracy against cache and throughput", "Hymba has the best accuracy at its cache and throughput", kNone, kNone,
            "row 13 is on the front of mean accuracy, cache and throughput and not below row 6 (Llama) by more than two standard errors"};
  std::vector<std::vector<double>> values;
  std::vector<const RoadmapRow*> rows;
  std::map<int, Known> accuracy;
  for (const auto& r : roadmap.rows) {
    if (!r.general.measured() || !r.recall.measured()) continue;
    rows.push_back(&r);
    const Known k{(r.general.value + r.recall.value) / 2, std::hypot(r.general.error, r.recall.error) / 2};
    accuracy[r.row] = k;
    values.push_back({k.value, -shown_cache(r), shown_decode(r)});
  }
  const auto front = pareto_front(values);
  std::string list;
  bool on_front = false;
  for (std::size_t i = 0; i < rows.size(); ++i) {
    if (!front[i]) continue;
    list += (list.empty() ? "" : ", ") + (rows[i]->row > 0 ? std::to_string(rows[i]->row) : rows[i]->design);
    on_front = on_front || rows[i]->row == kHymba;
  }
  if (rows.empty()) return f;
  f.measured = fmt::format("accuracies of size {}{}, on the front: {} of {} ({})", roadmap.size, shapes_note(roadmap).empty() ? "" : ", cache and speed of the paper's shapes", std::count(front.begin(), front.end(), true), rows.size(), list);
  f.verdict = "unclear";
  if (accuracy.count(kHymba) == 0 || accuracy.count(kLlama) == 0) return f;
  const Known d = minus(accuracy[kHymba], accuracy[kLlama]);
  f.measured += fmt::format("; mean accuracy of row 13 {}, of row 6 {}, difference {:+.1f} ± {:.1f}", points(accuracy[kHymba]), points(accuracy[kLlama]), 100 * d.value, 100 * d.error);
  f.verdict = below(d) ? "disagrees" : on_front ? "agrees" : "partly";
  return f;
}

Finding heads_finding(const std::vector<Record>& records) {
  Finding f{"3, 13: head removal", "a few layers are critical, most removals cost little", kNone, kNone,
            "the largest drop is beyond two standard errors and the median drop is below a third of it, in every model measured"};
  const auto view = view_study(records, "heads");
  bool all = true, any = false;
  std::string text;
  for (const auto& [key, list] : view.models) {
    std::map<std::pair<int, std::string>, std::vector<Sample>> samples;
    for (const Record* r : view.single.at(key))
      if (extra_int(*r, "layer") >= 0 && extra_int(*r, "head") < 0)
        samples[{extra_int(*r, "layer"), extra_text(*r, "branch")}].push_back({r->task, r->seed, -extra_number(*r, "difference"), extra_number(*r, "stderr")});
    std::vector<double> drops;
    Known worst{-1, 0};
    std::string where;
    std::size_t clear = 0;
    for (const auto& [place, list_of] : samples) {
      const auto e = combine_suite(list_of);
      drops.push_back(e.value);
      clear += above({e.value, e.error});
      if (e.value > worst.value) worst = {e.value, e.error}, where = fmt::format("{} of layer {}", place.second == "ssm" ? "SSM" : "attention", place.first);
    }
    if (drops.empty()) continue;
    const double middle = median(drops);
    const bool agrees = above(worst) && middle < worst.value / 3;
    all = all && agrees, any = any || agrees;
    text += fmt::format("{}{}: largest drop {} ({}), median {:.1f}, {} of {} removals beyond two standard errors", text.empty() ? "" : "; ", view.names.at(key), points(worst), where,
                        100 * middle, clear, drops.size());
  }
  if (!text.empty()) f.measured = "mean of the tasks. " + text, f.verdict = all ? "agrees" : any ? "partly" : "disagrees";
  return f;
}

// Half the sum of |a - b| of two distributions: 0 the same, 1 apart.
double total_variation(std::vector<double> a, std::vector<double> b) {
  const double sum_a = std::max(1e-12, mean(a) * static_cast<double>(a.size())), sum_b = std::max(1e-12, mean(b) * static_cast<double>(b.size()));
  double distance = 0;
  for (std::size_t i = 0; i < std::min(a.size(), b.size()); ++i) distance += std::abs(a[i] / sum_a - b[i] / sum_b) / 2;
  return distance;
}

Finding meta_finding(const StudyView& view) {
  Finding f{"5: meta tokens by domain", "prompts of articles, mathematics and code use different meta tokens of the last layer", kNone, kNone,
            "total variation between the domains' distributions over meta tokens above 0.05 by two standard errors"};
  const ModelKey* key = find_row(view, kHymba);
  if (key == nullptr) return f;
  std::map<std::uint64_t, std::map<std::string, std::vector<double>>> seeds;
  int last = -1;
  for (const Record* r : view.single.at(*key))
    if (r->metric == "mass" && extra_text(*r, "branch") == "attention") last = std::max(last, extra_int(*r, "layer"));
  for (const Record* r : view.single.at(*key)) {
    if (r->metric != "mass" || r->task == "all" || extra_text(*r, "branch") != "attention" || extra_int(*r, "layer") != last || !r->extra.contains("by_meta")) continue;
    for (const auto& v : r->extra["by_meta"])
      if (v.is_number()) seeds[r->seed][r->task].push_back(v.get<double>());
  }
  Lists distances;
  std::set<std::string> domains;
  for (const auto& [seed, by_domain] : seeds) {
    for (auto a = by_domain.begin(); a != by_domain.end(); ++a) {
      domains.insert(a->first);
      for (auto b = std::next(a); b != by_domain.end(); ++b) distances[seed].push_back(total_variation(a->second, b->second));
    }
  }
  if (distances.empty()) return f;
  const Known d = mean_over_seeds(distances);
  f.measured = fmt::format("row 13, layer {}: mean total variation between {} domains ({}) {}", last, domains.size(), fmt::join(domains, ", "), plain(d));
  f.verdict = above({d.value - 0.05, d.error}) ? "agrees" : "disagrees";
  return f;
}

Finding mass_finding(const StudyView& view) {
  Finding f{"7: Meta, BOS, Self, Cross", "Llama's attention goes to BOS; Hymba's is spread more evenly, with mass on the meta tokens", kNone, kNone,
            "BOS mass of row 6 above that of row 13, and meta mass of row 13 above 0, both by two standard errors"};
  const auto test = [](const Record& r) { return r.metric == "mass" && r.task == "all" && extra_text(r, "branch") == "attention"; };
  const auto mass = [&](int row, const char* part) { return row_mean(view, row, test, [part](const Record& r) { return extra_number(r, part); }); };
  const Known llama = mass(kLlama, "bos"), hymba = mass(kHymba, "bos"), no_meta = mass(kHymbaNoMeta, "bos"), meta = mass(kHymba, "meta");
  if (!llama.known() || !hymba.known()) return f;
  f.measured = fmt::format("attention on BOS: row 6 {}, row 9 {}, row 13 {}; on meta tokens in row 13 {}", points(llama), no_meta.known() ? points(no_meta) : kNone, points(hymba), points(meta));
  const Known d = minus(llama, hymba);
  f.verdict = above(d) && above(meta) ? "agrees" : below(d) ? "disagrees" : above(d) || above(meta) ? "partly" : "unclear";
  return f;
}

Finding map_finding(const StudyView& view) {
  Finding f{"6: composed attention map", "meta tokens, sliding window and Mamba add up to one map (a scheme, not a measurement)", kNone, kNone, "nothing is claimed"};
  const auto share = row_mean(view, kHymba, [](const Record& r) { return r.metric == "map" && extra_int(r, "layer") < 0; }, [](const Record& r) { return r.value; });
  if (share.known()) f.measured = fmt::format("row 13: the attention branch's share of both branches' output is {}", points(share)), f.verdict = "nothing to compare";
  return f;
}

Finding needle_finding(const std::vector<Record>& records) {
  Finding f{"10: needle in a haystack", "under one recipe Hymba finds the needle more often than Mamba-2 and Llama-3, beyond the 4k tokens of fine-tuning too", kNone, kNone,
            "row 13 above rows 1 (Mamba) and 6 (Llama) by two standard errors, up to and beyond the trained length"};
  const auto view = view_study(records, "needle");
  std::string text;
  int better = 0, worse = 0, of = 0;
  for (const bool beyond : {false, true}) {
    const auto test = [beyond](const Record& r) {
      const double trained = extra_number(r, "train_length", 0);
      return r.metric == "acc_mean" && trained > 0 && (extra_number(r, "length") > trained) == beyond;
    };
    const auto value = [](const Record& r) { return r.value; };
    const Known hymba = row_mean(view, kHymba, test, value);
    if (!hymba.known()) continue;
    text += fmt::format("{}{}: row 13 {}", text.empty() ? "" : "; ", beyond ? "beyond it" : "up to the trained length", points(hymba));
    for (const int row : {kHymbaNoMeta, kMamba, kLlama}) {
      const Known other = row_mean(view, row, test, value);
      if (!other.known()) continue;
      text += fmt::format(", row {} {}", row, points(other));
      if (row != kHymbaNoMeta) ++of, better += above(minus(hymba, other)), worse += below(minus(hymba, other));
    }
  }
  if (!text.empty()) f.measured = "mean over lengths and depths; " + text, f.verdict = of == 0 ? "unclear" : better == of ? "agrees" : worse > 0 ? "disagrees" : better > 0 ? "partly" : "unclear";
  return f;
}

Finding field_finding(const std::vector<Record>& records) {
  Finding f{"11: receptive field against cache", "parallel fusion has a large receptive field at the cache of a sequential hybrid (Samba)", kNone, kNone,
            "field of row 13 above that of Samba where it ran, else above that of row 1 (Mamba), by two standard errors, at less cache than row 6 (Llama)"};
  const auto view = view_study(records, "erf");
  const auto field_of = [&](const ModelKey& key) {
    Known k;
    double cache = kNaN;
    for (const auto& r : view.models.at(key))
      if (r.metric == "mean_distance") k = {r.value, error_of(r)}, cache = extra_number(r, "cache_mb");
    return std::make_pair(k, cache);
  };
  std::string text;
  std::map<std::string, std::pair<Known, double>> found;
  for (const auto& [key, list] : view.models) {
    const auto field = field_of(key);
    if (!field.first.known()) continue;
    const std::string name = key.row > 0 ? fmt::format("row {}", key.row) : key.design;
    found[name] = field;
    text += fmt::format("{}{} {} tokens at {} MB", text.empty() ? "" : "; ", name, plain(field.first), number_text(field.second, 3));
  }
  if (text.empty()) return f;
  f.measured = text;
  const std::string other = found.count("samba") != 0 ? "samba" : "row 1";
  f.verdict = "unclear";
  if (found.count("row 13") == 0 || found.count(other) == 0) return f;
  const Known d = minus(found["row 13"].first, found[other].first);
  const bool smaller = found.count("row 6") == 0 || found["row 13"].second < found["row 6"].second;
  f.verdict = above(d) && smaller ? "agrees" : below(d) ? "disagrees" : "unclear";
  return f;
}

Finding magnitude_finding(const std::vector<Record>& records) {
  Finding f{"12: magnitudes", "SSM outputs are consistently larger than attention's; which gate is larger differs from layer to layer", kNone, kNone,
            "the SSM output is larger in 90 % of the hybrid layers, and each gate is the larger one somewhere"};
  const auto view = view_study(records, "magnitudes");
  int layers = 0, larger = 0, gates = 0, gate_larger = 0;
  std::vector<double> ratios;
  for (const auto& [key, list] : view.models) {
    std::map<std::pair<std::string, int>, std::map<std::string, double>> found;
    for (const auto& r : list) found[{r.metric, extra_int(r, "layer")}][extra_text(r, "branch")] = r.value;
    for (const auto& [place, branches] : found) {
      if (branches.count("ssm") == 0 || branches.count("attention") == 0) continue;
      const double ratio = branches.at("ssm") / branches.at("attention");
      if (place.first == "output") ++layers, larger += ratio > 1, ratios.push_back(ratio);
      if (place.first == "gate") ++gates, gate_larger += ratio > 1;
    }
  }
  if (layers == 0) return f;
  f.measured = fmt::format("means over seeds: SSM output larger in {} of {} hybrid layers of all designs (median ratio {:.2f}); SSM gate larger in {} of {}", larger, layers,
                           median(ratios), gate_larger, gates);
  const bool mixed = gate_larger > 0 && gate_larger < gates;
  f.verdict = larger >= 0.9 * layers ? (mixed ? "agrees" : "partly") : larger <= 0.5 * layers ? "disagrees" : "partly";
  return f;
}

Finding curve_finding(const std::vector<Record>& records) {
  Finding f{"14: training curves", "loss and learning rate over two phases, contexts of 2k and 8k tokens", kNone, kNone, "nothing is claimed"};
  const auto view = view_study(records, "curves");
  std::vector<std::pair<double, std::string>> losses;
  for (const auto& [key, list] : view.models) {
    const Record* last = nullptr;  // at the end of training
    for (const auto& r : list) {
      if (r.metric == "validation_loss" && std::isfinite(r.value) && (last == nullptr || extra_number(r, "tokens") >= extra_number(*last, "tokens"))) last = &r;
    }
    if (last != nullptr) losses.emplace_back(last->value, fmt::format("{} ({})", plain({last->value, error_of(*last)}, 4), view.names.at(key)));
  }
  if (losses.empty()) return f;
  std::sort(losses.begin(), losses.end());
  f.measured = fmt::format("held-out loss of {} designs, nats: least {}, most {}", losses.size(), losses.front().second, losses.back().second);
  f.verdict = "nothing to compare";
  return f;
}

}  // namespace

std::vector<Finding> findings(const std::vector<Record>& records, const std::vector<PaperRow>& paper) {
  const auto roadmap = build_roadmap(records, paper);
  const auto attention = view_study(records, "attention");
  return {table_finding(roadmap),     tradeoff_finding(roadmap), heads_finding(records), meta_finding(attention),      map_finding(attention),
          mass_finding(attention),    needle_finding(records),   field_finding(records), magnitude_finding(records), curve_finding(records)};
}

}  // namespace hymba::reports
