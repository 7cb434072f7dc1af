#include "base/interrupt.h"

#include <csignal>

#include "base/error.h"

namespace hymba {
namespace {

volatile std::sig_atomic_t g_interrupted = 0;

extern "C" void on_signal(int number) {
  g_interrupted = 1;
  std::signal(number, SIG_DFL);
}

extern "C" void on_closed_pipe(int) { g_interrupted = 1; }

}  // namespace

void interrupt_at_closed_pipe() { std::signal(SIGPIPE, on_closed_pipe); }

void install_interrupt_handlers() {
  std::signal(SIGXFSZ, SIG_IGN);  // a file that may not grow is an error of write(), which names the file
  std::signal(SIGINT, on_signal);
  std::signal(SIGTERM, on_signal);
  // The terminal has closed; nohup asks to go on.
  if (std::signal(SIGHUP, on_signal) == SIG_IGN) std::signal(SIGHUP, SIG_IGN);
}

bool interrupted() { return g_interrupted != 0; }

void throw_if_interrupted() {
  if (interrupted()) throw Interrupted("interrupted; what was finished is kept, the same command goes on from there");
}

}  // namespace hymba
