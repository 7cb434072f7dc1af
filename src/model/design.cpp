#include "model/design.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "base/text.h"

namespace hymba {
namespace {

namespace po = boost::program_options;

std::vector<std::string> words(const std::string& text) {
  std::vector<std::string> result;
  for (const auto& word : split(text, ' ')) {
    if (!trim(word).empty()) result.push_back(trim(word));
  }
  return result;
}

std::string row_name(int row) { return fmt::format("row-{:02d}", row); }

bool is_number(const std::string& text) {
  return !text.empty() && std::all_of(text.begin(), text.end(), [](unsigned char c) { return std::isdigit(c) != 0; });
}

}  // namespace

po::options_description ModelConfig::options() {
  po::options_description o;
  o.add_options()("hidden", po::value(&hidden)->default_value(1024), "width D of the residual stream")(
      "layers", po::value(&layers)->default_value(12), "blocks; an FFN belongs to the block before it")(
      "mixer", po::value(&mixer)->default_value("parallel(attention,mamba)"), "what a block mixes with: a mixer or parallel(a,b)")(
      "layers.pattern", po::value(&pattern)->default_value(""),
      "a pattern of mixers, repeated over the blocks, instead of mixer: mamba ffn attention moe")(
      "ffn", po::value(&ffn)->default_value("swiglu"), "swiglu, relu2, moe or none")(
      "parallel.fusion", po::value(&fusion)->default_value("mean"), "mean or concat")(
      "parallel.norms", po::value(&branch_norms)->default_value(true), "an RMS norm of each branch before the fusion")(
      "meta_tokens", po::value(&meta_tokens)->default_value(0), "learned vectors M before every sequence")(
      "vocab", po::value(&vocab)->default_value(32001), "vocabulary V; a tokenizer sets it")(
      "tied", po::value(&tied)->default_value(true), "the output layer is the embedding")(
      "norm_eps", po::value(&norm_eps)->default_value(1e-6), "epsilon of the RMS norms")(
      "init_std", po::value(&init_std)->default_value(0.02), "standard deviation of weights at the start")(
      "embedding_std", po::value(&embedding_std)->default_value(0), "that of embedding and meta tokens; 0: init_std")(
      "embedding_scale", po::value(&embedding_scale)->default_value(1), "factor of the embedded tokens")(
      "logit_scale", po::value(&logit_scale)->default_value(1), "factor of the logits")(
      "padding_id", po::value(&padding_id)->default_value(-1),
      "token whose embedding gets no gradient from where it is read; -1: none")(
      "residual_scale", po::value(&residual_scale)->default_value(1),
      "factor of the output projections at the start: init_std * residual_scale / sqrt(sublayers)");
  return o;
}

Design::Design(std::string name, std::string size, std::vector<ConfigLayer> layers)
    : name_(std::move(name)), size_(std::move(size)), resolver_(std::move(layers)) {
  // Chosen components alone read their keys, so a key that has no effect is found by check().
  po::options_description all = config_.options();
  resolver_.read(all);
  // Before layers are planned: the upper bound, far above every model there is, keeps a slip of the finger from filling
  // the memory with them.
  require(config_.hidden > 0 && config_.layers > 0 && config_.vocab > 0 && config_.meta_tokens >= 0,
          "[{}]: hidden, layers and vocab must be positive and meta_tokens not negative; found {}, {}, {}, {}", name_,
          config_.hidden, config_.layers, config_.vocab, config_.meta_tokens);
  require(config_.layers <= 10000 && config_.hidden <= (1 << 20), "[{}]: layers = {} and hidden = {}: expected at most 10000 and {}", name_,
          config_.layers, config_.hidden, 1 << 20);
  require(config_.vocab <= (1 << 28) && config_.meta_tokens <= (1 << 20), "[{}]: vocab = {} and meta_tokens = {}: expected at most {} and {}",
          name_, config_.vocab, config_.meta_tokens, 1 << 28, 1 << 20);
  plan_sublayers();
  bool parallel = false;
  for (const auto& sublayer : sublayers_) {
    parallel = parallel || sublayer.mixers.size() > 1;
    for (const auto& mixer : sublayer.mixers) {
      if (types_.count(mixer) != 0) continue;
      types_[mixer] = make_mixer_type(mixer);
      types_[mixer]->read(resolver_);
    }
  }
  resolver_.check(design_keys());
  require(config_.fusion == "mean" || config_.fusion == "concat", "[{}]: parallel.fusion = {}: expected mean or concat",
          name_, config_.fusion);
  require(parallel || config_.fusion == "mean",
          "[{}]: parallel.fusion = {} has no effect: no layer has parallel mixers", name_, config_.fusion);
  require(parallel || config_.branch_norms, "[{}]: parallel.norms = false has no effect: no layer has parallel mixers", name_);
  for (const double std : {config_.init_std, config_.embedding_std, config_.residual_scale}) {
    require(std::isfinite(std) && std >= 0, "[{}]: init_std = {}, embedding_std = {}, residual_scale = {}: expected finite numbers from 0", name_, config_.init_std,
            config_.embedding_std, config_.residual_scale);
  }
  require(config_.padding_id >= -1 && config_.padding_id < config_.vocab, "[{}]: padding_id = {}: expected -1 or an id below vocab = {}",
          name_, config_.padding_id, config_.vocab);
  require(std::isfinite(config_.embedding_scale) && std::isfinite(config_.logit_scale) && config_.norm_eps >= 0,
          "[{}]: embedding_scale = {}, logit_scale = {}, norm_eps = {}: expected finite numbers", name_, config_.embedding_scale,
          config_.logit_scale, config_.norm_eps);
}

void Design::plan_sublayers() {
  const bool ffn = config_.ffn != "none";
  std::vector<std::string> pattern = words(config_.pattern);
  if (pattern.empty()) {
    pattern.push_back(config_.mixer);
    if (ffn) pattern.push_back("ffn");
  } else {
    require(resolver_.resolved().at("mixer").origin != "command line",
            "[{}]: mixer and layers.pattern are both given; give one of them", name_);
  }
  require(pattern[0] != "ffn", "[{}]: layers.pattern = {}: an ffn follows a mixer", name_, config_.pattern);
  const bool wants_ffn = std::count(pattern.begin(), pattern.end(), "ffn") > 0;
  require(ffn || !wants_ffn, "[{}]: layers.pattern has an ffn but ffn = none", name_);
  require(config_.pattern.empty() || !is_channel_mixer(pattern[0]), "[{}]: layers.pattern = {}: an ffn follows a mixer", name_,
          config_.pattern);
  std::int64_t layer = -1;
  for (std::size_t i = 0;; ++i) {
    const std::string& word = pattern[i % pattern.size()];
    const bool channels = word == "ffn" || (i % pattern.size() > 0 && is_channel_mixer(word));
    if (!channels) ++layer;
    if (layer == config_.layers) break;
    require(!channels || !sublayers_.back().ffn, "[{}]: layers.pattern = {}: two FFNs follow each other", name_, config_.pattern);
    sublayers_.push_back({layer, word == "ffn" ? std::vector<std::string>{config_.ffn} : parse_mixer(word), channels});
  }
}

std::vector<std::tuple<std::string, std::string, std::string>> describe_design_keys() {
  std::vector<std::tuple<std::string, std::string, std::string>> keys;
  const auto add = [&](const po::options_description& options, const std::string& component) {
    Resolver defaults({ConfigLayer{}});
    defaults.read(options);
    for (const auto& option : options.options()) {
      const auto& key = option->long_name();
      keys.emplace_back(key, defaults.resolved().at(key).value, component + ": " + option->description());
    }
  };
  ModelConfig config;
  add(config.options(), "model");
  for (const auto& name : mixer_names()) add(make_mixer_type(name)->options(), name);
  return keys;
}

std::set<std::string> design_keys() {
  std::set<std::string> keys;
  for (const auto& [key, parameter, description] : describe_design_keys()) keys.insert(key);
  return keys;
}

DesignLibrary::DesignLibrary(const std::filesystem::path& folder) {
  require(std::filesystem::is_directory(folder), "{}: no folder of designs here", folder.string());
  std::vector<std::filesystem::path> files;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    if (entry.path().extension() == ".ini") files.push_back(entry.path());
  }
  std::sort(files.begin(), files.end());
  for (const auto& path : files) file_.add_file(path);
}

