// hymba generate: continues a prompt.
#include "engine/generate.h"


#include "base/error.h"
#include "base/interrupt.h"
#include "base/log.h"
#include "base/text.h"
#include "cli/generation.h"

namespace hymba::cli {
namespace {

// Shows tokens as they come: text as it is, or one JSON object a token.
class Printer {
 public:
  Printer(const Invocation& invocation, const Tokenizer& tokenizer)
      : json_(invocation.json), stream_(invocation.values.count("stream") != 0), reads_text_(reads_text(tokenizer)), text_(tokenizer) {}

  void token(std::int64_t id) {
    ++count_;
    if (!stream_) return;
    const std::string piece = text_.push(id);
    if (json_) {
      print_json({{"id", id}, {"text", reads_text_ ? nlohmann::json(piece) : nlohmann::json(nullptr)}});
    } else if (!piece.empty()) {
      print_text(piece);
    }
  }
  // The end of what was streamed, also where the run broke off.
  void finish() {
    if (stream_ && !json_ && count_ > 0) print_text(text_.rest() + "\n");
  }
  bool streams() const { return stream_; }
  std::int64_t count() const { return count_; }

 private:
  bool json_, stream_, reads_text_;
  TextStream text_;
  std::int64_t count_ = 0;
};

double rate(std::int64_t tokens, double seconds) { return seconds > 0 ? static_cast<double>(tokens) / seconds : 0; }

void report(const Invocation& invocation, const Generator& g, const GenerateResult& r, bool streamed) {
  const auto& ids = r.ids[0];
  const std::string text = text_of(*g.tokenizer, ids);
  const double prefill = rate(r.prompt_tokens, r.prefill_seconds), decode = rate(r.decoded, r.decode_seconds);
  // A step of one sequence reads every weight once: what that alone moves.
  const double weights =
      static_cast<double>(g.loaded.model->weight_bytes_per_step()) * rate(r.decode_steps, r.decode_seconds);
  if (invocation.json) {
    print_json({{"ids", ids},
                {"text", reads_text(*g.tokenizer) ? nlohmann::json(text) : nlohmann::json(nullptr)},
                {"prefill_tok_s", prefill},
                {"decode_tok_s", decode},
                {"prompt_tokens", r.prompt_tokens},
                {"new_tokens", r.new_tokens},
                {"cache_bytes", r.cache_bytes},
                {"weight_bytes_per_s", weights},
                {"dtype", invocation.get<std::string>("dtype")},
                {"kv_dtype", invocation.get<std::string>("kv-dtype")}});
  } else if (!streamed) {
    print_text(text + "\n");
  }
  log_event(
      "generate prompt_tokens={} new_tokens={} prefill_tok_s={:.1f} decode_tok_s={:.1f} weights_gb_s={:.2f} "
      "cache_mb={:.3f}",
      r.prompt_tokens, r.new_tokens, prefill, decode, weights / 1e9, static_cast<double>(r.cache_bytes) / 1e6);
}

void run_generate_command(const Invocation& invocation) {
  require(invocation.has("prompt") != invocation.has("prompt-ids"),
          "generate: give one of --prompt TEXT and --prompt-ids 1,2,3");
  const auto max_new = invocation.whole("max-new-tokens", 1, kMostTokens);
  std::vector<std::int64_t> given;
  if (invocation.has("prompt-ids")) given = ids_of_option(invocation.get<std::string>("prompt-ids"), "--prompt-ids");
  require(!invocation.has("prompt") || !invocation.get<std::string>("prompt").empty(),
          "--prompt: the text is empty; give at least one word");
  const Generator g = open_generator(invocation);
  const std::vector<Prompt> prompts = {
      {given.empty() ? prompt_ids(*g.tokenizer, invocation.get<std::string>("prompt"), true) : given, max_new}};
  Printer printer(invocation, *g.tokenizer);
  GenerateOptions options;
  options.batch = 1;
  options.sampling = sampling_of(invocation);
  options.eos = invocation.values.count("ignore-eos") != 0 ? -1 : g.tokenizer->eos();
  options.on_token = [&](std::size_t, std::int64_t id) {
    printer.token(id);
    return true;
  };
  GenerateResult result;
  try {
    result = generate(*g.engine, prompts, options);
  } catch (const Interrupted&) {
    printer.finish();
    throw Interrupted(fmt::format("interrupted after {} new tokens", printer.count()));
  }
  printer.finish();
  report(invocation, g, result, printer.streams());
}

}  // namespace

Command generate_command() {
  Command c;
  c.name = "generate";
  c.summary = "continues a prompt: greedy or sampled, with the model's caches";
  c.arguments = "MODEL";
  c.example =
      "  hymba generate runs/row9 --prompt \"the\" --max-new-tokens 40 --stream\n"
      "  hymba generate runs/row9 --prompt-ids 1,2,3 --max-new-tokens 20 --temperature 0.8 --top-p 0.9 --seed 7 "
      "--format json";
  c.min_arguments = 1;
  c.max_arguments = 1;
  c.options = [](boost::program_options::options_description& o) {
    namespace po = boost::program_options;
    o.add_options()("prompt", po::value<std::string>(),
                    "text to continue; bos is put in front where the vocabulary has one")(
        "prompt-ids", po::value<std::string>(), "token ids to continue, taken as they are: 1,2,3")(
        "max-new-tokens", po::value<std::int64_t>()->default_value(64), "tokens at most; eos ends before")(
        "ignore-eos", "go on behind eos")("stream",
                                          "show tokens as they come; with --format json one object a token first");
    add_generation_options(o);
  };
  c.run = run_generate_command;
  return c;
}

}  // namespace hymba::cli
