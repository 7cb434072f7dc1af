#include "eval/prompts.h"

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/files.h"
#include "base/text.h"

namespace hymba::eval {
namespace {

namespace fs = std::filesystem;

constexpr std::uint64_t kUnseenDocuments = std::uint64_t{1} << 52;  // far beyond the documents of any stream

// Cuts ids into rows of `length`, bos in front of each.
void add_rows(const std::vector<std::int32_t>& ids, std::int32_t bos, std::int64_t count, std::int64_t length, PromptSet& set) {
  const auto body = static_cast<std::size_t>(length - (bos >= 0 ? 1 : 0));
  for (std::size_t at = 0; at + body <= ids.size() && static_cast<std::int64_t>(set.rows.size()) < count; at += body) {
    std::vector<std::int32_t> row;
    if (bos >= 0) row.push_back(bos);
    row.insert(row.end(), ids.begin() + static_cast<std::ptrdiff_t>(at), ids.begin() + static_cast<std::ptrdiff_t>(at + body));
    set.rows.push_back(std::move(row));
  }
}

std::string json_text(const nlohmann::json& record) {
  std::string text;
  for (const char* field : {"text", "content", "context", "question", "answer", "prompt", "canonical_solution"}) {
    if (record.is_object() && record.contains(field) && record[field].is_string()) text += record[field].get<std::string>() + "\n";
  }
  return text;
}

}  // namespace

std::vector<PromptSet> world_prompts(const data::World& world, std::int64_t count, std::int64_t length) {
  require(count > 0 && length > 1, "prompts: expected a positive count and a length above 1, got {} and {}", count, length);
  std::vector<std::string> kinds;
  std::map<std::string, std::vector<std::int32_t>> ids;
  // Enough documents that every kind with a share of some percent has its prompts.
  for (std::uint64_t i = 0; i < 6000; ++i) {
    const auto kind = world.document_kind(kUnseenDocuments + i);
    if (ids.count(kind) == 0) kinds.push_back(kind);
    auto& list = ids[kind];
    if (static_cast<std::int64_t>(list.size()) >= count * length) continue;
    const auto more = world.tokenizer().encode(world.document(kUnseenDocuments + i));
    list.insert(list.end(), more.begin(), more.end());
  }
  std::vector<PromptSet> sets;
  std::sort(kinds.begin(), kinds.end());
  for (const auto& kind : kinds) {
    PromptSet set{kind, {}};
    add_rows(ids[kind], world.tokenizer().bos(), count, length, set);
    if (!set.rows.empty()) sets.push_back(std::move(set));
  }
  require(!sets.empty(), "prompts: no kind of document of the world fills {} tokens", length);
  return sets;
}

PromptSet file_prompts(const std::string& domain, const fs::path& file, const Tokenizer& tokenizer, std::int64_t count, std::int64_t length) {
  const std::string bytes = read_file(file);
  PromptSet set{domain, {}};
  std::vector<std::int32_t> ids;
  // 12 bytes an id are more than any tokenizer needs for ordinary text.
  const auto enough = static_cast<std::size_t>(count * length * 12);
  if (file.extension() == ".jsonl") {
    std::string text;
    int number = 0;
    for (const auto& line : split(bytes, '\n')) {
      ++number;
      if (trim(line).empty()) continue;
      const auto record = nlohmann::json::parse(line, nullptr, false);
      require(!record.is_discarded(), "{}:{}: expected a JSON object", file.string(), number);
      text += json_text(record);
      if (text.size() > enough) break;
    }
    require(!text.empty(), "{}: none of the fields text, content, context, question, answer, prompt", file.string());
    ids = tokenizer.encode(text);
  } else {
    ids = tokenizer.encode(std::string_view(bytes).substr(0, enough));
  }
  add_rows(ids, tokenizer.bos(), count, length, set);
  require(!set.rows.empty(), "{}: {} tokens, fewer than one prompt of {}; choose a smaller --length", file.string(), ids.size(), length);
  return set;
}

std::vector<std::pair<std::string, fs::path>> find_domains(const fs::path& folder) {
  static const std::vector<std::pair<std::string, std::vector<std::string>>> known = {
      {"article", {"lm/wikitext-2-raw/wiki.valid.raw", "lm/wikitext2_train_5k.txt", "wiki.valid.raw", "recall/squad_20_articles.json"}},
      {"math", {"math_code/gsm8k_test.jsonl", "gsm8k_test.jsonl", "math_code/gsm8k_train.jsonl"}},
      {"code", {"math_code/HumanEval.jsonl", "HumanEval.jsonl"}}};
  std::vector<std::pair<std::string, fs::path>> found;
  for (const auto& [domain, files] : known) {
    const auto file = std::find_if(files.begin(), files.end(), [&](const std::string& f) { return fs::is_regular_file(folder / f); });
    if (file != files.end()) found.emplace_back(domain, folder / *file);
  }
  return found;
}

}  // namespace hymba::eval
