// Findings as a section of the page and as a document.
#include <set>

#include "base/error.h"
#include "reports/findings.h"
#include "reports/html.h"

namespace hymba::reports {
namespace {

std::string cell(const std::string& text) {
  std::string out;
  for (const char c : text) {
    if (c == '|') out += '\\';
    out += c;
  }
  return out;
}

}  // namespace

std::string findings_html(const std::vector<Finding>& list) {
  std::string out =
      "<section class=\"figure findings\" id=\"findings\" aria-labelledby=\"findings-title\"><div class=\"head\"><h2 id=\"findings-title\">What agrees with the "
      "paper</h2></div><p class=\"caption\">One line a figure, from the Records of this page; ± is one standard error. The verdict follows the rule in its "
      "column.</p><table class=\"plain wide\"><thead><tr><th scope=\"col\">Figure</th><th scope=\"col\">Paper</th><th scope=\"col\">Measured</th><th "
      "scope=\"col\">Verdict</th><th scope=\"col\">Agrees if</th></tr></thead><tbody>";
  for (const auto& f : list) {
    out += "<tr>";
    const std::pair<const char*, const std::string*> cells[] = {{"Figure", &f.figure}, {"Paper", &f.paper}, {"Measured", &f.measured}, {"Verdict", &f.verdict}, {"Agrees if", &f.rule}};
    for (const auto& [name, text] : cells) out += fmt::format("<td data-label=\"{}\">{}</td>", name, html_text(*text));
    out += "</tr>";
  }
  return out + "</tbody></table></section>\n";
}

std::string findings_markdown(const std::vector<Finding>& list, const std::vector<Record>& records) {
  std::set<std::string> sizes, commits;
  for (const auto& r : records)
    if (r.study == "roadmap") sizes.insert(r.size), commits.insert(r.commit);
  std::string out = fmt::format(
      "# Findings: the paper's figures at our scale\n\n"
      "What the source says of each figure, and what our models show. Written by `./hymba report RESULTS --findings docs/findings.md` from Records (size {}, "
      "commit {}); ± is one standard error over items and seeds. A verdict follows the rule in the last column and nothing else; \"not run\" means that there are no Records.\n\n"
      "| figure | what the paper shows | what we measured | verdict | said to agree if |\n| --- | --- | --- | --- | --- |\n",
      sizes.empty() ? std::string("not run") : fmt::format("{}", fmt::join(sizes, ", ")), commits.empty() ? std::string("not run") : fmt::format("{}", fmt::join(commits, ", ")));
  for (const auto& f : list) out += fmt::format("| {} | {} | {} | **{}** | {} |\n", cell(f.figure), cell(f.paper), cell(f.measured), f.verdict, cell(f.rule));
  return out;
}

}  // namespace hymba::reports
