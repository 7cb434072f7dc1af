#include "reports/statistics.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>
#include <set>

#include "base/error.h"
#include "base/rng.h"

namespace hymba::reports {
namespace {

constexpr std::size_t kEnumerateUpTo = 8;  // 8! = 40320 permutations
constexpr int kRandomPermutations = 20000;

// Compared, not subtracted: two infinities (the ratio 0:1) are a tie.
int order(double a, double b) { return (a > b) - (a < b); }

// Ties change the null distribution: without them it is known in closed form.
bool has_ties(std::vector<double> v) {
  std::sort(v.begin(), v.end());
  return std::adjacent_find(v.begin(), v.end()) != v.end();
}

// Concordant minus discordant pairs: all that a permutation of y can change.
int score(const std::vector<double>& x, const std::vector<double>& y) {
  int s = 0;
  for (std::size_t i = 0; i < x.size(); ++i)
    for (std::size_t j = i + 1; j < x.size(); ++j) s += order(x[i], x[j]) * order(y[i], y[j]);
  return s;
}

// P(|S| >= |s|) over all orders of n distinct values. The number of inversions of a random permutation is a sum of
// independent uniforms on {0..i-1}, i = 1..n (Mahonian distribution), and S = pairs - 2 * inversions.
double p_without_ties(std::size_t n, int s) {
  std::vector<double> p = {1.0};
  for (std::size_t i = 2; i <= n; ++i) {
    std::vector<double> next(p.size() + i - 1, 0.0);
    for (std::size_t k = 0; k < p.size(); ++k)
      for (std::size_t j = 0; j < i; ++j) next[k + j] += p[k] / static_cast<double>(i);
    p = std::move(next);
  }
  const int pairs = static_cast<int>(n * (n - 1) / 2);
  double sum = 0;
  for (std::size_t k = 0; k < p.size(); ++k)
    if (std::abs(pairs - 2 * static_cast<int>(k)) >= std::abs(s)) sum += p[k];
  return std::min(1.0, sum);
}

// With ties and few pairs: every permutation of y, next_permutation over indices so that equal values count apart.
double p_by_enumeration(const std::vector<double>& x, const std::vector<double>& y, int s) {
  std::vector<std::size_t> index(x.size());
  std::iota(index.begin(), index.end(), 0);
  std::vector<double> permuted(y.size());
  double all = 0, extreme = 0;
  do {
    for (std::size_t i = 0; i < index.size(); ++i) permuted[i] = y[index[i]];
    all += 1;
    extreme += std::abs(score(x, permuted)) >= std::abs(s);
  } while (std::next_permutation(index.begin(), index.end()));
  return extreme / all;
}

// With ties and many pairs. The observed order counts as one of the permutations, so p is never zero.
double p_by_chance(const std::vector<double>& x, std::vector<double> y, int s, Rng& rng) {
  int extreme = 0;
  for (int i = 0; i < kRandomPermutations; ++i) {
    rng.shuffle(y);
    extreme += std::abs(score(x, y)) >= std::abs(s);
  }
  return (extreme + 1.0) / (kRandomPermutations + 1.0);
}

// Linear between the two nearest order statistics.
double percentile(const std::vector<double>& sorted, double q) {
  const double at = q * static_cast<double>(sorted.size() - 1);
  const std::size_t i = static_cast<std::size_t>(at);
  if (i + 1 >= sorted.size()) return sorted.back();
  return sorted[i] + (at - static_cast<double>(i)) * (sorted[i + 1] - sorted[i]);
}

// Draws rows with replacement; a row drawn twice ties with itself in both lists, which tau-b leaves out of its pairs.
void bootstrap(const std::vector<double>& x, const std::vector<double>& y, const AgreementOptions& options,
               Agreement& result) {
  Rng rng(options.seed, "kendall.bootstrap");
  std::vector<double> taus, bx(x.size()), by(x.size());
  for (int r = 0; r < options.resamples; ++r) {
    for (std::size_t i = 0; i < x.size(); ++i) {
      const std::size_t k = rng.below(x.size());
      bx[i] = x[k];
      by[i] = y[k];
    }
    const double tau = kendall_tau_b(bx, by);
    if (!std::isnan(tau)) taus.push_back(tau);  // a resample of one row only orders nothing
  }
  if (taus.empty()) return;
  std::sort(taus.begin(), taus.end());
  result.low = percentile(taus, (1 - options.level) / 2);
  result.high = percentile(taus, (1 + options.level) / 2);
}

}  // namespace

double mean(const std::vector<double>& values) {
  if (values.empty()) return kNaN;
  return std::accumulate(values.begin(), values.end(), 0.0) / static_cast<double>(values.size());
}

double sample_variance(const std::vector<double>& values) {
  if (values.size() < 2) return kNaN;
  const double m = mean(values);
  double sum = 0;
  for (double v : values) sum += (v - m) * (v - m);
  return sum / static_cast<double>(values.size() - 1);
}

double standard_error(const std::vector<double>& values) {
  return std::sqrt(sample_variance(values) / static_cast<double>(values.size()));
}

Estimate combine_suite(const std::vector<Sample>& samples) {
  std::map<std::string, std::vector<const Sample*>> by_task;
  std::map<std::uint64_t, std::vector<double>> by_seed;
  for (const Sample& s : samples) {
    if (std::isnan(s.value)) continue;
    by_task[s.task].push_back(&s);
    by_seed[s.seed].push_back(s.value);
  }
  Estimate result;
  if (by_task.empty()) return result;
  const double tasks = static_cast<double>(by_task.size());
  double value = 0, item_variance = 0;
  bool any_error = false;
  for (const auto& [task, list] : by_task) {
    std::vector<double> values, squares;
    for (const Sample* s : list) {
      values.push_back(s->value);
      if (!std::isnan(s->error)) squares.push_back(s->error * s->error);
    }
    value += mean(values) / tasks;
    if (squares.empty()) continue;
    any_error = true;
    item_variance += mean(squares) / (tasks * tasks);
  }
  result.value = value;
  result.tasks = by_task.size();
  result.seeds = by_seed.size();
  if (any_error) result.item_error = std::sqrt(item_variance);
  std::vector<double> complete;
  for (const auto& [seed, values] : by_seed)
    if (values.size() == by_task.size()) complete.push_back(mean(values));
  result.seed_error = standard_error(complete);
  const double item = any_error ? result.item_error : 0, seed = std::isnan(result.seed_error) ? 0 : result.seed_error;
  if (any_error || complete.size() > 1) result.error = std::hypot(item, seed);
  return result;
}

double kendall_tau_b(const std::vector<double>& x, const std::vector<double>& y) {
  require(x.size() == y.size(), "kendall_tau_b: expected two lists of one length, found {} and {}", x.size(), y.size());
  double s = 0, untied_x = 0, untied_y = 0;
  for (std::size_t i = 0; i < x.size(); ++i) {
    for (std::size_t j = i + 1; j < x.size(); ++j) {
      const int dx = order(x[i], x[j]), dy = order(y[i], y[j]);
      s += dx * dy;
      untied_x += dx != 0;
      untied_y += dy != 0;
    }
  }
  return untied_x == 0 || untied_y == 0 ? kNaN : s / std::sqrt(untied_x * untied_y);
}

Agreement kendall(const std::vector<double>& x, const std::vector<double>& y, const AgreementOptions& options) {
  require(x.size() == y.size(), "kendall: expected two lists of one length, found {} and {}", x.size(), y.size());
  std::vector<double> a, b;
  for (std::size_t i = 0; i < x.size(); ++i) {
    if (std::isnan(x[i]) || std::isnan(y[i])) continue;
    a.push_back(x[i]);
    b.push_back(y[i]);
  }
  Agreement result;
  result.n = a.size();
  if (a.size() < 3) return result;
  result.tau = kendall_tau_b(a, b);
  if (std::isnan(result.tau)) return result;
  const int s = score(a, b);
  const bool ties = has_ties(a) || has_ties(b);
  result.exact = !ties || a.size() <= kEnumerateUpTo;
  Rng rng(options.seed, "kendall.permutations");
  result.p_value = !ties                        ? p_without_ties(a.size(), s)
                   : a.size() <= kEnumerateUpTo ? p_by_enumeration(a, b, s)
                                                : p_by_chance(a, b, s, rng);
  if (a.size() >= 4) bootstrap(a, b, options, result);
  return result;
}

}  // namespace hymba::reports
