// hymba chat: a person and a model take turns in one context; the caches keep what was said.
#include <unistd.h>

#include <csignal>
#include <iostream>

#include "base/error.h"
#include "base/interrupt.h"
#include "base/log.h"
#include "base/text.h"
#include "cli/generation.h"

namespace hymba::cli {
namespace {

constexpr std::string_view kPlace = "{}";

// The synthetic world's tokenizer knows words alone, no line breaks.
std::string turn_of(const Invocation& invocation, const Generator& generator) {
  const bool words = is_world_spec(generator.loaded.state.tokenizer) && given_tokenizer(invocation).empty() && !invocation.has("turn");
  return words ? std::string(kPlace) : invocation.get<std::string>("turn");
}

class Conversation {
 public:
  Conversation(const Invocation& invocation, const Generator& generator)
      : generator_(generator),
        sampling_(sampling_of(invocation)),
        max_new_(invocation.get<std::int64_t>("max-new-tokens")),
        turn_(turn_of(invocation, generator)),
        stop_(invocation.get<std::string>("stop")),
        batch_(generator.engine->open(1, invocation.get<std::int64_t>("context"))) {}

  void reset() {
    batch_->restart(0);
    turns_ = 0;
    pending_.clear();
  }

  void answer(const std::string& said) {
    const auto place = turn_.find(kPlace);
    const std::string text = turn_.substr(0, place) + said + turn_.substr(place + kPlace.size());
    auto ids = prompt_ids(*generator_.tokenizer, text, turns_ == 0);
    ids.insert(ids.begin(), pending_.begin(), pending_.end());
    pending_.clear();
    require(batch_->length(0) + static_cast<std::int64_t>(ids.size()) < batch_->context(),
            "the context of {} tokens is full; /reset starts anew, --context N gives more", batch_->context());
    at::Tensor logits = batch_->prefill(0, ids).to(at::kCPU);
    speak(logits, Sampler(sampling_, static_cast<std::uint64_t>(turns_++)));
  }

 private:
  void speak(at::Tensor logits, Sampler sampler) {
    TextStream stream(*generator_.tokenizer);
    std::string text;
    for (std::int64_t n = 0; n < max_new_; ++n) {
      const std::int64_t id = sampler.next({logits.const_data_ptr<float>(), static_cast<std::size_t>(logits.numel())});
      pending_ = {id};  // chosen, not yet in the cache
      if (id == generator_.tokenizer->eos()) break;
      const std::string piece = stream.push(id);
      text += piece;
      if (!stop_.empty() && text.find(stop_) != std::string::npos) break;
      print_text(piece);
      if (interrupted()) throw Interrupted("interrupted");
      if (batch_->length(0) + 1 >= batch_->context()) break;
      logits = batch_->step(std::vector<std::int64_t>{id}).select(0, 0).to(at::kCPU);
    }
    print_text(stream.rest() + "\n");
  }

  const Generator& generator_;
  SamplingOptions sampling_;
  std::int64_t max_new_, turns_ = 0;
  std::string turn_, stop_;
  std::unique_ptr<Batch> batch_;
  std::vector<std::int64_t> pending_;
};

// Ctrl-C also ends the wait for a line.
void end_reads_on_interrupt() {
  struct sigaction action {};
  ::sigaction(SIGINT, nullptr, &action);
  action.sa_flags &= ~SA_RESTART;
  ::sigaction(SIGINT, &action, nullptr);
}

void run_chat_command(const Invocation& invocation) {
  require(!invocation.json, "chat is for a person at a terminal; use generate --format json");
  require(invocation.get<std::string>("turn").find(kPlace) != std::string::npos,
          "--turn: expected {{}} where what you say belongs");
  invocation.whole("max-new-tokens", 1, kMostTokens);
  invocation.whole("context", 1, kMostTokens);
  const Generator generator = open_generator(invocation);
  require_text(*generator.tokenizer, invocation.arguments[0]);
  Conversation conversation(invocation, generator);
  end_reads_on_interrupt();
  const bool terminal = ::isatty(STDIN_FILENO) == 1;
  if (terminal) log_line("/reset forgets, /quit or ctrl-D ends");
  std::string line;
  while (true) {
    if (terminal) print_text("> ");
    if (!std::getline(std::cin, line)) break;
    if (trim(line) == "/quit") break;
    if (trim(line) == "/reset") {
      conversation.reset();
    } else if (!trim(line).empty()) {
      try {
        conversation.answer(line);
      } catch (const UserError& error) {
        log_line(error.what());
      }
    }
  }
  if (interrupted()) throw Interrupted("interrupted");
}

}  // namespace

Command chat_command() {
  Command c;
  c.name = "chat";
  c.summary = "a conversation with a model at the terminal";
  c.arguments = "MODEL";
  c.example =
      "  hymba chat runs/row9 --temperature 0.7\n  hymba chat model --turn \"User: {}\\nAssistant:\" --stop \"User:\"";
  c.min_arguments = 1;
  c.max_arguments = 1;
  c.options = [](boost::program_options::options_description& o) {
    namespace po = boost::program_options;
    o.add_options()("turn", po::value<std::string>()->default_value("{}\n"),
                    "how a turn of yours is given to the model; {} is what you said")(
        "stop", po::value<std::string>()->default_value("\n"), "text that ends the model's turn")(
        "max-new-tokens", po::value<std::int64_t>()->default_value(256), "tokens of one answer at most")(
        "context", po::value<std::int64_t>()->default_value(4096), "tokens of the whole conversation");
    add_generation_options(o);
  };
  c.may_be_empty = {"stop"};
  c.run = run_chat_command;
  return c;
}

}  // namespace hymba::cli
