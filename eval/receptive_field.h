// Effective receptive field: how far back the output at the last position reaches, by the gradient to each input
// position (after Luo et al., arXiv 1701.04128). docs/studies.md has the definition.
#pragma once

#include <cstdint>
#include <vector>

#include "model/language_model.h"

namespace hymba::eval {

struct ReceptiveField {
  std::vector<double> by_distance;  // share of the gradient at distance d = 0 .. T-1 from the last position; with meta: 1
  double meta = 0;                  // share of the meta tokens
  double mean_distance = 0;         // sum_d d m_d / sum_d m_d, in tokens, without meta tokens
  double error = 0;                 // its standard error over the prompts
  double span90 = 0;                // the nearest tokens that hold 90 % of it
};

// ids_BT: prompts of one length. `probes`: random directions a prompt; the norm of the Jacobian is estimated with them.
ReceptiveField receptive_field(const LanguageModel& model, const at::Tensor& ids_BT, int probes, std::uint64_t seed);

}  // namespace hymba::eval
