#include "data/sentencepiece_tokenizer.h"

#include <sentencepiece_processor.h>
#include <sentencepiece_trainer.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/files.h"
#include "base/rng.h"
#include "base/text.h"

namespace hymba {

namespace fs = std::filesystem;

namespace {

class SentencePieceTokenizer final : public Tokenizer {
 public:
  SentencePieceTokenizer(std::string_view model, const std::string& name, const std::vector<AddedToken>& added)
      : path_(name) {
    hash_ = hash64(model, hash64("tokenizer sentencepiece"));
    // The library accepts an empty model, and only then fails on use.
    const auto status = processor_.LoadFromSerializedProto({model.data(), model.size()});
    require(
        !model.empty() && status.ok() && processor_.GetPieceSize() > 0,
        "tokenizer {}: expected a SentencePiece model, found {}; give FILE.model as written by spm_train, or `bytes`",
        name, model.empty() ? std::string("an empty file") : "something else (" + status.ToString() + ")");
    for (const auto& token : added) add(token);
  }

  std::string name() const override { return path_; }
  std::int32_t vocab_size() const override {
    return processor_.GetPieceSize() + static_cast<std::int32_t>(added_texts_.size());
  }
  std::int32_t bos() const override { return processor_.bos_id(); }
  std::int32_t eos() const override { return processor_.eos_id(); }

  std::vector<std::int32_t> encode(std::string_view text) const override {
    std::vector<std::int32_t> ids;
    if (added_.empty()) {
      encode_part(text, ids);
      return ids;
    }
    added_.split(text, [&](std::string_view part, std::int32_t id, std::size_t) {
      if (id >= 0) {
        ids.push_back(id);
      } else {
        encode_part(part, ids);
      }
    });
    return ids;
  }

  // Control ids (bos, eos) would be decoded to nothing, ids out of range would end the program.
  std::string decode(std::span<const std::int32_t> ids) const override {
    std::string text;
    std::vector<int> known;
    const auto flush = [&] {
      std::string part;
      const auto status = processor_.Decode(known, &part);
      if (!status.ok()) fail("tokenizer {}: cannot decode {} ids: {}", path_, known.size(), status.ToString());
      text += part;
      known.clear();
    };
    for (const std::int32_t id : ids) {
      const std::int32_t beyond = id - processor_.GetPieceSize();
      if (beyond >= 0 && id < vocab_size()) {
        flush();
        text += added_texts_[static_cast<std::size_t>(beyond)];
      } else if (id >= 0 && beyond < 0 && !processor_.IsControl(id)) {
        known.push_back(id);
      }
    }
    flush();
    return text;
  }

  std::uint64_t hash() const override { return hash_; }

 private:
  void add(const AddedToken& token) {
    const std::int32_t known = processor_.GetPieceSize();
    if (token.id < known) return;
    constexpr std::int32_t kMost = 65536;  // a table is indexed by the id
    require(token.id - known < kMost, "tokenizer {}: expected ids of added tokens below {}, found {} for '{}'", path_,
            known + kMost, token.id, token.content);
    const auto at = static_cast<std::size_t>(token.id - known);
    if (at >= added_texts_.size()) added_texts_.resize(at + 1);
    if (!token.special) added_texts_[at] = token.content;
    added_.add(token);
    hash_ = hash64(fmt::format("{} {} {}", token.content, token.id, token.special), hash_);
  }

  void encode_part(std::string_view text, std::vector<std::int32_t>& out) const {
    std::vector<int> ids;
    const auto status = processor_.Encode({text.data(), text.size()}, &ids);
    if (!status.ok()) fail("tokenizer {}: cannot encode a text of {} bytes: {}", path_, text.size(), status.ToString());
    out.insert(out.end(), ids.begin(), ids.end());
  }

