#include "exchange/hf_folder.h"

#include <ATen/Parallel.h>
#include <ATen/ops/equal.h>

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <set>

#include "base/error.h"
#include "base/files.h"
#include "base/text.h"

namespace hymba {
namespace fs = std::filesystem;
namespace {

constexpr const char* kSingle = "model.safetensors";
constexpr const char* kIndex = "model.safetensors.index.json";

std::string shape_text(at::IntArrayRef shape) { return fmt::format("[{}]", fmt::join(shape, ", ")); }

void add_file(const fs::path& path, ShardedTensors* all) {
  const TensorFile mapped = map_safetensors(path);
  all->maps.push_back(mapped.map);
  for (const auto& [name, tensor] : mapped.tensors) {
    const auto [at, is_new] = all->file.emplace(name, path.string());
    require(is_new, "{}: tensor '{}' is also in {}; one of the two must go", path.string(), name, at->second);
    all->tensors[name] = tensor;
  }
}

// weight_map of an index: tensor -> file beside it.
std::map<std::string, std::string> read_index(const fs::path& path) {
  const auto json = nlohmann::json::parse(read_file(path), nullptr, /*allow_exceptions=*/false);
  require(!json.is_discarded() && json.is_object() && json.contains("weight_map") && json["weight_map"].is_object(),
          "{}: expected a JSON object with a weight_map; truncated or damaged?", path.string());
  std::map<std::string, std::string> files;
  for (const auto& [tensor, file] : json["weight_map"].items()) {
    require(
        file.is_string() && file.get<std::string>().find('/') == std::string::npos && !file.get<std::string>().empty(),
        "{}: tensor '{}': expected the name of a file beside the index, found {}", path.string(), tensor, file.dump());
    files[tensor] = file.get<std::string>();
  }
  require(!files.empty(), "{}: its weight_map is empty", path.string());
  return files;
}

ShardedTensors map_shards(const fs::path& folder) {
  const fs::path index = folder / kIndex;
  const auto files = read_index(index);
  ShardedTensors all;
  std::set<std::string> shards;
  for (const auto& [tensor, file] : files) {
    if (!shards.insert(file).second) continue;
    require(fs::exists(folder / file),
            "{}: the shard {} is missing (tensor '{}' and others are in it); download it again", index.string(),
            (folder / file).string(), tensor);
    add_file(folder / file, &all);
  }
  for (const auto& [tensor, file] : files) {
    const auto found = all.file.find(tensor);
    require(found != all.file.end() && found->second == (folder / file).string(),
            "{}: tensor '{}' should be in {}, but {}; index and shards do not belong together", index.string(), tensor,
            file, found == all.file.end() ? "it is in no shard" : "it is in " + found->second);
  }
  return all;
}

// What to do about a folder without weights, by what else lies in it.
std::string where_weights_are(const fs::path& folder) {
  if (fs::exists(folder / "pytorch_model.bin") || fs::exists(folder / "pytorch_model.bin.index.json"))
    return "pytorch_model.bin is a Python pickle: save the model with safe_serialization=True";
  for (const auto& entry : fs::directory_iterator(folder)) {
    if (entry.path().extension() == ".safetensors")
      return fmt::format("there is {}: a shard without its index? download {} too", entry.path().filename().string(), kIndex);
  }
  return "download the weights into the folder";
}

}  // namespace

ShardedTensors map_weights(const fs::path& folder) {
  if (!fs::exists(folder / kSingle) && fs::exists(folder / kIndex)) return map_shards(folder);
  require(fs::exists(folder / kSingle), "{}: no {} and no {} here; {}", folder.string(), kSingle, kIndex, where_weights_are(folder));
  ShardedTensors all;
  add_file(folder / kSingle, &all);
  return all;
}

namespace {

// The first value whose exponent has all bits set (infinity or NaN), or -1.
template <class Bits>
std::int64_t first_not_finite(const at::Tensor& tensor, Bits exponent) {
  const at::Tensor flat = tensor.contiguous();
  const auto* data = static_cast<const Bits*>(flat.const_data_ptr());
  std::atomic<std::int64_t> bad{-1};
  at::parallel_for(0, flat.numel(), 1 << 18, [&](std::int64_t begin, std::int64_t end) {
    Bits any = 0;
    for (std::int64_t i = begin; i < end; ++i) any |= static_cast<Bits>((data[i] & exponent) == exponent);
    for (std::int64_t i = begin; any != 0 && i < end; ++i) {
      if ((data[i] & exponent) == exponent) {
        bad = i;
        return;
      }
    }
  });
  return bad;
}

}  // namespace

void require_finite(const at::Tensor& tensor, const std::string& name, const std::string& where) {
  const auto type = tensor.scalar_type();
  const std::int64_t first = type == at::kBFloat16 ? first_not_finite<std::uint16_t>(tensor, 0x7f80)
                             : type == at::kHalf   ? first_not_finite<std::uint16_t>(tensor, 0x7c00)
                                                   : first_not_finite<std::uint32_t>(tensor, 0x7f800000u);
  if (first < 0) return;
  user_error("{}: tensor '{}' holds {} at element {}; the file is damaged or the training diverged", where, name,
             tensor.reshape({-1})[first].item<float>(), first);
}

void check_links(const std::vector<TensorLink>& links, const ShardedTensors& weights,
                 const std::vector<std::string>& ignored, const std::string& where) {
  std::vector<std::string> missing, left_over;
  std::set<std::string> known(ignored.begin(), ignored.end());
  for (const auto& link : links) {
    for (const auto& part : link.parts) {
      known.insert(part.name);
      if (weights.tensors.count(part.name) == 0) missing.push_back(part.name);
    }
  }
  for (const auto& [name, tensor] : weights.tensors) {
    if (known.count(name) == 0) left_over.push_back(name);
  }
  const auto some = [](const std::vector<std::string>& names) {
    return names.size() == 1 ? fmt::format("'{}'", names[0])
                             : fmt::format("'{}' and {} more", names[0], names.size() - 1);
  };
  require(missing.empty(), "{}: tensor {} {} missing{}", where, missing.empty() ? "" : some(missing),
          missing.size() == 1 ? "is" : "are",
          left_over.empty()
              ? "; is a file missing, or is config.json of another model?"
              : fmt::format("; but there is {}, which config.json has no place for: renamed, or of another model?",
                            some(left_over)));
  require(left_over.empty(),
          "{}: tensor {} has no place in the model that config.json describes; is it of another model?",
          left_over.empty() ? where : weights.file.at(left_over[0]), left_over.empty() ? "" : some(left_over));
  for (const auto& link : links) {
    for (const auto& part : link.parts) {
      const auto& tensor = weights.tensors.at(part.name);
      require(tensor.sizes().equals(part.shape),
              "{}: tensor '{}' has shape {}, config.json needs {}; one of the two is of another model",
              weights.file.at(part.name), part.name, shape_text(tensor.sizes()), shape_text(part.shape));
      require(tensor.is_floating_point(),
              "{}: tensor '{}' has type {}, expected F32, BF16 or F16; quantised weights are not supported",
              weights.file.at(part.name), part.name, at::toString(tensor.scalar_type()));
    }
  }
}

namespace {

// A head of its own beside tied embeddings: programs differ in which of the two they believe.
void require_tied_head(const std::vector<TensorLink>& links, const ShardedTensors& weights) {
  const auto head = weights.tensors.find("lm_head.weight");
  const auto is = [](const char* name) { return [name](const TensorLink& link) { return link.ours == name; }; };
  const auto embedding = std::find_if(links.begin(), links.end(), is("embedding.weight"));
  if (head == weights.tensors.end() || embedding == links.end() || std::any_of(links.begin(), links.end(), is("head.weight"))) return;
  const std::string& name = embedding->parts[0].name;
  const at::Tensor& tied = weights.tensors.at(name);
  require(head->second.sizes() == tied.sizes() && at::equal(head->second.to(tied.scalar_type()), tied),
          "{}: tensor 'lm_head.weight' differs from '{}', but config.json says that they are one; set tie_word_embeddings to false, or take the "
          "tensor away", weights.file.at("lm_head.weight"), name);
}

}  // namespace

std::unique_ptr<LanguageModel> read_hf_model(const fs::path& folder, const Design& design,
                                             bool keep_16_bit) {
  const HfConfig config(folder);
  const Family& family = find_family(config);
  require(!config.family().empty(), "{}: the key model_type is missing; weights are read of {}", config.name(), join(family_names(), ", "));
  require(!family.rules.empty(),
          "{}: model_type = '{}': only the cache of this family can be computed; weights are read of {}", config.name(),
          config.family(), join(family_names(), ", "));
  const LanguageModel shapes(design, 0, /*meta=*/true);
  const auto links = link_tensors(family, shapes);
  const ShardedTensors weights = map_weights(folder);
  check_links(links, weights, ignored_names(family, shapes), folder.string());
  require_tied_head(links, weights);
  std::map<std::string, const TensorLink*> by_name;
  for (const auto& link : links) by_name[link.ours] = &link;
  return std::make_unique<LanguageModel>(design, [&](const std::string& name, const std::vector<std::int64_t>&) {
    const TensorLink& link = *by_name.at(name);
    at::ScalarType type = keep_16_bit ? weights.tensors.at(link.parts[0].name).scalar_type() : at::kFloat;
    for (const auto& part : link.parts) {
      if (weights.tensors.at(part.name).scalar_type() != type || type == at::kDouble) type = at::kFloat;
    }
    const at::Tensor value = join_parts(link, [&](const TensorPart& part) { return weights.tensors.at(part.name); }, type);
    try {
      require_finite(value, link.parts[0].name, weights.file.at(link.parts[0].name));
    } catch (const UserError&) {  // name the very part
      for (const auto& part : link.parts)
        require_finite(weights.tensors.at(part.name), part.name, weights.file.at(part.name));
      throw;
    }
    for (const auto& part : link.parts) {  // one that was copied need not stand in memory twice
      const at::Tensor& read = weights.tensors.at(part.name);
      if (read.storage().data() == value.storage().data()) continue;
      for (const auto& map : weights.maps) map->release(read.const_data_ptr(), read.nbytes());
    }
    return value;
  });
}

}  // namespace hymba
