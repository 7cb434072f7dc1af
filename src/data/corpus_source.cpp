#include "data/corpus_source.h"

#include <algorithm>
#include <cstring>
#include <nlohmann/json.hpp>
#include <optional>

#include "base/error.h"
#include "base/interrupt.h"
#include "base/rng.h"
#include "base/text.h"
#include "data/utf8.h"

namespace hymba {

namespace fs = std::filesystem;

namespace {

constexpr std::string_view kDocumentMark = "<|endoftext|>";
constexpr std::size_t kPieceBytes = 256 * 1024;  // long documents are encoded piece by piece, cut at a line end
constexpr std::size_t kAllowedUtf8Errors = 8;    // per file, besides one in 10,000 bytes

// By extension alone: a look inside could take a binary for text.
std::optional<SourceKind> kind_of(const fs::path& file) {
  const std::string extension = to_lower(file.extension().string());
  for (const char* text : {".txt", ".raw", ".md", ".text"}) {
    if (extension == text) return SourceKind::kText;
  }
  if (extension == ".jsonl" || extension == ".ndjson") return SourceKind::kJsonLines;
  if (extension == ".bin") return SourceKind::kTokens;
  return std::nullopt;
}

// Hidden files are passed over in silence, files of an unknown kind with a note.
void walk(const fs::path& folder, std::vector<SourceFile>* files, std::vector<std::string>* notes) {
  std::vector<fs::path> entries;
  for (const auto& entry : fs::directory_iterator(folder)) entries.push_back(entry.path());
  std::sort(entries.begin(), entries.end());
  for (const auto& entry : entries) {
    if (entry.filename().string().front() == '.') continue;
    if (fs::is_directory(entry)) {
      walk(entry, files, notes);
    } else if (const auto kind = kind_of(entry); kind && fs::is_regular_file(entry)) {
      files->push_back({entry, *kind, false});
    } else if (!(entry.extension() == ".json" && entry.stem().extension() == ".bin")) {  // a sidecar is no surprise
      notes->push_back(fmt::format("skipped {}: not a text, JSON-lines or .bin file", entry.string()));
    }
  }
}

// Reads source files and streams their documents to the cache.
class Tokenising {
 public:
  Tokenising(const CorpusOptions& options, const Tokenizer& tokenizer, TokenFileWriter* out,
             std::vector<std::string>* notes)
      : options_(options), tokenizer_(tokenizer), out_(out), notes_(notes) {}

  void run(const std::vector<SourceFile>& files) {
    for (const auto& file : files) total_bytes_ += static_cast<double>(fs::file_size(file.path));
    for (const auto& file : files) {
      const MappedFile map(file.path);
      const std::uint64_t before = out_->tokens();
      if (file.kind == SourceKind::kTokens) {
        add_token_file(file.path, map.view());
      } else if (file.kind == SourceKind::kJsonLines) {
        add_json_lines(file.path, map.view());
      } else {
        add_text(file.path, map.view());
      }
      if (out_->tokens() > before) continue;
      require(!file.named, "corpus: {}: expected text, found {}", file.path.string(),
              map.size() == 0 ? "an empty file" : "no usable text in it");
      notes_->push_back(fmt::format("skipped {}: no text in it", file.path.string()));
    }
  }

 private:
  // A plain file is one document, or several between end-of-text marks.
  void add_text(const fs::path& path, std::string_view bytes) {
    std::string repaired;
    const std::string_view text = checked_text(path, bytes, &repaired);
    for (std::size_t begin = 0; begin <= text.size();) {
      const std::size_t mark = std::min(text.find(kDocumentMark, begin), text.size());
      add_document(text.substr(begin, mark - begin));
      begin = mark + kDocumentMark.size();
    }
  }

  // Text that may be tokenised: no NUL, at most a few malformed bytes (which become U+FFFD in `repaired`).
  std::string_view checked_text(const fs::path& path, std::string_view bytes, std::string* repaired) {
    const std::size_t nul = bytes.find('\0');
    require(nul == std::string_view::npos, "corpus: {}: expected text, found a binary file (a zero byte at offset {})",
            path.string(), nul);
    const Utf8Errors errors = find_utf8_errors(bytes);
    if (errors.count == 0) return bytes;
    require(errors.count <= kAllowedUtf8Errors + bytes.size() / 10000,
            "corpus: {}: expected UTF-8 text, found {} "
            "malformed bytes, the first at offset {}; convert the file to UTF-8",
            path.string(), errors.count, errors.first);
    notes_->push_back(fmt::format("{}: {} malformed UTF-8 bytes replaced, the first at offset {}", path.string(),
                                  errors.count, errors.first));
    *repaired = replace_utf8_errors(bytes);
    return *repaired;
  }

