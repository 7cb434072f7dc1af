// hymba report: tables and the page from Records.
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <set>

#include "base/error.h"
#include "base/files.h"
#include "base/log.h"
#include "cli/context.h"
#include "cli/report_files.h"
#include "reports/figure_svg.h"
#include "reports/findings.h"
#include "reports/page.h"
#include "reports/roadmap_table.h"

namespace hymba::cli {

namespace fs = std::filesystem;

namespace {

// Numbers and words of an object that another program may have written: what is absent or of another type is `fallback`.
std::int64_t whole_or(const nlohmann::json& object, const char* key, std::int64_t fallback) {
  const auto found = object.find(key);
  return found != object.end() && found->is_number_integer() ? found->get<std::int64_t>() : fallback;
}

std::string word_or(const nlohmann::json& object, const char* key) {
  const auto found = object.find(key);
  return found != object.end() && found->is_string() ? found->get<std::string>() : "";
}

// Config and layers of a design as its `ratio` Record keeps them; Records of other programs may lack them.
reports::PageOptions page_options(const std::vector<Record>& records) {
  reports::PageOptions options;
  for (const auto& r : records) {
    if (r.study != "roadmap" || r.metric != "ratio") continue;
    reports::DesignDetails details;
    details.config = word_or(r.extra, "config");
    for (const auto& layer : r.extra.value("layers", nlohmann::json::array())) {
      if (!layer.is_object()) continue;
      details.layers.push_back({word_or(layer, "mixer"), whole_or(layer, "window", 0), static_cast<int>(whole_or(layer, "kv_source", -1)), static_cast<int>(whole_or(layer, "meta", 0))});
    }
    options.by_size[{r.design, r.size}] = std::move(details);
  }
  return options;
}

}  // namespace

std::vector<Record> read_results(const std::vector<std::string>& paths, std::vector<std::string>* notes) {
  std::vector<Record> records;
  std::set<std::string> run;  // models that have roadmap Records
  for (const auto& path : paths) {
    const auto more = read_records(path, notes);
    if (more.empty()) notes->push_back(fmt::format("{}: no Records here", path));
    for (const auto& r : more)
      if (r.study == "roadmap.state") run.insert(fmt::format("{}-seed{}", r.design, r.seed));
    records.insert(records.end(), more.begin(), more.end());
  }
  for (const auto& path : paths) {
    if (!fs::is_directory(fs::path(path) / "runs")) continue;
    for (const auto& entry : fs::directory_iterator(fs::path(path) / "runs")) {
      const auto name = entry.path().filename().string();
      if (entry.is_directory() && run.count(name) == 0) notes->push_back(fmt::format("{}: training has begun, but there are no Records of it yet", (fs::path(path) / "runs" / name).string()));
    }
  }
  std::sort(notes->begin(), notes->end());
  return records;
}

std::vector<std::string> write_report(const std::vector<Record>& records, const fs::path& page, const std::vector<std::string>& notes) {
  const auto paper = reports::read_paper(home_folder() / "ablations" / "paper" / "roadmap.csv");
  const auto roadmap = reports::build_roadmap(records, paper);
  const auto beside = [&](const std::string& extension) { return fs::path(page).replace_extension(extension); };
  auto options = page_options(records);
  options.notes = notes;
  write_file_atomic(page, reports::render_page(records, paper, options));
  write_file_atomic(beside(".findings.md"), reports::findings_markdown(reports::findings(records, paper), records));
  write_file_atomic(beside(".md"), reports::roadmap_markdown(roadmap));
  write_file_atomic(beside(".csv"), reports::roadmap_csv(roadmap));
  write_file_atomic(beside(".cache.svg"), reports::cache_scatter_svg(roadmap));
  write_file_atomic(beside(".recall.svg"), reports::recall_bars_svg(roadmap));
  std::vector<std::string> files = {page.string(), beside(".md").string(), beside(".csv").string(), beside(".findings.md").string(), beside(".cache.svg").string(), beside(".recall.svg").string()};
  // Every figure and its numbers as files of their own, for documents.
  const auto folder = beside(".figures");
  make_folder(folder);
  for (const auto& figure : reports::page_figures(records, paper)) {
    const auto file = folder / (figure.id + ".svg");
    write_file_atomic(file, reports::figure_svg(figure));
    files.push_back(file.string());
    write_file_atomic(folder / (figure.id + ".csv"), reports::figure_csv(figure));
    files.push_back((folder / (figure.id + ".csv")).string());
  }
  return files;
}

namespace {

// FILE.svg -> FILE.png at twice its size, by librsvg's program.
std::string write_png(const fs::path& svg) {
  const std::string png = fs::path(svg).replace_extension(".png").string(), from = svg.string();
  const char* const words[] = {"rsvg-convert", "--zoom", "2", "--output", png.c_str(), from.c_str(), nullptr};
  pid_t child = 0;
  const int error = ::posix_spawnp(&child, words[0], nullptr, nullptr, const_cast<char* const*>(words), environ);
  require(error == 0, "--png: rsvg-convert is not there; install it: apt-get install librsvg2-bin");
  int status = 0;
  ::waitpid(child, &status, 0);
  if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
    require(!WIFEXITED(status) || WEXITSTATUS(status) != 127, "--png: rsvg-convert is not there; install it: apt-get install librsvg2-bin");
    fail("{}: rsvg-convert could not draw it", from);
  }
  return png;
}

void run_report_command(const Invocation& invocation) {
  std::vector<std::string> notes;
  const auto records = read_results(invocation.arguments, &notes);
  for (const auto& note : notes) log_event("report.warning {}", note);
  require(!records.empty(), "{}: no Records here", invocation.arguments[0]);
  const fs::path page = invocation.out.empty() ? fs::path("report.html") : fs::path(invocation.out);
  require(page.extension() == ".html", "--out {}: expected a name that ends in .html", page.string());
  auto files = write_report(records, page, notes);
  if (invocation.has("findings")) {
    const auto target = invocation.get<std::string>("findings");
    write_file_atomic(target, read_file(fs::path(page).replace_extension(".findings.md")));
    files.push_back(target);
  }
  if (invocation.values.count("png") != 0) {
    std::vector<std::string> pictures;
    for (const auto& file : files) {
      if (fs::path(file).extension() == ".svg") pictures.push_back(write_png(file));
    }
    files.insert(files.end(), pictures.begin(), pictures.end());
  }
  if (invocation.json) {
    print_json({{"files", files}});
    return;
  }
  const auto paper = reports::read_paper(home_folder() / "ablations" / "paper" / "roadmap.csv");
  print_text(reports::roadmap_terminal(reports::build_roadmap(records, paper), {terminal_width(), use_colour()}));
  for (const auto& file : files) print_text(file + "\n");
}

}  // namespace

Command report_command() {
  Command c;
  c.name = "report";
  c.summary = "the table, Markdown, CSV, figures and one HTML page from results";
  c.arguments = "RESULTS...";
  c.example = "  hymba report results/roadmap-quick --out page.html\n  hymba report results/machine-a results/machine-b reports/throughput --out page.html --findings docs/findings.md";
  c.min_arguments = 1;
  c.max_arguments = 10000;
  c.options = [](boost::program_options::options_description& o) { 
    o.add_options()("png", "every figure as PNG too (needs rsvg-convert of librsvg2-bin)")(
        "findings", boost::program_options::value<std::string>(), "also write the comparison with the paper's figures to this file (Markdown)");
  };
  c.run = run_report_command;
  return c;
}

}  // namespace hymba::cli
