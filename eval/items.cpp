// Records -> items: the part of eval/task.h that reads data files.
#include <algorithm>
#include <map>
#include <numeric>

#include "base/error.h"
#include "base/files.h"
#include "base/rng.h"
#include "base/text.h"
#include "eval/records.h"
#include "eval/task.h"

namespace hymba::eval {

namespace fs = std::filesystem;

namespace {

using nlohmann::json;

// The first template of a shape that names a field the record lacks, in words; "" if the shape fits.
std::string missing_in(const RecordShape& shape, const json& record) {
  std::vector<const TextTemplate*> all = {&shape.context, &shape.answer, &shape.aliases, &shape.original,
                                          &shape.group,   &shape.preamble};
  for (const auto& one : shape.contexts) all.push_back(&one);
  for (const auto& one : shape.choices) all.push_back(&one);
  for (const auto& one : shape.wrong) all.push_back(&one);
  for (const auto* one : all) {
    if (const std::string field = one->missing_field(record); !field.empty()) return field;
  }
  for (const auto& word : split(shape.gold, ' ')) {  // "{answerKey} in {choices.label}"
    if (!word.starts_with('{')) continue;
    if (const std::string field = TextTemplate(word, "gold").missing_field(record); !field.empty()) return field;
  }
  return "";
}

// The first shape that fits. Chosen record by record: hub sets leave optional fields out.
const RecordShape& shape_of(const TaskDefinition& task, const RecordRow& row) {
  std::vector<std::string> reasons, found;
  for (const auto& shape : task.shapes) {
    const std::string missing = missing_in(shape, row.fields);
    if (missing.empty()) return shape;
    reasons.push_back(fmt::format("{} (lacks \"{}\")", shape.name, missing));
  }
  for (const auto& [key, value] : row.fields.items()) {
    if (!key.starts_with('_')) found.push_back(key);
  }
  user_error("{}: task {}: expected a record of the shape {}, found the fields {}", row.where, task.name,
             join(reasons, " or "), join(found, ", "));
}

// Choices may be written one by one or stand in the record as a list.
std::vector<std::string> render_list(const std::vector<TextTemplate>& templates, const RecordRow& row) {
  std::vector<std::string> texts;
  for (const auto& one : templates) {
    const json* list = one.list(row.fields);
    if (!one.separator().empty()) {
      for (const auto& part : split(one.render(row.fields, row.where), one.separator()[0])) {
        if (!trim(part).empty()) texts.push_back(trim(part));
      }
      continue;
    }
    if (list == nullptr) {
      texts.push_back(one.render(row.fields, row.where));
      continue;
    }
    for (const auto& entry : *list) {
      require(entry.is_string(), "{}: expected a list of texts, found {} in it", row.where, entry.type_name());
      texts.push_back(entry.get<std::string>());
    }
  }
  return texts;
}

// Forms of gold: a place in a list of labels, a boolean (false, true = 0, 1), a number counted from gold_base.
int gold_of(const RecordShape& shape, const RecordRow& row, std::size_t choices) {
  const std::size_t in = shape.gold.find(" in ");
  std::int64_t gold = -1;
  const TextTemplate left(shape.gold.substr(0, in), row.where);
  if (in != std::string::npos) {
    const TextTemplate right(shape.gold.substr(in + 4), row.where);
    const json* value = left.value(row.fields);
    const json* list = right.list(row.fields);
    require(value != nullptr && list != nullptr, "{}: expected {} to name a list", row.where, shape.gold);
    const auto it = std::find(list->begin(), list->end(), *value);
    require(it != list->end(), "{}: expected the answer {} among the labels {}, found it missing", row.where,
            value->dump(), list->dump());
    gold = it - list->begin();
  } else if (const json* value = left.value(row.fields); value != nullptr && value->is_boolean()) {
    gold = value->get<bool>() ? 1 : 0;
  } else {
    gold = parse_int(trim(left.render(row.fields, row.where)), row.where + ": gold answer") - shape.gold_base;
  }
  const auto count = static_cast<std::int64_t>(choices);
  require(gold >= 0 && gold < count, "{}: expected the gold answer to be one of {} choices, {} to {}, found {}", row.where, choices,
          shape.gold_base, shape.gold_base + count - 1, gold + shape.gold_base);
  return static_cast<int>(gold);
}

// multiple_true: labels 0 and 1 beside the choices, or the wrong choices apart.
void set_right(const RecordShape& shape, const RecordRow& row, Item* item) {
  if (shape.gold.empty()) {
    item->right.assign(item->choices.size(), true);
    const auto wrong = render_list(shape.wrong, row);
    item->choices.insert(item->choices.end(), wrong.begin(), wrong.end());
    item->right.resize(item->choices.size(), false);
  } else {
    const json* labels = TextTemplate(shape.gold, row.where).list(row.fields);
    require(labels != nullptr && labels->size() == item->choices.size(), "{}: expected a list of {} labels in {}, found {}", row.where,
            item->choices.size(), shape.gold, labels == nullptr ? "none" : std::to_string(labels->size()));
    for (const auto& label : *labels) {
      require(label == 0 || label == 1, "{}: expected labels 0 and 1, found {}", row.where, label.dump());
      item->right.push_back(label == 1);
    }
  }
  require(std::find(item->right.begin(), item->right.end(), true) != item->right.end(), "{}: expected at least one right choice, found none", row.where);
  item->gold = static_cast<int>(std::find(item->right.begin(), item->right.end(), true) - item->right.begin());
}

// A record becomes an item; what the kind of task does not use stays empty.
Item make_item(const TaskDefinition& task, const RecordRow& row) {
  const RecordShape& shape = shape_of(task, row);
  Item item;
  item.max_new_tokens = shape.max_new_tokens;
  item.until = shape.until;
  item.doc = row.fields;
  item.doc.erase("_file");
  item.group = (shape.group.empty() ? task.group : shape.group).render(row.fields, row.where);
  item.preamble = (shape.preamble.empty() ? task.preamble : shape.preamble).render(row.fields, row.where);
  auto finish = [&](std::vector<std::string> texts) {
    if (shape.every.empty()) return texts;
    for (auto& text : texts) text = shape.every.render({{"text", text}}, row.where);
    return texts;
  };
  switch (task.kind) {
    case TaskKind::kMultipleChoice:
    case TaskKind::kMinimalPairs:
      item.contexts = finish({shape.context.render(row.fields, row.where)});
      item.choices = finish(render_list(shape.choices, row));
      require(item.choices.size() > 1, "{}: expected at least two choices, found {}", row.where, item.choices.size());
      item.gold = gold_of(shape, row, item.choices.size());
      break;
    case TaskKind::kMultipleTrue:
      item.contexts = finish({shape.context.render(row.fields, row.where)});
      item.choices = finish(render_list(shape.choices, row));
      set_right(shape, row, &item);
      break;
    case TaskKind::kPartial:
      item.contexts = finish(render_list(shape.contexts, row));
      item.choices = finish(render_list(shape.choices, row));
      require(item.choices.size() == 1 && item.contexts.size() > 1,
              "{}: expected several contexts and one continuation, found {} and {}", row.where, item.contexts.size(),
              item.choices.size());
      item.gold = gold_of(shape, row, item.contexts.size());
      break;
    case TaskKind::kLoglikelihood:
    case TaskKind::kCompletion:
      item.prompt = shape.context.render(row.fields, row.where);
      item.answer = shape.answer.render(row.fields, row.where);
      if (!shape.aliases.empty()) item.aliases = render_list({shape.aliases}, row);
      require(!trim(item.answer).empty(), "{}: expected an answer, found an empty text", row.where);
      break;
    case TaskKind::kRolling:
      item.prompt = shape.context.render(row.fields, row.where);
      item.original = shape.original.empty() ? item.prompt : shape.original.render(row.fields, row.where);
      break;
  }
  return item;
}

// One gold label a line beside the data file (PIQA): becomes the field "label" of records that have none.
void add_labels(const fs::path& labels_file, const fs::path& file, std::vector<RecordRow>* rows) {
  if (rows->front().fields.contains("label")) return;
  require(fs::exists(labels_file), "{}: expected the labels of {} beside it, found no such file", labels_file.string(),
          file.filename().string());
  std::vector<std::string> labels;
  for (const auto& line : split(read_file(labels_file), '\n')) {
    if (!trim(line).empty()) labels.push_back(trim(line));
  }
  require(labels.size() == rows->size(), "{}: expected {} labels, one for each record of {}, found {}",
          labels_file.string(), rows->size(), file.filename().string(), labels.size());
  for (std::size_t i = 0; i < rows->size(); ++i) (*rows)[i].fields["label"] = labels[i];
}

// All rows of the first pattern that matches; ids are "row" or, of several files, "file:row".
std::vector<Item> read_items(const TaskDefinition& task, const fs::path& folder, const std::vector<std::string>& patterns,
                             const char* what, std::vector<std::string>* read) {
  for (const auto& pattern : patterns) {
    const auto files = match_files(folder, pattern);
    if (files.empty()) continue;
    std::vector<Item> items;
    for (const auto& file : files) {
      auto rows = read_rows(file, task.text_format);
      if (!task.labels.empty()) add_labels(file.parent_path() / task.labels, file, &rows);
      for (std::size_t i = 0; i < rows.size(); ++i) {
        items.push_back(make_item(task, rows[i]));
        items.back().id = files.size() == 1 ? std::to_string(i) : fmt::format("{}:{}", file.stem().string(), i);
      }
      if (read != nullptr) read->push_back(fs::relative(file, folder).string());
    }
    return items;
  }
  throw NoTaskFiles(fmt::format("task {}: expected {} below {}: looked for {}; found none of them", task.name, what, folder.string(),
                                join(patterns, ", ")));
}

// Worked examples: the task's own files of them, else TASK_train.jsonl or TASK/train.jsonl. None of these: nothing, and
// the task's own items serve.
std::vector<Item> read_shot_pool(const TaskDefinition& task, const fs::path& folder) {
  if (!task.shot_files.empty()) return read_items(task, folder, task.shot_files, "few-shot examples", nullptr);
  for (const auto& file : {task.name + "_train.jsonl", task.name + "/train.jsonl"}) {
    if (fs::is_regular_file(folder / file)) return read_items(task, folder, {file}, "few-shot examples", nullptr);
  }
  return {};
}

// Those at these places, in the order of the files.
void keep(std::vector<Item>& items, std::vector<std::size_t> chosen) {
  std::sort(chosen.begin(), chosen.end());
  std::vector<Item> kept;
  for (const std::size_t i : chosen) kept.push_back(std::move(items[i]));
  items = std::move(kept);
}

// The first items, of a task in groups (mmlu, blimp) equally many of each, in the order of the files.
void keep_evenly(std::vector<Item>& items, std::int64_t limit) {
  std::map<std::string, std::int64_t> met;
  std::vector<std::int64_t> round;  // of an item: how many of its group stand before it
  for (const auto& item : items) round.push_back(met[item.group]++);
  std::vector<std::size_t> order(items.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) { return round[a] < round[b]; });
  order.resize(static_cast<std::size_t>(limit));
  keep(items, std::move(order));
}

}  // namespace

