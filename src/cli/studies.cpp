// hymba studies: every study of a roadmap's models, and the page with all of them.
#include <ATen/Parallel.h>
#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstring>

#include "base/error.h"
#include "base/interrupt.h"
#include "base/log.h"
#include "base/text.h"
#include "cli/report_files.h"
#include "cli/shapes.h"
#include "cli/study.h"

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

using Words = std::vector<std::string>;

// Commands that write into one folder, one after the other; different jobs run side by side.
struct Job {
  std::string name;
  std::vector<Words> commands;
  std::size_t next = 0;
  pid_t child = 0;
  Stopwatch watch = {};
};

// This program again, with its tables going nowhere: they are long, and the page and the Records have all of them.
pid_t start(const Words& words) {
  std::vector<char*> arguments = {const_cast<char*>("hymba")};
  for (const auto& word : words) arguments.push_back(const_cast<char*>(word.c_str()));
  arguments.push_back(nullptr);
  posix_spawn_file_actions_t actions;
  ::posix_spawn_file_actions_init(&actions);
  ::posix_spawn_file_actions_addopen(&actions, 1, "/dev/null", O_WRONLY, 0);
  pid_t child = 0;
  const int error = ::posix_spawn(&child, "/proc/self/exe", &actions, nullptr, arguments.data(), environ);
  ::posix_spawn_file_actions_destroy(&actions);
  require(error == 0, "studies: cannot start this program again ({})", std::strerror(error));
  return child;
}

void stop(const std::vector<Job*>& running) {
  for (const Job* job : running) ::kill(job->child, SIGINT);
  for (const Job* job : running) ::waitpid(job->child, nullptr, 0);
}

// Takes up the next command of the job whose child has ended. A failure ends the whole: the children that still run are told.
void take_up(std::vector<Job*>& running, pid_t child, int status) {
  const auto it = std::find_if(running.begin(), running.end(), [&](const Job* j) { return j->child == child; });
  if (it == running.end()) return;
  Job& job = **it;
  if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
    running.erase(it);
    stop(running);
    throw_if_interrupted();
    fail("studies: `hymba {}` failed; its message stands above. The same command goes on from here", join(job.commands[job.next], " "));
  }
  if (++job.next < job.commands.size()) {
    job.child = start(job.commands[job.next]);
  } else {
    log_event("studies {} seconds={:.1f}", job.name, job.watch.seconds());
    running.erase(it);
  }
}

void run_jobs(std::vector<Job> jobs, std::size_t at_once) {
  std::vector<Job*> running;
  std::size_t next = 0;
  while (next < jobs.size() || !running.empty()) {
    if (interrupted()) stop(running);
    throw_if_interrupted();
    while (next < jobs.size() && running.size() < at_once) {
      Job& job = jobs[next++];
      if (job.commands.empty()) continue;
      job.watch = Stopwatch();
      job.child = start(job.commands[0]);
      running.push_back(&job);
    }
    if (running.empty()) break;
    int status = 0;
    const pid_t child = ::waitpid(-1, &status, 0);
    if (child > 0) take_up(running, child, status);
  }
}

// The longest first, so that the last one to end is short.
std::vector<Job> all_jobs(const Invocation& invocation, const std::vector<std::string>& models, const fs::path& out, int threads) {
  const auto limit = invocation.get<std::int64_t>("limit");
  const Words common = {"--threads", std::to_string(threads), "--seed", std::to_string(invocation.seed)};
  Words data;
  for (const auto& path : invocation.list("data")) data.insert(data.end(), {"--data", path});
  const auto words_of = [&](const std::string& study, const Words& arguments, const Words& more) {
    Words words = {study, "--out", (out / study).string()};
    for (const Words* list : {&arguments, &common, &more}) words.insert(words.end(), list->begin(), list->end());
    if (study != "curves") words.insert(words.end(), data.begin(), data.end());
    return words;
  };
  Job heads{"heads", {}};
  for (const auto& model : hybrids(models, invocation.get<std::string>("heads-rows"))) {
    Words more = {"--limit", std::to_string(limit)};
    // Single heads, and what sharing saves, of the first seed of a design alone: they cost four times the branches.
    if (read_checkpoint_state(find_checkpoint(model)).seed == invocation.seed) more.insert(more.end(), {"--per-head", "--speedup"});
    heads.commands.push_back(words_of("heads", {model}, more));
  }
  std::vector<Job> jobs = {heads};
  const Words& all = invocation.arguments;
  jobs.push_back({"needle", {words_of("needle", all, {"--items", std::to_string(std::max<std::int64_t>(2, limit / 8))})}});
  for (const char* study : {"attention", "erf", "magnitudes", "curves"}) jobs.push_back({study, {words_of(study, all, {})}});
  return jobs;
}

void run_studies_command(const Invocation& invocation) {
  invocation.whole("limit", 0, kMostItems);
  const auto jobs = invocation.whole("jobs", 0, 64);
  for (const auto& path : invocation.arguments)
    require(fs::is_directory(fs::path(path) / "runs"), "{}: expected a results folder of `roadmap`, with the trained models in runs/", path);
  const fs::path results = invocation.arguments[0];
  const auto models = expand_models(invocation.arguments);
  const fs::path out = invocation.out.empty() ? results / "studies" : fs::path(invocation.out);
  write_shapes(results / "records.jsonl", open_designs().roadmap(), invocation);
  const int cores = std::max(1, at::get_num_threads());
  const auto at_once = jobs > 0 ? jobs : std::min(cores, 6);
  run_jobs(all_jobs(invocation, models, out, std::max(1, cores / static_cast<int>(at_once))), static_cast<std::size_t>(at_once));
  // The page has all that lies in the folder: Records of a study with other options are named there, not hidden.
  std::vector<std::string> notes, paths = invocation.arguments;
  if (!invocation.out.empty()) paths.push_back(out.string());
  for (const auto& more : invocation.list("with")) paths.push_back(more);
  const auto records = read_results(paths, &notes);
  for (const auto& note : notes) log_event("studies.warning {}", note);
  const auto files = write_report(records, results / "page.html", notes);
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
  c.arguments = "RESULTS...";
  c.example = "  hymba studies results/roadmap-quick\n  hymba studies results/roadmap-smoke --limit 60 --heads-rows 13\n  hymba studies results/seed0 results/seed1 --with reports/throughput    # one page in results/seed0";
  c.min_arguments = 1;
  c.max_arguments = 1000;
  c.options = [](boost::program_options::options_description& o) {
    namespace po = boost::program_options;
    o.add_options()("limit", po::value<std::int64_t>()->default_value(400), "items of a task in head removal (an eighth of it for each needle cell)")(
        "jobs", po::value<std::int64_t>()->default_value(0), "studies that run side by side; 0: one a core")(
        "heads-rows", po::value<std::string>()->default_value("9,13"), "rows whose heads are removed, or all; hybrids alone")(
        "data", po::value<std::vector<std::string>>()->composing(), "models of real text: folder with tasks and texts; repeatable")(
        "with", po::value<std::vector<std::string>>()->composing(), "further results for the page, as reports/throughput; repeatable");
  };
  c.run = run_studies_command;
  return c;
}

}  // namespace hymba::cli
