// hymba import and export: models between our checkpoints, Hugging Face folders and llama2.c.
#include "base/error.h"
#include "base/text.h"
#include "cli/context.h"
#include "exchange/export.h"

namespace hymba::cli {
namespace {

void report(const Invocation& invocation, const LoadedModel& loaded, const std::string& to, const std::string& family) {
  const auto params = loaded.model->parameters().count();
  if (invocation.json) {
    print_json({{"model", invocation.arguments[0]}, {"out", to}, {"format", family}, {"params_total", params}});
  } else {
    print_text(fmt::format("{}: {} parameters, {}\n", to, format_count(static_cast<double>(params)), family));
  }
}

void run_export(const Invocation& invocation) {
  const auto format = invocation.get<std::string>("to"), dtype = invocation.get<std::string>("dtype");
  require(format == "hf", "--to {}: expected hf", format);
  const auto loaded = load_model(invocation.arguments[0]);
  const auto family = export_hf(loaded, invocation.arguments[1], dtype);
  report(invocation, loaded, invocation.arguments[1], family);
}

void run_import(const Invocation& invocation) {
  const std::filesystem::path to = invocation.arguments[1];
  require(!std::filesystem::exists(to) || (std::filesystem::is_directory(to) && std::filesystem::is_empty(to)),
          "{}: is there already; import writes a new folder", to.string());
  auto loaded = load_model(invocation.arguments[0]);
  auto state = loaded.state;
  if (invocation.has("tokenizer")) {
    const auto spec = invocation.get<std::string>("tokenizer");
    state.tokenizer = spec == "bytes" ? spec : std::filesystem::absolute(spec).lexically_normal().string();
    open_model_tokenizer(loaded, invocation.arguments[0], state.tokenizer);  // one that does not fit shows now
  }
  state.extra["imported_from"] = invocation.arguments[0];
  save_checkpoint(to, loaded.design, *loaded.model, nullptr, state);
  report(invocation, loaded, to.string(), "checkpoint");
}

}  // namespace

Command export_command() {
  Command c;
  c.name = "export";
  c.summary = "writes a model as a Hugging Face folder (layout of hymba, llama, mistral, mamba or mamba2)";
  c.arguments = "MODEL DIR";
  c.example = "  hymba export runs/row9 out/row9 --to hf";
  c.min_arguments = 2;
  c.max_arguments = 2;
  c.options = [](boost::program_options::options_description& o) {
    namespace po = boost::program_options;
    o.add_options()("to", po::value<std::string>()->default_value("hf"), "hf")(
        "dtype", po::value<std::string>()->default_value("fp32"), "of the weights: fp32, bf16 or fp16");
  };
  c.run = run_export;
  return c;
}

Command import_command() {
  Command c;
  c.name = "import";
  c.summary = "writes any model (Hugging Face folder, llama2.c FILE.bin) as a checkpoint of ours";
  c.arguments = "MODEL DIR";
  c.example = "  hymba import stories260K.bin models/stories --tokenizer tok512.bin";
  c.min_arguments = 2;
  c.max_arguments = 2;
  c.options = [](boost::program_options::options_description& o) {
    namespace po = boost::program_options;
    o.add_options()("tokenizer", po::value<std::string>()->default_value(""), "the model's tokenizer file");
  };
  c.run = run_import;
  return c;
}

}  // namespace hymba::cli
