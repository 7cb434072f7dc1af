// Seeds of one design, combined into one Record for each quantity.
#include <algorithm>
#include <cmath>
#include <map>
#include <set>

#include "base/error.h"
#include "reports/study_figures.h"
#include "reports/study_text.h"

namespace hymba::reports {
namespace {

// What says which quantity a Record is of; every other number in `extra` is measured and averaged.
constexpr const char* kPlaces[] = {"layer", "branch", "head", "length", "depth", "from", "to", "step", "part", "mode", "fusion", "context", "batch", "dtype"};

std::string place_of(const Record& r) {
  std::string key = r.metric + '\n' + r.task;
  for (const char* name : kPlaces) {
    const auto it = r.extra.find(name);
    key += '\n';
    if (it != r.extra.end()) key += it->dump();
  }
  return key;
}

// Element by element where all lists have one length; else as it stands in the first.
nlohmann::json mean_of_lists(const std::vector<const nlohmann::json*>& lists) {
  nlohmann::json mean = *lists.front();
  for (std::size_t i = 0; i < mean.size(); ++i) {
    double sum = 0;
    for (const auto* list : lists) {
      if (list->size() != mean.size() || !(*list)[i].is_number()) return *lists.front();
      sum += (*list)[i].get<double>();
    }
    mean[i] = sum / static_cast<double>(lists.size());
  }
  return mean;
}

Estimate estimate_of(const std::vector<const Record*>& list, double (*value)(const Record&), double (*error)(const Record&)) {
  std::vector<Sample> samples;
  for (const Record* r : list) samples.push_back({"", r->seed, value(*r), error(*r)});
  return combine_suite(samples);
}

// A map belongs to one prompt read by one model: the first seed's stands for it.
bool is_picture(const Record& r) { return r.metric == "map"; }

Record combine(const std::vector<const Record*>& list) {
  Record mean = *list.front();
  mean.extra["seeds"] = is_picture(mean) ? 1 : list.size();
  if (list.size() == 1 || is_picture(mean)) return mean;
  const auto own_error = [](const Record& r) { return r.error.value_or(kNaN); };
  const auto main = estimate_of(list, [](const Record& r) { return r.value; }, own_error);
  mean.value = main.value;
  mean.error.reset();
  if (std::isfinite(main.error)) mean.error = main.error;
  for (const auto& [key, value] : list.front()->extra.items()) {
    const bool place = std::any_of(std::begin(kPlaces), std::end(kPlaces), [&, name = key](const char* p) { return name == p; });
    if (place || key == "row" || key == "stderr" || !(value.is_number() || value.is_array())) continue;
    std::vector<const nlohmann::json*> all;
    for (const Record* r : list) {
      const auto it = r->extra.find(key);
      if (it != r->extra.end() && it->type() == value.type()) all.push_back(&*it);
    }
    if (value.is_array()) {
      mean.extra[key] = mean_of_lists(all);
      continue;
    }
    std::vector<double> numbers;
    for (const Record* r : list) {
      const double v = extra_number(*r, key.c_str());
      if (std::isfinite(v)) numbers.push_back(v);
    }
    mean.extra[key] = number_or_null(reports::mean(numbers));
  }
  if (mean.extra.contains("difference")) {
    const auto pair = estimate_of(
        list, [](const Record& r) { return extra_number(r, "difference"); }, [](const Record& r) { return extra_number(r, "stderr"); });
    mean.extra["stderr"] = number_or_null(pair.error);
  }
  mean.n = 0;
  for (const Record* r : list) mean.n += r->n;
  return mean;
}

}  // namespace

std::vector<Record> combine_seeds(const std::vector<const Record*>& records) {
  std::map<std::string, std::vector<const Record*>> by_place;
  std::vector<std::string> order;
  for (const Record* r : records) {
    auto& list = by_place[place_of(*r)];
    if (list.empty()) order.push_back(place_of(*r));
    list.push_back(r);
  }
  std::vector<Record> combined;
  for (const auto& place : order) {
    auto& list = by_place[place];
    std::stable_sort(list.begin(), list.end(), [](const Record* a, const Record* b) { return a->seed < b->seed; });
    // Within one seed a later Record replaces an earlier one.
    std::vector<const Record*> one_each;
    for (const Record* r : list) {
      if (!one_each.empty() && one_each.back()->seed == r->seed) {
        if (r->time >= one_each.back()->time) one_each.back() = r;
      } else {
        one_each.push_back(r);
      }
    }
    combined.push_back(combine(one_each));
  }
  return combined;
}

}  // namespace hymba::reports
