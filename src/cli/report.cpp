// hymba report: tables and the page from Records.
#include "base/error.h"
#include "base/files.h"
#include "base/log.h"
#include "cli/context.h"
#include "cli/report_files.h"
#include "reports/figure_svg.h"
#include "reports/page.h"
#include "reports/roadmap_table.h"

namespace hymba::cli {

namespace fs = std::filesystem;

namespace {

// Config and layers of a design as its `ratio` Record keeps them; Records of other programs may lack them.
reports::PageOptions page_options(const std::vector<Record>& records) {
  reports::PageOptions options;
  for (const auto& r : records) {
    if (r.study != "roadmap" || r.metric != "ratio") continue;
    reports::DesignDetails details;
    details.config = r.extra.value("config", nlohmann::json("")).is_string() ? r.extra.value("config", "") : "";
    for (const auto& layer : r.extra.value("layers", nlohmann::json::array())) {
      if (!layer.is_object()) continue;
      details.layers.push_back({layer.value("mixer", ""), layer.value("window", std::int64_t{0}), layer.value("kv_source", -1), layer.value("meta", 0)});
    }
    options.by_size[{r.design, r.size}] = std::move(details);
  }
  return options;
}

}  // namespace

std::vector<std::string> write_report(const std::vector<Record>& records, const fs::path& page) {
  const auto paper = reports::read_paper(home_folder() / "ablations" / "paper" / "roadmap.csv");
  const auto roadmap = reports::build_roadmap(records, paper);
  const auto beside = [&](const std::string& extension) { return fs::path(page).replace_extension(extension); };
  write_file_atomic(page, reports::render_page(records, paper, page_options(records)));
  write_file_atomic(beside(".md"), reports::roadmap_markdown(roadmap));
  write_file_atomic(beside(".csv"), reports::roadmap_csv(roadmap));
  write_file_atomic(beside(".cache.svg"), reports::cache_scatter_svg(roadmap));
  write_file_atomic(beside(".recall.svg"), reports::recall_bars_svg(roadmap));
  return {page.string(), beside(".md").string(), beside(".csv").string(), beside(".cache.svg").string(), beside(".recall.svg").string()};
}

namespace {

void run(const Invocation& invocation) {
  std::vector<Record> records;
  std::vector<std::string> warnings;
  for (const auto& path : invocation.arguments) {
    const auto more = read_records(path, &warnings);
    records.insert(records.end(), more.begin(), more.end());
  }
  for (const auto& warning : warnings) log_event("report.warning {}", warning);
  require(!records.empty(), "{}: no Records here", invocation.arguments[0]);
  const fs::path page = invocation.out.empty() ? fs::path("report.html") : fs::path(invocation.out);
  require(page.extension() == ".html", "--out {}: expected a name that ends in .html", page.string());
  const auto files = write_report(records, page);
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
  c.example = "  hymba report results/roadmap-quick --out page.html";
  c.min_arguments = 1;
  c.max_arguments = 10000;
  c.run = run;
  return c;
}

}  // namespace hymba::cli
