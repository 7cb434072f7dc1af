// Statistics of the reports: errors of suites over tasks and seeds, and agreement of two orders (Kendall's tau-b).
// NaN means "not measured" everywhere and is left out of every sum; what was left out shows in the counts.
#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>
#include <string>
#include <vector>

namespace hymba::reports {

inline constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

double mean(const std::vector<double>& values);             // NaN for no values
double sample_variance(const std::vector<double>& values);  // divides by n - 1; NaN below two values
double standard_error(const std::vector<double>& values);   // of the mean: sqrt(variance / n); NaN below two values

// One task measured on one seed.
struct Sample {
  std::string task;
  std::uint64_t seed = 0;
  double value = kNaN;
  double error = kNaN;  // standard error over the items of the task, NaN where unknown
};

struct Estimate {
  double value = kNaN;
  double error = kNaN;       // sqrt(item_error^2 + seed_error^2) over those that are known
  double item_error = kNaN;  // from the finite number of items
  double seed_error = kNaN;  // from the spread between seeds; NaN for a single seed
  std::size_t tasks = 0;
  std::size_t seeds = 0;
  bool measured() const { return value == value; }
};

// A suite of T tasks, a_ts the accuracy of task t on seed s and e_ts its item error:
//   value        = mean_t mean_s a_ts
//   item_error^2 = 1/T^2 sum_t mean_s e_ts^2   all seeds answer the same items, so this part does not shrink with seeds
//   seed_error^2 = var_s(A_s) / S              A_s = mean_t a_ts over the S seeds that have every task: a lucky seed is
//                                              lucky in all tasks, so the spread is taken of the suite, not task by
//                                              task
// The spread between seeds holds some item noise too: the error is rather too large than too small.
Estimate combine_suite(const std::vector<Sample>& samples);

// (concordant - discordant) / sqrt((pairs - ties in x)(pairs - ties in y)); NaN if either side is all ties. O(n^2).
double kendall_tau_b(const std::vector<double>& x, const std::vector<double>& y);

struct Agreement {
  double tau = kNaN;
  double low = kNaN;  // percentile bootstrap over the pairs; NaN below four pairs
  double high = kNaN;
  double p_value = kNaN;  // two-sided, of |tau| at least this large if the order were random
  bool exact = false;     // p from all permutations (no ties: at any n; ties: up to 8 pairs), else 20 000 random ones
  std::size_t n = 0;      // pairs where both are measured
};

struct AgreementOptions {
  double level = 0.95;
  int resamples = 4000;
  std::uint64_t seed = 0;
};

// Below three pairs nothing but n is filled: two rows always agree perfectly or not at all.
Agreement kendall(const std::vector<double>& x, const std::vector<double>& y, const AgreementOptions& options = {});

}  // namespace hymba::reports
