// Static figures for documents: plain SVG, vector text, light background.
#pragma once

#include <string>

#include "reports/roadmap.h"

namespace hymba::reports {

// Recall accuracy against cache (log axis): ours as filled points with error bars, the paper's as rings; the area of a
// point grows with its throughput relative to the fastest of its source.
std::string cache_scatter_svg(const Roadmap& roadmap);

// Recall of every row: ours as bars with one standard error, the paper's beside it; chance as a line.
std::string recall_bars_svg(const Roadmap& roadmap);

}  // namespace hymba::reports
