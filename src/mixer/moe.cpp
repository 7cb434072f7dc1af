// Mixture of SwiGLU experts (Shazeer et al., arXiv 1701.06538; as in Jamba and Mixtral): each token's output is the sum
// of its top k experts, weighted by a softmax over all experts' router logits. Rows of the projection: for each expert
// gate [I] | up [I], then the router's [n]. The layer's output projection holds all experts' down projections side by
// side, so the mixer only scales what goes into them: experts that are not chosen get 0. All experts are computed,
// which is exact and simple but does n / k times the needed work: meant for studying such models, not for serving large
// ones.
#include <ATen/TensorOperators.h>
#include <ATen/ops/scatter.h>
#include <ATen/ops/softmax.h>
#include <ATen/ops/split_with_sizes.h>
#include <ATen/ops/topk.h>
#include <ATen/ops/zeros_like.h>

#include "base/error.h"
#include "kernels/swiglu/op.h"
#include "mixer/mixer.h"

namespace hymba {
namespace {

namespace po = boost::program_options;

class Moe : public Mixer {
 public:
  struct Config {
    std::int64_t hidden = 0, experts = 0, top_k = 0;
    bool renormalise = false;

    po::options_description options() {
      po::options_description o;
      o.add_options()("moe.hidden", po::value(&hidden)->default_value(0),
                      "width I of an expert; 0: 8/3 of hidden, rounded up to a multiple of 32")(
          "moe.experts", po::value(&experts)->default_value(4), "experts n")(
          "moe.top_k", po::value(&top_k)->default_value(2), "experts k that a token uses")(
          "moe.renormalise", po::value(&renormalise)->default_value(false),
          "the weights of the chosen experts add up to 1 (Mixtral; not Jamba)");
      return o;
    }
  };

  Moe(const Config& config, const MixerContext& context) : config_(config) {
    width_ = config.hidden != 0 ? config.hidden : (context.hidden * 8 / 3 + 31) / 32 * 32;
    check_size("moe.hidden", width_);
    require(config.experts > 0 && config.experts <= 65536 && config.top_k > 0 && config.top_k <= config.experts,
            "moe.experts = {}, moe.top_k = {}: expected 1 <= top_k <= experts", config.experts, config.top_k);
  }

  std::int64_t in_rows() const override { return config_.experts * (2 * width_ + 1); }
  std::int64_t out_width() const override { return config_.experts * width_; }
  std::int64_t heads() const override { return config_.experts; }

  at::Tensor forward(const at::Tensor& p_BLX, Pass&, MixerCache*) const override {
    const std::int64_t batch = p_BLX.size(0), length = p_BLX.size(1), n = config_.experts;
    const auto experts_router = at::split_with_sizes(p_BLX, {2 * n * width_, n}, 2);
    const at::Tensor weight_BLn = at::softmax(experts_router[1], 2);
    auto [top, chosen] = at::topk(weight_BLn, config_.top_k, 2);
    if (config_.renormalise) top = top / top.sum(2, /*keepdim=*/true);
    const at::Tensor used_BLn = at::scatter(at::zeros_like(weight_BLn), 2, chosen, top);
    const at::Tensor y = kernels::swiglu(experts_router[0].reshape({batch, length, n, 2 * width_}));
    return (y * used_BLn.unsqueeze(3)).reshape({batch, length, out_width()});
  }

  MixerCost cost() const override {
    MixerCost cost;
    cost.flops_per_token = static_cast<double>(config_.experts) * (6.0 * static_cast<double>(width_) + 5);
    return cost;
  }
  std::vector<std::pair<std::string, std::int64_t>> facts() const override {
    return {{"width", width_}, {"experts", config_.experts}, {"top_k", config_.top_k}};
  }

 private:
  Config config_;
  std::int64_t width_ = 0;
};

const RegisterMixer<Moe> kRegistered("moe", /*channels=*/true);

}  // namespace
}  // namespace hymba
