#include "results/record.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <type_traits>

#include "base/error.h"
#include "base/files.h"

namespace hymba {
namespace {

template <class T>
T take(const nlohmann::json& json, const char* key, const std::string& where) {
  const auto it = json.find(key);
  require(it != json.end(), "{}: a Record without \"{}\"", where, key);
  // The library turns one kind of number into another without a word.
  const bool fits = !std::is_integral_v<T> || (std::is_unsigned_v<T> ? it->is_number_unsigned() : it->is_number_integer());
  require(fits, "{}: \"{}\": expected a whole number{}, found {}", where, key, std::is_unsigned_v<T> ? " from 0" : "", it->dump());
  try {
    return it->get<T>();
  } catch (const nlohmann::json::exception&) {
    user_error("{}: \"{}\" has the wrong type: {}", where, key, it->dump());
  }
}

void read_file_into(const std::filesystem::path& path, std::vector<Record>& records, std::vector<std::string>* warnings) {
  const MappedFile file(path);
  const std::string_view text = file.view();
  std::size_t start = 0;
  for (int line = 1; start < text.size(); ++line) {
    const std::size_t end = text.find('\n', start);
    const bool last = end == std::string_view::npos;
    const auto body = text.substr(start, last ? std::string_view::npos : end - start);
    start = last ? text.size() : end + 1;
    if (body.empty()) continue;
    const std::string where = fmt::format("{}:{}", path.string(), line);
    const auto json = nlohmann::json::parse(body, nullptr, false);
    if (json.is_discarded() || !json.is_object()) {
      require(start >= text.size(), "{}: not a JSON object; repair or delete this line", where);
      if (warnings != nullptr) warnings->push_back(where + ": the last line is broken off and was left out");
      continue;
    }
    records.push_back(record_from_json(json, where));
  }
}

}  // namespace

nlohmann::json to_json(const Record& r) {
  nlohmann::json json = {{"study", r.study},   {"design", r.design}, {"size", r.size}, {"metric", r.metric},
                         {"task", r.task},     {"unit", r.unit},     {"n", r.n},       {"seed", r.seed},
                         {"config_hash", r.config_hash}, {"commit", r.commit}, {"host", r.host}, {"time", r.time}};
  json["value"] = std::isfinite(r.value) ? nlohmann::json(r.value) : nlohmann::json(nullptr);
  json["stderr"] = r.error && std::isfinite(*r.error) ? nlohmann::json(*r.error) : nlohmann::json(nullptr);
  if (!r.extra.empty()) json["extra"] = r.extra;
  return json;
}

Record record_from_json(const nlohmann::json& json, const std::string& where) {
  Record r;
  r.study = take<std::string>(json, "study", where);
  r.design = take<std::string>(json, "design", where);
  r.size = take<std::string>(json, "size", where);
  r.metric = take<std::string>(json, "metric", where);
  r.task = take<std::string>(json, "task", where);
  r.unit = take<std::string>(json, "unit", where);
  r.n = take<std::int64_t>(json, "n", where);
  r.seed = take<std::uint64_t>(json, "seed", where);
  r.config_hash = take<std::string>(json, "config_hash", where);
  r.commit = take<std::string>(json, "commit", where);
  r.host = take<std::string>(json, "host", where);
  r.time = take<std::string>(json, "time", where);
  require(json.contains("value"), "{}: a Record without \"value\"", where);
  r.value = json["value"].is_null() ? std::numeric_limits<double>::quiet_NaN() : take<double>(json, "value", where);
  if (json.contains("stderr") && !json["stderr"].is_null()) r.error = take<double>(json, "stderr", where);
  if (json.contains("extra") && !json["extra"].is_null()) r.extra = json["extra"];
  require(r.extra.is_object(), "{}: \"extra\": expected an object, found {}", where, r.extra.type_name());
  return r;
}

std::vector<Record> read_records(const std::filesystem::path& path, std::vector<std::string>* warnings) {
  std::vector<Record> records;
  if (!std::filesystem::is_directory(path)) {
    read_file_into(path, records, warnings);
    return records;
  }
  std::vector<std::filesystem::path> files;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(path)) {
    const auto name = entry.path().filename().string();
    if (entry.is_regular_file() && entry.path().extension() == ".jsonl" && name.rfind("samples_", 0) != 0) {
      files.push_back(entry.path());
    }
  }
  std::sort(files.begin(), files.end());
  for (const auto& file : files) read_file_into(file, records, warnings);
  return records;
}

RecordWriter::RecordWriter(const std::filesystem::path& file) : file_(std::make_unique<LineAppender>(file)) {}
RecordWriter::~RecordWriter() = default;
void RecordWriter::write(const Record& record) { file_->append(to_json(record).dump()); }

}  // namespace hymba
