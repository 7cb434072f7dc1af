// Checkpoints of our own: a folder with
//   design.ini             the resolved design, complete: it needs no other file to be built again
//   model.safetensors      the weights by name
//   optimizer.safetensors  the moments (absent in a model that is only meant to be used)
//   state.json             step, tokens, seed, hashes, tokenizer, loss curve
// A folder is written under another name and renamed when it is whole, so one that is there is complete.
#pragma once

#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>

#include "model/design.h"
#include "model/language_model.h"
#include "train/optimizer.h"

namespace hymba {

struct CheckpointState {
  std::string design, size, title, group;
  int row = 0;
  std::int64_t step = 0, tokens = 0;
  std::uint64_t seed = 0;
  std::string config_hash;  // of design and recipe and data
  std::string data;         // describe() of the token source
  std::string tokenizer;    // "world", "bytes" or a path
  nlohmann::json curve = nlohmann::json::array();  // [step, tokens, loss, lr, grad_norm]
  nlohmann::json extra = nlohmann::json::object();  // held_out among others: [step, tokens, loss, error, tokens read]
};

void save_checkpoint(const std::filesystem::path& folder, const Design& design, const LanguageModel& model,
                     const Optimizer* optimizer, const CheckpointState& state);

CheckpointState read_checkpoint_state(const std::filesystem::path& folder);
Design read_checkpoint_design(const std::filesystem::path& folder);
// Copies the weights into the model. UserError naming the tensor for one that is missing, left over or of another shape.
void load_weights(const std::filesystem::path& folder, LanguageModel& model);
void load_optimizer(const std::filesystem::path& folder, Optimizer& optimizer);

// The newest complete checkpoint below a run's folder ("step-00000500"), or "" if there is none.
std::filesystem::path newest_checkpoint(const std::filesystem::path& run);
// `path` itself if it is a checkpoint, else the newest below it. UserError if there is none.
std::filesystem::path find_checkpoint(const std::filesystem::path& path);
// Deletes all but the newest `keep` checkpoints, and the rests of broken-off ones.
void prune_checkpoints(const std::filesystem::path& run, std::size_t keep);

// A stored model with its design, ready to run.
struct LoadedModel {
  Design design;
  CheckpointState state;
  std::unique_ptr<LanguageModel> model;
};
LoadedModel load_checkpoint(const std::filesystem::path& path);  // of a run or checkpoint; exchange/open_model.h opens all kinds

}  // namespace hymba
