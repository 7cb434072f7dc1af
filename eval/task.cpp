#include "eval/task.h"

#include <algorithm>
#include <map>
#include <set>

#include "base/error.h"
#include "base/text.h"
#include "config/ini.h"

namespace hymba::eval {

namespace fs = std::filesystem;

namespace {

const std::vector<std::pair<std::string, TaskKind>>& kinds() {
  static const std::vector<std::pair<std::string, TaskKind>> names = {
      {"multiple_choice", TaskKind::kMultipleChoice}, {"multiple_true", TaskKind::kMultipleTrue},
      {"partial", TaskKind::kPartial},
      {"loglikelihood", TaskKind::kLoglikelihood},    {"rolling", TaskKind::kRolling},
      {"completion", TaskKind::kCompletion},          {"minimal_pairs", TaskKind::kMinimalPairs}};
  return names;
}

const std::vector<std::string> kSuites = {"general", "recall", "knowledge", "retrieval", "qa", "math", "lm", "grammar"};
const std::vector<std::string> kFigures = {"figure-2", "figure-9"};
const std::vector<std::string> kTaskKeys = {"title", "manner", "kind", "suite", "metric", "chance", "delimiter",
                                            "max_new_tokens", "until", "shots", "preamble", "group", "files",
                                            "shot_files", "labels", "text_format", "from", "abstract", "also",
                                            "sampler", "spare_shot", "shot_delimiter", "by_size", "ignore", "ignore_case",
                                            "ignore_punctuation"};
const std::vector<std::string> kShapeKeys = {"context", "contexts", "choices", "gold",  "gold_base",
                                             "answer",  "aliases",  "original", "every", "group",
                                             "preamble", "max_new_tokens", "until",   "wrong"};

std::string unescaped(const std::string& text, const Assignment& a) { return TextTemplate(text, a.origin).render({}, a.origin); }
std::string unescaped(const Assignment& a) { return unescaped(a.value, a); }

// "Question: | </s>": texts of which each ends an answer.
std::vector<std::string> stops(const Assignment& a) {
  std::vector<std::string> texts;
  for (const auto& text : split_alternatives(a.value)) texts.push_back(unescaped(text, a));
  return texts;
}

bool flag(const Assignment& a) {
  require(a.value == "true" || a.value == "false", "{}: '{}': expected true or false, found '{}'", a.origin, a.key, a.value);
  return a.value == "true";
}

std::vector<std::string> comma_list(const std::string& text);

// "filter.strict-match = first PATTERN": the first match of an answer; "last PATTERN"; "text": all of it.
AnswerFilter answer_filter(const Assignment& a) {
  AnswerFilter filter;
  filter.name = a.key.substr(a.key.find('.') + 1);
  const std::size_t space = a.value.find(' ');
  const std::string which = a.value.substr(0, space);
  require(which == "text" ? space == std::string::npos : (which == "first" || which == "last") && space != std::string::npos,
          "{}: '{}': expected text, first PATTERN or last PATTERN, found '{}'", a.origin, a.key, a.value);
  filter.last = which == "last";
  if (which != "text") filter.pattern = std::make_shared<Regex>(trim(a.value.substr(space)), a.origin);
  return filter;
}

// "category.stem = abstract_algebra, anatomy"
std::pair<std::string, std::vector<std::string>> category(const Assignment& a) {
  return {a.key.substr(a.key.find('.') + 1), comma_list(a.value)};
}

std::vector<std::string> comma_list(const std::string& text) {
  std::vector<std::string> parts;
  for (const auto& part : split(text, ',')) parts.push_back(trim(part));
  return parts;
}

// "{sol1} | {sol2}": one template a choice.
std::vector<TextTemplate> templates(const Assignment& a) {
  std::vector<TextTemplate> parts;
  for (const auto& text : split_alternatives(a.value)) parts.emplace_back(text, a.origin);
  return parts;
}

// With the nearest known key, if one is near.
[[noreturn]] void unknown_key(const Assignment& a, const std::string& key, const std::vector<std::string>& known) {
  const std::string near = nearest(key, known);
  user_error("{}: unknown key '{}'{}", a.origin, a.key,
             near.empty() ? "; the keys are " + join(known, ", ") : "; did you mean '" + near + "'?");
}

template <class T>
T one_of(const Assignment& a, const std::vector<std::pair<std::string, T>>& choices) {
  std::vector<std::string> names;
  for (const auto& [name, value] : choices) {
    if (name == a.value) return value;
    names.push_back(name);
  }
  user_error("{}: '{}': expected one of {}, found '{}'", a.origin, a.key, join(names, ", "), a.value);
}

int positive(const Assignment& a) {
  const auto value = parse_int(a.value, fmt::format("{}: '{}'", a.origin, a.key));
  require(value >= 0 && value <= 1'000'000, "{}: '{}': expected a number from 0, found {}", a.origin, a.key, value);
  return static_cast<int>(value);
}

// "upstream.context = ...": a key of the shape `upstream`, which is made where it is first named.
void set_shape_key(TaskDefinition& task, const Assignment& a, const std::string& name, const std::string& key) {
  auto it = std::find_if(task.shapes.begin(), task.shapes.end(), [&](const auto& s) { return s.name == name; });
  if (it == task.shapes.end()) {
    task.shapes.emplace_back().name = name;
    it = task.shapes.end() - 1;
  }
  if (key == "context") it->context = TextTemplate(a.value, a.origin);
  else if (key == "contexts") it->contexts = templates(a);
  else if (key == "choices") it->choices = templates(a);
  else if (key == "gold") it->gold = a.value;
  else if (key == "gold_base") it->gold_base = positive(a);
  else if (key == "answer") it->answer = TextTemplate(a.value, a.origin);
  else if (key == "aliases") it->aliases = TextTemplate(a.value, a.origin);
  else if (key == "original") it->original = TextTemplate(a.value, a.origin);
  else if (key == "group") it->group = TextTemplate(a.value, a.origin);
  else if (key == "preamble") it->preamble = TextTemplate(a.value, a.origin);
  else if (key == "every") it->every = TextTemplate("{text|" + a.value + "}", a.origin);
  else if (key == "max_new_tokens") it->max_new_tokens = positive(a);
  else if (key == "until") it->until = stops(a);
  else if (key == "wrong") it->wrong = templates(a);
  else unknown_key(a, key, kShapeKeys);
}

// One assignment of a stanza or of one it inherits from; a later call overrides an earlier one.
void set_key(TaskDefinition& task, const Assignment& a) {
  const std::string& key = a.key;
  const std::size_t dot = key.find('.');
  if (key.starts_with("filter.")) {
    task.rules.filters.push_back(answer_filter(a));
  } else if (key.starts_with("category.")) {
    task.categories.push_back(category(a));
  } else if (dot != std::string::npos) {
    set_shape_key(task, a, key.substr(0, dot), key.substr(dot + 1));
  } else if (key == "title") {
    task.title = a.value;
  } else if (key == "manner") {
    task.manner = a.value;
  } else if (key == "kind") {
    task.kind = one_of(a, kinds());
  } else if (key == "suite") {
    require(std::find(kSuites.begin(), kSuites.end(), a.value) != kSuites.end(),
            "{}: 'suite': expected one of {}, found '{}'", a.origin, join(kSuites, ", "), a.value);
    task.suite = a.value;
  } else if (key == "metric") {
    const std::vector<std::string> names = {"acc", "acc_norm", "perplexity", "word_perplexity", "byte_perplexity",
                                            "bits_per_byte", "contains", "exact_match"};
    require(std::find(names.begin(), names.end(), a.value.substr(0, a.value.find(','))) != names.end(),
            "{}: 'metric': expected one of {}, found '{}'", a.origin, join(names, ", "), a.value);
    task.metric = a.value;
  } else if (key == "chance") {
    task.chance = parse_double(a.value, fmt::format("{}: 'chance'", a.origin));
    require(*task.chance >= 0 && *task.chance <= 1, "{}: 'chance': expected a number in [0, 1], found {}", a.origin,
            a.value);
  } else if (key == "delimiter") {
    task.delimiter = unescaped(a);
  } else if (key == "max_new_tokens") {
    task.max_new_tokens = positive(a);
  } else if (key == "until") {
    task.until = stops(a);
  } else if (key == "also") {
    task.also = a.value == "none" ? std::vector<std::string>{} : comma_list(a.value);
    for (const auto& name : task.also) {
      require(std::find(kFigures.begin(), kFigures.end(), name) != kFigures.end(), "{}: 'also': expected {} or none, found '{}'",
              a.origin, join(kFigures, ", "), name);
    }
  } else if (key == "sampler") {
    require(a.value == "random" || a.value == "first_n", "{}: 'sampler': expected random or first_n, found '{}'", a.origin, a.value);
    task.sampler = a.value;
  } else if (key == "spare_shot") {
    task.spare_shot = flag(a);
  } else if (key == "shot_delimiter") {
    task.shot_delimiter = unescaped(a);
  } else if (key == "by_size") {
    task.by_size = flag(a);
  } else if (key == "ignore") {
    task.rules.ignore.clear();
    for (const auto& pattern : split_alternatives(a.value)) task.rules.ignore.push_back(std::make_shared<Regex>(pattern, a.origin));
  } else if (key == "ignore_case") {
    task.rules.ignore_case = flag(a);
  } else if (key == "ignore_punctuation") {
    task.rules.ignore_punctuation = flag(a);
  } else if (key == "shots") {
    task.shots = positive(a);
  } else if (key == "preamble") {
    task.preamble = TextTemplate(a.value, a.origin);
  } else if (key == "group") {
    task.group = TextTemplate(a.value, a.origin);
  } else if (key == "files") {
    task.files = comma_list(a.value);
  } else if (key == "shot_files") {
    task.shot_files = comma_list(a.value);
  } else if (key == "labels") {
    task.labels = a.value;
  } else if (key == "text_format") {
    task.text_format = a.value;
  } else if (key != "from" && key != "abstract") {
    unknown_key(a, key, kTaskKeys);
  }
}

// What a kind needs of its shapes, so that a slip in an INI is found before any data is read.
void check(const TaskDefinition& task, const std::string& where) {
  require(!task.files.empty(), "{}: expected 'files', found none", where);
  require(!task.shapes.empty(), "{}: expected at least one shape (keys such as 'upstream.context'), found none", where);
  require(task.shots == 0 || !task.shot_files.empty(), "{}: 'shots' = {} needs 'shot_files'", where, task.shots);
  require(task.rules.filters.empty() || task.kind == TaskKind::kCompletion, "{}: 'filter' is for the kind completion alone", where);
  for (const auto& shape : task.shapes) {
    const std::string at = where + " shape '" + shape.name + "'";
    const bool chooses = task.kind == TaskKind::kMultipleChoice || task.kind == TaskKind::kPartial ||
                         task.kind == TaskKind::kMinimalPairs;
    if (chooses) require(!shape.choices.empty() && !shape.gold.empty(), "{}: expected 'choices' and 'gold'", at);
    if (task.kind == TaskKind::kMultipleTrue) {
      require(!shape.choices.empty() && shape.gold.empty() != shape.wrong.empty(), "{}: expected 'choices' and one of 'gold' and 'wrong'", at);
    }
    if (task.kind == TaskKind::kPartial) require(!shape.contexts.empty(), "{}: expected 'contexts'", at);
    if (task.kind != TaskKind::kPartial && task.kind != TaskKind::kMinimalPairs) {
      require(!shape.context.empty(), "{}: expected 'context'", at);
    }
    if (task.kind == TaskKind::kLoglikelihood || task.kind == TaskKind::kCompletion) {
      require(!shape.answer.empty(), "{}: expected 'answer'", at);
    }
  }
}

TaskDefinition build(const StanzaFile& stanzas, const Stanza& stanza) {
  // The chain of `from`, nearest first; keys are set from the root on, so that a stanza overrides what it inherits.
  std::vector<const Stanza*> chain = {&stanza};
  while (const Assignment* from = chain.back()->find("from")) {
    const Stanza* parent = stanzas.find(from->value);
    require(parent != nullptr, "{}: 'from': expected the name of a task, found '{}'; did you mean '{}'?", from->origin,
            from->value, nearest(from->value, stanzas.names()));
    require(std::find(chain.begin(), chain.end(), parent) == chain.end(), "{}: 'from' = {} goes in a circle",
            from->origin, from->value);
    chain.push_back(parent);
  }
  TaskDefinition task;
  task.name = stanza.name;
  for (auto it = chain.rbegin(); it != chain.rend(); ++it) {
    for (const auto& assignment : (*it)->assignments) set_key(task, assignment);
  }
  check(task, fmt::format("{} [{}] line {}", stanza.file, stanza.name, stanza.line));
  return task;
}

}  // namespace

std::string task_kind_name(TaskKind kind) {
  for (const auto& [name, value] : kinds()) {
    if (value == kind) return name;
  }
  return "unknown";
}

std::vector<TaskDefinition> load_task_definitions(const fs::path& folder_or_file) {
  require(fs::exists(folder_or_file), "{}: expected a folder of task files (*.ini) or one such file, found nothing",
          folder_or_file.string());
  // All files make one name space, so `from` may cross files.
  StanzaFile stanzas;
  if (fs::is_directory(folder_or_file)) {
    std::set<fs::path> files;
    for (const auto& entry : fs::directory_iterator(folder_or_file)) {
      if (entry.path().extension() == ".ini") files.insert(entry.path());
    }
    require(!files.empty(), "{}: expected task files (*.ini) in this folder, found none", folder_or_file.string());
    for (const auto& file : files) stanzas.add_file(file);
  } else {
    stanzas.add_file(folder_or_file);
  }
  std::vector<TaskDefinition> tasks;
  for (const auto& name : stanzas.names()) {
    const Stanza& stanza = *stanzas.find(name);
    if (stanza.find("abstract") == nullptr) tasks.push_back(build(stanzas, stanza));
  }
  return tasks;
}

const TaskDefinition& find_task(const std::vector<TaskDefinition>& tasks, const std::string& name) {
  std::vector<std::string> names;
  for (const auto& task : tasks) {
    if (task.name == name) return task;
    names.push_back(task.name);
  }
  const std::string near = nearest(name, names);
  user_error("tasks: no task is called '{}'{}; the tasks are {}", name,
             near.empty() ? "" : "; did you mean '" + near + "'?", join(names, ", "));
}

std::vector<const TaskDefinition*> select_tasks(const std::vector<TaskDefinition>& tasks, const std::string& words) {
  std::set<std::string> wanted;
  for (std::string word : comma_list(words)) {
    if (word.starts_with("figure") && word.size() > 6) word = "figure-" + word.substr(std::min(word.size(), word.find_first_of("0123456789")));
    const auto is_suite = [&](const std::vector<std::string>& names) { return std::find(names.begin(), names.end(), word) != names.end(); };
    if (word == "all" || is_suite(kSuites) || is_suite(kFigures)) {
      for (const auto& task : tasks) {
        const bool also = std::find(task.also.begin(), task.also.end(), word) != task.also.end();
        if (word == "all" || task.suite == word || also) wanted.insert(task.name);
      }
    } else {
      wanted.insert(find_task(tasks, word).name);
    }
  }
  require(!wanted.empty(), "tasks: expected task names, a suite ({}, {}) or all, found '{}'", join(kSuites, ", "), join(kFigures, ", "), words);
  std::vector<const TaskDefinition*> selected;
  for (const auto& task : tasks) {
    if (wanted.contains(task.name)) selected.push_back(&task);
  }
  return selected;
}

}  // namespace hymba::eval
