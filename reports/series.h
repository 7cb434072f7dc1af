// Series behind the figures: training curves, and recall by number of pairs or by distance.
#pragma once

#include <string>
#include <vector>

#include "reports/statistics.h"
#include "results/record.h"

namespace hymba::reports {

struct Curve {
  std::string design, size;
  std::uint64_t seed = 0;
  struct Point {
    double tokens, loss;
  };
  std::vector<Point> points;  // by tokens, rising
};

// Records of study "train", metric "loss"; x is extra "tokens", or "step" where there is none. A longer curve is
// thinned to max_points, each the mean of its stretch, the last point kept as it is.
std::vector<Curve> loss_curves(const std::vector<Record>& records, std::size_t max_points);

struct Breakdown {
  std::string design, size, task;
  std::string by;  // "pairs" or "distance"
  double chance = kNaN;
  struct Point {
    double x;
    Estimate estimate;
    std::int64_t n;
  };
  std::vector<Point> points;  // by x, rising; seeds combined
};

// Records of metric "acc" whose extra has "pairs" or "distance", of any study.
std::vector<Breakdown> accuracy_breakdowns(const std::vector<Record>& records);

}  // namespace hymba::reports
