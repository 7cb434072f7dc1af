// Record: one measured number with all that is needed to reproduce it. A results folder holds JSON lines of Records and
// is the truth; every table and picture is made from it.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

namespace hymba {

class LineAppender;

struct Record {
  std::string study;        // what measured it: "roadmap", "train", "eval", "throughput", "cache" ...
  std::string design;       // stanza, e.g. "row-09"
  std::string size;         // paper, quick, smoke, or "" where it does not apply
  std::string metric;       // e.g. "acc", "decode_tok_s", "loss"
  std::string task;         // e.g. "piqa", or "" where it does not apply
  double value = 0;         // NaN is written as null and read back as NaN
  std::optional<double> error;  // standard error of value
  std::string unit;         // "1" for fractions, "token/s", "MB" (10^6 bytes), "nat" ...
  std::int64_t n = 0;       // samples behind the value
  std::uint64_t seed = 0;
  std::string config_hash;  // 16 hex digits: hash of the resolved config
  std::string commit;       // of this program; "-dirty" is appended where the tree had changes
  std::string host;         // CPU model, cores, ISA
  std::string time;         // UTC, when measured
  nlohmann::json extra = nlohmann::json::object();  // what else the study knows: {"chance": 0.25, "step": 100 ...}
};

nlohmann::json to_json(const Record& record);
// UserError for a missing or mistyped key; `where` is "file:line".
Record record_from_json(const nlohmann::json& json, const std::string& where);

// Reads one .jsonl file, or every *.jsonl below a folder in name order. A broken last line is dropped and named in
// `warnings` (a crash may cut it); a broken line elsewhere is a UserError "file:line: ...". A missing path is a UserError.
std::vector<Record> read_records(const std::filesystem::path& path, std::vector<std::string>* warnings = nullptr);

// Appends Records to one file, a whole line each; see LineAppender for locking and crash safety.
class RecordWriter {
 public:
  explicit RecordWriter(const std::filesystem::path& file);
  ~RecordWriter();
  void write(const Record& record);

 private:
  std::unique_ptr<LineAppender> file_;
};

}  // namespace hymba
