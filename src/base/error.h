// Errors. A UserError is the user's mistake (exit code 2): its text names the file, place, what was expected, what was
// found and the remedy. An Error is a failure of the run (exit code 1). Nothing below src/cli prints or exits.
#pragma once

#include <fmt/format.h>

#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

namespace hymba {

class Error : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

class UserError : public Error {
 public:
  using Error::Error;
};

// Thrown at a safe point after SIGINT or SIGTERM (see base/interrupt.h).
class Interrupted : public Error {
 public:
  using Error::Error;
};

template <class... Args>
[[noreturn]] void fail(fmt::format_string<Args...> text, Args&&... args) {
  throw Error(fmt::format(text, std::forward<Args>(args)...));
}

template <class... Args>
[[noreturn]] void user_error(fmt::format_string<Args...> text, Args&&... args) {
  throw UserError(fmt::format(text, std::forward<Args>(args)...));
}

// require(cond, "text {}", value): throws UserError with the text unless cond holds.
template <class... Args>
void require(bool cond, fmt::format_string<Args...> text, Args&&... args) {
  if (!cond) throw UserError(fmt::format(text, std::forward<Args>(args)...));
}

// "did you mean ...?": the candidate nearest to `word` by edit distance, or "" where none is near.
std::string nearest(const std::string& word, const std::vector<std::string>& candidates);

}  // namespace hymba
