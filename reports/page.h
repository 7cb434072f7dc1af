// The report as one HTML file that needs nothing else: style, script and data are inside, and a content security policy
// forbids every request.
#pragma once

#include <string>
#include <vector>

#include "reports/figure.h"
#include "reports/page_data.h"

namespace hymba::reports {

// The figures of studies and of the trade-off that the page shows, for files of their own.
std::vector<Figure> page_figures(const std::vector<Record>& records, const std::vector<PaperRow>& paper);

// The whole page. Browsers without scripts are shown the roadmap as a plain table.
std::string render_page(const std::vector<Record>& records, const std::vector<PaperRow>& paper,
                        const PageOptions& options = {});

}  // namespace hymba::reports
