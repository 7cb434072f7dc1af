#include "reports/series.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <tuple>

#include "reports/roadmap.h"

namespace hymba::reports {
namespace {

// Means of equal stretches keep the level of a noisy curve, which picking every n-th point would not.
std::vector<Curve::Point> thinned(const std::vector<Curve::Point>& points, std::size_t max_points) {
  if (points.size() <= max_points || max_points < 2) return points;
  std::vector<Curve::Point> result;
  const std::size_t stretches = max_points - 1, inner = points.size() - 1;
  for (std::size_t s = 0; s < stretches; ++s) {
    const std::size_t begin = s * inner / stretches, end = (s + 1) * inner / stretches;
    Curve::Point sum{0, 0};
    for (std::size_t i = begin; i < end; ++i) {
      sum.tokens += points[i].tokens / static_cast<double>(end - begin);
      sum.loss += points[i].loss / static_cast<double>(end - begin);
    }
    result.push_back(sum);
  }
  result.push_back(points.back());
  return result;
}

}  // namespace

std::vector<Curve> loss_curves(const std::vector<Record>& records, std::size_t max_points) {
  std::map<std::tuple<std::string, std::string, std::uint64_t>, std::map<double, double>> found;
  for (const Record& r : records) {
    if (r.study != "train" || r.metric != "loss" || !std::isfinite(r.value)) continue;
    const double at = extra_number(r, "tokens", extra_number(r, "step"));
    if (!std::isnan(at))
      found[{r.size, r.design, r.seed}][at] = r.value;  // a resumed run repeats points: the last counts
  }
  std::vector<Curve> curves;
  for (const auto& [key, points] : found) {
    Curve curve{std::get<1>(key), std::get<0>(key), std::get<2>(key), {}};
    for (const auto& [tokens, loss] : points) curve.points.push_back({tokens, loss});
    curve.points = thinned(curve.points, max_points);
    curves.push_back(std::move(curve));
  }
  return curves;
}

std::vector<Breakdown> accuracy_breakdowns(const std::vector<Record>& records) {
  using Key = std::tuple<std::string, std::string, std::string, std::string>;  // size, by, task, design
  std::map<Key, std::map<double, std::map<std::uint64_t, const Record*>>> found;
  for (const Record& r : records) {
    if (r.metric != "acc" || std::isnan(r.value)) continue;
    for (const char* by : {"pairs", "distance"}) {
      const double x = extra_number(r, by);
      if (std::isnan(x)) continue;
      const Record*& kept = found[{r.size, by, r.task, r.design}][x][r.seed];
      if (kept == nullptr || kept->time <= r.time) kept = &r;
    }
  }
  std::vector<Breakdown> result;
  for (const auto& [key, by_x] : found) {
    Breakdown b{std::get<3>(key), std::get<0>(key), std::get<2>(key), std::get<1>(key), kNaN, {}};
    for (const auto& [x, by_seed] : by_x) {
      std::vector<Sample> samples;
      std::int64_t n = 0;
      for (const auto& [seed, r] : by_seed) {
        samples.push_back({r->task, seed, r->value, r->error.value_or(kNaN)});
        n += r->n;
        b.chance = extra_number(*r, "chance", b.chance);
      }
      b.points.push_back({x, combine_suite(samples), n});
    }
    result.push_back(std::move(b));
  }
  return result;
}

}  // namespace hymba::reports
