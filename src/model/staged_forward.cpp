#include "model/staged_forward.h"

#include "base/error.h"
#include "base/interrupt.h"

namespace hymba {

StagedForward::StagedForward(const LanguageModel& model, const at::Tensor& ids_BT) : StagedForward(model, model.embed(ids_BT), 0) {}

StagedForward::StagedForward(const LanguageModel& model, at::Tensor x_BLD, std::int64_t next)
    : model_(&model), x_BLD_(std::move(x_BLD)), next_(static_cast<std::size_t>(next)) {
  pass_.meta_tokens = model.config().meta_tokens;
  pass_.kv.resize(static_cast<std::size_t>(model.config().layers));
}

void StagedForward::run_to(std::size_t end, const std::vector<HeadMask>& masks, const Observer* observer) {
  require(end <= model_->sublayers().size(), "[staged forward] end {}: the model has {} sublayers", end, model_->sublayers().size());
  pass_.masks = masks;
  pass_.observer = observer;
  for (; next_ < end; ++next_) {
    throw_if_interrupted();
    x_BLD_ = model_->sublayers()[next_]->forward(x_BLD_, pass_);
  }
  pass_.masks.clear();
  pass_.observer = nullptr;
}

StagedForward::Kept StagedForward::run_kept() {
  Kept kept{next_, x_BLD_, {}};
  const Observer keep = [&](std::int64_t, const std::string&, const std::string& what, const at::Tensor& tensor) {
    if (what == "output") kept.outputs.push_back(tensor);
  };
  run_to(next_ + 1, {}, &keep);
  return kept;
}

void StagedForward::replay(const Kept& kept, const std::vector<HeadMask>& masks) {
  pass_.masks = masks;
  x_BLD_ = model_->sublayers().at(kept.index)->combine(kept.x_BLD, kept.outputs, pass_);
  pass_.masks.clear();
  next_ = kept.index + 1;
}

at::Tensor StagedForward::finish() {
  run_to(model_->sublayers().size());
  return model_->finish(x_BLD_);
}

}  // namespace hymba
