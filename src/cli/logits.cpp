// hymba logits: a model's logits, and the states of its layers, for parity checks by anyone.
#include <ATen/core/grad_mode.h>

#include "base/error.h"
#include "cli/context.h"
#include "exchange/stored_weights.h"
#include "io/safetensors.h"

namespace hymba::cli {
namespace {

void run_logits_command(const Invocation& invocation) {
  const auto input = invocation.get<std::string>("input");
  require(!input.empty(), "hymba logits: --input FILE.safetensors with input_ids [B, T] is needed");
  require(!invocation.out.empty(), "hymba logits: --out FILE.safetensors is needed");
  const auto file = read_safetensors(input);
  const auto found = file.tensors.find("input_ids");
  require(found != file.tensors.end(), "{}: no tensor 'input_ids'; expected int64 [B, T]", input);
  const auto type = found->second.scalar_type();
  require(found->second.dim() == 2 && found->second.numel() > 0 && (type == at::kLong || type == at::kInt),
          "{}: input_ids: expected int64 [B, T], found {} [{}]", input, at::toString(type),
          fmt::join(found->second.sizes(), ", "));
  const auto loaded = load_model_as_stored(invocation.arguments[0]);
  const at::NoGradGuard no_grad;
  const at::Tensor ids_BT = found->second.to(at::kLong);
  std::map<std::string, at::Tensor> result = {{"logits", loaded.model->logits(loaded.model->forward(ids_BT))}};
  if (invocation.values.count("hidden") != 0) {
    const auto states = loaded.model->hidden_states(ids_BT);
    result["embeddings"] = states[0];
    for (std::size_t i = 1; i < states.size(); ++i) result[fmt::format("layer.{}.output", i - 1)] = states[i];
  }
  write_safetensors(invocation.out, result, {{"format", "pt"}, {"model", invocation.arguments[0]}});
  if (invocation.json) {
    print_json({{"out", invocation.out},
                {"batch", ids_BT.size(0)},
                {"tokens", ids_BT.size(1)},
                {"vocab", loaded.model->config().vocab},
                {"tensors", result.size()}});
  } else {
    print_text(fmt::format("{}: logits [{}]\n", invocation.out, fmt::join(result["logits"].sizes(), ", ")));
  }
}

}  // namespace

Command logits_command() {
  Command c;
  c.name = "logits";
  c.summary = "a model's logits of given token ids, as a safetensors file";
  c.arguments = "MODEL";
  c.example = "  hymba logits FOLDER --input ids.safetensors --out logits.safetensors --hidden";
  c.min_arguments = 1;
  c.max_arguments = 1;
  c.options = [](boost::program_options::options_description& o) {
    namespace po = boost::program_options;
    o.add_options()("input", po::value<std::string>()->default_value(""),
                    "safetensors file with input_ids [B, T] int64")(
        "hidden", "also embeddings [B, M+T, D] (meta tokens in front) and layer.N.output, what leaves block N");
  };
  c.run = run_logits_command;
  return c;
}

}  // namespace hymba::cli
