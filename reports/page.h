// The report as one HTML file that needs nothing else: style, script and data are inside, and a content security policy
// forbids every request.
#pragma once

#include <string>
#include <vector>

#include "reports/page_data.h"

namespace hymba::reports {

// The whole page. Browsers without scripts are shown the roadmap as a plain table.
std::string render_page(const std::vector<Record>& records, const std::vector<PaperRow>& paper,
                        const PageOptions& options = {});

}  // namespace hymba::reports
