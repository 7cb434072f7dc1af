// The tensors of a family's files for every parameter of a model: names, shapes, and how they join.
#pragma once

#include <ATen/core/Tensor.h>

#include <functional>
#include <string>
#include <vector>

#include "exchange/family.h"
#include "model/language_model.h"

namespace hymba {

struct TensorPart {
  std::string name;                 // in the family's files
  std::vector<std::int64_t> shape;  // there
  std::int64_t size = 0;            // rows (columns) of ours that it is
};

struct TensorLink {
  std::string ours;
  std::vector<std::int64_t> shape;  // ours
  TensorView view = TensorView::kSame;
  std::int64_t axis = 0;  // of ours, along which the parts stand
  std::vector<TensorPart> parts;
};

// A link for each parameter of `model` (which may be without memory). UserError for a parameter that the family has no
// name for: the design cannot be stored in its layout.
std::vector<TensorLink> link_tensors(const Family& family, const LanguageModel& model);

// All names that the family ignores, for this model's layers.
std::vector<std::string> ignored_names(const Family& family, const LanguageModel& model);

// Ours in `type`, from its parts; one part in that type is not copied.
at::Tensor join_parts(const TensorLink& link, const std::function<at::Tensor(const TensorPart&)>& part,
                      at::ScalarType type = at::kFloat);
// The parts of ours, in their shapes.
std::vector<at::Tensor> split_parts(const TensorLink& link, const at::Tensor& ours);

}  // namespace hymba
