// How large the branches of hybrid layers are: raw outputs, learned gates, and both together (Hymba, figure 12).
#pragma once

#include <string>
#include <vector>

#include "model/language_model.h"

namespace hymba::eval {

struct BranchMagnitude {
  std::int64_t layer = 0;
  std::string branch;      // "attention" or "ssm"
  double output = 0;       // mean over tokens of the root mean square of the mixer's output
  double gate = 0;         // mean |gate| over the channels of the branch norm; NaN where the mixer is alone
  double fused = 0;        // as `output`, behind norm and gate; NaN where the mixer is alone
  std::int64_t tokens = 0;
};

// Over prompts of one length, [B, T]. UserError for a model with neither attention nor an SSM.
std::vector<BranchMagnitude> branch_magnitudes(const LanguageModel& model, const at::Tensor& ids_BT);

}  // namespace hymba::eval
