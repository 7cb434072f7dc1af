// config.json of a Hugging Face folder, with every value checked where it is read: errors name the file and the key,
// what was expected and what was found.
#pragma once

#include <cstdint>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "base/error.h"

namespace hymba {

class HfConfig {
 public:
  // `path`: the folder, or the file itself. Reads also the bare tokens Infinity and NaN, as older writers wrote them.
  explicit HfConfig(const std::filesystem::path& path);
  HfConfig(nlohmann::json config, std::string name);  // a part of one (rope_parameters), or one in memory

  const std::string& name() const { return name_; }      // the file, for messages
  const std::string& family() const { return family_; }  // model_type
  bool has(const std::string& key) const { return json_.contains(key) && !json_.at(key).is_null(); }
  const nlohmann::json& json() const { return json_; }

  // A whole number in [low, high]; the one with a fallback takes it where the key is absent or null.
  std::int64_t whole(const std::string& key, std::int64_t low = 1, std::int64_t high = kMost) const;
  std::int64_t whole_or(const std::string& key, std::int64_t fallback, std::int64_t low = 1,
                        std::int64_t high = kMost) const;
  double number_or(const std::string& key, double fallback) const;  // infinity where it says so
  bool flag_or(const std::string& key, bool fallback) const;
  std::string word_or(const std::string& key, const std::string& fallback) const;
  std::vector<std::int64_t> wholes(const std::string& key, std::int64_t low, std::int64_t high) const;  // absent: none
  std::vector<double> numbers(const std::string& key) const;                                            // absent: none
  HfConfig part(const std::string& key) const;  // an object inside

  // UserError "FILE: KEY = VALUE: TEXT".
  template <class... Args>
  [[noreturn]] void wrong(const std::string& key, fmt::format_string<Args...> text, Args&&... args) const {
    user_error("{}: {} = {}: {}", name_, key, has(key) ? json_.at(key).dump() : "(absent)",
               fmt::format(text, std::forward<Args>(args)...));
  }
  template <class... Args>
  void require_that(bool cond, const std::string& key, fmt::format_string<Args...> text, Args&&... args) const {
    if (!cond) wrong(key, text, std::forward<Args>(args)...);
  }

  static constexpr std::int64_t kMost = std::int64_t{1} << 31;  // no size of a model is larger

 private:
  nlohmann::json json_;
  std::string name_, family_;
};

}  // namespace hymba
