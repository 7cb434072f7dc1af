// What every command needs: where the project's data lies, who measured, and how a design or model is opened.
#pragma once

#include <filesystem>
#include <memory>
#include <string>

#include "cli/command.h"
#include "data/token_source.h"
#include "data/world.h"
#include "exchange/open_model.h"
#include "model/design.h"
#include "results/record.h"
#include "train/checkpoint.h"
#include "train/recipe.h"

namespace hymba::cli {

// The folder that has ablations/ and eval/tasks: HYMBA_HOME, else the first one above the program that has them.
std::filesystem::path home_folder();
std::string commit();  // of the sources, "-dirty" where they differ
std::string host();    // "Intel(R) Xeon(R), 2 threads, avx512"

DesignLibrary open_designs();
// Opens DESIGN, with the recipe's keys left out of the overrides.
Design open_design(const std::string& spec, const std::string& size, const Invocation& invocation, const std::vector<Assignment>& more = {});
// As open_design(), with the vocabulary of a tokenizer. UserError where the command line gives another one.
Design open_design_for(const Tokenizer& tokenizer, const std::string& spec, const std::string& size, const Invocation& invocation);
// The stanza [NAME] of a recipe file at a size, under the overrides. UserError for unknown keys.
Recipe open_recipe(const std::string& size, const std::vector<Assignment>& overrides);
// The overrides whose key is one of `keys`, and those of designs: all that recipes and worlds do not know.
std::vector<Assignment> overrides_of(const std::vector<Assignment>& all, const std::set<std::string>& keys);
std::vector<Assignment> design_overrides(const std::vector<Assignment>& all);

// How a size measures: items of a task, context and batch of the throughput column (stanza [measure]).
struct MeasureConfig {
  std::int64_t items = 0, context = 0, batch = 0, repeats = 0, steps = 0, validation = 0;
  boost::program_options::options_description options();
};
MeasureConfig open_measure(const std::string& size);

// The synthetic world, or a corpus where --data is given.
struct DataChoice {
  std::shared_ptr<const data::World> world;  // null with --data
  std::shared_ptr<const Tokenizer> tokenizer;
  std::shared_ptr<const TokenCorpus> corpus;
  std::string tokenizer_spec;                // world_spec(), "bytes" or a file
  std::unique_ptr<TokenSource> source(std::uint64_t seed) const;
};
DataChoice open_data(const std::vector<std::string>& paths, const std::string& tokenizer, const std::string& size,
                     const std::vector<Assignment>& overrides);

// The stanza [world] at a size: what the synthetic world holds. Its text is kept in checkpoints ("world: key=value ..."),
// so that a model is always asked about the world it was trained on.
std::set<std::string> world_keys();
data::WorldOptions open_world_options(const std::string& size, const std::vector<Assignment>& overrides);
std::string world_spec(const data::WorldOptions& options);
bool is_world_spec(const std::string& tokenizer_spec);
data::World world_of_spec(const std::string& tokenizer_spec);
// The tokenizer of a MODEL argument: `given` (--tokenizer), else the model's own: a world's or a file's. Where there is
// neither, one that has the model's ids and reads no text: UserError when it is to encode. UserError for a tokenizer with
// more ids than the model.
std::unique_ptr<Tokenizer> open_model_tokenizer(const LoadedModel& loaded, const std::string& path, const std::string& given);
bool reads_text(const Tokenizer& tokenizer);  // not one of ids alone
void require_text(const Tokenizer& tokenizer, const std::string& path);
// --tokenizer of a command that takes a MODEL.
void add_tokenizer_option(boost::program_options::options_description& o);
std::string given_tokenizer(const Invocation& invocation);

// A Record with what is the same for a whole command filled in.
Record record(const std::string& study, const Design& design, std::uint64_t seed, const std::string& config_hash);

}  // namespace hymba::cli
