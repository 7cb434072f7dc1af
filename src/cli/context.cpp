#include "cli/context.h"

#include <ATen/Parallel.h>
#include <unistd.h>

#include <cstdlib>
#include <fstream>

#include "base/error.h"
#include "base/log.h"
#include "base/text.h"
#include "kernels/cuda/plugin.h"
#include "kernels/isa.h"
#include "nn/device.h"

namespace hymba::cli {
namespace fs = std::filesystem;
namespace po = boost::program_options;
namespace {

// The world is the same for all seeds of a study; the seed chooses weights and which documents are read.
constexpr std::uint64_t kWorldSeed = 0;

bool is_home(const fs::path& folder) { return fs::exists(folder / "ablations" / "base.ini") && fs::is_directory(folder / "eval" / "tasks"); }

StanzaFile open_recipes() {
  StanzaFile file;
  file.add_file(home_folder() / "ablations" / "recipes" / "default.ini");
  return file;
}

// Layers of a stanza that stands alone: no base, no `from`.
std::vector<ConfigLayer> sized_layers(const std::string& name, const std::string& size, const std::vector<Assignment>& overrides) {
  return stanza_layers(open_recipes(), name, size, overrides);
}

}  // namespace

fs::path home_folder() {
  if (const char* home = std::getenv("HYMBA_HOME"); home != nullptr) {
    require(is_home(home), "HYMBA_HOME={}: expected a folder with ablations/base.ini and eval/tasks", home);
    return home;
  }
  std::error_code error;
  for (fs::path folder = fs::read_symlink("/proc/self/exe", error).parent_path(); folder.has_relative_path(); folder = folder.parent_path()) {
    if (is_home(folder)) return folder;
  }
  if (is_home(fs::current_path())) return fs::current_path();
  fail("cannot find ablations/base.ini above the program; set HYMBA_HOME to the project's folder");
}

std::string host() {
  std::string model = "unknown processor";
  std::ifstream cpuinfo("/proc/cpuinfo");
  for (std::string line; std::getline(cpuinfo, line);) {
    if (starts_with(line, "model name")) {
      model = trim(line.substr(line.find(':') + 1));
      break;
    }
  }
  const std::string gpu = model_device().is_cpu() ? "" : ", " + kernels::cuda_status().devices;
  return fmt::format("{}, {} threads, {}{}", model, at::get_num_threads(), kernels::active_isa(), gpu);
}

DesignLibrary open_designs() { return DesignLibrary(home_folder() / "ablations"); }

std::vector<Assignment> overrides_of(const std::vector<Assignment>& all, const std::set<std::string>& keys) {
  std::vector<Assignment> chosen;
  for (const auto& assignment : all) {
    if (keys.count(assignment.key) != 0) chosen.push_back(assignment);
  }
  return chosen;
}

std::vector<Assignment> design_overrides(const std::vector<Assignment>& all) {
  auto others = recipe_keys();
  others.merge(world_keys());
  std::vector<Assignment> chosen;
  for (const auto& assignment : all) {
    if (others.count(assignment.key) == 0) chosen.push_back(assignment);
  }
  return chosen;
}

Design open_design(const std::string& spec, const std::string& size, const Invocation& invocation, const std::vector<Assignment>& more) {
  auto overrides = design_overrides(invocation.overrides);
  overrides.insert(overrides.end(), more.begin(), more.end());
  return open_designs().open(spec, size, overrides);
}

Design open_design_for(const Tokenizer& tokenizer, const std::string& spec, const std::string& size, const Invocation& invocation) {
  const auto vocab = std::to_string(tokenizer.vocab_size());
  for (const auto& o : invocation.overrides) {
    require(o.key != "vocab", "--vocab={}: the tokenizer sets it ({} ids here); leave it out", o.value, vocab);
  }
  return open_design(spec, size, invocation, {{"vocab", vocab, "command line"}});
}

Recipe open_recipe(const std::string& size, const std::vector<Assignment>& overrides) {
  Resolver resolver(sized_layers("recipe", size, overrides_of(overrides, recipe_keys())));
  Recipe recipe;
  resolver.read(recipe.options());
  resolver.check(recipe_keys());
  recipe.check();
  return recipe;
}

po::options_description MeasureConfig::options() {
  po::options_description o;
  o.add_options()("measure.items", po::value(&items)->default_value(500), "items of each task")(
      "measure.context", po::value(&context)->default_value(2000), "tokens in the cache while decoding")(
      "measure.batch", po::value(&batch)->default_value(8), "sequences at a time")(
      "measure.repeats", po::value(&repeats)->default_value(5), "timed stretches of decoding")(
      "measure.steps", po::value(&steps)->default_value(8), "decode steps in a stretch")(
      "measure.validation", po::value(&validation)->default_value(64), "validation sequences");
  return o;
}

MeasureConfig open_measure(const std::string& size) {
  MeasureConfig measure;
  Resolver resolver(sized_layers("measure", size, {}));
  resolver.read(measure.options());
  std::set<std::string> keys;
  const auto known = measure.options();
  for (const auto& option : known.options()) keys.insert(option->long_name());
  resolver.check(keys);
  return measure;
}

namespace {

po::options_description world_description(data::WorldOptions& options) {
  po::options_description o;
  data::WorldOptions::visit(options, [&](const char* name, auto& value, const char* meaning) {
    using Value = std::remove_reference_t<decltype(value)>;
    o.add_options()(fmt::format("world.{}", name).c_str(), po::value<Value>(&value)->default_value(value), meaning);
  });
  return o;
}

}  // namespace

std::set<std::string> world_keys() {
  data::WorldOptions options;
  std::set<std::string> keys;
  data::WorldOptions::visit(options, [&](const char* name, auto&, const char*) { keys.insert(fmt::format("world.{}", name)); });
  return keys;
}

data::WorldOptions open_world_options(const std::string& size, const std::vector<Assignment>& overrides) {
  data::WorldOptions options;
  Resolver resolver(sized_layers("world", size, overrides_of(overrides, world_keys())));
  resolver.read(world_description(options));
  resolver.check(world_keys());
  return options;
}

std::string world_spec(const data::WorldOptions& options) {
  std::string spec = "world:";
  data::WorldOptions::visit(options, [&](const char* name, const auto& value, const char*) { spec += fmt::format(" {}={}", name, value); });
  return spec;
}

bool is_world_spec(const std::string& spec) { return starts_with(spec, "world:"); }

data::World world_of_spec(const std::string& spec) {
  const auto keys = world_keys();
  std::vector<Assignment> overrides;
  for (const auto& word : split(spec.substr(6), ' ')) {
    if (trim(word).empty()) continue;
    const auto assignment = parse_assignment(trim(word), "tokenizer 'world:'");
    overrides.push_back({"world." + assignment.key, assignment.value, "command line"});
    require(keys.count(overrides.back().key) != 0, "tokenizer '{}': the synthetic world has no option '{}'", spec, assignment.key);
  }
  return data::World(kWorldSeed, open_world_options("", overrides));
}

DataChoice open_data(const std::vector<std::string>& paths, const std::string& tokenizer, const std::string& size,
                     const std::vector<Assignment>& overrides) {
  DataChoice choice;
  if (paths.empty()) {
    require(tokenizer.empty() || tokenizer == "world", "--tokenizer {} needs --data: the synthetic world has its own words", tokenizer);
    choice.world = std::make_shared<const data::World>(kWorldSeed, open_world_options(size, overrides));
    choice.tokenizer = std::shared_ptr<const Tokenizer>(choice.world, &choice.world->tokenizer());
    choice.tokenizer_spec = world_spec(choice.world->options());
    return choice;
  }
  require(overrides_of(overrides, world_keys()).empty(), "--world.* has no effect with --data: the text is not the synthetic world's");
  choice.tokenizer_spec = tokenizer.empty() ? "bytes" : tokenizer;
  if (choice.tokenizer_spec != "bytes") choice.tokenizer_spec = fs::absolute(choice.tokenizer_spec).lexically_normal().string();
  choice.tokenizer = open_tokenizer(choice.tokenizer_spec);
  CorpusOptions options;
  options.paths.assign(paths.begin(), paths.end());
  std::unique_ptr<Progress> shown;  // opened at the first report: a corpus from the cache has none
  options.progress = [&](double done, double total) {
    if (!shown) shown = std::make_unique<Progress>("tokenising", total, "bytes");
    shown->update(done);
  };
  choice.corpus = std::make_shared<const TokenCorpus>(TokenCorpus::open(options, *choice.tokenizer));
  shown.reset();
  for (const auto& note : choice.corpus->notes()) log_event("data.note {}", note);
  log_event("data documents={} tokens={} from_cache={}", choice.corpus->documents(), choice.corpus->size(), choice.corpus->from_cache());
  return choice;
}

std::unique_ptr<TokenSource> DataChoice::source(std::uint64_t seed) const {
  if (world) return std::make_unique<WorldSource>(world, seed);
  return std::make_unique<CorpusSource>(corpus, tokenizer, seed);
}

namespace {

constexpr const char* kIdsAlone = "none";

// Of a model without a tokenizer: ids stand for the text.
class IdsAlone final : public Tokenizer {
 public:
  IdsAlone(std::string path, std::int64_t ids) : path_(std::move(path)), ids_(ids) {}
  std::string name() const override { return kIdsAlone; }
  std::int32_t vocab_size() const override { return static_cast<std::int32_t>(ids_); }
  std::int32_t bos() const override { return -1; }
  std::int32_t eos() const override { return -1; }
  std::vector<std::int32_t> encode(std::string_view) const override {
    require_text(*this, path_);
    return {};
  }
  std::string decode(std::span<const std::int32_t> ids) const override { return fmt::format("{}", fmt::join(ids, " ")); }
  std::uint64_t hash() const override { return hash64(fmt::format("ids {}", ids_)); }

