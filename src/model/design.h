// A design: a stanza of ablations/*.ini at a size, resolved to the values that its components read.
#pragma once

#include <filesystem>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "config/ini.h"
#include "config/resolver.h"
#include "mixer/sublayer.h"

namespace hymba {

// What `model` itself reads; the mixers read their own options.
struct ModelConfig {
  std::int64_t hidden = 0, layers = 0, meta_tokens = 0, vocab = 0;
  std::string mixer, pattern, ffn, fusion;
  std::int64_t padding_id = -1;
  bool tied = true, branch_norms = true;
  double norm_eps = 0, init_std = 0, embedding_std = 0, residual_scale = 1, embedding_scale = 1, logit_scale = 1;
  boost::program_options::options_description options();
};

// One sublayer of the model: which block it belongs to and the mixers in it.
struct SublayerPlan {
  std::int64_t layer = 0;
  std::vector<std::string> mixers;
  bool ffn = false;
};

class Design {
 public:
  // UserError for unknown or unread keys, values that change nothing, and patterns that cannot be built.
  Design(std::string name, std::string size, std::vector<ConfigLayer> layers);

  const std::string& name() const { return name_; }
  const std::string& size() const { return size_; }
  const ModelConfig& config() const { return config_; }
  const std::vector<SublayerPlan>& sublayers() const { return sublayers_; }
  const MixerType& mixer_type(const std::string& name) const { return *types_.at(name); }
  Fusion fusion() const { return config_.fusion == "concat" ? Fusion::kConcat : Fusion::kMean; }
  const Resolver& resolved() const { return resolver_; }
  std::string hash() const { return resolver_.hash(); }

  // Words of the stanza for tables.
  std::string title, group, from;
  int row = 0;  // 1..13 for the roadmap's rows, 0 for others

 private:
  void plan_sublayers();
  std::string name_, size_;
  Resolver resolver_;
  ModelConfig config_;
  std::vector<SublayerPlan> sublayers_;
  std::map<std::string, std::shared_ptr<MixerType>> types_;
};

// Every key that a design may have: the model's and every registered mixer's.
std::set<std::string> design_keys();
// The same with defaults and descriptions, for `show --keys`.
std::vector<std::tuple<std::string, std::string, std::string>> describe_design_keys();

// The designs of a folder of INI files (ablations/: base.ini, roadmap.ini, peers.ini, sizes).
class DesignLibrary {
 public:
  explicit DesignLibrary(const std::filesystem::path& folder);
  // spec: a row number ("9"), a stanza ("row-09", "hymba-1.5b"), or FILE.ini:stanza.
  Design open(const std::string& spec, const std::string& size, const std::vector<Assignment>& overrides) const;
  std::vector<std::string> roadmap() const;  // row-01 .. row-13
  std::vector<std::string> names() const;    // all designs
  std::vector<std::string> sizes() const;

 private:
  StanzaFile file_;
};

}  // namespace hymba
