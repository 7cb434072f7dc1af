// A forward pass that stops between sublayers and goes on from there more than once: what lies below a change is
// computed once and shared by every variant above it. A copy is cheap: it shares the tensors.
#pragma once

#include <vector>

#include "model/language_model.h"

namespace hymba {

class StagedForward {
 public:
  // Before the first sublayer. The model must outlive this.
  StagedForward(const LanguageModel& model, const at::Tensor& ids_BT);
  // The same from rows that are there already: meta tokens and embeddings [B, M + T, D] (for gradients to the inputs).
  StagedForward(const LanguageModel& model, at::Tensor x_BLD, std::int64_t next);

  std::size_t next() const { return next_; }  // index of the sublayer that comes now
  bool done() const { return next_ == model_->sublayers().size(); }
  const at::Tensor& rows() const { return x_BLD_; }

  // Runs sublayers up to `end`, that one not included.
  void run_to(std::size_t end, const std::vector<HeadMask>& masks = {}, const Observer* observer = nullptr);
  // What a sublayer read and what its mixers gave.
  struct Kept {
    std::size_t index = 0;
    at::Tensor x_BLD;
    std::vector<at::Tensor> outputs;
  };
  // Runs one sublayer and keeps that. K and V that it made stay with the pass: removing a branch takes away its output,
  // and a layer that shares these K and V goes on using them.
  Kept run_kept();
  // Goes back to behind that sublayer with other masks: only fusion and output projection are computed again.
  void replay(const Kept& kept, const std::vector<HeadMask>& masks);
  // Runs what is left and returns hidden states after the final norm, [B, T, D].
  at::Tensor finish();

 private:
  const LanguageModel* model_;
  at::Tensor x_BLD_;
  Pass pass_;
  std::size_t next_ = 0;
};

}  // namespace hymba