  std::string path_;
  sentencepiece::SentencePieceProcessor processor_;
  std::uint64_t hash_ = 0;
  AddedTokens added_;
  std::vector<std::string> added_texts_;  // by id - pieces of the model; "": gives no text
};

nlohmann::json read_json(const fs::path& path) {
  if (!fs::is_regular_file(path)) return nlohmann::json::object();
  auto json = nlohmann::json::parse(read_file(path), nullptr, false);
  require(json.is_object(), "{}: expected a JSON object, found something else", path.string());
  return json;
}

AddedToken added_token(const std::string& content, std::int64_t id, bool special, const fs::path& file) {
  require(id >= 0 && id < (1 << 24) && !content.empty(), "{}: expected a text and an id, found '{}' and {}",
          file.string(), content, id);
  AddedToken token;
  token.content = content;
  token.id = static_cast<std::int32_t>(id);
  token.special = special;
  return token;
}

}  // namespace

std::unique_ptr<Tokenizer> parse_sentencepiece(std::string_view model, const std::string& name,
                                               const std::vector<AddedToken>& added) {
  return std::make_unique<SentencePieceTokenizer>(model, name, added);
}

std::unique_ptr<Tokenizer> open_sentencepiece_folder(const fs::path& model) {
  std::vector<AddedToken> added;
  const fs::path config_file = model.parent_path() / "tokenizer_config.json";
  const auto config = read_json(config_file);
  if (config.contains("added_tokens_decoder") && config["added_tokens_decoder"].is_object()) {
    for (const auto& [id, token] : config["added_tokens_decoder"].items()) {
      require(token.is_object() && token.contains("content") && token["content"].is_string(),
              "{}: added_tokens_decoder {}: expected an object with \"content\", found something else",
              config_file.string(), id);
      const bool special = token.contains("special") && token["special"] == true;
      added.push_back(
          added_token(token["content"].get<std::string>(), parse_int(id, config_file.string()), special, config_file));
    }
    return parse_sentencepiece(read_file(model), model.string(), added);
  }
  const fs::path list_file = model.parent_path() / "added_tokens.json";
  const auto list = read_json(list_file);
  for (const auto& [text, id] : list.items()) {
    require(id.is_number_unsigned(), "{}: '{}': expected an id, found {}", list_file.string(), text, id.type_name());
    // This older file does not say which tokens are special: those in brackets are.
    const bool bracketed =
        !text.empty() && ((text.front() == '<' && text.back() == '>') || (text.front() == '[' && text.back() == ']'));
    added.push_back(added_token(text,
                                static_cast<std::int64_t>(std::min<std::uint64_t>(id.get<std::uint64_t>(), 1U << 30)),
                                bracketed, list_file));
  }
  return parse_sentencepiece(read_file(model), model.string(), added);
}

void train_sentencepiece(const std::vector<std::filesystem::path>& text_files, std::int32_t vocab_size,
                         const std::filesystem::path& model_path) {
  require(!text_files.empty(), "tokenizer training: expected at least one text file, found none");
  require(vocab_size >= 300,
          "tokenizer training: expected a vocabulary of at least 300 (256 bytes and 3 special ids "
          "come first), found {}",
          vocab_size);
  std::vector<std::string> inputs;
  for (const auto& file : text_files) {
    require(std::filesystem::is_regular_file(file), "tokenizer training: {}: no such file", file.string());
    inputs.push_back(file.string());
  }
  if (model_path.has_parent_path()) make_folder(model_path.parent_path());
  // The settings of the Llama tokenizers: identity normalisation, all white space kept, digits one by one.
  const std::unordered_map<std::string, std::string> options = {
      {"input", join(inputs, ",")},
      {"model_prefix", (model_path.parent_path() / model_path.stem()).string()},
      {"vocab_size", std::to_string(vocab_size)},
      {"model_type", "bpe"},
      {"byte_fallback", "true"},
      {"split_digits", "true"},
      {"normalization_rule_name", "identity"},
      {"remove_extra_whitespaces", "false"},
      {"allow_whitespace_only_pieces", "true"},
      {"character_coverage", "0.9995"},
      {"max_sentence_length", "65536"},
      {"num_threads", "2"},
      {"minloglevel", "2"}};
  const auto status = sentencepiece::SentencePieceTrainer::Train(options);
  require(status.ok(), "tokenizer training of {} ids on {} failed: {}; give more text or a smaller vocabulary",
          vocab_size, join(inputs, ", "), status.ToString());
  const auto written = model_path.parent_path() / (model_path.stem().string() + ".model");
  if (written != model_path) std::filesystem::rename(written, model_path);
}

}  // namespace hymba
