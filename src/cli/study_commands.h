// Commands that study trained models (docs/studies.md); `heads` is in command.h.
#pragma once

#include "cli/command.h"
#include "reports/roadmap.h"

namespace hymba::cli {

Command needle_command();
Command erf_command();
Command attention_command();
Command magnitudes_command();
Command curves_command();
Command tradeoff_command();
Command studies_command();
Command sweep_command();
Command compare_command();

// What a command would get from these words of a command line (without its name), for commands that use others.
Invocation parse_words(const Command& command, const std::vector<std::string>& words);
// Every design that was run with its accuracies, cache and throughput, and whether it is on the Pareto front.
void print_tradeoff(const reports::Roadmap& roadmap, bool json);

}  // namespace hymba::cli
