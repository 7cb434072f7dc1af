#include "eval/branch_magnitudes.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>

#include <cmath>
#include <map>

#include "base/error.h"
#include "model/staged_forward.h"

namespace hymba::eval {

std::vector<BranchMagnitude> branch_magnitudes(const LanguageModel& model, const at::Tensor& ids_BT) {
  const at::NoGradGuard no_grad;
  const std::int64_t meta = model.config().meta_tokens, length = ids_BT.size(1);
  std::map<std::string, double> seen;  // "layer mixer what" -> mean root mean square over the text's positions
  const Observer observer = [&](std::int64_t layer, const std::string& mixer, const std::string& what, const at::Tensor& x) {
    if (what != "branch" && what != "output") return;
    seen[fmt::format("{} {} {}", layer, mixer, what)] = x.narrow(1, meta, length).square().mean(2).sqrt().mean().item<double>();
  };
  StagedForward(model, ids_BT).run_to(model.sublayers().size(), {}, &observer);
  std::vector<BranchMagnitude> result;
  for (const auto& sublayer : model.sublayers()) {
    for (std::size_t m = 0; m < sublayer->mixers().size(); ++m) {
      const auto& mixer = *sublayer->mixers()[m];
      if (!mixer.attends() && !mixer.recurrent()) continue;
      const auto value = [&](const char* what) {
        const auto found = seen.find(fmt::format("{} {} {}", sublayer->layer(), sublayer->mixer_names()[m], what));
        return found == seen.end() ? std::nan("") : found->second;
      };
      const at::Tensor gate = sublayer->branch_gate(m);
      result.push_back({sublayer->layer(), mixer.attends() ? "attention" : "ssm", value("output"),
                        gate.defined() ? gate.abs().mean().item<double>() : std::nan(""), value("branch"), ids_BT.numel()});
    }
  }
  require(!result.empty(), "no layer of the model has an attention or SSM branch");
  return result;
}

}  // namespace hymba::eval