  void add_json_lines(const fs::path& path, std::string_view bytes) {
    std::size_t line = 0;
    for (std::size_t begin = 0; begin < bytes.size();) {
      const std::size_t end = std::min(bytes.find('\n', begin), bytes.size());
      const std::string_view text = strip(bytes.substr(begin, end - begin));
      begin = end + 1;
      ++line;
      if (text.empty()) continue;
      nlohmann::json record;
      try {
        record = nlohmann::json::parse(text);
      } catch (const nlohmann::json::exception& e) {
        user_error("{}:{}: expected one JSON object a line, found broken JSON ({})", path.string(), line, e.what());
      }
      add_document(text_of(record, fmt::format("{}:{}", path.string(), line)));
    }
    if (from_context_) {
      // Task files look like this: training on one would spoil its evaluation.
      notes_->push_back(
          fmt::format("{}: took the field \"context\"; is this a task's file, not training text?", path.string()));
      from_context_ = false;
    }
  }

  // The document in one JSON line: the field that was asked for, else the first of the usual names.
  std::string text_of(const nlohmann::json& record, const std::string& where) {
    require(record.is_object(), "{}: expected a JSON object, found {}", where, record.type_name());
    std::vector<std::string> wanted = {"text", "content", "context"};
    if (!options_.text_field.empty()) wanted = {options_.text_field};
    for (const auto& field : wanted) {
      const auto it = record.find(field);
      if (it == record.end()) continue;
      require(it->is_string(), "{}: expected text in the field \"{}\", found {}", where, field, it->type_name());
      from_context_ = from_context_ || (field == "context" && options_.text_field.empty());
      return it->get<std::string>();
    }
    std::vector<std::string> found;
    for (const auto& [key, value] : record.items()) found.push_back(key);
    user_error("{}: expected a field \"{}\", found {}; name the field that holds the text", where,
               join(wanted, "\" or \""), join(found, ", "));
  }

  // Ids as they stand, each checked against the vocabulary: one wrong id would crash training much later.
  void add_token_file(const fs::path& path, std::string_view bytes) {
    TokenFileHeader header{};
    std::uint64_t begin = 0, count = 0, width = 2;
    if (bytes.substr(0, kTokenFileMagic.size()) == kTokenFileMagic) {
      require(read_token_file_header(bytes, &header),
              "corpus: {}: expected a whole token file, found one that is cut "
              "short or damaged; delete it and build it again",
              path.string());
      begin = sizeof header, count = header.tokens, width = header.width;
    } else {
      width = sidecar_width(path);
      require(bytes.size() % width == 0, "corpus: {}: expected whole {}-byte ids, found {} bytes", path.string(), width,
              bytes.size());
      count = bytes.size() / width;
    }
    std::vector<std::int32_t> ids;
    for (std::uint64_t i = 0; i < count; ++i) {
      std::uint32_t id = 0;
      std::memcpy(&id, bytes.data() + begin + i * width, width);
      require(id < static_cast<std::uint32_t>(tokenizer_.vocab_size()),
              "corpus: {}: expected ids below {}, the size of "
              "the vocabulary of {}, found {} at position {}",
              path.string(), tokenizer_.vocab_size(), tokenizer_.name(), id, i);
      ids.push_back(static_cast<std::int32_t>(id));
      if (ids.size() == kPieceBytes || i + 1 == count) {
        out_->append(ids);
        ids.clear();
        report(static_cast<double>(bytes.size()) * static_cast<double>(i + 1) / static_cast<double>(count));
      }
    }
    done_bytes_ += static_cast<double>(bytes.size());
    out_->end_document();
  }

