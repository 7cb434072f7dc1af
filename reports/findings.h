// What the paper's figures say and what was measured, from Records alone: one line a figure, with a verdict by a stated rule.
#pragma once

#include <string>
#include <vector>

#include "reports/paper.h"
#include "results/record.h"

namespace hymba::reports {

struct Finding {
  std::string figure;    // "3, 13: head removal"
  std::string paper;     // what the source says
  std::string measured;  // with standard errors; "not run" where there are no Records
  std::string verdict;   // "agrees", "partly", "disagrees", "unclear", "nothing to compare", "not run"
  std::string rule;      // when it is said to agree
};

std::vector<Finding> findings(const std::vector<Record>& records, const std::vector<PaperRow>& paper);

// A section of the page, and a document (docs/findings.md is made by `hymba report ... --findings`). Both end with the
// designs, seeds and items of each study.
std::string findings_html(const std::vector<Finding>& list, const std::vector<Record>& records);
std::string findings_markdown(const std::vector<Finding>& list, const std::vector<Record>& records);

}  // namespace hymba::reports
