// Weights of a Hugging Face folder: one model.safetensors, or shards with an index. Files are mapped; fp32 tensors that
// are one parameter of ours are used where they lie, others are converted once.
#pragma once

#include <filesystem>
#include <map>
#include <memory>
#include <string>

#include "exchange/tensor_links.h"
#include "io/safetensors.h"

namespace hymba {

struct ShardedTensors {
  std::map<std::string, at::Tensor> tensors;
  std::map<std::string, std::string> file;  // of each tensor, for messages
  std::vector<std::shared_ptr<const MappedFile>> maps;
};

// UserError for a shard that is missing, a tensor that stands in two shards, or one that the index names and its shard
// does not have.
ShardedTensors map_weights(const std::filesystem::path& folder);

// The model of a folder with its weights. UserError naming file and tensor for one that is missing, left over, of
// another shape than config.json says, or not finite.
// `keep_16_bit`: matrices stay as the file has them (LanguageModel::set_weight_type), for use without gradients.
std::unique_ptr<LanguageModel> read_hf_model(const std::filesystem::path& folder, const Design& design,
                                             bool keep_16_bit = false);

// UserError unless every tensor of the links is there in its shape, and nothing else but what is ignored.
void check_links(const std::vector<TensorLink>& links, const ShardedTensors& weights,
                 const std::vector<std::string>& ignored, const std::string& where);
// UserError "WHERE: tensor 'NAME' holds NaN or infinity ..." unless all values are finite; of fp32, bf16, fp16.
void require_finite(const at::Tensor& tensor, const std::string& name, const std::string& where);

}  // namespace hymba