  // Bytes an id of a raw file, as the JSON beside it says; guessing could read half of every id.
  std::uint64_t sidecar_width(const fs::path& path) const {
    const fs::path sidecar = path.string() + ".json";
    require(fs::exists(sidecar),
            "corpus: {}: expected a file {} beside it that says {{\"dtype\": \"uint16\" or "
            "\"uint32\", \"vocab_size\": N}}, found none",
            path.string(), sidecar.filename().string());
    const auto json = nlohmann::json::parse(read_file(sidecar), nullptr, false);
    require(json.is_object() && json.contains("dtype"),
            "{}: expected a JSON object with \"dtype\", found something else", sidecar.string());
    if (json.contains("vocab_size")) {
      require(json["vocab_size"] == tokenizer_.vocab_size(), "{}: expected a vocabulary of {} ids ({}), found {}",
              sidecar.string(), tokenizer_.vocab_size(), tokenizer_.name(), json["vocab_size"].dump());
    }
    require(json["dtype"] == "uint16" || json["dtype"] == "uint32", "{}: expected dtype uint16 or uint32, found {}",
            sidecar.string(), json["dtype"].dump());
    return json["dtype"] == "uint16" ? 2 : 4;
  }

  // bos + ids + eos; text of white space alone is no document.
  void add_document(std::string_view text) {
    if (strip(text).empty()) return;
    append_id(tokenizer_.bos());
    for (std::size_t begin = 0; begin < text.size();) {
      // A cut in front of a line end changes SentencePiece's ids by at most one dummy prefix each 256 KiB.
      std::size_t end = text.size();
      if (end - begin > kPieceBytes) {
        const std::size_t line_end = text.find('\n', begin + kPieceBytes);
        end = std::min(line_end, text.size());
      }
      out_->append(tokenizer_.encode(text.substr(begin, end - begin)));
      report(static_cast<double>(end));
      throw_if_interrupted();
      begin = end;
    }
    done_bytes_ += static_cast<double>(text.size());
    append_id(tokenizer_.eos());
    out_->end_document();
  }

  void append_id(std::int32_t id) {
    if (id >= 0) out_->append({&id, 1});
  }

  void report(double bytes_of_this) const {
    if (options_.progress) options_.progress(std::min(done_bytes_ + bytes_of_this, total_bytes_), total_bytes_);
  }

  const CorpusOptions& options_;
  const Tokenizer& tokenizer_;
  TokenFileWriter* out_;
  std::vector<std::string>* notes_;
  double done_bytes_ = 0, total_bytes_ = 0;  // of the source files, for progress
  bool from_context_ = false;                // some line of this file had only "context"
};

}  // namespace

std::vector<SourceFile> find_source_files(const std::vector<fs::path>& paths, std::vector<std::string>* notes) {
  require(!paths.empty(), "corpus: expected at least one file or folder of text, found none; give --data PATH");
  std::vector<SourceFile> files;
  for (const auto& path : paths) {
    require(fs::exists(path), "corpus: {}: expected a file or folder of text, found nothing there", path.string());
    if (fs::is_directory(path)) {
      const std::size_t before = files.size();
      walk(path, &files, notes);
      require(files.size() > before,
              "corpus: {}: expected *.txt, *.raw, *.md, *.jsonl or *.bin files in this folder, "
              "found none",
              path.string());
    } else {
      const auto kind = kind_of(path);
      require(kind.has_value(),
              "corpus: {}: expected a .txt, .raw, .md, .jsonl or .bin file, found '{}'; rename it or "
              "convert it to text",
              path.string(), path.extension().string());
      files.push_back({path, *kind, true});
    }
  }
  return files;
}

std::uint64_t corpus_key(const std::vector<SourceFile>& files, const CorpusOptions& options,
                         const Tokenizer& tokenizer) {
  std::string facts = fmt::format("v{} {} {}", kTokenFileVersion, hex64(tokenizer.hash()), options.text_field);
  auto add = [&facts](const fs::path& file) {
    if (!fs::exists(file)) return;
    facts += fmt::format("\n{} {} {}", fs::weakly_canonical(file).string(), fs::file_size(file),
                         fs::last_write_time(file).time_since_epoch().count());
  };
  for (const auto& file : files) {
    add(file.path);
    if (file.kind == SourceKind::kTokens) add(file.path.string() + ".json");  // the sidecar says how to read it
  }
  return hash64(facts);
}

void tokenise_files(const std::vector<SourceFile>& files, const CorpusOptions& options, const Tokenizer& tokenizer,
                    TokenFileWriter* out, std::vector<std::string>* notes) {
  Tokenising(options, tokenizer, out, notes).run(files);
}

}  // namespace hymba
