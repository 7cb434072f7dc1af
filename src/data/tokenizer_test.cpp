// Tokenizers against Python's `tokenizers` and `sentencepiece`: committed vectors (tests/tokenizers), and the packages
// themselves where HYMBA_PYTHON (default python3) has them. HYMBA_ORACLE_BYTES: how much of each shared text (default
// 2000; all: everything, which takes Python half a minute a tokenizer).
#include "data/tokenizer.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/files.h"
#include "base/log.h"
#include "base/shared_folder.h"
#include "base/text.h"
#include "data/bpe.h"
#include "data/hf_tokenizer.h"
#include "data/llama2c_tokenizer.h"
#include "data/normal_form.h"
#include "data/regex.h"
#include "data/sentencepiece_tokenizer.h"
#include "data/utf8.h"

namespace hymba {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

fs::path vectors_folder() { return fs::path(HYMBA_SOURCE_DIR) / "tests" / "tokenizers"; }

// Compares with the lines [text, ids, ids with specials, decoded]; complains three times at most.
void expect_vectors(const Tokenizer& tokenizer, const std::string& lines) {
  int wrong = 0, row = 0;
  for (const auto& line : split(lines, '\n')) {
    ++row;
    if (line.empty() || wrong >= 3) continue;
    const json vector = json::parse(line);
    const auto text = vector[0].get<std::string>();
    const auto expected = vector[1].get<std::vector<std::int32_t>>();
    const auto found = tokenizer.encode(text);
    const auto framed = tokenizer.encode_with_special(text);
    const auto decoded = tokenizer.decode(found);
    if (found == expected && framed == vector[2].get<std::vector<std::int32_t>>() &&
        decoded == vector[3].get<std::string>())
      continue;
    ++wrong;
    std::size_t i = 0;
    while (i < std::min(found.size(), expected.size()) && found[i] == expected[i]) ++i;
    ADD_FAILURE() << tokenizer.name() << " line " << row << ": " << json(text).dump().substr(0, 400)
                  << "\nids differ from position " << i << " of " << found.size() << "/" << expected.size()
                  << ": found "
                  << json(std::vector<std::int32_t>(
                              found.begin() + static_cast<std::ptrdiff_t>(i),
                              found.begin() + static_cast<std::ptrdiff_t>(std::min(i + 8, found.size()))))
                         .dump()
                  << " expected "
                  << json(std::vector<std::int32_t>(
                              expected.begin() + static_cast<std::ptrdiff_t>(i),
                              expected.begin() + static_cast<std::ptrdiff_t>(std::min(i + 8, expected.size()))))
                         .dump()
                  << "\nwith specials " << json(framed).dump().substr(0, 200) << "\ndecoded "
                  << json(decoded).dump(-1, ' ', false, json::error_handler_t::replace).substr(0, 400) << "\nexpected "
                  << vector[3].dump().substr(0, 400);
  }
}

TEST(TokenizerVectors, TokenizerJsonEqualsPython) {
  int files = 0;
  for (const auto& entry : fs::directory_iterator(vectors_folder())) {
    if (entry.path().extension() != ".vectors") continue;
    fs::path file = entry.path();
    const auto tokenizer = open_tokenizer(file.replace_extension(".json").string());
    expect_vectors(*tokenizer, read_file(entry.path()));
    ++files;
  }
  EXPECT_GE(files, 15);
}

// The packages as oracle.
class Oracle : public ::testing::Test {
 protected:
  void SetUp() override {
    const char* given = std::getenv("HYMBA_PYTHON");
    python_ = given != nullptr ? given : "python3";
    if (std::system((python_ + " -c 'import tokenizers, sentencepiece' >/dev/null 2>&1").c_str()) != 0) {
      GTEST_SKIP() << python_ << " cannot import tokenizers and sentencepiece: set HYMBA_PYTHON to one that can";
    }
    folder_ = fs::temp_directory_path() / fmt::format("hymba-oracle-{}", ::getpid());
    fs::create_directories(folder_);
  }
  void TearDown() override {
    if (!folder_.empty()) fs::remove_all(folder_);
  }
  std::string ask(const std::string& arguments) {
    const std::string command = fmt::format("{} {} {}", python_, (vectors_folder() / "oracle.py").string(), arguments);
    EXPECT_EQ(std::system(command.c_str()), 0) << command;
    return command;
  }
  void write(const std::string& name, const std::vector<std::string>& texts) {
    std::string lines;
    for (const auto& text : texts) lines += json(text).dump() + "\n";
    write_file_atomic(folder_ / name, lines);
  }
  // The oracle reads `oracle_file`, we open `spec`.
  void compare(const std::string& spec, const std::string& oracle_file, const std::string& texts) {
    Stopwatch watch;
    ask(fmt::format("encode {} {} {}", oracle_file, (folder_ / texts).string(), (folder_ / "out").string()));
    const double python = watch.seconds();
    expect_vectors(*open_tokenizer(spec), read_file(folder_ / "out"));
    if (python > 10) fmt::print("{}: Python {:.0f} s, with ours {:.0f} s\n", spec, python, watch.seconds());
  }
  // The beginning of every shared text, and random Unicode.
  void make_texts() {
    const char* given = std::getenv("HYMBA_ORACLE_BYTES");
    const std::size_t most = given == nullptr ? 2000 : std::string(given) == "all" ? std::string::npos : std::stoull(given);
    std::vector<std::string> texts;
    std::size_t files = 0, bytes = 0;
    if (fs::exists(shared_folder(HYMBA_SOURCE_DIR) / "data")) {
      for (const auto& entry : fs::recursive_directory_iterator(shared_folder(HYMBA_SOURCE_DIR) / "data")) {
        const auto extension = entry.path().extension();
        if (!entry.is_regular_file() || extension == ".bin" || extension == ".model") continue;
        const std::string whole = read_file(entry.path()), text = whole.substr(0, character_end(whole, most));
        ASSERT_EQ(find_utf8_errors(text).count, 0u) << entry.path();
        add_pieces(text, texts);
        ++files;
        bytes += text.size();
      }
    }
    write("texts", texts);
    ask("random 400 7 " + (folder_ / "random").string());
    fmt::print("{} shared texts, {} bytes, in {} pieces\n", files, bytes, texts.size());
  }
  // The last end of a character at or before `end`.
  static std::size_t character_end(std::string_view text, std::size_t end) {
    if (end >= text.size()) return text.size();
    while (end > 0 && (static_cast<unsigned char>(text[end]) & 0xc0) == 0x80) --end;
    return end;
  }
  // All of `text`, cut behind line ends (long lines anywhere): the packages slow down on long texts.
  static void add_pieces(std::string_view text, std::vector<std::string>& pieces) {
    constexpr std::size_t kMost = 2000;
    while (!text.empty()) {
      std::size_t end = character_end(text, kMost);
      const auto line = text.substr(0, end).rfind('\n');
      if (end < text.size() && line != std::string_view::npos) end = line + 1;
      pieces.emplace_back(text.substr(0, end));
      text.remove_prefix(end);
    }
  }
  std::string python_;
  fs::path folder_;
};

TEST_F(Oracle, EverythingEqualsThePackages) {
  make_texts();
  for (const auto& entry : fs::directory_iterator(vectors_folder())) {
    if (entry.path().extension() != ".json") continue;
    for (const char* texts : {"texts", "random"}) compare(entry.path().string(), entry.path().string(), texts);
  }
  const fs::path known = shared_folder(HYMBA_SOURCE_DIR) / "data" / "tokenizers";
  if (!fs::exists(known)) GTEST_SKIP() << "no " << known << ": set HYMBA_SHARED to the shared folder";
  for (const auto& entry : fs::recursive_directory_iterator(known)) {
    const std::string name = entry.path().filename().string();
    const bool pair = name.ends_with("merges.txt");
    if (!pair && entry.path().extension() != ".model") continue;
    for (const char* texts : {"texts", "random"})
      compare(pair ? entry.path().parent_path().string() : entry.path().string(), entry.path().string(), texts);
  }
}

// MB/s of encoding and decoding beside the packages, one thread, on whole texts of the shared folder: for docs/tokenizers.md.
TEST_F(Oracle, Throughput) {
  if (std::getenv("HYMBA_TOKENIZER_TIMES") == nullptr) GTEST_SKIP() << "set HYMBA_TOKENIZER_TIMES to measure";
  const fs::path data = shared_folder(HYMBA_SOURCE_DIR) / "data", known = data / "tokenizers";
  std::string names;
  std::vector<std::string> texts;
  double megabytes = 0;
  for (const char* name : {"lm/gutenberg/sherlock_holmes_1661.txt", "lm/wikitext-2-raw/wiki.valid.raw", "lm/tinystories_part_a.txt"}) {
    if (!fs::exists(data / name)) GTEST_SKIP() << "no " << data / name;
    texts.push_back(read_file(data / name));
    names += " " + (data / name).string();
    megabytes += static_cast<double>(texts.back().size()) / 1e6;
  }
  for (const auto& [spec, file] : std::vector<std::pair<fs::path, fs::path>>{{known / "gpt2", known / "gpt2" / "gpt2_merges.txt"},
                                                                            {known / "llama2" / "tokenizer.model", known / "llama2" / "tokenizer.model"},
                                                                            {vectors_folder() / "llama3.json", vectors_folder() / "llama3.json"},
                                                                            {vectors_folder() / "llama2.json", vectors_folder() / "llama2.json"}}) {
    const auto tokenizer = open_tokenizer(spec.string());
    std::vector<std::vector<std::int32_t>> ids;
    Stopwatch watch;
    for (const auto& text : texts) ids.push_back(tokenizer->encode(text));
    const double encoding = watch.seconds();
    watch.restart();
    for (const auto& some : ids) tokenizer->decode(some);
    const double decoding = watch.seconds();
    const auto out = (folder_ / "time").string();
    ask(fmt::format("time {} {} > {}", file.string(), names, out));
    fmt::print("{}: encode {:.2f} MB/s, decode {:.2f} MB/s; Python encode, decode {}", spec.filename().string(), megabytes / encoding,
               megabytes / decoding, read_file(out));
    EXPECT_GT(ids[0].size(), 1000u);
  }
}

// llama.cpp's vectors: texts between marks, ids one text a line.
void expect_ggml_vectors(const Tokenizer& tokenizer, const fs::path& input, const fs::path& output) {
  const std::string texts = read_file(input), mark = "\n__ggml_vocab_test__\n";
  const auto expected = split(read_file(output), '\n');
  std::size_t row = 0;
  for (std::size_t begin = 0; begin <= texts.size(); ++row) {
    const std::size_t end = std::min(texts.find(mark, begin), texts.size());
    const std::string text = texts.substr(begin, end - begin);
    begin = end + mark.size();
    ASSERT_LT(row, expected.size());
    std::string ids;
    for (const std::int32_t id : tokenizer.encode(text)) ids += " " + std::to_string(id);
    EXPECT_EQ(ids.empty() ? "" : ids.substr(1), trim(expected[row])) << "text '" << text << "'";
    EXPECT_EQ(tokenizer.decode(tokenizer.encode(text)), text);
  }
  EXPECT_GT(row, 40u);
}

TEST(TokenizerVectors, SharedFoldersGiveTheirVectors) {
  const fs::path folder = shared_folder(HYMBA_SOURCE_DIR) / "data" / "tokenizers";
  if (!fs::exists(folder)) GTEST_SKIP() << "no " << folder << ": set HYMBA_SHARED to the shared folder";
  for (const auto& entry : fs::directory_iterator(folder)) {
    for (const auto& file : fs::directory_iterator(entry.path())) {
      if (file.path().extension() != ".inp") continue;
      fs::path output = file.path();
      output.replace_extension(".out");
      expect_ggml_vectors(*open_tokenizer(entry.path().string()), file.path(), output);
      if (fs::exists(entry.path() / "tokenizer.bin")) {
        expect_ggml_vectors(*open_tokenizer((entry.path() / "tokenizer.bin").string()), file.path(), output);
      }
    }
  }
}

// The same vocabulary in llama2.c's format must give SentencePiece's ids on any text.
TEST(Llama2c, EqualsTheModelItWasExportedFrom) {
  const fs::path folder = shared_folder(HYMBA_SOURCE_DIR) / "data";
  if (!fs::exists(folder / "tokenizers" / "llama2"))
    GTEST_SKIP() << "no " << folder << ": set HYMBA_SHARED to the shared folder";
  const auto model = open_tokenizer((folder / "tokenizers" / "llama2" / "tokenizer.model").string());
  const auto exported = open_tokenizer((folder / "tokenizers" / "llama2" / "tokenizer.bin").string());
  EXPECT_EQ(exported->vocab_size(), model->vocab_size());
  for (const auto& entry : fs::recursive_directory_iterator(folder / "lm")) {
    if (!entry.is_regular_file()) continue;
    const std::string text = replace_utf8_errors(read_file(entry.path()).substr(0, 30000));
    EXPECT_EQ(exported->encode(text), model->encode(text)) << entry.path();
    EXPECT_EQ(exported->decode(exported->encode(text)), text);
  }
  if (!fs::exists(folder / "checkpoints" / "stories260K")) return;
  const auto small = open_tokenizer((folder / "checkpoints" / "stories260K").string());
  EXPECT_EQ(small->vocab_size(), 512);
  EXPECT_EQ(small->decode(small->encode("Once upon a time\xff \u00e9")), "Once upon a time\xff \u00e9");
}

}  // namespace
}  // namespace hymba
