#include "reports/page.h"

#include <algorithm>

#include "base/error.h"
#include "reports/assets.h"
#include "reports/html.h"
#include "reports/roadmap.h"
#include "reports/roadmap_table.h"
#include "reports/study_figures.h"

namespace hymba::reports {
namespace {

constexpr const char* kPolicy =
    "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data: blob:; base-uri 'none'; "
    "form-action 'none'";

// The roadmap for browsers without scripts.
std::string plain_table(const std::vector<Record>& records, const std::vector<PaperRow>& paper) {
  const Roadmap roadmap = build_roadmap(records, paper);
  std::string out = "<table class=\"plain\"><thead><tr>";
  for (const char* title : {"#", "Design", "Ratio", "General %", "paper", "Recall %", "paper", "Decode tok/s", "paper",
                            "Cache MB", "paper"})
    out += fmt::format("<th>{}</th>", title);
  out += "</tr></thead><tbody>";
  for (const RoadmapRow& row : roadmap.rows) {
    const PaperRow p = row.paper.value_or(PaperRow{});
    const auto published = [&](std::string text) { return row.paper ? std::move(text) : std::string("–"); };
    out += "<tr>";
    for (const std::string& text :
         {row.row > 0 ? std::to_string(row.row) : "", row.title, row.ratio_text.empty() ? kNotRun : row.ratio_text,
          percent_text(row.general.value, row.general.error), published(percent_text(p.general)),
          percent_text(row.recall.value, row.recall.error), published(percent_text(p.recall)),
          speed_text(row.decode.value), published(speed_text(p.throughput_tok_s)), megabytes_text(row.cache_mb_paper),
          published(megabytes_text(p.cache_mb))})
      out += "<td>" + html_text(text) + "</td>";
    out += "</tr>";
  }
  return out + "</tbody></table>";
}

constexpr std::size_t kStudyBytes = 1800000;  // of all figures of studies: the page stays below 3 MB

// Which studies there are, and what runs them.
constexpr std::pair<const char*, const char*> kStudies[] = {{"heads", "head removal"},      {"needle", "needle in a haystack"},     {"erf", "effective receptive field"},
                                                            {"attention", "attention mass"}, {"magnitudes", "branch magnitudes"}, {"curves", "training curves"}};

std::string studies_html(const std::vector<Figure>& figures, const std::vector<Record>& records) {
  std::string out = "<div id=\"studies\">", list;
  std::size_t left_out = 0;
  for (const auto& figure : figures) {
    const std::string html = figure_html(figure);
    if (out.size() + html.size() > kStudyBytes) {
      ++left_out;
      continue;
    }
    out += html;
  }
  for (const auto& [study, words] : kStudies) {
    if (std::none_of(records.begin(), records.end(), [&, name = study](const Record& r) { return r.study == name; }))
      list += fmt::format("<li>{}: not run (<code>./hymba {} MODEL</code>)</li>", words, study);
  }
  if (left_out > 0) list += fmt::format("<li>{} figures are left out, as the page would be too large; the folder of figures beside it has them</li>", left_out);
  if (!list.empty()) out += "<section class=\"figure missing\"><h2>What is missing here</h2><ul>" + list + "</ul></section>";
  return out + "</div>\n";
}

}  // namespace

std::vector<Figure> page_figures(const std::vector<Record>& records, const std::vector<PaperRow>& paper) {
  std::vector<Figure> figures = {tradeoff_figure(build_roadmap(records, paper))};
  for (auto& figure : study_figures(records)) figures.push_back(std::move(figure));
  return figures;
}

std::string render_page(const std::vector<Record>& records, const std::vector<PaperRow>& paper,
                        const PageOptions& options) {
  const std::string title = html_text(options.title);
  std::string out = "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n";
  out += fmt::format("<meta http-equiv=\"Content-Security-Policy\" content=\"{}\">\n", kPolicy);
  out += "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n";
  out += "<meta name=\"color-scheme\" content=\"light dark\">\n<title>" + title + "</title>\n";
  out += std::string("<style>\n") + kPageCss + "</style>\n</head>\n<body>\n";
  out += "<header class=\"top\"><div><h1>" + title + "</h1><p id=\"subtitle\"></p></div>\n";
  out += "<div class=\"controls\"><label id=\"size-label\" hidden>Size <select id=\"size\"></select></label>\n";
  out +=
      "<button id=\"theme\" type=\"button\" aria-label=\"Change between light and dark\">◐</button></div></header>\n";
  out += "<main id=\"main\"><noscript>" + plain_table(records, paper) + "</noscript></main>\n";
  out += studies_html(page_figures(records, paper), records);
  out += "<div id=\"tip\" role=\"status\" hidden></div>\n";
  out += "<script type=\"application/json\" id=\"data\">" + script_json(page_data(records, paper, options)) +
         "</script>\n";
  for (const char* script : kPageJs) out += std::string("<script>\n") + script + "</script>\n";
  return out + "</body>\n</html>\n";
}

}  // namespace hymba::reports
