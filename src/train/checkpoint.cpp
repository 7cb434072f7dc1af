#include "train/checkpoint.h"

#include <ATen/core/grad_mode.h>
#include <unistd.h>

#include <algorithm>

#include "base/error.h"
#include "base/files.h"
#include "base/text.h"
#include "io/safetensors.h"

namespace hymba {
namespace fs = std::filesystem;
namespace {

constexpr const char* kStep = "step-";

std::vector<fs::path> checkpoints(const fs::path& run) {
  std::vector<fs::path> found;
  if (!fs::is_directory(run)) return found;
  for (const auto& entry : fs::directory_iterator(run)) {
    const auto name = entry.path().filename().string();
    if (starts_with(name, kStep) && name.find(".part") == std::string::npos && fs::exists(entry.path() / "state.json")) {
      found.push_back(entry.path());
    }
  }
  std::sort(found.begin(), found.end());
  return found;
}

template <class T>
T field(const nlohmann::json& json, const char* key, const fs::path& file) {
  require(json.contains(key), "{}: \"{}\" is missing; the checkpoint is damaged", file.string(), key);
  try {
    return json[key].get<T>();
  } catch (const nlohmann::json::exception&) {
    user_error("{}: \"{}\" has the wrong type: {}", file.string(), key, json[key].dump());
  }
}

bool is_curve(const nlohmann::json& curve) {
  return curve.is_array() && std::all_of(curve.begin(), curve.end(), [](const nlohmann::json& point) {
           return point.is_array() && point.size() >= 4 &&
                  std::all_of(point.begin(), point.end(), [](const nlohmann::json& x) { return x.is_number(); });
         });
}

}  // namespace

void save_checkpoint(const fs::path& folder, const Design& design, const LanguageModel& model, const Optimizer* optimizer,
                     const CheckpointState& s) {
  const fs::path part = fmt::format("{}.part{}", folder.string(), ::getpid());
  if (part.has_parent_path()) make_folder(part.parent_path());
  fs::remove_all(part);
  make_folder(part);
  std::map<std::string, at::Tensor> weights;
  for (const auto& parameter : model.parameters().all()) weights[parameter.name] = parameter.value;
  try {
    write_safetensors(part / "model.safetensors", weights, {{"format", "hymba"}});
    if (optimizer != nullptr) write_safetensors(part / "optimizer.safetensors", optimizer->state());
    write_file_atomic(part / "design.ini", fmt::format("[{}]\n{}", design.name(), design.resolved().text()));
    const nlohmann::json state = {{"format", 1}, {"design", s.design}, {"size", s.size}, {"title", s.title}, {"group", s.group},
                                  {"row", s.row}, {"step", s.step}, {"tokens", s.tokens}, {"seed", s.seed},
                                  {"config_hash", s.config_hash}, {"data", s.data}, {"tokenizer", s.tokenizer},
                                  {"curve", s.curve}, {"extra", s.extra}};
    write_file_atomic(part / "state.json", state.dump(1) + "\n");
    fs::remove_all(folder);
    fs::rename(part, folder);
  } catch (const std::exception&) {
    std::error_code ignored;
    fs::remove_all(part, ignored);
    throw;
  }
}

CheckpointState read_checkpoint_state(const fs::path& folder) {
  const fs::path file = folder / "state.json";
  const auto json = nlohmann::json::parse(read_file(file), nullptr, false);
  require(!json.is_discarded() && json.is_object(), "{}: not a JSON object; the checkpoint is damaged", file.string());
  CheckpointState s;
  s.design = field<std::string>(json, "design", file);
  s.size = field<std::string>(json, "size", file);
  s.title = field<std::string>(json, "title", file);
  s.group = field<std::string>(json, "group", file);
  s.row = field<int>(json, "row", file);
  s.step = field<std::int64_t>(json, "step", file);
  s.tokens = field<std::int64_t>(json, "tokens", file);
  s.seed = field<std::uint64_t>(json, "seed", file);
  s.config_hash = field<std::string>(json, "config_hash", file);
  s.data = field<std::string>(json, "data", file);
  s.tokenizer = field<std::string>(json, "tokenizer", file);
  s.curve = field<nlohmann::json>(json, "curve", file);
  s.extra = field<nlohmann::json>(json, "extra", file);
  require(is_curve(s.curve), "{}: \"curve\": expected a list of [step, tokens, loss, learning rate, ...]; the checkpoint is damaged", file.string());
  require(s.extra.is_object(), "{}: \"extra\": expected an object; the checkpoint is damaged", file.string());
  return s;
}

Design read_checkpoint_design(const fs::path& folder) {
  StanzaFile file;
  file.add_file(folder / "design.ini");
  const auto names = file.names();
  require(names.size() == 1, "{}: expected one stanza, found {}", (folder / "design.ini").string(), names.size());
  auto layers = stanza_layers(file, names[0], "", {});
  for (auto& layer : layers) layer.defaults = true;  // every key is written out, also those equal to their defaults
  const auto state = read_checkpoint_state(folder);
  Design design(names[0], state.size, layers);
  design.title = state.title;
  design.group = state.group;
  design.row = state.row;
  return design;
}

void load_weights(const fs::path& folder, LanguageModel& model) {
  const fs::path path = folder / "model.safetensors";
  const auto file = read_safetensors(path);
  const at::NoGradGuard no_grad;
  for (auto& parameter : model.parameters().all()) {
    const auto found = file.tensors.find(parameter.name);
    require(found != file.tensors.end(), "{}: tensor '{}' is missing", path.string(), parameter.name);
    require(found->second.sizes() == parameter.value.sizes(), "{}: tensor '{}' has shape [{}], expected [{}]", path.string(),
            parameter.name, fmt::join(found->second.sizes(), ", "), fmt::join(parameter.value.sizes(), ", "));
    parameter.value.copy_(found->second);
  }
  require(file.tensors.size() == model.parameters().all().size(), "{}: {} tensors, the design has {}", path.string(),
          file.tensors.size(), model.parameters().all().size());
}

void load_optimizer(const fs::path& folder, Optimizer& optimizer) {
  optimizer.set_state(read_safetensors(folder / "optimizer.safetensors").tensors);
}

fs::path newest_checkpoint(const fs::path& run) {
  const auto found = checkpoints(run);
  return found.empty() ? fs::path() : found.back();
}

fs::path find_checkpoint(const fs::path& path) {
  require(fs::exists(path), "{}: no such model; expected a run's folder or a checkpoint", path.string());
  if (fs::exists(path / "state.json") && fs::exists(path / "model.safetensors")) return path;
  const auto newest = newest_checkpoint(path);
  require(!newest.empty(), "{}: no checkpoint here (a folder with state.json and model.safetensors, or a run with step-* folders)",
          path.string());
  return newest;
}

void prune_checkpoints(const fs::path& run, std::size_t keep) {
  const auto found = checkpoints(run);
  for (std::size_t i = 0; i + keep < found.size(); ++i) fs::remove_all(found[i]);
  if (!fs::is_directory(run)) return;
  for (const auto& entry : fs::directory_iterator(run)) {
    const auto name = entry.path().filename().string();
    if (starts_with(name, kStep) && name.find(".part") != std::string::npos) fs::remove_all(entry.path());
  }
}

LoadedModel load_checkpoint(const fs::path& path) {
  const auto folder = find_checkpoint(path);
  LoadedModel loaded{read_checkpoint_design(folder), read_checkpoint_state(folder), nullptr};
  loaded.model = std::make_unique<LanguageModel>(loaded.design, loaded.state.seed);
  load_weights(folder, *loaded.model);
  return loaded;
}

}  // namespace hymba
