// One decoding step of a batch, bound once: every tensor that a step reads or writes, and every view of one, is made
// before the first step; a step is then a list of functions that allocate nothing of any size.
#pragma once

#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>

#include <functional>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "nn/cache.h"

namespace hymba {

using StepFunction = std::function<void()>;

struct StepBatch {
  std::int64_t batch = 0;
  at::Tensor lengths_B;  // int64, on the CPU: positions of each sequence in this step, its new token included
  at::Tensor device_lengths_B;  // the same on the model's device; on the CPU the same tensor
  ModelCache* cache = nullptr;
  std::vector<const KvCache*> kv;  // by block, set by the producers: whose K and V its attention layers see

  at::Device device() const { return device_lengths_B.device(); }

  // Scratch [B, width] in float32. One use and width is one tensor: layers run one after the other and share it.
  at::Tensor buffer(const std::string& use, std::int64_t width) {
    at::Tensor& tensor = buffers_[{use, width}];
    if (!tensor.defined()) tensor = at::empty({batch, width}, device_lengths_B.options().dtype(at::kFloat));
    return tensor;
  }

 private:
  std::map<std::pair<std::string, std::int64_t>, at::Tensor> buffers_;
};

}  // namespace hymba
