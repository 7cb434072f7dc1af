// Tasks as data: eval/tasks/*.ini says which files a task reads, how a record becomes contexts and choices, and how it
// is scored. The scoring rules are those of EleutherAI's lm-evaluation-harness (see eval/requests.h, eval/scoring.h).
//
//   [arc_easy]
//   title   = ARC, easy set
//   manner  = what differs from the harness, in words
//   kind    = multiple_choice | multiple_true | partial | loglikelihood | rolling | completion | minimal_pairs
//   suite   = general | recall | knowledge | retrieval | qa | math | lm | grammar
//   also    = figure-2, figure-9      further suites: the tasks behind the paper's figures
//   files   = commonsense/arc_easy.jsonl, arc_easy.jsonl      the first pattern that matches anything below --data
//   foundry.context  = {query}\nAnswer:                       one group of templates a shape of record; the first shape
//   foundry.choices  = {choices}                              whose fields are all there is used (text_template.h)
//   foundry.gold     = {gold}
//   upstream.context = ...
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "base/error.h"
#include "eval/answers.h"
#include "eval/text_template.h"

namespace hymba::eval {

enum class TaskKind {
  kMultipleChoice,  // one context, several continuations
  kMultipleTrue,    // as before, and several choices are right: their share of the probability (TruthfulQA)
  kPartial,         // several contexts, one continuation (WinoGrande)
  kLoglikelihood,   // one continuation: greedy or not, perplexity (LAMBADA)
  kRolling,         // whole texts: perplexity a word and a byte (WikiText)
  kCompletion,      // generated text contains the answer (SQuAD completion, key-value recall) or is it (GSM8K)
  kMinimalPairs,    // choices are whole sentences, no context (BLiMP)
};
std::string task_kind_name(TaskKind kind);

struct RecordShape {
  std::string name;
  TextTemplate context;
  std::vector<TextTemplate> contexts;  // partial
  std::vector<TextTemplate> choices;   // one bare {field} may be a list
  std::vector<TextTemplate> wrong;     // multiple_true: choices that are not right, where they stand apart
  std::string gold;                    // "{field}", "{field} in {list}", or a number; multiple_true: a {list} of 0 and 1
  int gold_base = 0;                   // the number that means the first choice
  TextTemplate answer, original;
  TextTemplate group, preamble;        // empty: the task's
  TextTemplate aliases;                // a bare {list}
  TextTemplate every;                  // "every = clean": filters on each finished context and choice, as {text|clean}
  int max_new_tokens = 0;              // 0: as the task says
  std::vector<std::string> until;      // none: as the task says
};

struct TaskDefinition {
  std::string name;
  std::string title, manner;
  TaskKind kind = TaskKind::kMultipleChoice;
  std::string suite = "general";
  std::vector<std::string> also;      // further suites
  std::string metric;                 // the one that a study reports; "": acc, word_perplexity or contains by kind
  std::optional<double> chance;       // of the metric; absent: mean of 1 / number of choices, 0 for the other kinds
  std::string delimiter = " ";        // between context and continuation
  int max_new_tokens = 256;           // completion
  std::vector<std::string> until = {"\n\n"};  // completion: the answer ends before the first of them
  AnswerRules rules;                  // completion: filters make the metric exact_match, none of them contains
  int shots = 0;
  std::string sampler = "random";     // of worked examples: random (the harness' draw) or first_n
  // Draws one example more and leaves the item itself out, as the harness does for its tasks without a test split, also
  // where the examples are of another file.
  bool spare_shot = false;
  std::string shot_delimiter = "\n\n";  // behind each
  TextTemplate group;                 // e.g. the MMLU subject or BLiMP paradigm
  std::vector<std::pair<std::string, std::vector<std::string>>> categories;  // means over groups: "stem", its subjects
  bool by_size = true;                // a mean over groups weighs them by their items
  TextTemplate preamble;              // before the few-shot examples
  std::vector<std::string> files, shot_files;
  std::string labels;                 // a file beside the data file with one gold label a line
  std::string text_format;            // of .txt files, see records.h
  std::vector<RecordShape> shapes;
};

// All stanzas of all *.ini in a folder (or of one file), `from` resolved; stanzas with `abstract = true` only serve
// others. UserError naming file, stanza and key for an unknown key (with the nearest one) and a value out of range.
std::vector<TaskDefinition> load_task_definitions(const std::filesystem::path& folder_or_file);
// UserError with the nearest name if there is no such task.
const TaskDefinition& find_task(const std::vector<TaskDefinition>& tasks, const std::string& name);
// "arc_easy,recall,all": task names, suite names or "all", in the order of definition; UserError for another word.
std::vector<const TaskDefinition*> select_tasks(const std::vector<TaskDefinition>& tasks, const std::string& words);

struct Item {
  std::string id;
  std::string group;                    // "" where the task has none
  std::vector<std::string> contexts;    // one; as many as options where the kind is partial
  std::vector<std::string> choices;     // without the delimiter; one where the kind is partial
  int gold = 0;
  std::vector<bool> right;              // multiple_true: which choices are
  std::string prompt;                   // loglikelihood, completion: the context; rolling: the text
  std::string answer;
  std::vector<std::string> aliases;     // further right answers of a completion
  std::string original;                 // rolling: the text before detokenising; words and bytes are counted in it
  std::string preamble;                 // before few-shot examples
  int max_new_tokens = 0;               // 0 and none: as the task says
  std::vector<std::string> until;
  nlohmann::json doc;                   // the record it was made of
};

struct TaskData {
  std::vector<Item> items;
  std::vector<Item> shot_pool;          // candidates for few-shot examples, in file order
  std::vector<std::string> files;       // read, relative to the data folder
  std::int64_t records = 0;             // in the files, before the limit
};

// None of a task's files is there; other mistakes (a broken line, say) are plain UserErrors.
class NoTaskFiles : public UserError {
 public:
  using UserError::UserError;
};

struct LoadOptions {
  std::int64_t limit = 0;                // 0: all
  bool limit_groups = false;             // `limit` items of every group, as the harness counts subtasks
  bool shots = true;                     // read the files of worked examples, where there are any
  std::optional<std::uint64_t> seed;     // given: `limit` items drawn at random (in file order), else the first ones, evenly over groups
};

// Reads a task's items from below `data_folder`. NoTaskFiles naming every file that was
// looked for; UserError with file:line.
TaskData load_task(const TaskDefinition& task, const std::filesystem::path& data_folder,
                   const LoadOptions& options = {});

}  // namespace hymba::eval
