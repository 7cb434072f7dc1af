// AdamW (Loshchilov and Hutter, arXiv 1711.05101) in two groups, with and without decay, by ATen's fused kernel.
#pragma once

#include <ATen/core/Tensor.h>

#include <map>
#include <string>
#include <vector>

#include "nn/parameters.h"
#include "train/recipe.h"

namespace hymba {

class AdamW {
 public:
  AdamW(ParameterStore& store, const Recipe& recipe);
  // The gradients' norm before clipping, over all parameters. Clips them if the recipe says so.
  double clip();
  void step(double lr);
  void zero_grad();

  // Name -> tensor ("exp_avg.NAME", "exp_avg_sq.NAME", "step"), for checkpoints.
  std::map<std::string, at::Tensor> state() const;
  void set_state(const std::map<std::string, at::Tensor>& state);  // UserError for missing tensors and wrong shapes

 private:
  struct Group {
    double weight_decay = 0;
    std::vector<at::Tensor> params, exp_avg, exp_avg_sq, steps;
    std::vector<std::string> names;
  };
  Recipe recipe_;
  std::vector<Group> groups_;
};

}  // namespace hymba
