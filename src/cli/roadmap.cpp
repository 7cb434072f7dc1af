// hymba roadmap: builds, trains and measures the designs of Table 1 under one recipe, and writes table and page.
#include <map>
#include <set>

#include "base/error.h"
#include "base/files.h"
#include "base/interrupt.h"
#include "base/log.h"
#include "base/text.h"
#include "cli/context.h"
#include "cli/report_files.h"
#include "cli/roadmap_run.h"
#include "cli/shapes.h"
#include "reports/roadmap_table.h"
#include "train/trainer.h"

namespace hymba::cli {
namespace {

namespace fs = std::filesystem;

struct Plan {
  std::string size;
  std::vector<Design> designs;
  std::int64_t seeds = 1;
  DataChoice data;
  std::vector<std::unique_ptr<const TokenSource>> sources;  // one a seed
  TaskSet tasks;
  Recipe recipe;
  MeasureConfig measure;
  fs::path out;
};

std::vector<std::string> chosen_designs(const Invocation& invocation) {
  const auto rows = open_designs().roadmap();
  std::vector<std::string> specs;
  const auto text = invocation.get<std::string>("rows");
  if (text == "none") return invocation.list("also");
  for (const int row : parse_ranges(text.empty() ? fmt::format("1-{}", rows.size()) : text, 1, static_cast<int>(rows.size()), "--rows")) {
    specs.push_back(rows[static_cast<std::size_t>(row - 1)]);
  }
  for (const auto& spec : invocation.list("also")) specs.push_back(spec);
  return specs;
}

Plan make_plan(const Invocation& invocation) {
  Plan plan;
  plan.size = invocation.get<std::string>("size");
  plan.seeds = invocation.whole("seeds", 1, 1000);
  const auto limit = invocation.whole("limit", 0, kMostItems);
  const auto specs = chosen_designs(invocation);
  require(!specs.empty(), "no designs: give --rows or --also");
  const auto paths = invocation.list("data"), task_folders = invocation.list("tasks");
  require(task_folders.empty() || !paths.empty(), "--tasks needs --data: models of the synthetic world cannot read real tasks");
  require(paths.empty() || !task_folders.empty(), "--data needs --tasks DIR: the folder with the real tasks' files");
  require(!invocation.has("task-names") || !paths.empty(), "--task-names needs --data and --tasks: the synthetic world has tasks of its own");
  plan.recipe = open_recipe(plan.size, invocation.overrides);
  plan.measure = open_measure(plan.size);
  // Designs are built (without memory) before anything slow begins, so that a mistake shows at once.
  for (const auto& spec : specs) LanguageModel(open_design(spec, plan.size, invocation), 0, /*meta=*/true);
  plan.data = open_data(paths, invocation.get<std::string>("tokenizer"), plan.size, invocation.overrides);
  for (const auto& spec : specs) {
    plan.designs.push_back(open_design_for(*plan.data.tokenizer, spec, plan.size, invocation));
  }
  for (std::int64_t s = 0; s < plan.seeds; ++s) plan.sources.push_back(plan.data.source(invocation.seed + static_cast<std::uint64_t>(s)));
  const int items = static_cast<int>(limit > 0 ? limit : plan.measure.items);
  if (plan.data.world) {
    plan.tasks = world_tasks(*plan.data.world, items);
  } else {
    std::vector<std::string> missing;
    plan.tasks = real_tasks(task_folders, invocation.get<std::string>("task-names"), items, &missing);
    for (const auto& reason : missing) log_event("roadmap.task_left_out {}", reason);
  }
  plan.out = invocation.out.empty() ? fs::path(fmt::format("results/roadmap-{}{}", plan.size, paths.empty() ? "" : "-text")) : fs::path(invocation.out);
  return plan;
}

// `index` counts the seeds from `first_seed`.
RowJob job_of(const Plan& plan, const Design& design, std::uint64_t first_seed, std::int64_t index) {
  const std::uint64_t seed = first_seed + static_cast<std::uint64_t>(index);
  RowJob job;
  job.design = &design;
  job.recipe = &plan.recipe;
  job.measure = &plan.measure;
  job.data = &plan.data;
  job.source = plan.sources[static_cast<std::size_t>(index)].get();
  job.tasks = &plan.tasks;
  job.seed = seed;
  job.run = plan.out / "runs" / fmt::format("{}-seed{}", design.name(), seed);
  return job;
}

// Trains and measures what is not done yet; Records are appended a whole row at a time.
void run_rows(const Plan& plan, std::uint64_t first_seed) {
  const auto file = plan.out / "records.jsonl";
  std::set<std::string> done;
  if (fs::exists(file)) {
    std::vector<std::string> warnings;
    for (const auto& r : read_records(file, &warnings)) {
      if (r.study == "roadmap.state" && r.metric == "done") done.insert(fmt::format("{}|{}", r.design, r.config_hash));
    }
    for (const auto& warning : warnings) log_event("roadmap.warning {}", warning);
  }
  struct Todo {
    RowJob job;
    double weight;
  };
  std::vector<Todo> todo;
  double total = 0;
  for (std::int64_t s = 0; s < plan.seeds; ++s) {
    for (const auto& design : plan.designs) {
      auto job = job_of(plan, design, first_seed, s);
      if (done.count(fmt::format("{}|{}", design.name(), row_hash(job))) != 0) continue;
      // Small layers cost time for each operation, not for its size: a constant a sublayer stands for that.
      const LanguageModel shapes(design, 0, /*meta=*/true);
      const double weight = shapes.flops_per_token(static_cast<double>(plan.recipe.length) / 2) + 4e4 * static_cast<double>(shapes.sublayers().size());
      total += weight;
      todo.push_back({std::move(job), weight});
    }
  }
  const auto runs = static_cast<std::size_t>(plan.seeds) * plan.designs.size();
  log_event("roadmap size={} designs={} seeds={} done={} to_do={} tokens={} out={}", plan.size, plan.designs.size(), plan.seeds, runs - todo.size(),
            todo.size(), plan.recipe.tokens, plan.out.string());
  RecordWriter writer(file);
  Progress progress("roadmap", 100, "%");
  double finished = 0;
  for (auto& [job, weight] : todo) {
    const Stopwatch watch;
    job.progress = [&, w = weight](double f, const std::string& note) { progress.update(100 * (finished + f * w) / total, note); };
    for (const auto& r : run_row(job)) writer.write(r);
    finished += weight;
    log_event("roadmap.row design={} seed={} seconds={:.1f}", job.design->name(), job.seed, watch.seconds());
    throw_if_interrupted();
  }
}

}  // namespace

RoadmapOutcome run_roadmap(const Invocation& invocation) {
  const Plan plan = make_plan(invocation);
  interrupt_at_closed_pipe();
  const FolderLock lock(plan.out);
  run_rows(plan, invocation.seed);
  write_shapes(plan.out / "records.jsonl", chosen_designs(invocation), invocation);
  // The report shows what this command asked for, by its present config: older Records of other configs stay in the file.
  std::set<std::string> wanted;
  for (std::int64_t s = 0; s < plan.seeds; ++s) {
    for (const auto& design : plan.designs) wanted.insert(design.name() + row_hash(job_of(plan, design, invocation.seed, s)));
  }
  std::vector<Record> records;
  for (auto& r : read_records(plan.out / "records.jsonl")) {
    if (r.study == "shapes" || wanted.count(r.design + r.config_hash) != 0) records.push_back(std::move(r));
  }
  const auto paper = reports::read_paper(home_folder() / "ablations" / "paper" / "roadmap.csv");
  return {reports::build_roadmap(records, paper), write_report(records, plan.out / "page.html")};
}

namespace {

void run_roadmap_command(const Invocation& invocation) {
  const auto [roadmap, files] = run_roadmap(invocation);
  if (invocation.json) {
    for (const auto& row : roadmap.rows) {
      if (row.was_run) print_json(reports::to_json(row));
    }
    return;
  }
  print_text(reports::roadmap_terminal(roadmap, {terminal_width(), use_colour()}));
  print_text("\n");
  for (const auto& path : files) print_text(path + "\n");
}

}  // namespace

Command roadmap_command() {
  Command c;
  c.name = "roadmap";
  c.summary = "the main job: builds, trains and measures the paper's 13 designs; writes table and page";
  c.arguments = "";
  c.example =
      "  hymba roadmap                                   # 13 rows at the size quick\n"
      "  hymba roadmap --size smoke --rows 1,5-9\n"
      "  hymba roadmap --also my.ini:my-design --seeds 3\n"
      "  hymba roadmap --size smoke --data ../shared/data/lm --tasks ../shared/data";
  c.overrides = {.design = true, .recipe = true, .world = true};
  c.options = [](boost::program_options::options_description& o) {
    namespace po = boost::program_options;
    o.add_options()("size", po::value<std::string>()->default_value("quick"), "quick or smoke (paper: if you have the machine for it)")(
        "rows", po::value<std::string>()->default_value(""), "rows of the paper's table: 1,5-9; none; default: all")(
        "also", po::value<std::vector<std::string>>()->composing(), "a further design, of peers.ini or FILE.ini:stanza; repeatable")(
        "seeds", po::value<std::int64_t>()->default_value(1), "how many seeds, from --seed on")(
        "data", po::value<std::vector<std::string>>()->composing(), "train on this text: file or folder; repeatable")(
        "tokenizer", po::value<std::string>()->default_value(""), "bytes (default with --data), FILE.model (SentencePiece), tokenizer.json, FILE.bin (llama2.c) or a folder with one of them")(
        "tasks", po::value<std::vector<std::string>>()->composing(), "folder with the real tasks' files; repeatable")(
        "task-names", po::value<std::string>()->default_value(
            "arc_easy,arc_challenge,piqa,hellaswag,winogrande,openbookqa,boolq,copa,squad_completion,xquad,lambada_openai,blimp"), "which real tasks or suites")(
        "limit", po::value<std::int64_t>()->default_value(0), "items of a task; 0: the size's");
  };
  c.run = run_roadmap_command;
  return c;
}

}  // namespace hymba::cli
