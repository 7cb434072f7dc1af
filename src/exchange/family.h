// Model families of Hugging Face folders: how config.json becomes a design of ours, and which tensor is which. A family
// is data: a table of names and a list of config keys; nothing in mixers or model knows families.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "config/ini.h"
#include "exchange/hf_config.h"
#include "model/design.h"

namespace hymba {

// How a tensor of theirs is shaped where it is not as ours.
enum class TensorView {
  kSame,
  kConv,   // ours [E, W], theirs [E, 1, W]
  kHeads,  // ours [H, P], theirs [1, H, 1, P]; one-dimensional as it is
  kFlat,   // ours [n, D], theirs n times [D]
};

// One parameter of ours and the tensors of theirs that make it up, joined along the rows (out_proj.weight: columns).
struct TensorRule {
  const char* when;  // the sublayer's mixer, "attention" or "parallel(attention,mamba)"; "": not in a layer
  const char* ours;  // without "layers.N.mixer." or "layers.N.ffn."
  // Names, separated by spaces. ~ stands for the family's layer prefix. name|size gives the part's size: q k v o (of
  // attention), I (FFN width), D (hidden), * (the rest); name|size@mixer: only if that mixer has this bias.
  // Neighbours with {e} in them are repeated for each expert.
  const char* theirs;
  TensorView view = TensorView::kSame;
};

struct Family {
  const char* name;                      // model_type
  const char* layer;                     // "model.layers.{i}."
  std::span<const TensorRule> rules;     // none: only shapes and cache are known, no weights
  std::span<const char* const> ignored;  // tensors that may be there and are not read
  std::vector<Assignment> (*design)(const HfConfig& config);
};

// UserError naming the families that there are.
const Family& find_family(const HfConfig& config);
std::vector<std::string> family_names();

// The design that config.json describes. UserError for a family that is not known, an option that is not supported and
// sizes that contradict each other.
Design read_hf_design(const std::filesystem::path& path);

}  // namespace hymba