TaskData load_task(const TaskDefinition& task, const fs::path& data_folder, const LoadOptions& options) {
  require(fs::is_directory(data_folder), "task {}: expected a data folder, found none at {}; give --data DIR", task.name,
          data_folder.string());
  require(options.limit >= 0, "task {}: expected a limit from 0, found {}", task.name, options.limit);
  TaskData data;
  auto patterns = task.files;
  // Hub sets saved as JSON lines, a file a split.
  for (const char* file : {".jsonl", "/test.jsonl", "/validation.jsonl", "_test.jsonl", "_validation.jsonl"}) {
    if (std::find(patterns.begin(), patterns.end(), task.name + file) == patterns.end()) patterns.push_back(task.name + file);
  }
  data.items = read_items(task, data_folder, patterns, "data files", &data.files);
  data.records = static_cast<std::int64_t>(data.items.size());
  if (options.shots) data.shot_pool = read_shot_pool(task, data_folder);
  if (options.limit > 0 && options.limit < data.records) {
    const auto limit = static_cast<std::size_t>(options.limit);
    if (options.limit_groups) {
      std::map<std::string, std::int64_t> taken;
      std::erase_if(data.items, [&](const Item& item) { return ++taken[item.group] > options.limit; });
    } else if (options.seed.has_value()) {
      keep(data.items, Rng(*options.seed, "task." + task.name).sample(data.items.size(), limit));
    } else {
      keep_evenly(data.items, options.limit);
    }
  }
  return data;
}

}  // namespace hymba::eval
