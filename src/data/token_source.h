// What a training run reads: sequences of token ids by number, so that the data position of a run is one number and a
// resumed run reads exactly what an uninterrupted one would have read.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "data/corpus.h"
#include "data/world.h"

namespace hymba {

class TokenSource {
 public:
  virtual ~TokenSource() = default;
  // Training sequence `index`, out.size() tokens long; a pure function of its arguments. A token that is to be read but
  // not predicted (no loss is taken on it) comes as ~id.
  virtual void sequence(std::uint64_t index, std::span<std::int32_t> out) const = 0;
  // Validation sequence `index` of `count(length)`; never seen in training.
  virtual void validation(std::uint64_t index, std::span<std::int32_t> out) const = 0;
  virtual std::int64_t validation_count(std::int64_t length) const = 0;
  virtual const Tokenizer& tokenizer() const = 0;
  virtual std::string describe() const = 0;  // for records: "world seed 0", "corpus 3 files 1.2 M tokens"
  virtual std::uint64_t hash() const = 0;    // of all that decides the tokens
};

// Documents of the synthetic world. Every sequence starts with a document, and no document is longer than a sequence,
// so that what a query asks for always stands in front of it; the last document is cut. In sequences shorter than
// world.max_tokens lists are shorter and oftener (options short_*): a length warm-up is a warm-up of difficulty, too.
class WorldSource : public TokenSource {
 public:
  WorldSource(std::shared_ptr<const data::World> world, std::uint64_t seed);
  void sequence(std::uint64_t index, std::span<std::int32_t> out) const override;
  void validation(std::uint64_t index, std::span<std::int32_t> out) const override;
  std::int64_t validation_count(std::int64_t length) const override;
  const Tokenizer& tokenizer() const override { return world_->tokenizer(); }
  std::string describe() const override;
  std::uint64_t hash() const override;

 private:
  const data::World& world_for(std::size_t length) const;
  void write(std::string_view part, std::uint64_t index, std::span<std::int32_t> out) const;
  std::shared_ptr<const data::World> world_;
  std::uint64_t seed_;
  mutable std::mutex mutex_;
  mutable std::map<std::size_t, std::unique_ptr<const data::World>> short_;  // by length of the sequence
};

// Pieces of a tokenised corpus in a shuffled order, another one each epoch.
class CorpusSource : public TokenSource {
 public:
  CorpusSource(std::shared_ptr<const TokenCorpus> corpus, std::shared_ptr<const Tokenizer> tokenizer,
               std::uint64_t seed);
  void sequence(std::uint64_t index, std::span<std::int32_t> out) const override;
  void validation(std::uint64_t index, std::span<std::int32_t> out) const override;
  std::int64_t validation_count(std::int64_t length) const override;
  const Tokenizer& tokenizer() const override { return *tokenizer_; }
  std::string describe() const override;
  std::uint64_t hash() const override { return corpus_->hash(); }

 private:
  std::shared_ptr<const TokenCorpus> corpus_;
  std::shared_ptr<const Tokenizer> tokenizer_;
  std::uint64_t seed_;
  mutable std::mutex mutex_;
  mutable std::uint64_t epoch_ = ~std::uint64_t{0};
  mutable std::int64_t pieces_length_ = 0;
  mutable std::vector<std::uint32_t> order_;
};

}  // namespace hymba