Design DesignLibrary::open(const std::string& spec, const std::string& size, const std::vector<Assignment>& overrides) const {
  StanzaFile file = file_;
  require(!spec.empty(), "no design is named; expected a row (9), a stanza or FILE.ini:stanza");
  std::string name = spec;
  if (const auto colon = spec.find(".ini:"); colon != std::string::npos) {
    file.add_file(spec.substr(0, colon + 4));
    name = spec.substr(colon + 5);
  } else if (is_number(spec)) {
    const auto row = parse_int(spec, "row");
    require(row >= 1 && row <= static_cast<std::int64_t>(roadmap().size()), "row {}: the roadmap has rows 1-{}", row,
            roadmap().size());
    name = row_name(static_cast<int>(row));
  }
  if (!size.empty()) {
    const auto known = sizes();
    require(std::find(known.begin(), known.end(), size) != known.end(), "--size {}: expected one of {}", size,
            join(known, ", "));
  }
  Design design(name, size, stanza_layers(file, name, size, overrides));
  const Stanza& stanza = file.get(name);
  const auto word = [&](const char* key) { return stanza.find(key) != nullptr ? stanza.find(key)->value : std::string(); };
  design.title = word("title").empty() ? name : word("title");
  design.group = word("group");
  design.from = word("from");
  const auto rows = roadmap();
  if (const auto found = std::find(rows.begin(), rows.end(), name); found != rows.end()) {
    design.row = static_cast<int>(found - rows.begin()) + 1;
  }
  return design;
}

std::vector<std::string> DesignLibrary::roadmap() const {
  std::vector<std::string> rows;
  while (file_.find(row_name(static_cast<int>(rows.size()) + 1)) != nullptr) {
    rows.push_back(row_name(static_cast<int>(rows.size()) + 1));
  }
  return rows;
}

std::vector<std::string> DesignLibrary::names() const {
  std::vector<std::string> names;
  for (const auto& name : file_.names()) {
    if (name != "base" && name.find('@') == std::string::npos) names.push_back(name);
  }
  return names;
}

std::vector<std::string> DesignLibrary::sizes() const {
  std::vector<std::string> sizes;
  for (const auto& name : file_.names()) {
    if (starts_with(name, "base@")) sizes.push_back(name.substr(5));
  }
  return sizes;
}

}  // namespace hymba
