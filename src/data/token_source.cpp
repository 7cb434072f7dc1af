#include "data/token_source.h"

#include <numeric>

#include "base/error.h"
#include "base/rng.h"
#include "base/text.h"

namespace hymba {
namespace {

constexpr std::int64_t kBlockTokens = 65536;
constexpr std::uint64_t kDocumentsPerBlock = 32768;  // more than a block can hold: a document has two tokens at least
constexpr std::uint64_t kValidationBlock = 1u << 24;  // block numbers from here on are validation
constexpr std::int64_t kValidationTokens = 4 * kBlockTokens;
constexpr std::size_t kBlocksKept = 8;

}  // namespace

WorldSource::WorldSource(std::shared_ptr<const data::World> world, std::uint64_t seed)
    : world_(std::move(world)), seed_(seed) {
  data::WorldOptions easy = world_->options();
  easy_blocks_ = static_cast<std::uint64_t>(easy.easy_tokens / static_cast<double>(kBlockTokens) + 0.5);
  if (easy_blocks_ == 0) return;
  easy.pairs_max = easy.easy_pairs_max;
  easy.records = easy.easy_records;
  easy_ = std::make_unique<const data::World>(world_->seed(), easy);
}

const std::vector<std::int32_t>& WorldSource::block(std::uint64_t index) const {
  const auto found = blocks_.find(index);
  if (found != blocks_.end()) return found->second;
  if (blocks_.size() >= kBlocksKept) blocks_.erase(blocks_.begin()->first == 0 ? std::next(blocks_.begin()) : blocks_.begin());
  std::vector<std::int32_t> tokens;
  tokens.reserve(kBlockTokens + 1024);
  const data::World& from = index < easy_blocks_ ? *easy_ : *world_;
  // Seeds of a study read different documents of one world.
  const std::uint64_t first = (index + (seed_ % 4096) * (kValidationBlock * 2)) * kDocumentsPerBlock;
  for (std::uint64_t i = first; tokens.size() < kBlockTokens; ++i) from.document_tokens(i, tokens);
  tokens.resize(kBlockTokens);
  return blocks_.emplace(index, std::move(tokens)).first->second;
}

void WorldSource::sequence(std::uint64_t index, std::span<std::int32_t> out) const {
  const std::lock_guard lock(mutex_);
  const auto length = static_cast<std::uint64_t>(out.size());
  const std::uint64_t per_block = kBlockTokens / length;
  require(per_block > 0, "train.length = {}: at most {} with the synthetic world", length, kBlockTokens);
  const auto& tokens = block(index / per_block);
  const auto* begin = tokens.data() + (index % per_block) * length;
  std::copy(begin, begin + length, out.begin());
}

void WorldSource::validation(std::uint64_t index, std::span<std::int32_t> out) const {
  const std::uint64_t per_block = kBlockTokens / out.size();
  sequence(kValidationBlock * per_block + index, out);
}

std::int64_t WorldSource::validation_count(std::int64_t length) const { return kValidationTokens / length; }

std::string WorldSource::describe() const { return fmt::format("synthetic world, seed {}, stream {}", world_->seed(), seed_); }

std::uint64_t WorldSource::hash() const {
  std::vector<std::int32_t> tokens;
  for (std::uint64_t i = 0; i < 32; ++i) world_->document_tokens(i, tokens);
  for (std::uint64_t i = 0; i < 32 && easy_ != nullptr; ++i) easy_->document_tokens(i, tokens);
  tokens.push_back(static_cast<std::int32_t>(easy_blocks_));
  return hash64({reinterpret_cast<const char*>(tokens.data()), tokens.size() * sizeof(std::int32_t)}, seed_ + 1);
}

CorpusSource::CorpusSource(std::shared_ptr<const TokenCorpus> corpus, std::shared_ptr<const Tokenizer> tokenizer,
                           std::uint64_t seed)
    : corpus_(std::move(corpus)), tokenizer_(std::move(tokenizer)), seed_(seed) {}

void CorpusSource::sequence(std::uint64_t index, std::span<std::int32_t> out) const {
  const auto length = static_cast<std::int64_t>(out.size());
  const std::int64_t pieces = corpus_->train().size() / length;
  require(pieces > 0, "the training text has {} tokens, fewer than train.length + 1 = {}; give more text or a smaller length",
          corpus_->train().size(), length);
  const std::uint64_t epoch = index / static_cast<std::uint64_t>(pieces);
  const std::lock_guard lock(mutex_);
  if (epoch != epoch_ || pieces_length_ != length) {
    order_.resize(static_cast<std::size_t>(pieces));
    std::iota(order_.begin(), order_.end(), 0u);
    Rng rng(seed_, fmt::format("corpus.epoch.{}", epoch));
    rng.shuffle(order_);
    epoch_ = epoch;
    pieces_length_ = length;
  }
  corpus_->window(corpus_->train().begin + static_cast<std::int64_t>(order_[index % static_cast<std::uint64_t>(pieces)]) * length, out);
}

void CorpusSource::validation(std::uint64_t index, std::span<std::int32_t> out) const {
  const auto length = static_cast<std::int64_t>(out.size());
  const auto range = corpus_->validation();
  const std::int64_t begin = range.begin + static_cast<std::int64_t>(index) * length;
  require(begin + length <= range.end, "validation sequence {} lies outside the {} tokens kept for validation", index, range.size());
  corpus_->window(begin, out);
}

std::int64_t CorpusSource::validation_count(std::int64_t length) const { return corpus_->validation().size() / length; }

std::string CorpusSource::describe() const {
  return fmt::format("corpus of {} documents, {} tokens, {}", corpus_->documents(), format_count(static_cast<double>(corpus_->size())),
                     tokenizer_->name());
}

}  // namespace hymba
