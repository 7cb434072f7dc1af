// Ctrl-C: long work asks at safe points, saves and stops with Interrupted (exit code 130 in src/cli).
#pragma once

namespace hymba {

void install_interrupt_handlers();  // SIGINT, SIGTERM and SIGHUP; the second one ends the process at once
bool interrupted();
void throw_if_interrupted();  // Interrupted

}  // namespace hymba
