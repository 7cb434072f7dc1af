// Standard errors and intervals by resampling items with replacement.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

namespace hymba::eval {

// `statistic` of each of `repeats` draws of n item numbers out of n, from a fixed seed.
std::vector<double> bootstrap(std::size_t n, int repeats, const std::function<double(std::span<const std::size_t>)>& statistic);

double standard_deviation(std::span<const double> values);  // of a sample; 0 for fewer than two
double mean(std::span<const double> values);
double quantile(std::vector<double> values, double q);  // linear between neighbours

}  // namespace hymba::eval