 private:
  std::string path_;
  std::int64_t ids_;
};

}  // namespace

bool reads_text(const Tokenizer& tokenizer) { return tokenizer.name() != kIdsAlone; }

void require_text(const Tokenizer& tokenizer, const std::string& path) {
  require(reads_text(tokenizer),
          "{}: no tokenizer with this model, and text is to be read; give one by --tokenizer FILE, or put tokenizer.json or "
          "tokenizer.model beside the weights",
          path);
}

std::unique_ptr<Tokenizer> open_model_tokenizer(const LoadedModel& loaded, const std::string& path, const std::string& given) {
  const std::string& spec = given.empty() ? loaded.state.tokenizer : given;
  if (spec.empty()) return std::make_unique<IdsAlone>(path, loaded.model->config().vocab);
  std::unique_ptr<Tokenizer> tokenizer;
  if (is_world_spec(spec)) tokenizer = std::make_unique<data::WordTokenizer>(world_of_spec(spec).tokenizer());
  else tokenizer = open_tokenizer(spec);
  require_tokenizer_fits(loaded, tokenizer->vocab_size(), spec, path);
  return tokenizer;
}

void add_tokenizer_option(boost::program_options::options_description& o) {
  o.add_options()("tokenizer", boost::program_options::value<std::string>()->default_value(""), "instead of the model's own");
}

std::string given_tokenizer(const Invocation& invocation) {
  return invocation.values.count("tokenizer") != 0 ? invocation.get<std::string>("tokenizer") : "";
}

Record record(const std::string& study, const Design& design, std::uint64_t seed, const std::string& config_hash) {
  Record r;
  r.study = study;
  r.design = design.name();
  r.size = design.size();
  r.seed = seed;
  r.config_hash = config_hash;
  r.commit = commit();
  r.host = host();
  r.time = now_utc();
  return r;
}

}  // namespace hymba::cli
