// hymba show: one design: layers, parameters, cache, operations; or the difference of two.
#include <algorithm>
#include <cmath>
#include <set>

#include "base/error.h"
#include "base/text.h"
#include "cli/context.h"
#include "cli/design_argument.h"
#include "reports/table.h"

namespace hymba::cli {
namespace {

constexpr double kContext = 8000;  // tokens, as in the paper's Table 1

nlohmann::json layer_json(const Sublayer& sublayer, const ModelConfig& config) {
  nlohmann::json json = {{"index", sublayer.layer()}, {"mixer", sublayer.text()}, {"window", nullptr}, {"kv_source", nullptr}, {"meta", config.meta_tokens}};
  for (std::size_t i = 0; i < sublayer.mixers().size(); ++i) {
    for (const auto& [key, value] : sublayer.mixers()[i]->facts()) {
      if (key == "window") {
        json["window"] = value < 0 ? nlohmann::json("full") : nlohmann::json(value);
      } else if (key == "kv_source") {
        json["kv_source"] = value;
      } else {
        json[sublayer.mixer_names()[i]][key] = value;
      }
    }
  }
  return json;
}

nlohmann::json describe(const Design& design, const LanguageModel& model) {
  const auto counts = model.param_counts();
  nlohmann::json layers = nlohmann::json::array();
  for (const auto& sublayer : model.sublayers()) layers.push_back(layer_json(*sublayer, model.config()));
  CacheQuery query;
  const auto cache_mb = [&](Accounting accounting) {
    query.accounting = accounting;
    return model.cache_bytes(query).total() / 1e6;
  };
  nlohmann::json config = nlohmann::json::object(), origin = nlohmann::json::object();
  for (const auto& [key, value] : design.resolved().resolved()) {
    config[key] = value.value;
    origin[key] = value.origin;
  }
  return {{"design", design.name()}, {"size", design.size()}, {"title", design.title}, {"group", design.group}, {"row", design.row},
          {"layers", layers}, {"params_total", counts.total}, {"params_attention", counts.attention}, {"params_mamba", counts.mamba},
          {"params_other", counts.other}, {"params_embedding", counts.embedding}, {"params_meta", counts.meta},
          {"ratio", counts.ratio_text()}, {"flops_per_token", model.flops_per_token(kContext)}, {"context", kContext},
          {"cache_mb_paper", cache_mb(Accounting::kPaper)}, {"cache_mb_exact", cache_mb(Accounting::kExact)},
          {"config_hash", design.hash()}, {"config", config}, {"origin", origin}};
}

std::string layer_text(const nlohmann::json& layer) {
  std::string text = fmt::format("  {:>3}  {:<28}", layer["index"].get<int>(), layer["mixer"].get<std::string>());
  if (!layer["window"].is_null()) {
    const bool full = layer["window"].is_string();
    text += full ? "full attention" : fmt::format("window {}", layer["window"].get<int>());
    if (layer["kv_source"] != layer["index"]) text += fmt::format(", K and V of layer {}", layer["kv_source"].get<int>());
  }
  while (!text.empty() && text.back() == ' ') text.pop_back();
  return text + "\n";
}

std::string text_of(const nlohmann::json& d, const Resolver& resolver) {
  std::string text = fmt::format("{}  {}  ({})\n\n", d["design"].get<std::string>(), d["title"].get<std::string>(), d["size"].get<std::string>());
  for (const auto& layer : d["layers"]) text += layer_text(layer);
  const auto millions = [&](const char* key) { return fmt::format("{:.2f} M", d[key].get<double>() / 1e6); };
  text += fmt::format("\nparameters   {} ({})\n", millions("params_total"), d["params_total"].get<std::int64_t>());
  text += fmt::format("  attention  {}   mamba {}   attention:mamba {}\n", millions("params_attention"), millions("params_mamba"), d["ratio"].get<std::string>());
  text += fmt::format("  embedding  {}   meta tokens {}   FFN and norms {}\n", millions("params_embedding"), millions("params_meta"), millions("params_other"));
  text += fmt::format("cache at {} tokens, 16-bit   {:.2f} MB by the paper's accounting, {:.2f} MB exactly\n", kContext, d["cache_mb_paper"].get<double>(), d["cache_mb_exact"].get<double>());
  text += fmt::format("operations   {} a token at {} tokens\n\n", format_count(d["flops_per_token"].get<double>()), kContext);
  return text + resolver.text_with_origin();
}

void show_diff(const Invocation& invocation, const nlohmann::json& a, const nlohmann::json& b) {
  nlohmann::json changes = nlohmann::json::object();
  std::set<std::string> keys;
  for (const auto& side : {a, b}) {
    for (const auto& [key, value] : side["config"].items()) keys.insert(key);
  }
  const auto value = [](const nlohmann::json& side, const std::string& key) { return side["config"].contains(key) ? side["config"][key] : nlohmann::json(nullptr); };
  for (const auto& key : keys) {
    if (value(a, key) != value(b, key)) changes[key] = {value(a, key), value(b, key)};
  }
  for (const char* key : {"params_total", "params_attention", "params_mamba", "ratio", "flops_per_token", "cache_mb_paper", "cache_mb_exact"}) {
    if (a[key] != b[key]) changes[key] = {a[key], b[key]};
  }
  if (invocation.json) {
    print_json({{"design", a["design"]}, {"other", b["design"]}, {"size", a["size"]}, {"diff", changes}});
    return;
  }
  reports::Table table({{"", reports::Align::kLeft}, {a["design"].get<std::string>()}, {b["design"].get<std::string>()}});
  const auto word = [](const nlohmann::json& v) {
    return v.is_null() ? std::string("-") : v.is_string() ? v.get<std::string>() : v.is_number_integer() ? v.dump() : fmt::format("{:.6g}", v.get<double>());
  };
  for (const auto& [key, pair] : changes.items()) table.add_row({{key}, {word(pair[0])}, {word(pair[1])}});
  print_text(changes.empty() ? "no difference\n" : table.to_terminal({terminal_width(), use_colour()}));
}

void list_designs(const Invocation& invocation) {
  const auto library = open_designs();
  for (const auto& name : library.names()) {
    const auto design = library.open(name, "", {});
    if (invocation.json) {
      print_json({{"design", name}, {"title", design.title}, {"group", design.group}, {"row", design.row}, {"from", design.from}});
    } else {
      print_text(fmt::format("{:<14} {:<34} {}\n", name, design.title, design.from.empty() ? "" : "from " + design.from));
    }
  }
}

void list_keys(const Invocation& invocation) {
  for (const auto& [key, parameter, description] : describe_design_keys()) {
    if (invocation.json) {
      print_json({{"key", key}, {"default", parameter}, {"description", description}});
    } else {
      print_text(fmt::format("{:<26} {:<22} {}\n", key, parameter, description));
    }
  }
}

void run_show_command(const Invocation& invocation) {
  if (invocation.values.count("keys") != 0) return list_keys(invocation);
  if (invocation.arguments.empty() && !invocation.has("diff")) return list_designs(invocation);
  const auto size = invocation.get<std::string>("size");
  std::vector<std::string> specs = invocation.arguments;
  if (invocation.has("diff")) specs.push_back(invocation.get<std::string>("diff"));
  require(specs.size() == (invocation.has("diff") ? 2u : 1u), "hymba show: expected one design, or two with --diff");
  std::vector<nlohmann::json> described;
  for (const auto& spec : specs) {
    const auto opened = open_design_argument(spec, size, invocation);
    described.push_back(describe(*opened.design, *opened.model));
    if (specs.size() > 1) continue;
    invocation.json ? print_json(described[0]) : print_text(text_of(described[0], opened.design->resolved()));
  }
  if (specs.size() == 2) show_diff(invocation, described[0], described[1]);
}

}  // namespace

Command show_command() {
  Command c;
  c.name = "show";
  c.summary = "a design: its layers, parameters, cache and operations; without one, all designs";
  c.arguments = "[DESIGN|MODEL]";
  c.example = "  hymba show 9\n  hymba show hymba-1.5b --format json\n  hymba show 8 --diff 9\n  hymba show --keys";
  c.max_arguments = 2;
  c.overrides.design = true;
  c.options = [](boost::program_options::options_description& o) {
    namespace po = boost::program_options;
    o.add_options()("size", po::value<std::string>()->default_value("paper"), "paper, quick or smoke")(
        "diff", po::value<std::string>()->default_value(""), "another design; shows what differs")("keys", "every key a design may have");
  };
  c.run = run_show_command;
  return c;
}

}  // namespace hymba::cli
