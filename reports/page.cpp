#include "reports/page.h"

#include <algorithm>
#include <map>
#include <set>
#include <tuple>

#include "base/error.h"
#include "reports/assets.h"
#include "reports/findings.h"
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
         {row.row > 0 ? std::to_string(row.row) : "", row.title, shown_ratio_text(row).empty() ? kNotRun : shown_ratio_text(row),
          percent_text(row.general.value, row.general.error), published(percent_text(p.general)),
          percent_text(row.recall.value, row.recall.error), published(percent_text(p.recall)),
          speed_text(shown_decode(row)), published(speed_text(p.throughput_tok_s)), megabytes_text(shown_cache(row)),
          published(megabytes_text(p.cache_mb))})
      out += "<td>" + html_text(text) + "</td>";
    out += "</tr>";
  }
  return out + "</tbody></table>";
}

constexpr std::size_t kPageBytes = 2900000, kStudyBytes = 1800000;  // of the page, and at most of the figures of studies

// Which studies there are, and what runs them.
constexpr std::pair<const char*, const char*> kStudies[] = {{"heads", "head removal"},      {"needle", "needle in a haystack"},     {"erf", "effective receptive field"},
                                                            {"attention", "attention mass"}, {"magnitudes", "branch magnitudes"}, {"curves", "training curves"}, {"throughput", "throughput at the paper's shapes"}};

// Whose numbers these are: machines and commits by study.
std::string provenance_html(const std::vector<Record>& records) {
  struct Origin {
    std::size_t records = 0;
    std::set<std::string> designs, seeds;
    std::string first, last;
  };
  std::map<std::tuple<std::string, std::string, std::string, std::string>, Origin> origins;  // study, size, commit, host
  for (const Record& r : records) {
    if (r.study.find('.') != std::string::npos) continue;  // marks of finished work
    auto& o = origins[{r.study, r.size, r.commit, r.host}];
    ++o.records;
    o.designs.insert(r.design);
    o.seeds.insert(std::to_string(r.seed));
    if (o.first.empty() || r.time < o.first) o.first = r.time;
    o.last = std::max(o.last, r.time);
  }
  if (origins.empty()) return "";
  std::string out =
      "<section class=\"figure provenance\" id=\"provenance\" aria-labelledby=\"provenance-title\"><div class=\"head\"><h2 id=\"provenance-title\">Where the numbers come "
      "from</h2></div><div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"Where the numbers come from\"><table class=\"plain\"><thead><tr>";
  for (const char* head : {"study", "size", "commit", "machine", "designs", "seeds", "Records", "measured"}) out += fmt::format("<th scope=\"col\">{}</th>", head);
  out += "</tr></thead><tbody>";
  std::size_t shown = 0;
  for (const auto& [key, o] : origins) {
    if (++shown > 200) break;
    const auto& [study, size, commit, host] = key;
    const std::string days = o.first.substr(0, 10) == o.last.substr(0, 10) ? o.last.substr(0, 10) : o.first.substr(0, 10) + " to " + o.last.substr(0, 10);
    out += "<tr>";
    for (const auto& text : {study, size, commit, host, std::to_string(o.designs.size()), std::to_string(o.seeds.size()), std::to_string(o.records), days}) out += "<td>" + html_text(text) + "</td>";
    out += "</tr>";
  }
  out += "</tbody></table></div>";
  if (origins.size() > 200) out += fmt::format("<p class=\"note\">The first 200 of {} lines.</p>", origins.size());
  return out + "</section>";
}

std::string studies_html(const std::vector<Figure>& figures, const std::vector<Record>& records, const std::vector<PaperRow>& paper, const std::vector<std::string>& notes,
                         std::size_t most) {
  std::string out = "<div id=\"studies\">" + findings_html(findings(records, paper), records), list;
  std::size_t left_out = 0;
  for (const auto& figure : figures) {
    const std::string html = figure_html(figure);
    if (out.size() + html.size() > most) {
      ++left_out;
      continue;
    }
    out += html;
  }
  for (const auto& [study, words] : kStudies) {
    if (std::none_of(records.begin(), records.end(), [&, name = study](const Record& r) { return r.study == name; }))
      list += fmt::format("<li>{}: not run (<code>./hymba {} MODEL</code>)</li>", words, study);
  }
  for (const auto& note : notes) list += "<li class=\"damage\">" + html_text(note) + "</li>";
  if (left_out > 0) list += fmt::format("<li>{} figures are left out, as the page would be too large; the folder of figures beside it has them</li>", left_out);
  if (!list.empty()) out += "<section class=\"figure missing\"><h2>What is missing here</h2><ul>" + list + "</ul></section>";
  return out + provenance_html(records) + "</div>\n";
}

}  // namespace

std::vector<Figure> page_figures(const std::vector<Record>& records, const std::vector<PaperRow>& paper) {
  std::vector<Figure> figures = {tradeoff_figure(build_roadmap(records, paper))};
  for (auto& figure : throughput_figures(records, paper)) figures.push_back(std::move(figure));
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
  const std::string data = script_json(page_data(records, paper, options));
  std::size_t fixed = out.size() + data.size();
  for (const char* script : kPageJs) fixed += std::string_view(script).size();
  out += studies_html(page_figures(records, paper), records, paper, options.notes,
                      std::min(kStudyBytes, kPageBytes - std::min(kPageBytes, fixed)));
  out += "<div id=\"tip\" role=\"status\" hidden></div>\n";
  out += "<script type=\"application/json\" id=\"data\">" + data + "</script>\n";
  for (const char* script : kPageJs) out += std::string("<script>\n") + script + "</script>\n";
  return out + "</body>\n</html>\n";
}

}  // namespace hymba::reports
