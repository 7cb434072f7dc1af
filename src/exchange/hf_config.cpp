#include "exchange/hf_config.h"

#include <cmath>
#include <limits>

#include "base/files.h"
#include "base/text.h"

namespace hymba {
namespace {

constexpr std::size_t kMostBytes = std::size_t{1} << 26;

// Puts "__float__" objects, as transformers 5 writes them, in the place of the bare tokens Infinity, -Infinity and NaN.
std::string standard_json(const std::string& text) {
  std::string result;
  bool quoted = false;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (quoted && c == '\\' && i + 1 < text.size()) {
      result += c;
      result += text[++i];
      continue;
    }
    if (c == '"') quoted = !quoted;
    bool replaced = false;
    for (const std::string_view token : {"-Infinity", "Infinity", "NaN"}) {
      if (quoted || text.compare(i, token.size(), token) != 0) continue;
      result += fmt::format(R"({{"__float__":"{}"}})", token);
      i += token.size() - 1;
      replaced = true;
      break;
    }
    if (!replaced) result += c;
  }
  return result;
}

std::filesystem::path file_of(const std::filesystem::path& path) {
  return std::filesystem::is_directory(path) ? path / "config.json" : path;
}

}  // namespace

HfConfig::HfConfig(const std::filesystem::path& path) : name_(file_of(path).string()) {
  require(std::filesystem::is_regular_file(name_), "{}: no such file; a Hugging Face folder has a config.json", name_);
  require(std::filesystem::file_size(name_) <= kMostBytes, "{}: too large for a config.json", name_);
  json_ = nlohmann::json::parse(standard_json(read_file(name_)), nullptr, /*allow_exceptions=*/false);
  require(!json_.is_discarded() && json_.is_object(), "{}: not a JSON object; truncated or damaged?", name_);
  family_ = word_or("model_type", "");
}

HfConfig::HfConfig(nlohmann::json config, std::string name) : json_(std::move(config)), name_(std::move(name)) {
  family_ = word_or("model_type", "");
}

std::int64_t HfConfig::whole(const std::string& key, std::int64_t low, std::int64_t high) const {
  require_that(has(key), key, "the key is missing; expected a whole number from {} to {}", low, high);
  const auto& value = json_.at(key);
  // Some writers give 4096.0.
  const bool is_whole =
      value.is_number_integer() || (value.is_number_float() && std::floor(value.get<double>()) == value.get<double>() &&
                                    std::abs(value.get<double>()) < 1e15);
  require_that(is_whole, key, "expected a whole number from {} to {}", low, high);
  if (value.is_number_unsigned() && value.get<std::uint64_t>() > static_cast<std::uint64_t>(high))
    wrong(key, "expected at most {}", high);
  const auto n = value.is_number_float() ? static_cast<std::int64_t>(value.get<double>()) : value.get<std::int64_t>();
  require_that(n >= low && n <= high, key, "expected a whole number from {} to {}", low, high);
  return n;
}

std::int64_t HfConfig::whole_or(const std::string& key, std::int64_t fallback, std::int64_t low,
                                std::int64_t high) const {
  return has(key) ? whole(key, low, high) : fallback;
}

double HfConfig::number_or(const std::string& key, double fallback) const {
  if (!has(key)) return fallback;
  require_that(json_.at(key).is_number(), key, "expected a number");
  return json_.at(key).get<double>();
}

bool HfConfig::flag_or(const std::string& key, bool fallback) const {
  if (!has(key)) return fallback;
  require_that(json_.at(key).is_boolean(), key, "expected true or false");
  return json_.at(key).get<bool>();
}

std::string HfConfig::word_or(const std::string& key, const std::string& fallback) const {
  if (!has(key)) return fallback;
  require_that(json_.at(key).is_string(), key, "expected a string");
  return json_.at(key).get<std::string>();
}

std::vector<std::int64_t> HfConfig::wholes(const std::string& key, std::int64_t low, std::int64_t high) const {
  std::vector<std::int64_t> result;
  if (!has(key)) return result;
  require_that(json_.at(key).is_array(), key, "expected a list of whole numbers");
  for (const auto& value : json_.at(key)) {
    require_that(value.is_number_integer() && value.get<double>() >= static_cast<double>(low) &&
                     value.get<double>() <= static_cast<double>(high),
                 key, "expected whole numbers from {} to {}, found {}", low, high, value.dump());
    result.push_back(value.get<std::int64_t>());
  }
  return result;
}

std::vector<double> HfConfig::numbers(const std::string& key) const {
  std::vector<double> result;
  if (!has(key)) return result;
  require_that(json_.at(key).is_array(), key, "expected a list of numbers");
  for (const auto& value : json_.at(key)) {
    const bool special = value.is_object() && value.contains("__float__") && value["__float__"] == "Infinity";
    require_that(special || value.is_number(), key, "expected numbers, found {}", value.dump());
    result.push_back(special ? std::numeric_limits<double>::infinity() : value.get<double>());
  }
  return result;
}

HfConfig HfConfig::part(const std::string& key) const {
  require_that(has(key) && json_.at(key).is_object(), key, "expected an object");
  return HfConfig(json_.at(key), name_ + " " + key);
}

}  // namespace hymba
