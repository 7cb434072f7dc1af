#include "base/memory.h"
#include "cli/command.h"

int main(int argc, char** argv) {
  hymba::settle_memory();
  return hymba::cli::run_program({argv + 1, argv + argc});
}
