// hymba tokenize: text as token ids and back; files of ids for training; how fast that is.
#include <cstring>

#include "base/error.h"
#include "base/files.h"
#include "base/log.h"
#include "base/text.h"
#include "cli/generation.h"

namespace hymba::cli {
namespace {

constexpr std::size_t kShown = 200;  // ids that a file's JSON line or text shows

// Raw little-endian ids and the sidecar that says how to read them: what --data takes as FILE.bin.
void write_token_file(const std::string& path, const std::vector<std::int32_t>& ids, std::int32_t vocab_size) {
  require(path.ends_with(".bin"), "tokenize: --out {}: expected FILE.bin, as --data reads it", path);
  const std::size_t width = vocab_size <= 65536 ? 2 : 4;
  std::string bytes(ids.size() * width, '\0');
  for (std::size_t i = 0; i < ids.size(); ++i) std::memcpy(bytes.data() + i * width, &ids[i], width);
  write_file_atomic(path, bytes);
  const nlohmann::json sidecar = {{"dtype", width == 2 ? "uint16" : "uint32"}, {"vocab_size", vocab_size}};
  write_file_atomic(path + ".json", sidecar.dump() + "\n");
}

void decode_ids(const Invocation& invocation, const Tokenizer& tokenizer) {
  std::vector<std::int32_t> ids;
  for (const auto id : ids_of_option(invocation.get<std::string>("decode"), "--decode")) {
    require(id >= 0 && id < tokenizer.vocab_size(), "--decode: id {} is outside the vocabulary of {}", id, tokenizer.vocab_size());
    ids.push_back(static_cast<std::int32_t>(id));
  }
  const std::string text = tokenizer.decode(ids);
  if (invocation.json) print_json({{"tokenizer", tokenizer.name()}, {"tokens", ids.size()}, {"ids", ids}, {"text", text}});
  else print_text(text + "\n");
}

void encode_text(const Invocation& invocation, const Tokenizer& tokenizer, const std::string& text) {
  const auto repeats = invocation.get<int>("repeats");
  require(repeats > 0, "tokenize: --repeats {}: expected 1 or more", repeats);
  std::vector<std::int32_t> ids;
  double best = 0;
  for (int r = 0; r < repeats; ++r) {
    const Stopwatch watch;
    ids = invocation.values.count("special") != 0 ? tokenizer.encode_with_special(text) : tokenizer.encode(text);
    best = r == 0 ? watch.seconds() : std::min(best, watch.seconds());
  }
  if (!invocation.out.empty()) write_token_file(invocation.out, ids, tokenizer.vocab_size());
  const double rate = best > 0 ? static_cast<double>(text.size()) / best / 1e6 : 0;
  const std::size_t shown = invocation.has("text") ? ids.size() : std::min(ids.size(), kShown);
  const std::vector<std::int32_t> head(ids.begin(), ids.begin() + static_cast<std::ptrdiff_t>(shown));
  if (invocation.json) {
    print_json({{"tokenizer", tokenizer.name()}, {"vocab_size", tokenizer.vocab_size()}, {"bytes", text.size()}, {"tokens", ids.size()},
                {"ids", head}, {"mb_per_s", rate}, {"out", invocation.out}});
    return;
  }
  print_text(fmt::format("{}: {} bytes, {} tokens, {:.2f} bytes a token, {:.1f} MB/s\n{}{}\n", tokenizer.name(), text.size(), ids.size(),
                         ids.empty() ? 0.0 : static_cast<double>(text.size()) / static_cast<double>(ids.size()), rate, fmt::join(head, ","),
                         shown < ids.size() ? ", ..." : ""));
}

void run_tokenize_command(const Invocation& invocation) {
  const int given = static_cast<int>(invocation.has("text")) + static_cast<int>(invocation.has("input")) + static_cast<int>(invocation.has("decode"));
  require(given == 1, "tokenize: give one of --text TEXT, --input FILE and --decode 1,2,3");
  const auto tokenizer = open_tokenizer(invocation.arguments[0]);
  if (invocation.has("decode")) return decode_ids(invocation, *tokenizer);
  encode_text(invocation, *tokenizer, invocation.has("text") ? invocation.get<std::string>("text") : read_file(invocation.get<std::string>("input")));
}

}  // namespace

Command tokenize_command() {
  Command c;
  c.name = "tokenize";
  c.summary = "text as token ids and back; files of ids for training; MB/s";
  c.arguments = "TOKENIZER";
  c.example =
      "  hymba tokenize FOLDER --text 'Once upon a time'\n  hymba tokenize llama2.model --input corpus.txt --out corpus.bin\n"
      "  hymba tokenize tokenizer.json --decode 15496,995";
  c.min_arguments = c.max_arguments = 1;
  c.options = [](boost::program_options::options_description& o) {
    namespace po = boost::program_options;
    o.add_options()("text", po::value<std::string>(), "the text itself")("input", po::value<std::string>(), "a file of text, taken as one text")(
        "decode", po::value<std::string>(), "ids to turn into text: 1,2,3")("special", "with what the tokenizer puts around a text (bos, eos)")(
        "repeats", po::value<int>()->default_value(1), "times to encode; the fastest gives MB/s");
  };
  c.run = run_tokenize_command;
  return c;
}

}  // namespace hymba::cli
