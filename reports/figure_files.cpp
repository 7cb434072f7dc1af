// Whole figures: as documents, and as sections of the page.
#include <algorithm>

#include "base/error.h"
#include "base/text.h"
#include "reports/csv.h"
#include "reports/figure_ink.h"
#include "reports/html.h"

namespace hymba::reports {
namespace {

constexpr std::size_t kTableRows = 400;  // of a figure's table in the page; longer ones are kept as CSV, a third as large

// Words into lines of at most `most` characters.
std::vector<std::string> wrapped(const std::string& words, std::size_t most) {
  std::vector<std::string> lines(1);
  for (const auto& word : split(words, ' ')) {
    if (!lines.back().empty() && lines.back().size() + word.size() + 1 > most) lines.emplace_back();
    lines.back() += (lines.back().empty() ? "" : " ") + word;
  }
  return lines;
}

}  // namespace

std::string panel_svg(const Panel& panel, const std::string& label) {
  return fmt::format("<svg viewBox=\"0 0 {} {}\" role=\"img\" tabindex=\"0\" aria-label=\"{}\">{}</svg>", kPanelWidth,
                     kPanelHeight, html_text(label), panel_body(panel, true));
}

std::vector<std::pair<std::string, const Series*>> figure_legend(const Figure& figure) {
  std::vector<std::pair<std::string, const Series*>> legend;
  for (const auto& panel : figure.panels) {
    for (const auto& s : panel.series) {
      const bool there =
          std::any_of(legend.begin(), legend.end(), [&](const auto& entry) { return entry.first == s.name; });
      if (!s.name.empty() && !there) legend.emplace_back(s.name, &s);
    }
  }
  return legend;
}

std::string figure_svg(const Figure& figure) {
  const std::size_t columns = std::min<std::size_t>(2, std::max<std::size_t>(1, figure.panels.size()));
  const double width = 40 + static_cast<double>(columns) * (kPanelWidth + 12), text_x = 26;
  const Ink ink;
  std::string body = fmt::format("<text x=\"{}\" y=\"34\" style=\"fill:{};font-size:17px;font-weight:600\">{}</text>",
                                 text_x, ink.ink(), html_text(figure.title));
  double y = 56;
  for (const auto& line : wrapped(figure.caption, columns == 1 ? 66 : 136)) {
    body += fmt::format("<text x=\"{}\" y=\"{:.0f}\" style=\"fill:{};font-size:12.5px\">{}</text>", text_x, y,
                        ink.quiet(), html_text(line));
    y += 17;
  }
  double x = text_x;
  const auto legend = figure_legend(figure);
  for (const auto& [name, series] : legend) {
    const double wide = 34 + 6.6 * static_cast<double>(name.size());
    if (x + wide > width - 20 && x > text_x) x = text_x, y += 18;
    const std::string color = series->color < 0 ? ink.quiet() : ink.color(series->color);
    body += series->look == Look::kLine
                ? fmt::format("<path d=\"M{:.1f} {:.1f}h16\" style=\"stroke:{};stroke-width:2{}\"/>", x, y + 2, color,
                              series->dashed ? ";stroke-dasharray:5 4" : ink.dash(series->color))
            : series->look == Look::kRings
                ? fmt::format(
                      "<circle cx=\"{:.1f}\" cy=\"{:.1f}\" r=\"4.5\" style=\"fill:none;stroke:{};stroke-width:1.6\"/>",
                      x + 6, y + 2, color)
                : fmt::format("<rect x=\"{:.1f}\" y=\"{:.1f}\" width=\"11\" height=\"11\" rx=\"2\" style=\"fill:{}\"/>",
                              x, y - 4, color);
    body += fmt::format("<text x=\"{:.1f}\" y=\"{:.1f}\" style=\"fill:{};font-size:12px\">{}</text>", x + 20, y + 6,
                        ink.quiet(), html_text(name));
    x += wide;
  }
  y += legend.empty() ? 4 : 26;
  for (std::size_t i = 0; i < figure.panels.size(); ++i) {
    const double px = 20 + static_cast<double>(i % columns) * (kPanelWidth + 12),
                 py = y + static_cast<double>(i / columns) * (kPanelHeight + 10);
    body +=
        fmt::format("<g transform=\"translate({:.1f} {:.1f})\">{}</g>", px, py, panel_body(figure.panels[i], false));
  }
  const double height =
      y + static_cast<double>((figure.panels.size() + columns - 1) / columns) * (kPanelHeight + 10) + 10;
  return fmt::format(
      "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {0:.0f} {1:.0f}\" width=\"{0:.0f}\" height=\"{1:.0f}\" "
      "role=\"img\" aria-label=\"{2}\" "
      "font-family=\"system-ui, -apple-system, Segoe UI, Helvetica, Arial, sans-serif\" "
      "font-size=\"12\">\n<title>{2}</title>\n"
      "<rect width=\"{0:.0f}\" height=\"{1:.0f}\" fill=\"#fff\"/>\n{3}\n</svg>\n",
      width, height, html_text(figure.title), body);
}

std::string figure_csv(const Figure& figure) {
  std::string csv;
  for (const auto& line : figure.table) csv += csv_line(line);
  return csv;
}

std::string figure_html(const Figure& figure) {
  const std::string id = html_text(figure.id);
  std::string out = fmt::format(
      "<section class=\"figure study{3}\" id=\"{0}\" aria-labelledby=\"{0}-title\"><div class=\"head\"><h2 "
      "id=\"{0}-title\">{1}</h2><div class=\"controls\"></div></div>"
      "<p class=\"caption\">{2}</p>",
      id, html_text(figure.title), html_text(figure.caption), figure.panels.size() == 1 ? " single" : "");
  for (const auto& note : figure.notes) out += "<p class=\"warning\">" + html_text(note) + "</p>";
  out += "<div class=\"legend\">";
  for (const auto& [name, series] : figure_legend(figure)) {
    const char* kind = series->look == Look::kLine    ? (series->dashed ? "stroke dashed" : "stroke")
                       : series->look == Look::kRings ? "ring"
                                                      : "box";
    out +=
        fmt::format("<span><i class=\"{}\" style=\"--tone:{}\"></i>{}</span>", kind,
                    series->color < 0 ? "var(--quiet)" : fmt::format("var(--c{})", series->color % 7), html_text(name));
  }
  out += fmt::format("</div><div class=\"panels{}\">", figure.panels.size() == 1 ? " one" : "");
  for (const auto& panel : figure.panels)
    out += panel_svg(panel, figure.title + (panel.title.empty() ? "" : ": " + panel.title));
  out +=
      "</div><details><summary>Numbers</summary><div class=\"scroll\" tabindex=\"0\" role=\"region\" "
      "aria-label=\"Numbers of: " +
      html_text(figure.title) + "\"><table class=\"plain\">";
  const std::size_t shown = std::min(figure.table.size(), kTableRows + 1);
  for (std::size_t i = 0; i < shown; ++i) {
    out += i == 0 ? "<thead><tr>" : i == 1 ? "<tbody><tr>" : "<tr>";
    for (const auto& cell : figure.table[i])
      out += (i == 0 ? "<th scope=\"col\">" : "<td>") + html_text(cell) + (i == 0 ? "</th>" : "</td>");
    out += i == 0 ? "</tr></thead>" : "</tr>";
  }
  out += std::string(figure.table.size() > 1 ? "</tbody>" : "") + "</table></div>";
  if (figure.table.size() > shown) {
    out += fmt::format("<p class=\"note\">The first {} of {} lines; the CSV has all.</p><script type=\"application/json\" class=\"all-rows\">{}</script>", kTableRows, figure.table.size() - 1,
                       script_json(figure_csv(figure)));
  }
  return out + "</details></section>\n";
}

}  // namespace hymba::reports
