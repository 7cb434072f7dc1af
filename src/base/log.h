// Logs: one line an event, `event key=value ...`, to stderr. Progress: one line that renews itself on a terminal, plain
// lines now and then in a log file.
#pragma once

#include <fmt/format.h>

#include <chrono>
#include <string>
#include <utility>

namespace hymba {

enum class LogLevel { kQuiet, kNormal, kVerbose };
void set_log_level(LogLevel level);

void log_line(const std::string& line);  // thread-safe; ends a renewing progress line first
template <class... Args>
void log_event(fmt::format_string<Args...> text, Args&&... args) {
  log_line(fmt::format(text, std::forward<Args>(args)...));
}

class Stopwatch {
 public:
  Stopwatch() : start_(std::chrono::steady_clock::now()) {}
  double seconds() const { return std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count(); }
  void restart() { start_ = std::chrono::steady_clock::now(); }

 private:
  std::chrono::steady_clock::time_point start_;
};

// Progress of `total` units of work; update() may be called as often as one likes.
class Progress {
 public:
  Progress(std::string what, double total, std::string unit);
  ~Progress();
  // done: units so far; note: e.g. "loss 2.31". Shows rate and time left.
  void update(double done, const std::string& note = "");
  void finish();

 private:
  void show(double done, const std::string& note);
  std::string what_, unit_;
  double total_;
  double first_done_ = -1;
  Stopwatch since_start_, since_shown_;
  bool terminal_;
  bool open_ = false;
};

}  // namespace hymba
