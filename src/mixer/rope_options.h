// Options of rotary positions: base and the scalings that published models use for long contexts.
#pragma once

#include <boost/program_options/options_description.hpp>
#include <cstdint>
#include <string>
#include <vector>

namespace hymba {

struct RopeOptions {
  bool rope = true;
  double theta = 10000;
  std::string scaling = "none";
  std::int64_t max = 0, original = 0;  // positions: to reach, and of the training before the scaling
  double factor = 1, low = 1, high = 4;

  void add_to(boost::program_options::options_description& o);
  void check(std::int64_t head_dim) const;  // UserError for impossible values and for those without effect
  // P/2 angles a position. `total`: positions of the whole sequence so far, which dynamic_ntk depends on.
  std::vector<double> frequencies(std::int64_t head_dim, std::int64_t total) const;
  // Whether `total` positions turn by other angles than fewer do: keys already in a cache would be wrong.
  bool depends_on(std::int64_t total) const { return scaling == "dynamic_ntk" && total > original; }
};

}  // namespace hymba
