#include "cli/study.h"

#include <algorithm>

#include "base/error.h"
#include "base/interrupt.h"
#include "base/log.h"
#include "base/rng.h"
#include "base/text.h"
#include "eval/rows.h"
#include "eval/world_suite.h"

namespace hymba::cli {

namespace fs = std::filesystem;

namespace {

std::string with_seed(const std::string& design, std::uint64_t seed) { return seed == 0 ? design : fmt::format("{}-seed{}", design, seed); }

// Files of a model that another program wrote: other weights in the same place are another model.
std::vector<fs::path> weight_files(const fs::path& path) {
  if (!fs::is_directory(path)) return {path};
  std::vector<fs::path> files;
  for (const auto& entry : fs::directory_iterator(path)) {
    if (entry.path().extension() == ".safetensors") files.push_back(entry.path());
  }
  std::sort(files.begin(), files.end());
  return files;
}

}  // namespace

std::string StudyModel::name() const { return with_seed(design().name(), loaded.state.seed); }
std::string record_model(const Record& record) { return with_seed(record.design, record.seed); }

std::string StudyModel::hash() const {
  if (!loaded.state.config_hash.empty()) return loaded.state.config_hash;
  std::uint64_t hash = hash64(fs::absolute(path).lexically_normal().string(), hash64(design().hash()));
  for (const auto& file : weight_files(path)) hash = hash64(fmt::format("{} {}", fs::file_size(file), fs::last_write_time(file).time_since_epoch().count()), hash);
  return hex64(hash);
}

StudyModel open_study_model(const std::string& path, const Invocation& invocation) {
  StudyModel model{path, load_model(path), given_tokenizer(invocation), nullptr, false};
  model.tokenizer = open_model_tokenizer(model.loaded, path, model.given_tokenizer);
  model.world = model.given_tokenizer.empty() && is_world_spec(model.loaded.state.tokenizer);
  // Studies ask for gradients to the inputs at most.
  for (auto& parameter : model.loaded.model->parameters().all()) parameter.value.set_requires_grad(false);
  return model;
}

std::vector<std::string> expand_models(const std::vector<std::string>& arguments) {
  std::vector<std::string> models;
  for (const auto& argument : arguments) {
    const fs::path runs = fs::path(argument) / "runs";
    if (!fs::is_directory(runs)) {
      models.push_back(argument);
      continue;
    }
    std::vector<std::string> found;
    for (const auto& entry : fs::directory_iterator(runs)) {
      if (!newest_checkpoint(entry.path()).empty()) found.push_back(entry.path().string());
    }
    require(!found.empty(), "{}: no trained model in its runs/", argument);
    std::sort(found.begin(), found.end());
    models.insert(models.end(), found.begin(), found.end());
  }
  return models;
}

std::vector<StudyTask> open_study_tasks(const StudyModel& model, const std::string& words, const std::string& data, std::int64_t limit) {
  require(limit >= 0, "--limit {}: expected 0 (all) or more", limit);
  std::vector<StudyTask> tasks;
  if (model.world) {
    require(data.empty(), "--data: {} knows the synthetic world's words alone and cannot read other text", model.path);
    const auto wanted = split(words, ',');
    std::set<std::string> known = {"all", "general", "recall"};
    auto suites = eval::world_suite(world_of_spec(model.loaded.state.tokenizer), limit > 0 ? static_cast<int>(std::min<std::int64_t>(limit, 500)) : 500);
    for (const auto& suite : suites) known.insert(suite.definition.name);
    for (const auto& word : wanted) {
      require(known.count(word) != 0, "--tasks {}: no such task; there are: {}", word, join({known.begin(), known.end()}, ", "));
    }
    for (auto& suite : suites) {
      const auto is = [&](const std::string& word) { return word == "all" || word == suite.definition.suite || word == suite.definition.name; };
      if (std::any_of(wanted.begin(), wanted.end(), is)) tasks.push_back({suite.definition, std::move(suite.items), {}});
    }
  } else {
    require(!data.empty(), "--data DIR: say where the tasks' files lie");
    const auto definitions = eval::load_task_definitions(home_folder() / "eval" / "tasks");
    for (const auto* task : eval::select_tasks(definitions, words)) {
      eval::LoadOptions load;
      load.limit = limit;
      auto found = eval::load_task(*task, data, load);
      tasks.push_back({*task, std::move(found.items), std::move(found.shot_pool)});
    }
  }
  require(!tasks.empty(), "--tasks {}: no task", words);
  return tasks;
}

StudyRecords::StudyRecords(const fs::path& folder, std::string study) : folder_(folder), study_(std::move(study)) {
  const auto file = folder_ / "records.jsonl";
  writer_ = std::make_unique<RecordWriter>(file);  // takes the lock, and cuts off what a crash left
  std::vector<std::string> warnings;
  all_ = read_records(file, &warnings);
  for (const auto& warning : warnings) log_event("{}.warning {}", study_, warning);
  for (const auto& r : all_) {
    if (r.study == study_ + ".state" && r.metric == "done") done_.insert(r.config_hash + "|" + r.task);
  }
}

std::vector<Record> StudyRecords::finished(const std::string& config_hash, const std::string& piece) const {
  std::vector<Record> found;
  if (done_.count(config_hash + "|" + piece) == 0) return found;
  for (const auto& r : all_) {
    if (r.study == study_ && r.config_hash == config_hash && (piece.empty() || r.task == piece)) found.push_back(r);
  }
  return found;
}

void StudyRecords::write(std::vector<Record> records, const std::string& config_hash, const std::string& piece) {
  require(!records.empty(), "{}: nothing was measured", study_);
  Record done = records.front();
  done.study = study_ + ".state";
  done.metric = "done";
  done.task = piece;
  done.value = 1;
  done.error.reset();
  done.unit = "1";
  done.n = static_cast<std::int64_t>(records.size());
  done.extra = nlohmann::json::object();
  records.push_back(done);
  for (const auto& r : records) {
    writer_->write(r);
    all_.push_back(r);
  }
  done_.insert(config_hash + "|" + piece);
}

std::vector<Record> measure_models(const Invocation& invocation, const std::string& study, const std::string& options,
                                   const std::function<std::vector<Record>(const StudyModel&)>& measure) {
  StudyRecords store(study_folder(invocation, study), study);
  std::vector<Record> all;
  const auto paths = expand_models(invocation.arguments);
  Progress progress(study, static_cast<double>(paths.size()), "models");
  for (std::size_t i = 0; i < paths.size(); ++i) {
    throw_if_interrupted();
    const auto model = open_study_model(paths[i], invocation);
    const auto hash = study_hash(model, fmt::format("{} {} {}", study, options, invocation.seed));
    auto records = store.finished(hash);
    const bool found = !records.empty();
    if (!found) {
      progress.update(static_cast<double>(i), model.name());
      records = measure(model);
      for (auto& r : records) r.config_hash = hash;
      store.write(records, hash);
    }
    log_event("{} model={} records={} {}", study, model.name(), records.size(), found ? "found" : "done");
    all.insert(all.end(), records.begin(), records.end());
  }
  progress.finish();
  return all;
}

void add_prompt_options(boost::program_options::options_description& o, std::int64_t length, std::int64_t prompts) {
  namespace po = boost::program_options;
  add_tokenizer_option(o);
  o.add_options()("data", po::value<std::vector<std::string>>()->composing(),
                  "text for models of real text: NAME=FILE, or a folder with articles, mathematics and code; repeatable")(
      "length", po::value<std::int64_t>()->default_value(length), "tokens of a prompt")(
      "prompts", po::value<std::int64_t>()->default_value(prompts), "prompts of each domain");
}

std::string prompt_options_text(const Invocation& invocation) {
  return fmt::format("{} {} {}", join(invocation.list("data"), ","), invocation.get<std::int64_t>("length"), invocation.get<std::int64_t>("prompts"));
}

namespace {

// What a model without a tokenizer can read: ids drawn at random. Weights alone decide what is seen then.
eval::PromptSet random_prompts(const StudyModel& model, std::uint64_t seed, std::int64_t count, std::int64_t length) {
  log_event("prompts model={} ids drawn at random: no tokenizer, no --data", model.name());
  Rng rng(seed + 1);
  eval::PromptSet set{"random ids", {}};
  for (std::int64_t i = 0; i < count; ++i) {
    auto& row = set.rows.emplace_back();
    for (std::int64_t t = 0; t < length; ++t) row.push_back(static_cast<std::int32_t>(rng.below(static_cast<std::uint64_t>(model.tokenizer->vocab_size()))));
  }
  return set;
}

}  // namespace

std::vector<eval::PromptSet> open_prompts(const StudyModel& model, const Invocation& invocation) {
  const auto length = invocation.get<std::int64_t>("length"), count = invocation.get<std::int64_t>("prompts");
  require(length > 1 && length <= 1 << 20, "--length {}: expected 2 to {}", length, 1 << 20);
  require(count > 0 && count <= 100000, "--prompts {}: expected 1 to 100000", count);
  const auto data = invocation.list("data");
  if (model.world) {
    require(data.empty(), "--data: {} knows the synthetic world's words alone and cannot read other text", model.path);
    return eval::world_prompts(world_of_spec(model.loaded.state.tokenizer), count, length);
  }
  if (data.empty() && !reads_text(*model.tokenizer)) return {random_prompts(model, invocation.seed, count, length)};
  require(!data.empty(), "--data: {} reads real text; give NAME=FILE, or a folder with articles, mathematics and code", model.path);
  std::vector<eval::PromptSet> sets;
  for (const auto& word : data) {
    const auto equals = word.find('=');
    if (equals != std::string::npos) {
      sets.push_back(eval::file_prompts(word.substr(0, equals), word.substr(equals + 1), *model.tokenizer, count, length));
    } else if (fs::is_directory(word)) {
      const auto domains = eval::find_domains(word);
      require(!domains.empty(), "--data {}: none of the known files of articles, mathematics and code is here; give NAME=FILE", word);
      for (const auto& [domain, file] : domains) sets.push_back(eval::file_prompts(domain, file, *model.tokenizer, count, length));
    } else {
      sets.push_back(eval::file_prompts("text", word, *model.tokenizer, count, length));
    }
  }
  return sets;
}

at::Tensor prompt_rows(const std::vector<eval::PromptSet>& sets) {
  std::vector<std::vector<std::int32_t>> rows;
  for (const auto& set : sets) rows.insert(rows.end(), set.rows.begin(), set.rows.end());
  return eval::padded_rows(rows, [](const std::vector<std::int32_t>& row) -> const std::vector<std::int32_t>& { return row; });
}

std::int64_t train_length(const StudyModel& model) {
  const auto stored = model.loaded.state.extra.value("train_length", std::int64_t{0});
  if (stored > 0 || !is_world_spec(model.loaded.state.tokenizer)) return stored;
  const auto size = model.design().size();
  return size == "quick" || size == "smoke" ? open_recipe(size, {}).length : 0;
}

fs::path study_folder(const Invocation& invocation, const std::string& study) {
  return invocation.out.empty() ? fs::path("results") / study : fs::path(invocation.out);
}

Record study_record(const std::string& study, const StudyModel& model, const std::string& config_hash) {
  auto r = record(study, model.design(), model.loaded.state.seed, config_hash);
  const auto& state = model.loaded.state;
  r.extra = {{"title", state.title.empty() ? model.design().name() : state.title}, {"row", state.row}, {"group", state.group}};
  return r;
}

std::string study_hash(const StudyModel& model, const std::string& options) {
  return hex64(hash64(model.hash() + "|" + options + model.given_tokenizer));
}

}  // namespace hymba::cli
