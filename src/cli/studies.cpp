// hymba studies: every study of a roadmap's models, and the page with all of them.
#include <algorithm>

#include "base/error.h"
#include "base/log.h"
#include "base/text.h"
#include "cli/report_files.h"
#include "cli/study.h"
#include "cli/study_commands.h"

namespace hymba::cli {
namespace {

namespace fs = std::filesystem;

// The models whose layers have both branches, of the rows asked for where there are any.
std::vector<std::string> hybrids(const std::vector<std::string>& models, const std::string& rows) {
  std::vector<std::string> all, chosen;
  const auto wanted = rows == "all" ? std::vector<int>() : parse_ranges(rows, 1, 1000, "--heads-rows");
  for (const auto& path : models) {
    const auto folder = find_checkpoint(path);
    const LanguageModel shapes(read_checkpoint_design(folder), 0, /*meta=*/true);
    const bool hybrid = std::any_of(shapes.sublayers().begin(), shapes.sublayers().end(), [](const auto& s) {
      return std::any_of(s->mixers().begin(), s->mixers().end(), [](const auto& m) { return m->attends(); }) &&
             std::any_of(s->mixers().begin(), s->mixers().end(), [](const auto& m) { return m->recurrent(); });
    });
    if (!hybrid) continue;
    all.push_back(path);
    if (std::count(wanted.begin(), wanted.end(), read_checkpoint_state(folder).row) != 0) chosen.push_back(path);
  }
  return chosen.empty() ? all : chosen;
}

void run_study(const Command& command, std::vector<std::string> words, const fs::path& out) {
  words.insert(words.end(), {"--out", (out / command.name).string()});
  log_event("studies {} ...", command.name);
  command.run(parse_words(command, words));
}

void run(const Invocation& invocation) {
  const fs::path results = invocation.arguments[0];
  require(fs::is_directory(results / "runs"), "{}: expected a results folder of `roadmap`, with the trained models in runs/", results.string());
  const auto models = expand_models({results.string()});
  const fs::path out = invocation.out.empty() ? results / "studies" : fs::path(invocation.out);
  const auto limit = invocation.get<std::int64_t>("limit");
  std::vector<std::string> data;
  for (const auto& path : invocation.list("data")) data.insert(data.end(), {"--data", path});
  const auto with_data = [&](std::vector<std::string> words) {
    words.insert(words.end(), data.begin(), data.end());
    return words;
  };
  const std::string all = results.string();
  run_study(curves_command(), {all}, out);
  run_study(magnitudes_command(), with_data({all}), out);
  run_study(attention_command(), with_data({all}), out);
  run_study(erf_command(), with_data({all}), out);
  run_study(needle_command(), with_data({all, "--items", std::to_string(std::max<std::int64_t>(2, limit / 4))}), out);
  for (const auto& model : hybrids(models, invocation.get<std::string>("heads-rows"))) {
    auto words = with_data({model, "--limit", std::to_string(limit), "--per-head", "--speedup"});
    run_study(heads_command(), words, out);
  }
  std::vector<Record> records = read_records(results / "records.jsonl");
  for (const char* study : {"curves", "magnitudes", "attention", "erf", "needle", "heads"}) {
    const auto more = read_records(out / study / "records.jsonl");
    records.insert(records.end(), more.begin(), more.end());
  }
  const auto files = write_report(records, results / "page.html");
  if (invocation.json) {
    print_json({{"files", files}});
  } else {
    print_text(files.front() + "\n");
  }
}

}  // namespace

Command studies_command() {
  Command c;
  c.name = "studies";
  c.summary = "all studies of a roadmap's models, then the page with their figures; goes on where it stopped";
  c.arguments = "RESULTS";
  c.example = "  hymba studies results/roadmap-quick\n  hymba studies results/roadmap-smoke --limit 60 --heads-rows 13";
  c.min_arguments = 1;
  c.max_arguments = 1;
  c.options = [](boost::program_options::options_description& o) {
    namespace po = boost::program_options;
    o.add_options()("limit", po::value<std::int64_t>()->default_value(400), "items of a task in head removal (a quarter of it for each needle cell)")(
        "heads-rows", po::value<std::string>()->default_value("9,13"), "rows whose heads are removed, or all; hybrids alone")(
        "data", po::value<std::vector<std::string>>()->composing(), "models of real text: folder with tasks and texts; repeatable");
  };
  c.run = run;
  return c;
}

}  // namespace hymba::cli
