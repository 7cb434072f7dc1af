#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "base/error.h"
#include "base/files.h"
#include "base/shared_folder.h"
#include "base/text.h"
#include "data/corpus.h"
#include "data/tokenizer.h"
#include "data/utf8.h"

namespace hymba {
namespace {

namespace fs = std::filesystem;


// A fresh folder, removed at the end of the test.
class DataTest : public ::testing::Test {
 protected:
  void SetUp() override {
    folder_ =
        fs::temp_directory_path() /
        fmt::format("hymba-data-{}-{}", ::testing::UnitTest::GetInstance()->current_test_info()->name(), ::getpid());
    fs::create_directories(folder_ / "in");
  }
  void TearDown() override { fs::remove_all(folder_); }

  fs::path write(const std::string& name, const std::string& bytes) {
    const fs::path path = folder_ / "in" / name;
    fs::create_directories(path.parent_path());
    std::ofstream(path, std::ios::binary) << bytes;
    return path;
  }
  TokenCorpus open(const std::vector<fs::path>& paths, const std::string& field = "") {
    CorpusOptions options;
    options.paths = paths;
    options.cache_folder = folder_ / "cache";
    options.text_field = field;
    return TokenCorpus::open(options, *bytes_);
  }
  // The text of the UserError that opening these paths gives.
  std::string complaint(const std::vector<fs::path>& paths, const std::string& field = "") {
    try {
      open(paths, field);
    } catch (const UserError& error) {
      EXPECT_TRUE(!fs::exists(folder_ / "cache") || fs::is_empty(folder_ / "cache")) << "a broken corpus left a cache";
      return error.what();
    }
    return "no error";
  }
  std::string text_of(const TokenCorpus& corpus, TokenRange range) const {
    std::vector<std::int32_t> ids(static_cast<std::size_t>(range.size()));
    corpus.window(range.begin, ids);
    return bytes_->decode(ids);
  }

