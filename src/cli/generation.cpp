#include "cli/generation.h"

#include <csignal>

#include "base/error.h"
#include "base/text.h"
#include "exchange/stored_weights.h"

namespace hymba::cli {
namespace {

// Bytes at the end of `text` that begin a UTF-8 character without finishing it.
std::size_t unfinished_bytes(const std::string& text) {
  for (std::size_t back = 1; back <= 3 && back <= text.size(); ++back) {
    const auto byte = static_cast<unsigned char>(text[text.size() - back]);
    if ((byte & 0xC0) == 0x80) continue;
    const std::size_t length = byte >= 0xF0 ? 4 : byte >= 0xE0 ? 3 : byte >= 0xC0 ? 2 : 1;
    return length > back ? back : 0;
  }
  return 0;
}

}  // namespace

Generator open_generator(const Invocation& invocation) {
  std::signal(SIGPIPE, SIG_IGN);  // a reader that has gone is an error of print_text(), not the end of the process
  const auto weights = invocation.get<std::string>("dtype");
  if (weights != "stored") parse_dtype(weights, "--dtype");
  EngineOptions options;
  options.kv_type = parse_dtype(invocation.get<std::string>("kv-dtype"), "--kv-dtype");
  options.chunk = invocation.get<std::int64_t>("chunk");
  options.bf16_products =
      parse_products(invocation.get<std::string>("products"), weights == "stored" ? at::kFloat : parse_dtype(weights, "--dtype"));
  require(options.chunk > 0, "--chunk {}: expected a positive number of tokens", options.chunk);
  sampling_of(invocation).check();
  Generator generator{load_model_as_stored(invocation.arguments[0]), nullptr, nullptr};
  generator.tokenizer = open_model_tokenizer(generator.loaded, invocation.arguments[0], given_tokenizer(invocation));
  if (weights != "stored") generator.loaded.model->set_weight_type(parse_dtype(weights, "--dtype"));
  generator.engine = std::make_unique<Engine>(*generator.loaded.model, options);
  return generator;
}

void add_generation_options(boost::program_options::options_description& o) {
  namespace po = boost::program_options;
  add_tokenizer_option(o);
  o.add_options()("temperature", po::value<double>()->default_value(0),
                  "0: the most probable token; else draws, sharper the smaller")(
      "top-k", po::value<std::int64_t>()->default_value(0), "draw among the k most probable tokens; 0: all")(
      "top-p", po::value<double>()->default_value(1), "draw among the fewest tokens that hold this probability")(
      "dtype", po::value<std::string>()->default_value("stored"), "of the weights: fp32, bf16, fp16, or stored: as the file has them")(
      "kv-dtype", po::value<std::string>()->default_value("fp32"), "of K and V in the cache: fp32, bf16, fp16")(
      "products", po::value<std::string>()->default_value("fp32"), kProductsHelp)(
      "chunk", po::value<std::int64_t>()->default_value(512), "tokens of a prefill pass; changes no result");
}

SamplingOptions sampling_of(const Invocation& invocation) {
  SamplingOptions sampling;
  sampling.temperature = invocation.get<double>("temperature");
  sampling.top_k = invocation.get<std::int64_t>("top-k");
  sampling.top_p = invocation.get<double>("top-p");
  sampling.seed = invocation.seed;
  return sampling;
}

std::vector<std::int64_t> ids_of_option(const std::string& text, const std::string& option) {
  std::vector<std::int64_t> ids;
  for (const auto& word : split(text, ',')) ids.push_back(parse_int(trim(word), option + " (such as 1,2,3)"));
  require(!ids.empty(), "{}: the list is empty; give at least one id", option);
  return ids;
}

std::vector<std::int64_t> prompt_ids(const Tokenizer& tokenizer, const std::string& text, bool bos) {
  const auto encoded = tokenizer.encode(text);
  require(!encoded.empty(), "--prompt: the text is empty; give at least one word");
  std::vector<std::int64_t> ids;
  if (bos && tokenizer.bos() >= 0) ids.push_back(tokenizer.bos());
  ids.insert(ids.end(), encoded.begin(), encoded.end());
  return ids;
}

std::string text_of(const Tokenizer& tokenizer, const std::vector<std::int64_t>& ids) {
  return tokenizer.decode(std::vector<std::int32_t>(ids.begin(), ids.end()));
}

std::string TextStream::push(std::int64_t id) {
  ids_.push_back(id);
  const std::string text = text_of(tokenizer_, ids_);
  const std::size_t whole = text.size() - unfinished_bytes(text);
  if (whole <= shown_) return "";
  const std::string piece = text.substr(shown_, whole - shown_);
  shown_ = whole;
  return piece;
}

std::string TextStream::rest() {
  const std::string text = text_of(tokenizer_, ids_);
  const std::string piece = text.size() > shown_ ? text.substr(shown_) : "";
  shown_ = text.size();
  return piece;
}

}  // namespace hymba::cli
