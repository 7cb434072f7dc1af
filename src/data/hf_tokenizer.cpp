#include "data/hf_tokenizer.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/files.h"
#include "base/rng.h"
#include "base/text.h"
#include "data/added_tokens.h"
#include "data/bpe.h"
#include "data/hf_decoder.h"
#include "data/hf_node.h"
#include "data/hf_normalizer.h"
#include "data/hf_post_processor.h"
#include "data/hf_pre_tokenizer.h"
#include "data/utf8.h"

namespace hymba {

namespace {

using hf::Node;
using nlohmann::json;

class HfTokenizer final : public Tokenizer {
 public:
  HfTokenizer(const Node& root, std::string name, std::uint64_t hash, const SpecialNames& names);

  std::string name() const override { return name_; }
  std::int32_t vocab_size() const override {
    return std::max(bpe_->vocabulary().size(), static_cast<std::int32_t>(added_.size()));
  }
  std::int32_t bos() const override { return bos_; }
  std::int32_t eos() const override { return eos_; }
  std::uint64_t hash() const override { return hash_; }
  std::vector<std::int32_t> encode(std::string_view text) const override;
  std::vector<std::int32_t> encode_with_special(std::string_view text) const override;
  std::string decode(std::span<const std::int32_t> ids) const override;

 private:
  void encode_part(std::string text, bool at_start, std::vector<std::int32_t>& ids) const;
  void read_added_tokens(const Node& root);
  void find_special_ids(const SpecialNames& names);
  std::int32_t id_of(const std::string& token) const;  // -1: there is none