  fs::path folder_;
  std::unique_ptr<Tokenizer> bytes_ = open_tokenizer("bytes");
};

#define EXPECT_HAS(text, part) EXPECT_NE((text).find(part), std::string::npos) << (text)

TEST(Utf8, CountsStripsAndChangesCaseLikePython) {
  EXPECT_EQ(count_code_points("Führer 4½"), 9u);
  EXPECT_EQ(strip(" \t\u00a0x y\u2003\n"), "x y");
  EXPECT_EQ(count_words(" a b \n"), 4u);  // re.split keeps the empty ends
  EXPECT_EQ(count_words("a  b"), 2u);
  EXPECT_EQ(capitalize("éTÉ In Paris"), "Été in paris");
  EXPECT_EQ(to_lower("ÀÉ ÖX ДА"), "àé öx да");
}

TEST(Utf8, FindsAndReplacesMalformedBytes) {
  EXPECT_EQ(find_utf8_errors("gr\u00fc\u00dfe \U0001F600").count, 0u);
  const Utf8Errors errors = find_utf8_errors(
      "ab\xff\xc0\xaf"
      "c\xe2\x82");
  EXPECT_EQ(errors.first, 2u);
  EXPECT_EQ(errors.count, 5u);
  EXPECT_EQ(replace_utf8_errors("a\xff"
                                "b"),
            "a\uFFFDb");
}

TEST(Tokenizer, BytesRoundTrip) {
  const auto bytes = open_tokenizer("bytes");
  EXPECT_EQ(bytes->vocab_size(), 259);
  EXPECT_EQ(bytes->bos(), 256);
  EXPECT_EQ(bytes->eos(), 257);
  EXPECT_EQ(bytes->encode("h\xc3\xa9"), (std::vector<std::int32_t>{'h', 0xc3, 0xa9}));
  EXPECT_EQ(bytes->decode(std::vector<std::int32_t>{256, 'o', 'k', 257, 258, 9999, -1}), "ok");
}

TEST(Tokenizer, SentencePieceSaysSizeAndSpecialIds) {
  const fs::path folder = shared_folder(HYMBA_SOURCE_DIR) / "data" / "tokenizers" / "llama2";
  if (!fs::exists(folder)) GTEST_SKIP() << "no " << folder << ": set HYMBA_SHARED to the shared folder";
  const auto tokenizer = open_tokenizer((folder / "tokenizer.model").string());
  EXPECT_EQ(tokenizer->vocab_size(), 32000);
  EXPECT_EQ(tokenizer->bos(), 1);
  EXPECT_EQ(tokenizer->eos(), 2);
}

TEST_F(DataTest, TokenizerErrorsNameTheFile) {
  auto complain = [](const std::string& spec) -> std::string {
    try {
      open_tokenizer(spec);
    } catch (const UserError& error) {
      return error.what();
    }
    return "no error";
  };
  EXPECT_HAS(complain("byte"), "'byte'");
  EXPECT_HAS(complain(write("empty.model", "").string()), "an empty file");
  EXPECT_HAS(complain(write("junk.model", std::string(5000, '\xfe')).string()), "junk.model");
  EXPECT_HAS(complain(write("text.model", "this is no model at all\n").string()), "text.model");
}

TEST_F(DataTest, TrainsASentencePieceModel) {
  std::string text;
  for (int i = 0; i < 400; ++i) text += fmt::format("the {} ladder of room {} was heavy and warm\n", i % 7, i);
  const fs::path model = folder_ / "own.model";
  train_sentencepiece({write("train.txt", text)}, 320, model);
  const auto tokenizer = open_tokenizer(model.string());
  EXPECT_EQ(tokenizer->vocab_size(), 320);
  EXPECT_EQ(tokenizer->bos(), 1);
  const std::string sample = "the heavy ladder\n of 12 \xc3\xa9";
  EXPECT_EQ(tokenizer->decode(tokenizer->encode(sample)), sample);
  EXPECT_NE(tokenizer->hash(), open_tokenizer("bytes")->hash());
  EXPECT_THROW(train_sentencepiece({write("tiny.txt", "a b\n")}, 30000, folder_ / "no.model"), UserError);
}

TEST_F(DataTest, CorpusOfAFolderInNameOrder) {
  write("b.jsonl", "{\"text\": \"two\"}\n\n{\"content\": \"three\"}\n");
  write("a/first.txt", "one");
  write("c.txt", "four<|endoftext|>five");
  write("d.xyz", "no");
  write(".hidden.txt", "no");
  write("empty.txt", "");
  const TokenCorpus corpus = open({folder_ / "in"});
  ASSERT_EQ(corpus.documents(), 5);
  std::string all;
  for (std::int64_t i = 0; i < 5; ++i) all += text_of(corpus, corpus.document(i)) + ",";
  EXPECT_EQ(all, "one,two,three,four,five,");
  EXPECT_EQ(corpus[0], 256);
  EXPECT_EQ(corpus[4], 257);
  EXPECT_EQ(corpus.size(), 19 + 5 * 2);
  ASSERT_EQ(corpus.notes().size(), 2u);
  EXPECT_HAS(corpus.notes()[0], "d.xyz");
  EXPECT_HAS(corpus.notes()[1], "empty.txt");
}

TEST_F(DataTest, CorpusIsReadFromItsCache) {
  const fs::path file = write("a.txt", "some text");
  const TokenCorpus first = open({file});
  EXPECT_FALSE(first.from_cache());
  const TokenCorpus second = open({file});
  EXPECT_TRUE(second.from_cache());
  EXPECT_EQ(second.hash(), first.hash());
  EXPECT_EQ(text_of(second, {0, second.size()}), "some text");
  // A damaged cache is written again; a changed file has another one.
  fs::resize_file(first.cache_file(), 70);
  EXPECT_FALSE(open({file}).from_cache());
  EXPECT_TRUE(open({file}).from_cache());
  write("a.txt", "some other text");
  const TokenCorpus changed = open({file});
  EXPECT_FALSE(changed.from_cache());
  EXPECT_NE(changed.hash(), first.hash());
}

TEST_F(DataTest, SplitsAtADocumentOrInsideALongOne) {
  std::string lines;
  for (int i = 0; i < 100; ++i) lines += fmt::format("{{\"text\": \"document {:03}\"}}\n", i);
  const TokenCorpus many = open({write("many.jsonl", lines)});
  EXPECT_EQ(many.validation().begin, many.document(95).begin);
  EXPECT_EQ(many.validation().end, many.size());
  const TokenCorpus one = open({write("one.txt", std::string(998, 'x'))});
  EXPECT_EQ(one.train().size(), 950);
  EXPECT_EQ(one.validation().size(), 50);
}

TEST_F(DataTest, ReadsTokenFiles) {
  const std::string ids("\x01\x00\x02\x01", 4);  // 1, 258
  write("raw.bin.json", "{\"dtype\": \"uint16\", \"vocab_size\": 259}");
  const TokenCorpus raw = open({write("raw.bin", ids)});
  ASSERT_EQ(raw.size(), 2);
  EXPECT_EQ(raw[1], 258);
  const TokenCorpus text = open({write("t.txt", "abc")});
  fs::copy_file(text.cache_file(), folder_ / "in" / "own.bin");
  EXPECT_EQ(text_of(open({folder_ / "in" / "own.bin"}), {0, 5}), "abc");
}

TEST_F(DataTest, BrokenCorporaAreTheUsersMistake) {
  EXPECT_HAS(complaint({}), "--data");
  EXPECT_HAS(complaint({folder_ / "nowhere"}), "found nothing there");
  EXPECT_HAS(complaint({write("e/x.pdf", "x")}), "'.pdf'");
  EXPECT_HAS(complaint({folder_ / "in" / "e"}), "found none");
  EXPECT_HAS(complaint({write("empty.txt", "")}), "an empty file");
  EXPECT_HAS(complaint({write("blank.txt", " \n\n")}), "no usable text");
  EXPECT_HAS(complaint({write("binary.txt", std::string("ab\0cd", 5))}), "binary.txt: expected text, found a binary");
  EXPECT_HAS(complaint({write("latin.txt", std::string(100, '\xe9'))}), "100 malformed bytes");
  EXPECT_HAS(complaint({write("broken.jsonl", "{\"text\": \"a\"}\n{\"text\": \n")}), "broken.jsonl:2");
  EXPECT_HAS(complaint({write("field.jsonl", "{\"body\": \"a\"}\n")}), "found body");
  EXPECT_HAS(complaint({write("mine.jsonl", "{\"text\": \"a\"}\n")}, "body"), "\"body\"");
  EXPECT_HAS(complaint({write("alone.bin", "abcd")}), "alone.bin.json");
  write("big.bin.json", "{\"dtype\": \"uint16\"}");
  EXPECT_HAS(complaint({write("big.bin", std::string("\x01\x00\x03\x01", 4))}), "found 259 at position 1");
  write("other.bin.json", "{\"dtype\": \"uint16\", \"vocab_size\": 32000}");
  EXPECT_HAS(complaint({write("other.bin", "abcd")}), "found 32000");
}

TEST_F(DataTest, AFewMalformedBytesAreReplacedAndNoted) {
  const TokenCorpus corpus = open({write("a.txt", "caf\xe9 au lait")});
  EXPECT_EQ(text_of(corpus, {0, corpus.size()}), "caf\uFFFD au lait");
  ASSERT_EQ(corpus.notes().size(), 1u);
  EXPECT_HAS(corpus.notes()[0], "offset 3");
}

}  // namespace
}  // namespace hymba
