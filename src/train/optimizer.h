// AdamW (Loshchilov and Hutter, arXiv 1711.05101) in two groups, with and without decay, by ATen's fused kernel; and Muon
// (Jordan et al., 2024) for the matrices of the layers where the recipe says `train.optimizer = muon`.
#pragma once

#include <ATen/core/Tensor.h>

#include <map>
#include <string>
#include <vector>

#include "nn/parameters.h"
#include "train/recipe.h"

namespace hymba {

// About the (semi-)orthogonal matrix nearest to g [M, N], by five steps of Newton and Schulz: singular values in 0.7-1.2.
at::Tensor orthogonal_part(const at::Tensor& g_MN);

class Optimizer {
 public:
  Optimizer(ParameterStore& store, const Recipe& recipe);
  // The gradients' norm before clipping, over all parameters. Clips them if the recipe says so.
  double clip();
  void step(double lr);
  void zero_grad();

  // Name -> tensor ("exp_avg.NAME", "exp_avg_sq.NAME", "step.NAME"; "momentum.NAME"), for checkpoints.
  std::map<std::string, at::Tensor> state() const;
  void set_state(const std::map<std::string, at::Tensor>& state);  // UserError for missing tensors and wrong shapes

 private:
  struct AdamGroup {
    double weight_decay = 0;
    std::vector<at::Tensor> params, exp_avg, exp_avg_sq, steps;
    std::vector<std::string> names;
  };
  struct MuonGroup {
    std::vector<at::Tensor> params, momentum;
    std::vector<std::string> names;
  };
  void muon_step(double lr);
  template <class Visit>
  void each_parameter(const Visit& visit);

  Recipe recipe_;
  std::vector<AdamGroup> groups_;
  MuonGroup muon_;
};

}  // namespace hymba
