#include "eval/bootstrap.h"

#include <algorithm>
#include <cmath>

#include "base/rng.h"

namespace hymba::eval {

std::vector<double> bootstrap(std::size_t n, int repeats, const std::function<double(std::span<const std::size_t>)>& statistic) {
  Rng rng(1234, "bootstrap");
  std::vector<std::size_t> drawn(n);
  std::vector<double> values;
  for (int r = 0; r < repeats && n > 0; ++r) {
    for (auto& i : drawn) i = rng.below(n);
    values.push_back(statistic(drawn));
  }
  return values;
}

double mean(std::span<const double> values) {
  double sum = 0;
  for (const double value : values) sum += value;
  return values.empty() ? 0 : sum / static_cast<double>(values.size());
}

double standard_deviation(std::span<const double> values) {
  if (values.size() < 2) return 0;
  const double middle = mean(values);
  double squares = 0;
  for (const double value : values) squares += (value - middle) * (value - middle);
  return std::sqrt(squares / static_cast<double>(values.size() - 1));
}

double quantile(std::vector<double> values, double q) {
  if (values.empty()) return 0;
  std::sort(values.begin(), values.end());
  const double at = q * static_cast<double>(values.size() - 1);
  const auto low = static_cast<std::size_t>(at);
  const std::size_t high = std::min(low + 1, values.size() - 1);
  return values[low] + (at - static_cast<double>(low)) * (values[high] - values[low]);
}

}  // namespace hymba::eval