  std::string name_;
  std::uint64_t hash_;
  hf::Normalizer normalizer_;
  hf::PreTokenizer pre_tokenizer_;
  hf::Decoder decoder_;
  hf::SpecialFrame frame_;
  std::unique_ptr<Bpe> bpe_;
  AddedTokens raw_, normalized_;   // those looked for before and after the normalizer
  std::vector<AddedToken> added_;  // by id; an empty content: no added token
  std::int32_t bos_ = -1, eos_ = -1;
};

// Tables are indexed by ids, so a few tokens may not have a huge one; some gaps there are.
std::int32_t checked_id(const json& value, std::size_t tokens, const std::string& where) {
  const std::size_t limit = 2 * tokens + 65536;
  require(value.is_number_unsigned() && value.get<std::uint64_t>() < limit, "{}: expected an id below {}, found {}",
          where, limit, value.is_number() ? value.dump() : value.type_name());
  return value.get<std::int32_t>();
}

// "a b" or ["a", "b"].
Bpe::TextPair merge_of(const json& value, const std::string& where) {
  if (value.is_string()) {
    const std::string text = value.get<std::string>();
    const std::size_t space = text.find(' ');
    require(space != std::string::npos && text.find(' ', space + 1) == std::string::npos,
            "{}: expected two parts with a space between, found '{}'", where, text);
    return {text.substr(0, space), text.substr(space + 1)};
  }
  require(value.is_array() && value.size() == 2 && value[0].is_string() && value[1].is_string(),
          "{}: expected \"a b\" or [\"a\", \"b\"], found {}", where, value.type_name());
  return {value[0].get<std::string>(), value[1].get<std::string>()};
}

std::unique_ptr<Bpe> read_bpe(const Node& model) {
  // Files of before 2020 name no type.
  const std::string type = model.text("type", "BPE");
  require(type == "BPE", "{}: expected a model of the type BPE, found {}; this kind is not supported", model.where(),
          type);
  require(!model.has("dropout") || model.at("dropout") == 0.0, "{}: expected no dropout, found one; set it to null",
          model.where());
  Vocabulary vocabulary;
  const Node vocab = model.child("vocab");
  for (const auto& [text, id] : vocab.value().items()) {
    const std::int32_t number = checked_id(id, vocab.value().size(), fmt::format("{} '{}'", vocab.where(), text));
    const std::string* other = vocabulary.text(number);
    require(other == nullptr, "{}: expected one token an id, found '{}' and '{}' at {}", vocab.where(),
            other == nullptr ? "" : *other, text, number);
    vocabulary.add(text, number);
  }
  const auto& list = model.at("merges");
  require(list.is_array(), "{}: expected a list of merges, found {}", model.where(), list.type_name());
  std::vector<Bpe::TextPair> merges;
  for (std::size_t i = 0; i < list.size(); ++i)
    merges.push_back(merge_of(list[i], fmt::format("{}.merges[{}]", model.where(), i)));
  BpeOptions options;
  options.unknown = model.text("unk_token", "");
  options.continuing_prefix = model.text("continuing_subword_prefix", "");
  options.end_suffix = model.text("end_of_word_suffix", "");
  options.byte_fallback = model.flag("byte_fallback", false);
  options.fuse_unknown = model.flag("fuse_unk", false);
  options.ignore_merges = model.flag("ignore_merges", false);
  return std::make_unique<Bpe>(std::move(vocabulary), merges, std::move(options), model.where());
}

HfTokenizer::HfTokenizer(const Node& root, std::string name, std::uint64_t hash, const SpecialNames& names)
    : name_(std::move(name)), hash_(hash), bpe_(read_bpe(root.child("model"))) {
  if (root.has("normalizer")) normalizer_ = hf::make_normalizer(root.child("normalizer"));
  if (root.has("pre_tokenizer")) pre_tokenizer_ = hf::make_pre_tokenizer(root.child("pre_tokenizer"));
  if (root.has("decoder")) decoder_ = hf::make_decoder(root.child("decoder"));
  if (root.has("post_processor")) frame_ = hf::make_special_frame(root.child("post_processor"));
  if (root.has("added_tokens")) read_added_tokens(root);
  find_special_ids(names);
  for (const auto* list : {&frame_.before, &frame_.after}) {
    for (const std::int32_t id : *list) {
      require(id >= 0 && id < vocab_size(), "{}.post_processor: expected ids below {}, found {}", root.where(),
              vocab_size(), id);
    }
  }
}

void HfTokenizer::read_added_tokens(const Node& root) {
  const auto nodes = root.children("added_tokens");
  const std::size_t known = nodes.size() + static_cast<std::size_t>(bpe_->vocabulary().size());
  for (const auto& node : nodes) {
    AddedToken token{node.text("content"),
                     checked_id(node.at("id"), known, node.where()),
                     node.flag("single_word", false),
                     node.flag("lstrip", false),
                     node.flag("rstrip", false),
                     node.flag("normalized", true),
                     node.flag("special", false)};
    // A text of the vocabulary keeps the id that it has there.
    if (const std::int32_t id = bpe_->vocabulary().find(token.content); id >= 0) token.id = id;
    const auto at = static_cast<std::size_t>(token.id);
    if (at >= added_.size()) added_.resize(at + 1);
    require(added_[at].content.empty() || added_[at].content == token.content,
            "{}: expected one token an id, found '{}' and '{}' at {}", node.where(), added_[at].content, token.content,
            at);
    added_[at] = token;
  }
  for (const auto& token : added_) {
    if (token.content.empty()) continue;
    AddedToken pattern = token;
    if (token.normalized && normalizer_) pattern.content = normalizer_(token.content);
    (token.normalized ? normalized_ : raw_).add(std::move(pattern));
  }
}

std::int32_t HfTokenizer::id_of(const std::string& token) const {
  for (const auto& added : added_) {
    if (!token.empty() && added.content == token) return added.id;
  }
  return bpe_->vocabulary().find(token);
}

void HfTokenizer::find_special_ids(const SpecialNames& names) {
  const auto first_of = [&](std::initializer_list<const char*> candidates) {
    for (const char* candidate : candidates) {
      if (const std::int32_t id = id_of(candidate); id >= 0) return id;
    }
    return std::int32_t{-1};
  };
  if (names.known) {
    if (!names.eos.empty()) eos_ = id_of(names.eos);
    if (names.adds_bos == 1 && frame_.before.empty() && id_of(names.bos) >= 0) frame_.before = {id_of(names.bos)};
    if (names.adds_bos == 0) frame_.before.clear();
  } else {
    eos_ = !frame_.after.empty() ? frame_.after.back()
                                 : first_of({"</s>", "<|endoftext|>", "<|end_of_text|>", "<eos>", "[EOS]", "<|im_end|>",
                                             "<|endofsentence|>", "[SEP]"});
  }
  if (!frame_.before.empty()) bos_ = frame_.before.front();
}

void HfTokenizer::encode_part(std::string text, bool at_start, std::vector<std::int32_t>& ids) const {
  if (normalizer_) text = normalizer_(std::move(text));
  normalized_.split(text, [&](std::string_view part, std::int32_t id, std::size_t offset) {
    if (id >= 0) {
      ids.push_back(id);
      return;
    }
    std::vector<hf::Piece> pieces{{std::string(part), at_start && offset == 0}};
    if (pre_tokenizer_) pre_tokenizer_(pieces);
    for (const auto& piece : pieces) bpe_->encode(piece.text, ids);
  });
}

std::vector<std::int32_t> HfTokenizer::encode(std::string_view text) const {
  std::string repaired;
  if (find_utf8_errors(text).count > 0) text = repaired = replace_utf8_sequences(text);
  std::vector<std::int32_t> ids;
  raw_.split(text, [&](std::string_view part, std::int32_t id, std::size_t offset) {
    if (id >= 0) {
      ids.push_back(id);
    } else {
      encode_part(std::string(part), offset == 0, ids);
    }
  });
  return ids;
}

std::vector<std::int32_t> HfTokenizer::encode_with_special(std::string_view text) const {
  std::vector<std::int32_t> ids = frame_.before;
  const auto body = encode(text);
  ids.insert(ids.end(), body.begin(), body.end());
  ids.insert(ids.end(), frame_.after.begin(), frame_.after.end());
  return ids;
}

std::string HfTokenizer::decode(std::span<const std::int32_t> ids) const {
  std::vector<std::string> tokens;
  for (const std::int32_t id : ids) {
    if (id < 0) continue;
    const auto at = static_cast<std::size_t>(id);
    if (at < added_.size() && !added_[at].content.empty()) {
      if (!added_[at].special) tokens.push_back(added_[at].content);
    } else if (const std::string* text = bpe_->vocabulary().text(id); text != nullptr) {
      tokens.push_back(*text);
    }
  }
  // Python joins by spaces where no decoder says otherwise.
  return decoder_ ? join(decoder_(std::move(tokens)), "") : join(tokens, " ");
}

// A name, or an object with the name in "content".
std::string token_name(const json& config, const char* key) {
  if (!config.contains(key)) return "";
  const json& value = config[key];
  if (value.is_string()) return value.get<std::string>();
  return value.is_object() && value.contains("content") && value["content"].is_string()
             ? value["content"].get<std::string>()
             : "";
}

}  // namespace

SpecialNames read_special_names(const std::filesystem::path& tokenizer_config) {
  if (!std::filesystem::is_regular_file(tokenizer_config)) return {};
  const json config = json::parse(read_file(tokenizer_config), nullptr, false);
  require(config.is_object(), "{}: expected a JSON object, found something else", tokenizer_config.string());
  SpecialNames names{true, token_name(config, "bos_token"), token_name(config, "eos_token"), -1};
  if (config.contains("add_bos_token") && config["add_bos_token"].is_boolean())
    names.adds_bos = config["add_bos_token"].get<bool>();
  return names;
}

std::unique_ptr<Tokenizer> parse_hf_tokenizer(std::string_view text, const std::string& name,
                                              const SpecialNames& names) {
  const json root = json::parse(text, nullptr, false);
  require(!root.is_discarded(), "tokenizer {}: expected JSON, found something else; is the file whole?", name);
  std::uint64_t hash = hash64(text, hash64("tokenizer hf"));
  hash = hash64(fmt::format("{} {} {}", names.bos, names.eos, names.adds_bos), hash);
  return std::make_unique<HfTokenizer>(Node(root, "tokenizer " + name), name, hash, names);
}

std::unique_ptr<Tokenizer> parse_gpt2_tokenizer(std::string_view vocab_json, std::string_view merges,
                                                const std::string& name) {
  json vocab = json::parse(vocab_json, nullptr, false);
  require(vocab.is_object(),
          "tokenizer {}: expected a JSON object of tokens and ids as vocabulary, found something else", name);
  json list = json::array(), added = json::array();
  bool first = true;
  for (const auto& line : split(merges, '\n')) {
    const std::string pair = line.ends_with('\r') ? line.substr(0, line.size() - 1) : line;
    const bool version = first && pair.starts_with("#version");
    first = false;
    if (!version && !pair.empty()) list.push_back(pair);
  }
  if (vocab.contains("<|endoftext|>")) {
    added.push_back(
        {{"id", vocab["<|endoftext|>"]}, {"content", "<|endoftext|>"}, {"normalized", false}, {"special", true}});
  }
  const json level = {{"type", "ByteLevel"}, {"add_prefix_space", false}};
  const json root = {{"added_tokens", added},
                     {"pre_tokenizer", level},
                     {"decoder", level},
                     {"model", {{"type", "BPE"}, {"vocab", std::move(vocab)}, {"merges", std::move(list)}}}};
  const std::uint64_t hash = hash64(merges, hash64(vocab_json, hash64("tokenizer gpt2")));
  return std::make_unique<HfTokenizer>(Node(root, "tokenizer " + name), name, hash, SpecialNames{});
}

}  // namespace hymba
