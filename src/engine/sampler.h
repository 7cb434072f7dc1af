// From logits to the next token: greedy, or drawn with temperature, top-k and top-p from a seeded stream.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "base/rng.h"

namespace hymba {

struct SamplingOptions {
  double temperature = 0;  // 0: greedy
  std::int64_t top_k = 0;  // of the k most probable tokens; 0: all
  double top_p = 1;        // of the fewest tokens that hold this much probability (Holtzman et al., arXiv 1904.09751)
  std::uint64_t seed = 0;
  void check() const;  // UserError naming the option
};

// One sequence's stream of draws: the same seed and sequence number give the same tokens, whatever else is in the
// batch.
class Sampler {
 public:
  Sampler(const SamplingOptions& options, std::uint64_t sequence);
  // Ties go to the lower id. Error for logits that are not finite.
  std::int64_t next(std::span<const float> logits);

 private:
  SamplingOptions options_;
  Rng rng_;
  std::vector<std::int32_t> order_;  // kept from call to call
  std::vector<double> weights_;
};

}  // namespace hymba
