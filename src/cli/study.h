// What the studies of stored models share: opening models and tasks, and Records that a second start finds again.
#pragma once

#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "cli/context.h"
#include "eval/prompts.h"
#include "eval/task.h"

namespace hymba::cli {

// A trained model as a study sees it.
struct StudyModel {
  std::string path;
  LoadedModel loaded;
  std::string given_tokenizer;  // --tokenizer: another one is another measurement
  std::unique_ptr<Tokenizer> tokenizer;
  bool world = false;  // trained on the synthetic world: it reads the world's words alone
  const LanguageModel& model() const { return *loaded.model; }
  const Design& design() const { return loaded.design; }
  // "row-09", with the seed where it is not 0: names a model in tables and file names.
  std::string name() const;
  // Of design, recipe, data and seed; where the model is not one of ours, of path, sizes and times of its weights.
  std::string hash() const;
};
StudyModel open_study_model(const std::string& path, const Invocation& invocation);
// MODEL arguments; a results folder of `roadmap` stands for all models in its runs/. UserError where there is none.
std::vector<std::string> expand_models(const std::vector<std::string>& arguments);

struct StudyTask {
  eval::TaskDefinition definition;
  std::vector<eval::Item> items, shot_pool;
};
// `words`: tasks or suites. The synthetic world's for its models, else those of eval/tasks below `data`.
std::vector<StudyTask> open_study_tasks(const StudyModel& model, const std::string& words, const std::string& data, std::int64_t limit);

// DIR/records.jsonl of one study. What is finished is marked by a Record of study "NAME.state", so that a second start
// with the same model and options reads it instead of measuring again.
class StudyRecords {
 public:
  StudyRecords(const std::filesystem::path& folder, std::string study);
  // The Records of a finished piece of work ("" in `piece` for the whole), or nothing.
  std::vector<Record> finished(const std::string& config_hash, const std::string& piece = "") const;
  void write(std::vector<Record> records, const std::string& config_hash, const std::string& piece = "");
  const std::filesystem::path& folder() const { return folder_; }

 private:
  std::filesystem::path folder_;
  std::string study_;
  std::vector<Record> all_;
  std::set<std::string> done_;
  std::unique_ptr<RecordWriter> writer_;
};

// Runs `measure` for every MODEL argument that has no finished Records under the same options yet; all Records, found or
// new, in the order of the models.
std::vector<Record> measure_models(const Invocation& invocation, const std::string& study, const std::string& options,
                                   const std::function<std::vector<Record>(const StudyModel&)>& measure);

// Options and texts of studies that read prompts: --data, --length, --prompts.
void add_prompt_options(boost::program_options::options_description& o, std::int64_t length, std::int64_t prompts);
std::string prompt_options_text(const Invocation& invocation);
std::vector<eval::PromptSet> open_prompts(const StudyModel& model, const Invocation& invocation);
at::Tensor prompt_rows(const std::vector<eval::PromptSet>& sets);  // all of them, [B, T]

// Tokens of a training sequence, or 0 where it is not known.
std::int64_t train_length(const StudyModel& model);

// --out, or results/STUDY.
std::filesystem::path study_folder(const Invocation& invocation, const std::string& study);
// A Record of a study of this model, with the model's title in `extra`.
Record study_record(const std::string& study, const StudyModel& model, const std::string& config_hash);
// Names the Record's model as StudyModel::name() does.
std::string record_model(const Record& record);
// Hash of a model, its --tokenizer and the options of a study.
std::string study_hash(const StudyModel& model, const std::string& options);

}  // namespace hymba::cli
