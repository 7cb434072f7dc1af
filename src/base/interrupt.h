// Ctrl-C: long work asks at safe points, saves and stops with Interrupted (exit code 130 in src/cli).
#pragma once

namespace hymba {

void install_interrupt_handlers();  // SIGINT, SIGTERM and SIGHUP; the second one ends the process at once
// For work that would lose steps: a reader of stdout or stderr that has gone counts as ctrl-C instead of ending the process.
void interrupt_at_closed_pipe();
bool interrupted();
void throw_if_interrupted();  // Interrupted

}  // namespace hymba
