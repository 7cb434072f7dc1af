#include "data/corpus.h"

#include <algorithm>
#include <cstdlib>

#include "base/error.h"
#include "base/text.h"
#include "data/corpus_source.h"

namespace hymba {

namespace fs = std::filesystem;

fs::path default_cache_folder() {
  if (const char* cache = std::getenv("XDG_CACHE_HOME"); cache != nullptr && *cache != '\0')
    return fs::path(cache) / "hymba";
  if (const char* home = std::getenv("HOME"); home != nullptr && *home != '\0')
    return fs::path(home) / ".cache" / "hymba";
  return fs::temp_directory_path() / "hymba";
}

// Two processes may build one cache at a time: each writes its own temporary file, and the last rename wins with the
// same bytes.
TokenCorpus TokenCorpus::open(const CorpusOptions& options, const Tokenizer& tokenizer) {
  require(options.validation_fraction >= 0 && options.validation_fraction < 1,
          "corpus: expected a validation fraction in [0, 1), found {}", options.validation_fraction);
  TokenCorpus corpus;
  const auto files = find_source_files(options.paths, &corpus.notes_);
  corpus.key_ = corpus_key(files, options, tokenizer);
  const fs::path folder = options.cache_folder.empty() ? default_cache_folder() : options.cache_folder;
  corpus.cache_file_ = folder / fmt::format("tokens-{}.bin", hex64(corpus.key_));
  corpus.from_cache_ = corpus.map(corpus.cache_file_, corpus.key_);
  if (!corpus.from_cache_) {
    TokenFileWriter writer(corpus.cache_file_, corpus.key_, tokenizer.vocab_size());
    tokenise_files(files, options, tokenizer, &writer, &corpus.notes_);
    require(writer.tokens() > 0, "corpus: expected text, found none in {} files below {}", files.size(),
            options.paths.front().string());
    writer.finish();
    if (!corpus.map(corpus.cache_file_, corpus.key_))
      fail("{}: cannot read back the token cache", corpus.cache_file_.string());
  }
  corpus.choose_split(options.validation_fraction);
  return corpus;
}

bool TokenCorpus::map(const fs::path& file, std::uint64_t key) {
  if (!fs::exists(file)) return false;
  auto mapped = std::make_unique<MappedFile>(file);
  TokenFileHeader header{};
  // A damaged or foreign cache is no error: it is written again.
  if (!read_token_file_header(mapped->view(), &header) || header.key != key || header.tokens == 0) return false;
  file_ = std::move(mapped);
  width_ = static_cast<int>(header.width);
  at16_ = reinterpret_cast<const std::uint16_t*>(file_->data() + sizeof header);
  at32_ = reinterpret_cast<const std::uint32_t*>(file_->data() + sizeof header);
  document_ends_ = reinterpret_cast<const std::uint64_t*>(file_->data() + document_ends_offset(header));
  tokens_ = static_cast<std::int64_t>(header.tokens);
  documents_ = static_cast<std::int64_t>(header.documents);
  return true;
}

void TokenCorpus::choose_split(double fraction) {
  const auto wanted = static_cast<std::int64_t>(static_cast<double>(tokens_) * (1.0 - fraction));
  split_ = wanted;
  if (fraction == 0) return;
  // The document boundary next to the wanted place, if it leaves between half and twice the wanted validation text.
  const auto* end = document_ends_ + documents_;
  const auto* after = std::lower_bound(document_ends_, end, static_cast<std::uint64_t>(wanted));
  std::int64_t best = -1;
  for (const auto* boundary : {after == document_ends_ ? end : after - 1, after}) {
    if (boundary == end) continue;
    const auto at = static_cast<std::int64_t>(*boundary);
    if (best < 0 || std::abs(at - wanted) < std::abs(best - wanted)) best = at;
  }
  const std::int64_t held_out = tokens_ - wanted;
  if (best > 0 && tokens_ - best >= held_out / 2 && tokens_ - best <= 2 * held_out && best < tokens_) split_ = best;
}

void TokenCorpus::window(std::int64_t begin, std::span<std::int32_t> out) const {
  const auto n = static_cast<std::int64_t>(out.size());
  if (begin < 0 || begin + n > tokens_) {
    fail("corpus window [{}, {}) lies outside its {} tokens", begin, begin + n, tokens_);
  }
  for (std::int64_t i = 0; i < n; ++i) out[static_cast<std::size_t>(i)] = (*this)[begin + i];
}

TokenRange TokenCorpus::document(std::int64_t i) const {
  if (i < 0 || i >= documents_) fail("corpus document {} of {}", i, documents_);
  const auto begin = i == 0 ? 0 : static_cast<std::int64_t>(document_ends_[i - 1]);
  return {begin, static_cast<std::int64_t>(document_ends_[i])};
}

}  // namespace hymba
