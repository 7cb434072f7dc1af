#include "base/log.h"

#include <unistd.h>

#include <cstdio>
#include <mutex>

#include "base/text.h"

namespace hymba {
namespace {

std::mutex g_mutex;
LogLevel g_level = LogLevel::kNormal;
bool g_line_open = false;  // a renewing progress line stands on the terminal

void write_stderr(const std::string& text) {
  std::fwrite(text.data(), 1, text.size(), stderr);
  std::fflush(stderr);
}

}  // namespace

void set_log_level(LogLevel level) { g_level = level; }

void log_line(const std::string& line) {
  if (g_level == LogLevel::kQuiet) return;
  const std::lock_guard lock(g_mutex);
  write_stderr((g_line_open ? "\r\x1b[K" : "") + line + "\n");
  g_line_open = false;
}

Progress::Progress(std::string what, double total, std::string unit)
    : what_(std::move(what)), unit_(std::move(unit)), total_(total), terminal_(::isatty(STDERR_FILENO) == 1) {}

Progress::~Progress() {
  if (open_) finish();
}

void Progress::update(double done, const std::string& note) {
  if (first_done_ < 0) {
    first_done_ = done;
    since_start_.restart();
  }
  const double interval = terminal_ ? 0.2 : 15.0;
  if (open_ && since_shown_.seconds() < interval) return;
  if (!open_ && !terminal_ && since_start_.seconds() < interval) return;
  show(done, note);
}

void Progress::finish() {
  const std::lock_guard lock(g_mutex);
  if (g_line_open) write_stderr("\r\x1b[K");
  g_line_open = false;
  open_ = false;
}

void Progress::show(double done, const std::string& note) {
  if (g_level == LogLevel::kQuiet) return;
  const double elapsed = since_start_.seconds();
  const double rate = elapsed > 0 ? (done - first_done_) / elapsed : 0;
  std::string line = fmt::format("{}: {}/{} {}", what_, format_count(done), format_count(total_), unit_);
  if (rate > 0) {
    line += fmt::format(" {}/s left {}", format_count(rate), format_seconds((total_ - done) / rate));
  }
  if (!note.empty()) line += " " + note;
  const std::lock_guard lock(g_mutex);
  if (terminal_) {
    write_stderr("\r\x1b[K" + line);
    g_line_open = true;
  } else {
    write_stderr(line + "\n");
  }
  open_ = true;
  since_shown_.restart();
}

}  // namespace hymba
