// One residual step: x + out_proj(fuse(mixers(in_proj(norm(x))))). With one mixer it is a plain layer; with several it is
// Hymba's hybrid-head module (arXiv 2411.13676, equation 3): each branch is normalised, scaled by a learned vector, and
// averaged (mean) or concatenated (concat) before the shared output projection.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "mixer/mixer.h"

namespace hymba {

enum class Fusion { kMean, kConcat };

// "mamba" -> {mamba}; "parallel(attention,mamba)" -> {attention, mamba}. UserError for anything else.
std::vector<std::string> parse_mixer(const std::string& text);

class Sublayer {
 public:
  struct Options {
    std::size_t index = 0;                  // among the model's sublayers
    std::string name;                       // "layers.0.mixer" or "layers.0.ffn": prefix of its parameters
    std::vector<std::string> mixers;
    Fusion fusion = Fusion::kMean;
    bool branch_norms = true;               // of parallel mixers, before the fusion
    double out_std = 0.02;                  // of out_proj at the start: init_std / sqrt(residual steps)
  };
  // make: builds the mixer of a name in this place.
  Sublayer(const Options& options, const MixerContext& context,
           const std::function<std::unique_ptr<Mixer>(const std::string&, const MixerContext&)>& make);

  at::Tensor forward(const at::Tensor& x_BLD, Pass& pass) const;  // the residual is added: [B, L, D]
  // The second half of forward(): fuses the mixers' outputs (in their order), projects back, adds x. Studies that
  // remove branches keep the outputs and repeat this part alone.
  at::Tensor combine(const at::Tensor& x_BLD, std::vector<at::Tensor> outputs, const Pass& pass) const;
  std::vector<MixerCache> make_cache(const CacheShape& shape) const;
  // One decoding step, in place on x_BD (contiguous): see nn/step.h. Head masks do not apply.
  StepFunction bind_step(const at::Tensor& x_BD, StepBatch& step) const;
  Fusion fusion() const { return options_.fusion; }
  // Norm and gate of a branch before the fusion, [E]; undefined where the mixer is alone in its layer.
  at::Tensor branch_gate(std::size_t mixer) const { return branch_norms_E_.empty() ? at::Tensor() : branch_norms_E_[mixer]; }

  const std::vector<std::unique_ptr<Mixer>>& mixers() const { return mixers_; }
  const std::vector<std::string>& mixer_names() const { return options_.mixers; }
  const std::string& name() const { return options_.name; }
  std::int64_t layer() const { return layer_; }
  std::string text() const;  // "parallel(attention,mamba)"

  struct Params {
    std::int64_t attention = 0;  // Q, K, V rows, or the whole layer if it has attention alone
    std::int64_t mamba = 0;      // all else of a layer with a recurrent mixer
    std::int64_t other = 0;      // FFN, layer norms
  };
  Params params() const;
  double flops_per_token(double context) const;
  CacheBytes cache_bytes(CacheQuery query) const;

 private:
  void add_biases(const MixerContext& context);
  at::Tensor input_bias() const;   // [X], zeros for the mixers without one; undefined where no mixer has one
  at::Tensor output_bias() const;  // [D]
  at::Tensor project_in(const at::Tensor& x_BLD) const;
  at::Tensor project_out(const at::Tensor& y_BLE) const;
  at::Tensor fuse(std::vector<at::Tensor> outputs, const Pass& pass) const;
  StepFunction bind_plain_fuse(const std::vector<at::Tensor>& outputs, std::vector<at::Tensor> places, std::vector<float> scales) const;
  StepFunction bind_fuse(const std::vector<at::Tensor>& outputs, const at::Tensor& fused_BE) const;
  at::Tensor masked(const at::Tensor& y_BLE, std::size_t mixer, const Pass& pass) const;

  Options options_;
  std::int64_t layer_, hidden_, width_ = 0, in_rows_ = 0;
  double eps_;
  std::vector<std::unique_ptr<Mixer>> mixers_;
  at::Tensor norm_D_, in_proj_XD_, out_proj_DE_;
  at::Tensor in_bias_;        // rows of the mixers that have one, in order
  at::Tensor out_bias_;       // [D]; [n, D] if n concatenated mixers have one each
  at::Tensor in_scale_X_;     // constant; undefined: all 1
  at::Tensor out_bias_scale_; // [n, 1], with an out_bias_ [n, D]
  std::vector<at::Tensor> branch_norms_E_;
};

}  // namespace hymba
