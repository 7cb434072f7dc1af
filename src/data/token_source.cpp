#include "data/token_source.h"

#include <numeric>

#include "base/error.h"
#include "base/rng.h"
#include "base/text.h"

namespace hymba {
namespace {

constexpr std::int64_t kValidationTokens = 262144;

// Where the documents of a sequence start in the world's endless stream: far from those of any other sequence.
std::uint64_t first_document(std::uint64_t seed, std::string_view part, std::size_t length, std::uint64_t index) {
  return Rng(seed ^ (index * 0x9e3779b97f4a7c15ULL), fmt::format("{}.{}", part, length)).next();
}

}  // namespace

WorldSource::WorldSource(std::shared_ptr<const data::World> world, std::uint64_t seed)
    : world_(std::move(world)), seed_(seed) {}

const data::World& WorldSource::world_for(std::size_t length) const {
  const auto& options = world_->options();
  if (length >= static_cast<std::size_t>(options.max_tokens)) return *world_;
  const std::lock_guard lock(mutex_);
  auto& world = short_[length];
  if (world == nullptr) {
    require(length >= 32,
            "train.length and train.short_length: {} tokens are too few for the synthetic world; at least 32", length);
    data::WorldOptions o = options;
    o.max_tokens = static_cast<int>(length);
    o.pairs_max = std::min(o.pairs_max, o.short_pairs_max);
    o.records *= o.short_records;
    world = std::make_unique<const data::World>(world_->seed(), o);
  }
  return *world;
}

void WorldSource::write(std::string_view part, std::uint64_t index, std::span<std::int32_t> out) const {
  const data::World& world = world_for(out.size());
  std::vector<std::int32_t> tokens;
  for (std::uint64_t i = first_document(seed_, part, out.size(), index); tokens.size() < out.size(); ++i) {
    world.document_tokens(i, tokens);
  }
  std::copy_n(tokens.begin(), out.size(), out.begin());
}

void WorldSource::sequence(std::uint64_t index, std::span<std::int32_t> out) const { write("train", index, out); }

void WorldSource::validation(std::uint64_t index, std::span<std::int32_t> out) const {
  write("validation", index, out);
}

std::int64_t WorldSource::validation_count(std::int64_t length) const { return kValidationTokens / length; }

std::string WorldSource::describe() const {
  return fmt::format("synthetic world, seed {}, stream {}", world_->seed(), seed_);
}

std::uint64_t WorldSource::hash() const {
  std::vector<std::int32_t> tokens;
  for (std::uint64_t i = 0; i < 32; ++i) world_->document_tokens(i, tokens);
  const auto& o = world_->options();
  const std::string text = fmt::format("{} {} {}", o.max_tokens, o.short_pairs_max, o.short_records);
  return hash64({reinterpret_cast<const char*>(tokens.data()), tokens.size() * sizeof(std::int32_t)},
                hash64(text, seed_ + 2));
}

CorpusSource::CorpusSource(std::shared_ptr<const TokenCorpus> corpus, std::shared_ptr<const Tokenizer> tokenizer,
                           std::uint64_t seed)
    : corpus_(std::move(corpus)), tokenizer_(std::move(tokenizer)), seed_(seed) {}

void CorpusSource::sequence(std::uint64_t index, std::span<std::int32_t> out) const {
  const auto length = static_cast<std::int64_t>(out.size());
  const std::int64_t pieces = corpus_->train().size() / length;
  require(pieces > 0,
          "the training text has {} tokens, fewer than train.length + 1 = {}; give more text or a smaller length",
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
  corpus_->window(
      corpus_->train().begin + static_cast<std::int64_t>(order_[index % static_cast<std::uint64_t>(pieces)]) * length,
      out);
}

void CorpusSource::validation(std::uint64_t index, std::span<std::int32_t> out) const {
  const auto length = static_cast<std::int64_t>(out.size());
  const auto range = corpus_->validation();
  const std::int64_t begin = range.begin + static_cast<std::int64_t>(index) * length;
  require(begin + length <= range.end, "validation sequence {} lies outside the {} tokens kept for validation", index,
          range.size());
  corpus_->window(begin, out);
}

std::int64_t CorpusSource::validation_count(std::int64_t length) const { return corpus_->validation().size() / length; }

std::string CorpusSource::describe() const {
  return fmt::format("corpus of {} documents, {} tokens, {}", corpus_->documents(),
                     format_count(static_cast<double>(corpus_->size())), tokenizer_->name());
}

}  // namespace hymba
