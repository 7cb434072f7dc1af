// hymba heads: accuracy without the attention branch, the SSM branch or a single head of one layer.
#include <algorithm>
#include <cmath>
#include <limits>
#include <set>

#include "base/error.h"
#include "base/log.h"
#include "base/rng.h"
#include "base/text.h"
#include "cli/study.h"
#include "eval/head_removal.h"
#include "eval/scoring.h"
#include "reports/roadmap.h"
#include "reports/table.h"
#include "reports/unicode.h"

namespace hymba::cli {
namespace {

struct Options {
  std::vector<std::int64_t> layers;
  std::string branch;
  bool per_head = false;
  eval::RemovalOptions removal;
  std::int64_t max_length = 1024;

  std::string text() const {
    std::string list;
    for (const auto l : layers) list += fmt::format("{},", l);
    return fmt::format("heads {} {} {} {} {} {}", list, branch, per_head, static_cast<int>(removal.mode), static_cast<int>(removal.rest), max_length);
  }
};

Options read_options(const Invocation& invocation) {
  Options o;
  if (invocation.has("layers")) {
    for (const int l : parse_ranges(invocation.get<std::string>("layers"), 0, 100000, "--layers")) o.layers.push_back(l);
  }
  o.branch = invocation.get<std::string>("branch");
  o.per_head = invocation.values.count("per-head") != 0;
  const auto mode = invocation.get<std::string>("mode"), rest = invocation.get<std::string>("fusion");
  require(mode == "zero" || mode == "mean", "--mode {}: expected zero or mean", mode);
  require(rest == "half" || rest == "whole", "--fusion {}: expected half or whole", rest);
  o.removal.mode = mode == "mean" ? eval::RemovalMode::kMean : eval::RemovalMode::kZero;
  o.removal.rest = rest == "whole" ? eval::FusionRest::kWhole : eval::FusionRest::kHalf;
  require(mode == "zero" || rest == "half", "--fusion whole has no meaning with --mode mean, which keeps a mean in the removed branch's place");
  o.max_length = invocation.get<std::int64_t>("max-length");
  require(o.max_length > 0, "--max-length {}: expected a positive number", o.max_length);
  return o;
}

// Per-item scores of the metric that counts.
std::vector<double> scores_of(const eval::TaskResult& result) {
  std::vector<double> scores;
  for (const auto& sample : result.samples) {
    require(sample.contains(result.main_metric) && sample[result.main_metric].is_number(),
            "task {}: its metric {} is not a mean over items, so removals cannot be compared item by item; choose another task", result.task, result.main_metric);
    scores.push_back(sample[result.main_metric].get<double>());
  }
  return scores;
}

// Mean difference to the intact model over the same items, and its standard error: sd(d) / sqrt(n).
std::pair<double, double> paired(const std::vector<double>& removed, const std::vector<double>& intact) {
  const auto n = static_cast<double>(removed.size());
  double mean = 0, squares = 0;
  for (std::size_t i = 0; i < removed.size(); ++i) mean += (removed[i] - intact[i]) / n;
  for (std::size_t i = 0; i < removed.size(); ++i) squares += std::pow(removed[i] - intact[i] - mean, 2);
  return {mean, n > 1 ? std::sqrt(squares / (n - 1) / n) : std::nan("")};
}

std::uint64_t hash_items(const StudyTask& task) {
  std::uint64_t hash = hash64(task.definition.name);
  for (const auto& item : task.items) {
    for (const auto* texts : {&item.contexts, &item.choices}) {
      for (const auto& text : *texts) hash = hash64(text, hash);
    }
    hash = hash64(item.prompt + "|" + item.answer + "|" + std::to_string(item.gold), hash);
  }
  return hash;
}

std::vector<Record> run_one(const StudyModel& model, const StudyTask& task, const Options& options, const std::string& hash,
                            const std::filesystem::path& folder) {
  auto removal = options.removal;
  removal.journal = folder / fmt::format("batches-{}.journal", hash);
  const auto removals = eval::list_removals(model.model(), options.layers, options.branch, options.per_head);
  Progress progress("heads " + task.definition.name, 100, "%");
  removal.progress = [&](double f) { progress.update(100 * f, model.name()); };
  std::vector<Record> records;
  {
    eval::RemovalScorer scorer(model.model(), removals, removal);
    eval::RunOptions run;
    run.max_length = options.max_length;
    run.shot_pool = task.shot_pool;
    std::vector<double> intact;
    eval::TaskResult base;
    for (int r = -1; r < static_cast<int>(removals.size()); ++r) {
      scorer.select(r);
      auto result = eval::run_task(task.definition, task.items, *model.tokenizer, scorer, run);
      const auto scores = scores_of(result);
      if (r < 0) {
        intact = scores;
        base = std::move(result);
        continue;
      }
      const auto [difference, error] = paired(scores, intact);
      const auto& metric = result.metrics.at(result.main_metric);
      Record record = study_record("heads", model, hash);
      record.metric = result.main_metric;
      record.task = task.definition.name;
      record.value = metric.value;
      record.error = metric.error;
      record.unit = "1";
      record.n = metric.n;
      const auto& what = removals[static_cast<std::size_t>(r)];
      record.extra.update({{"layer", what.layer}, {"branch", what.branch}, {"head", what.head < 0 ? nlohmann::json(nullptr) : nlohmann::json(what.head)},
                           {"baseline", base.metrics.at(base.main_metric).value}, {"difference", difference}, {"stderr", error}, {"chance", base.chance},
                           {"mode", removal.mode == eval::RemovalMode::kMean ? "mean" : "zero"}, {"suite", task.definition.suite},
                           {"fusion", removal.rest == eval::FusionRest::kWhole ? "whole" : "half"}, {"layers", model.model().config().layers}});
      records.push_back(std::move(record));
    }
  }
  std::filesystem::remove(removal.journal);
  return records;
}

// Seconds for the same batch with the layers below shared, and with every removal on its own: the best of three turns.
Record measure_sharing(const StudyModel& model, const StudyTask& task, const Options& options, const std::string& hash) {
  StudyTask few = task;
  few.items.resize(std::min<std::size_t>(few.items.size(), 32));
  constexpr int kTurns = 3;
  double seconds[2] = {std::numeric_limits<double>::infinity(), std::numeric_limits<double>::infinity()};
  for (int turn = -1; turn < kTurns; ++turn) {  // the first one warms up
    for (const bool share : {true, false}) {
      auto removal = options.removal;
      removal.share = share;
      eval::RemovalScorer scorer(model.model(), eval::list_removals(model.model(), options.layers, options.branch, options.per_head), removal);
      eval::RunOptions run;
      run.max_length = options.max_length;
      run.shot_pool = few.shot_pool;
      const Stopwatch watch;
      eval::run_task(few.definition, few.items, *model.tokenizer, scorer, run);
      if (turn >= 0) seconds[share ? 0 : 1] = std::min(seconds[share ? 0 : 1], watch.seconds());
    }
  }
  Record r = study_record("heads", model, hash);
  r.metric = "speedup";
  r.task = task.definition.name;
  r.value = seconds[1] / std::max(1e-9, seconds[0]);
  r.unit = "1";
  r.n = static_cast<std::int64_t>(few.items.size());
  r.extra.update({{"shared_s", seconds[0]}, {"separate_s", seconds[1]}});
  return r;
}

void print(const Invocation& invocation, const std::vector<Record>& records) {
  const bool several = std::any_of(records.begin(), records.end(), [&](const Record& r) { return record_model(r) != record_model(records.front()); });
  std::vector<reports::Column> columns = {{"layer"}, {"branch", reports::Align::kLeft}, {"head"}, {"task", reports::Align::kLeft}, {"value"}, {"baseline"}, {"difference"}, {"stderr"}, {"loss", reports::Align::kLeft, 1}};
  if (several) columns.insert(columns.begin(), {"model", reports::Align::kLeft});
  reports::Table table(columns);
  std::string speedups;
  double largest = 1e-9;
  for (const auto& r : records) largest = std::max(largest, -reports::extra_number(r, "difference", 0));
  for (const auto& r : records) {
    if (r.metric == "speedup") {
      speedups += reports::paragraph(fmt::format("{}, {}: sharing the layers below a removal: {:.2f} s instead of {:.2f} s for {} items, x{:.2f}", record_model(r), r.task,
                                                 r.extra.value("shared_s", 0.0), r.extra.value("separate_s", 0.0), r.n, r.value), terminal_width());
      if (invocation.json) print_json({{"design", r.design}, {"seed", r.seed}, {"task", r.task}, {"speedup", r.value}, {"shared_s", r.extra["shared_s"]}, {"separate_s", r.extra["separate_s"]}});
      continue;
    }
    const auto& x = r.extra;
    if (invocation.json) {
      print_json({{"design", r.design}, {"seed", r.seed}, {"layer", x["layer"]}, {"branch", x["branch"]}, {"head", x["head"]}, {"task", r.task}, {"metric", r.metric}, {"value", r.value},
                  {"baseline", x["baseline"]}, {"difference", x["difference"]}, {"stderr", x["stderr"]}, {"n", r.n}, {"mode", x["mode"]}, {"fusion", x["fusion"]}});
    }
    const auto number = [](const nlohmann::json& v) { return v.is_number() ? fmt::format("{:.4f}", v.get<double>()) : std::string("-"); };
    const bool clear = x["stderr"].is_number() && std::abs(x["difference"].get<double>()) > 2 * x["stderr"].get<double>();
    std::vector<reports::Cell> cells = {{x["layer"].dump()}, {x["branch"].get<std::string>()}, {x["head"].is_null() ? "all" : x["head"].dump()}, {r.task}, {number(r.value)},
                                        {number(x["baseline"])}, {number(x["difference"]), clear ? reports::Tone::kStrong : reports::Tone::kPlain}, {number(x["stderr"])},
                                        {reports::text_bar(-reports::extra_number(r, "difference", 0) / largest, 12)}};
    if (several) cells.insert(cells.begin(), {record_model(r)});
    table.add_row(std::move(cells));
  }
  if (!invocation.json) print_text(table.to_terminal({terminal_width(), use_colour()}) + speedups);
}

// Of several models those that have no such layer or branch are named and left out; where none has, that is a mistake.
// All are looked at before the work begins.
std::vector<std::string> removable_models(const std::vector<std::string>& paths, const Options& options) {
  std::vector<std::string> fit;
  std::string first;
  for (const auto& path : paths) {
    try {
      eval::list_removals(LanguageModel(read_model_design(path), 0, /*meta=*/true), options.layers, options.branch, options.per_head);
      fit.push_back(path);
    } catch (const UserError& error) {
      const std::string text = starts_with(error.what(), path) ? error.what() : fmt::format("{}: {}", path, error.what());
      if (first.empty()) first = text;
      if (paths.size() > 1) log_event("heads.left_out {}", text);
    }
  }
  if (fit.empty()) user_error("{}", first);
  return fit;
}

std::vector<Record> run_model(const std::string& path, const Invocation& invocation, const Options& options, StudyRecords& store) {
  const auto model = open_study_model(path, invocation);
  const auto tasks = open_study_tasks(model, invocation.get<std::string>("tasks"), invocation.get<std::string>("data"), invocation.get<std::int64_t>("limit"));
  std::vector<Record> all;
  for (const auto& task : tasks) {
    const auto hash = study_hash(model, fmt::format("{} {}", options.text(), hex64(hash_items(task))));
    auto records = store.finished(hash, task.definition.name);
    const bool found = !records.empty();
    if (!found) {
      records = run_one(model, task, options, hash, store.folder());
      if (invocation.values.count("speedup") != 0 && &task == &tasks.front()) records.push_back(measure_sharing(model, task, options, hash));
      store.write(records, hash, task.definition.name);
    }
    log_event("heads model={} task={} records={} {}", model.name(), task.definition.name, records.size(), found ? "found" : "done");
    all.insert(all.end(), records.begin(), records.end());
  }
  return all;
}

void run_heads_command(const Invocation& invocation) {
  const auto options = read_options(invocation);
  const auto paths = removable_models(expand_models(invocation.arguments), options);
  StudyRecords store(study_folder(invocation, "heads"), "heads");
  std::vector<Record> shown;
  for (const auto& path : paths) {
    auto records = run_model(path, invocation, options, store);
    shown.insert(shown.end(), records.begin(), records.end());
  }
  print(invocation, shown);
}

}  // namespace

Command heads_command() {
  Command c;
  c.name = "heads";
  c.summary = "accuracy with a branch or head of one layer removed (figures 3 and 13)";
  c.arguments = "MODEL...";
  c.example = "  hymba heads results/roadmap-quick/runs/row-09-seed0 --tasks general,recall --limit 400\n  hymba heads runs/row9 --tasks facts --per-head --layers 0,5 --mode mean";
  c.min_arguments = 1;
  c.max_arguments = 1000;
  c.options = [](boost::program_options::options_description& o) {
    namespace po = boost::program_options;
    add_tokenizer_option(o);
    o.add_options()("tasks", po::value<std::string>()->default_value("all"), "tasks or suites, comma-separated")(
        "data", po::value<std::string>()->default_value(""), "folder with the tasks' files")(
        "limit", po::value<std::int64_t>()->default_value(1000), "items of a task (the synthetic world has 500); 0: all")("per-head", "single heads too")(
        "layers", po::value<std::string>(), "layers (from 0): 0,3-5; default: all")(
        "branch", po::value<std::string>()->default_value("both"), "attention, ssm or both")(
        "mode", po::value<std::string>()->default_value("zero"), "what stands in for the removed: zero, or mean (its mean output over tokens)")(
        "fusion", po::value<std::string>()->default_value("half"),
        "mean fusion without one branch: half keeps the other's half, so that exactly the removed contribution is missing; whole doubles it")(
        "max-length", po::value<std::int64_t>()->default_value(1024), "tokens the model reads at most")(
        "speedup", "measure what sharing the lower layers saves, on 32 items of the first task");
  };
  c.run = run_heads_command;
  return c;
}

}  // namespace hymba::cli
