// Runs the real program from outside: what the end-to-end tests share.
#pragma once

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <thread>

#include "base/files.h"
#include "base/text.h"

namespace hymba {

namespace fs = std::filesystem;

inline fs::path scratch(const std::string& name) {
  const auto folder = fs::path(testing::TempDir()) / "hymba_e2e" / name;
  fs::remove_all(folder);
  fs::create_directories(folder.parent_path());
  return folder;
}

struct Outcome {
  int code = -1;
  std::string out, err;
};

// Starts the program; kill_after > 0: kill -9 (or `signal`) after that many milliseconds. `before`: shell commands that
// prepare its surroundings ("ulimit -f 64").
inline Outcome run(const std::string& arguments, int kill_after = 0, int signal = SIGKILL, const std::string& before = ":") {
  const auto out = scratch("stdout"), err = scratch("stderr");
  const std::string command =
      fmt::format("{}; exec {} {} >'{}' 2>'{}'", before, HYMBA_PROGRAM, arguments, out.string(), err.string());
  const pid_t child = ::fork();
  if (child == 0) {
    ::signal(SIGHUP, SIG_DFL);  // whatever the test itself was started with
    ::execl("/bin/bash", "bash", "-c", command.c_str(), nullptr);
    ::_exit(127);
  }
  if (kill_after > 0) {
    std::this_thread::sleep_for(std::chrono::milliseconds(kill_after));
    ::kill(child, signal);
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  Outcome outcome;
  outcome.code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  outcome.out = read_file(out);
  outcome.err = read_file(err);
  return outcome;
}

inline std::vector<nlohmann::json> lines_of(const std::string& text) {
  std::vector<nlohmann::json> lines;
  for (const auto& line : split(text, '\n')) {
    if (!line.empty()) lines.push_back(nlohmann::json::parse(line));  // throws, and so fails, on anything but JSON
  }
  return lines;
}

#define EXPECT_MISTAKE(arguments, ...)                                                          \
  do {                                                                                          \
    const auto outcome = run(arguments);                                                        \
    EXPECT_EQ(outcome.code, 2) << arguments << "\n" << outcome.err;                             \
    for (const std::string word : {__VA_ARGS__}) {                                              \
      EXPECT_NE(outcome.err.find(word), std::string::npos) << arguments << "\n" << outcome.err; \
    }                                                                                           \
    EXPECT_EQ(outcome.out, "") << arguments;                                                    \
  } while (false)

}  // namespace hymba
