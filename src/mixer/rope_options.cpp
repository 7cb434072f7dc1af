#include "mixer/rope_options.h"

#include <cmath>
#include <numbers>

#include "base/error.h"

namespace hymba {
namespace {

namespace po = boost::program_options;

// NTK-aware base: base * (2 positions / original - 1)^(P / (P - 2)), as Hymba's reference computes it.
double ntk_base(double base, std::int64_t positions, std::int64_t original, std::int64_t head_dim) {
  const double ratio = 2.0 * static_cast<double>(positions) / static_cast<double>(original) - 1;
  return base * std::pow(ratio, static_cast<double>(head_dim) / static_cast<double>(head_dim - 2));
}

// Llama 3.1: waves longer than original / low are stretched by `factor`, those shorter than original / high are kept,
// and between the two the mixture changes evenly with original / wavelength.
double llama3(double frequency, const RopeOptions& o) {
  const double turns = static_cast<double>(o.original) * frequency / (2 * std::numbers::pi);  // within the old context
  if (turns < o.low) return frequency / o.factor;
  if (turns > o.high) return frequency;
  const double smooth = (turns - o.low) / (o.high - o.low);
  return (1 - smooth) * frequency / o.factor + smooth * frequency;
}

}  // namespace

void RopeOptions::add_to(po::options_description& o) {
  o.add_options()("attention.rope", po::value(&rope)->default_value(true), "rotary positions")(
      "attention.rope_theta", po::value(&theta)->default_value(10000), "base of the rotary angles")(
      "attention.rope_scaling", po::value(&scaling)->default_value("none"), "none, ntk, dynamic_ntk, linear or llama3")(
      "attention.rope_max", po::value(&max)->default_value(0), "ntk: positions to reach")(
      "attention.rope_original", po::value(&original)->default_value(0),
      "ntk, dynamic_ntk, llama3: positions of the base")("attention.rope_factor", po::value(&factor)->default_value(1),
                                                         "linear, llama3: how much longer waves become")(
      "attention.rope_low", po::value(&low)->default_value(1),
      "llama3: waves with fewer turns in the base's positions are stretched")(
      "attention.rope_high", po::value(&high)->default_value(4), "llama3: waves with more turns are kept");
}

void RopeOptions::check(std::int64_t head_dim) const {
  const bool known =
      scaling == "none" || scaling == "ntk" || scaling == "dynamic_ntk" || scaling == "linear" || scaling == "llama3";
  require(known, "attention.rope_scaling = {}: expected none, ntk, dynamic_ntk, linear or llama3", scaling);
  require(scaling == "none" || rope, "attention.rope_scaling = {} has no effect: attention.rope is false", scaling);
  require(!rope || head_dim % 2 == 0, "attention.head_dim = {}: RoPE needs an even number", head_dim);
  require(!rope || (theta > 0 && std::isfinite(theta)), "attention.rope_theta = {}: expected a positive number", theta);
  const bool ntk = scaling == "ntk" || scaling == "dynamic_ntk", by_factor = scaling == "linear" || scaling == "llama3";
  require(scaling != "ntk" || (max > 0 && original > 0),
          "attention.rope_scaling = ntk needs attention.rope_max and attention.rope_original, found {} and {}", max,
          original);
  require(scaling == "ntk" || max == 0, "attention.rope_max = {} has no effect without attention.rope_scaling = ntk",
          max);
  const bool wants_original = ntk || scaling == "llama3";
  require(wants_original == (original > 0), "attention.rope_original = {}: attention.rope_scaling = {} {}", original,
          scaling, wants_original ? "needs it" : "does not read it");
  require(!ntk || head_dim > 2, "attention.head_dim = {}: NTK scaling needs more than 2", head_dim);
  require(scaling != "ntk" || 2 * max > original,
          "attention.rope_max = {}: expected more than half of attention.rope_original = {}", max, original);
  require(by_factor ? factor > 0 && std::isfinite(factor) : factor == 1,
          "attention.rope_factor = {}: expected a positive number with attention.rope_scaling = linear or llama3, and "
          "1 with {}",
          factor, scaling);
  require(scaling == "llama3" ? low > 0 && high > low : low == 1 && high == 4,
          "attention.rope_low = {}, attention.rope_high = {}: expected 0 < low < high with attention.rope_scaling = "
          "llama3, 1 and 4 with {}",
          low, high, scaling);
}

std::vector<double> RopeOptions::frequencies(std::int64_t head_dim, std::int64_t total) const {
  double base = theta;
  if (scaling == "ntk") base = ntk_base(theta, max, original, head_dim);
  if (depends_on(total)) base = ntk_base(theta, total, original, head_dim);
  std::vector<double> result;
  for (std::int64_t j = 0; j < head_dim / 2; ++j) {
    double frequency = std::pow(base, -2.0 * static_cast<double>(j) / static_cast<double>(head_dim));
    if (scaling == "linear") frequency /= factor;
    if (scaling == "llama3") frequency = llama3(frequency, *this);
    result.push_back(frequency);
  }
  return result;
}

}  // namespace hymba
