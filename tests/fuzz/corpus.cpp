// Training text: plain, JSON lines, tokenised FILE.bin with its sidecar. The first byte chooses; a zero byte in a FILE.bin's
// bytes ends the sidecar.
#include "data/corpus.h"

#include "data/token_file.h"
#include "tests/fuzz/fuzz.h"

void read_fuzzed(const std::string& bytes) {
  if (bytes.empty()) return;
  const auto folder = hymba::fuzz::scratch() / "corpus";
  std::filesystem::remove_all(folder);
  std::filesystem::create_directories(folder);
  const std::string file = bytes.substr(1);
  hymba::CorpusOptions options;
  options.cache_folder = folder / "cache";
  const int which = static_cast<unsigned char>(bytes[0]) % 4;
  if (which == 0) {
    options.paths = {hymba::fuzz::write_scratch("corpus/a.txt", file)};
  } else if (which == 1) {
    options.paths = {hymba::fuzz::write_scratch("corpus/a.jsonl", file)};
  } else {
    const std::size_t zero = which == 2 ? file.find('\0') : std::string::npos;
    if (zero != std::string::npos) hymba::fuzz::write_scratch("corpus/a.bin.json", file.substr(0, zero));
    options.paths = {hymba::fuzz::write_scratch("corpus/a.bin", zero == std::string::npos ? file : file.substr(zero + 1))};
  }
  const auto tokenizer = hymba::open_tokenizer("bytes");
  const auto corpus = hymba::TokenCorpus::open(options, *tokenizer);
  for (std::int64_t i = 0; i < corpus.documents(); ++i) corpus.document(i);
  std::vector<std::int32_t> ids(static_cast<std::size_t>(corpus.size()));
  corpus.window(0, ids);
}

std::vector<std::string> make_seeds() {
  hymba::TokenFileHeader header{};
  std::copy(hymba::kTokenFileMagic.begin(), hymba::kTokenFileMagic.end(), header.magic);
  header.version = hymba::kTokenFileVersion;
  header.width = 2;
  header.tokens = 4;
  header.documents = 1;
  header.vocab_size = 259;
  std::string own(reinterpret_cast<const char*>(&header), sizeof(header));
  own += std::string("\1\0\2\0\3\0\4\0", 8) + std::string("\4\0\0\0\0\0\0\0", 8);
  return {std::string(1, '\0') + "Once upon a time\n<|endoftext|>\nthe end\n", "\x01{\"text\": \"a\"}\n{\"text\": \"b\"}\n",
          "\x02{\"dtype\": \"uint16\", \"vocab_size\": 259}" + std::string(1, '\0') + std::string("\1\0\2\0", 4), "\x03" + own};
}
