// Findings as a section of the page and as a document.
#include <algorithm>
#include <map>
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

// 1,2,3,7 as "1-3, 7".
template <class T>
std::string as_ranges(const std::set<T>& numbers) {
  std::vector<std::string> parts;
  for (auto i = numbers.begin(); i != numbers.end();) {
    const T first = *i;
    T last = first;
    while (++i != numbers.end() && *i == last + 1) ++last;
    parts.push_back(first == last ? fmt::format("{}", first) : fmt::format("{}-{}", first, last));
  }
  return fmt::format("{}", fmt::join(parts, ", "));
}

// What stands behind the lines: the designs, seeds and items of each study.
struct Coverage {
  std::string study, designs, seeds, items;
};

std::vector<Coverage> coverage(const std::vector<Record>& records) {
  struct Seen {
    std::set<int> rows;
    std::set<std::string> others;
    std::set<std::uint64_t> seeds;
    std::int64_t least = 0, most = 0;  // items of an accuracy
  };
  const std::pair<const char*, const char*> studies[] = {{"roadmap", "Table 1, figures 2 and 9"},
                                                         {"heads", "head removal"},
                                                         {"attention", "attention"},
                                                         {"needle", "needle"},
                                                         {"erf", "receptive field"},
                                                         {"magnitudes", "magnitudes"},
                                                         {"curves", "training curves"},
                                                         {"throughput", "throughput"}};
  std::map<std::string, Seen> seen;
  for (const auto& r : records) {
    auto& s = seen[r.study];
    s.seeds.insert(r.seed);
    if (const int row = paper_row_of(r.design); row > 0)
      s.rows.insert(row);
    else
      s.others.insert(r.design);
    if (r.metric != "acc" && r.metric != "contains") continue;
    s.least = s.least == 0 ? r.n : std::min(s.least, r.n);
    s.most = std::max(s.most, r.n);
  }
  std::vector<Coverage> out;
  for (const auto& [name, title] : studies) {
    const auto found = seen.find(name);
    if (found == seen.end()) {
      out.push_back({title, "not run", "-", "-"});
      continue;
    }
    const Seen& s = found->second;
    std::vector<std::string> designs;
    if (!s.rows.empty()) designs.push_back(fmt::format("row{} {}", s.rows.size() > 1 ? "s" : "", as_ranges(s.rows)));
    constexpr std::size_t kNamed = 8;
    const std::size_t named = std::min(s.others.size(), kNamed);
    designs.insert(designs.end(), s.others.begin(), std::next(s.others.begin(), static_cast<std::ptrdiff_t>(named)));
    if (named < s.others.size()) designs.push_back(fmt::format("{} further designs", s.others.size() - named));
    const auto items = s.most == 0         ? std::string("-")
                       : s.least == s.most ? fmt::format("{}", s.most)
                                           : fmt::format("{} to {}", s.least, s.most);
    out.push_back({title, fmt::format("{}", fmt::join(designs, ", ")), as_ranges(s.seeds), items});
  }
  return out;
}

// "0.39 to 0.44 M parameters"
std::string model_sizes(const std::vector<Record>& records) {
  double least = 0, most = 0;
  for (const auto& r : records) {
    if (r.study != "roadmap" || r.metric != "params_total") continue;
    least = least == 0 ? r.value : std::min(least, r.value);
    most = std::max(most, r.value);
  }
  return most == 0 ? ""
                   : fmt::format(
                         "Models of {:.2f} to {:.2f} M parameters: what disagrees with 1.5 B parameters here says "
                         "little about them.",
                         least / 1e6, most / 1e6);
}

}  // namespace

std::string findings_html(const std::vector<Finding>& list, const std::vector<Record>& records) {
  std::string out =
      "<section class=\"figure findings\" id=\"findings\" aria-labelledby=\"findings-title\"><div class=\"head\"><h2 "
      "id=\"findings-title\">What agrees with the "
      "paper</h2></div><p class=\"caption\">One line a figure, from the Records of this page; ± is one standard error. "
      "The verdict follows the rule in its "
      "column.</p><table class=\"plain wide\"><thead><tr><th scope=\"col\">Figure</th><th scope=\"col\">Paper</th><th "
      "scope=\"col\">Measured</th><th "
      "scope=\"col\">Verdict</th><th scope=\"col\">Agrees if</th></tr></thead><tbody>";
  for (const auto& f : list) {
    out += "<tr>";
    const std::pair<const char*, const std::string*> cells[] = {{"Figure", &f.figure},
                                                                {"Paper", &f.paper},
                                                                {"Measured", &f.measured},
                                                                {"Verdict", &f.verdict},
                                                                {"Agrees if", &f.rule}};
    for (const auto& [name, text] : cells) out += fmt::format("<td data-label=\"{}\">{}</td>", name, html_text(*text));
    out += "</tr>";
  }
  out += fmt::format(
      "</tbody></table><p class=\"caption\">What stands behind the lines. {}</p><table class=\"plain\"><thead><tr><th "
      "scope=\"col\">Study</th><th scope=\"col\">Designs</th><th scope=\"col\">Seeds</th><th "
      "scope=\"col\">Items</th></tr></thead><tbody>",
      html_text(model_sizes(records)));
  for (const auto& c : coverage(records))
    out += fmt::format("<tr><td>{}</td><td>{}</td><td>{}</td><td>{}</td></tr>", html_text(c.study),
                       html_text(c.designs), html_text(c.seeds), html_text(c.items));
  return out + "</tbody></table></section>\n";
}

std::string findings_markdown(const std::vector<Finding>& list, const std::vector<Record>& records) {
  std::set<std::string> sizes, commits;
  for (const auto& r : records)
    if (r.study == "roadmap") sizes.insert(r.size), commits.insert(r.commit);
  std::string out = fmt::format(
      "# Findings: the paper's figures at our scale\n\n"
      "What the source says of each figure, and what our models show. Written by `./hymba report RESULTS --findings "
      "docs/findings.md` from Records (size {}, "
      "commit {}); ± is one standard error over items and seeds. A verdict follows the rule in the last column and "
      "nothing else; \"not run\" means that there are no Records.\n\n"
      "| figure | what the paper shows | what we measured | verdict | said to agree if |\n| --- | --- | --- | --- | "
      "--- |\n",
      sizes.empty() ? std::string("not run") : fmt::format("{}", fmt::join(sizes, ", ")),
      commits.empty() ? std::string("not run") : fmt::format("{}", fmt::join(commits, ", ")));
  for (const auto& f : list)
    out += fmt::format("| {} | {} | {} | **{}** | {} |\n", cell(f.figure), cell(f.paper), cell(f.measured), f.verdict,
                       cell(f.rule));
  out += fmt::format(
      "\n## What stands behind the lines\n{}\n\n| study | designs | seeds | items of a task |\n| --- | --- | --- | "
      "---: |\n",
      model_sizes(records));
  for (const auto& c : coverage(records))
    out += fmt::format("| {} | {} | {} | {} |\n", c.study, cell(c.designs), c.seeds, c.items);
  return out;
}

}  // namespace hymba::reports
