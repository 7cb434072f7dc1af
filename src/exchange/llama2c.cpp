#include "exchange/llama2c.h"

#include <ATen/ops/cat.h>
#include <ATen/ops/from_blob.h>

#include <cstdlib>
#include <cstring>
#include <map>

#include "base/error.h"
#include "base/files.h"
#include "exchange/hf_folder.h"

namespace hymba {
namespace fs = std::filesystem;
namespace {

constexpr std::size_t kHeader = 28;

struct Sizes {
  std::int64_t dim, hidden, layers, heads, kv_heads, vocab, length;
  bool tied;
};

Sizes read_sizes(const MappedFile& file, const std::string& name) {
  require(file.size() >= kHeader, "{}: {} bytes are too few for a llama2.c checkpoint", name, file.size());
  std::int32_t h[7];
  std::memcpy(h, file.data(), kHeader);
  const bool positive =
      h[0] > 0 && h[1] > 0 && h[2] > 0 && h[3] > 0 && h[4] > 0 && h[5] != 0 && h[5] != INT32_MIN && h[6] > 0;
  require(positive && h[2] <= 4096 && h[0] <= (1 << 20) && h[1] <= (1 << 22) && h[6] <= (1 << 24) &&
              std::abs(h[5]) <= (1 << 26),
          "{}: its header gives dim {}, hidden_dim {}, layers {}, heads {}, kv_heads {}, vocab {}, seq_len {}; no "
          "llama2.c checkpoint of the "
          "first format",
          name, h[0], h[1], h[2], h[3], h[4], h[5], h[6]);
  require(h[0] % h[3] == 0 && h[3] % h[4] == 0 && h[0] / h[3] % 2 == 0,
          "{}: dim {}, heads {}, kv_heads {} contradict each other", name, h[0], h[3], h[4]);
  const Sizes s{h[0], h[1], h[2], h[3], h[4], std::abs(h[5]), h[6], h[5] > 0};
  const auto as_double = [](std::int64_t n) { return static_cast<double>(n); };
  const double kv = as_double(s.dim) / as_double(s.heads) * as_double(s.kv_heads);
  const double block = as_double(s.dim) * (2 + 2 * as_double(s.dim) + 2 * kv + 3 * as_double(s.hidden));
  const double floats = as_double(s.vocab) * as_double(s.dim) * (s.tied ? 1 : 2) + as_double(s.layers) * block +
                        as_double(s.dim) + as_double(s.length) * as_double(s.dim) / as_double(s.heads);
  require(as_double(static_cast<std::int64_t>(file.size())) == 4 * floats + kHeader,
          "{}: {} bytes, but its header (dim {}, hidden_dim {}, layers {}, vocab {}) needs {:.0f}; truncated, or "
          "another format",
          name, file.size(), s.dim, s.hidden, s.layers, s.vocab, 4 * floats + kHeader);
  return s;
}

// [H * P, D] with neighbouring rotary pairs -> halves.
at::Tensor halves(const at::Tensor& w, std::int64_t heads) {
  const std::int64_t rows = w.size(0), dim = rows / heads;
  return w.reshape({heads, dim / 2, 2, w.size(1)}).transpose(1, 2).reshape({rows, w.size(1)});
}

}  // namespace

Design read_llama2c_design(const fs::path& path) {
  const MappedFile file(path);
  const Sizes s = read_sizes(file, path.string());
  std::vector<Assignment> a;
  const auto set = [&](const char* key, const auto& value) {
    a.push_back({key, fmt::format("{}", value), path.string() + " header"});
  };
  set("hidden", s.dim);
  set("layers", s.layers);
  set("vocab", s.vocab);
  set("tied", s.tied);
  set("norm_eps", 1e-5);
  set("mixer", "attention");
  set("ffn", "swiglu");
  set("ffn.hidden", s.hidden);
  set("attention.heads", s.heads);
  set("attention.kv_heads", s.kv_heads);
  set("attention.head_dim", s.dim / s.heads);
  Design design(path.stem().string(), "hf", {{path.string(), false, a}});
  design.title = path.stem().string() + " (llama2.c)";
  design.group = "llama2.c";
  return design;
}

std::int64_t llama2c_length(const fs::path& path) {
  const MappedFile file(path);
  return read_sizes(file, path.string()).length;
}

std::unique_ptr<LanguageModel> read_llama2c_model(const fs::path& path, const Design& design) {
  const MappedFile file(path);
  const Sizes s = read_sizes(file, path.string());
  const std::int64_t kv = s.dim / s.heads * s.kv_heads, L = s.layers;
  const char* next = file.data() + kHeader;
  std::map<std::string, at::Tensor> kinds;  // each [layers, rows, columns], or [rows, columns]
  const auto take = [&](const std::string& name, const std::vector<std::int64_t>& shape) {
    kinds[name] = at::from_blob(const_cast<char*>(next), shape, at::kFloat);
    next += kinds[name].nbytes();
  };
  take("embedding", {s.vocab, s.dim});
  take("rms_att", {L, s.dim});
  take("wq", {L, s.dim, s.dim});
  take("wk", {L, kv, s.dim});
  take("wv", {L, kv, s.dim});
  take("wo", {L, s.dim, s.dim});
  take("rms_ffn", {L, s.dim});
  take("w1", {L, s.hidden, s.dim});
  take("w2", {L, s.dim, s.hidden});
  take("w3", {L, s.hidden, s.dim});
  take("rms_final", {s.dim});
  next += 4 * s.length * (s.dim / s.heads);  // tables of cos and sin
  if (!s.tied) take("classifier", {s.vocab, s.dim});
  std::map<std::string, at::Tensor> ours = {{"embedding.weight", kinds["embedding"]},
                                            {"norm.weight", kinds["rms_final"]}};
  if (!s.tied) ours["head.weight"] = kinds["classifier"];
  for (std::int64_t i = 0; i < L; ++i) {
    const auto of = [&](const char* kind) { return kinds.at(kind).select(0, i); };
    const std::string mixer = fmt::format("layers.{}.mixer.", i), ffn = fmt::format("layers.{}.ffn.", i);
    ours[mixer + "norm.weight"] = of("rms_att");
    ours[mixer + "in_proj.weight"] = at::cat({halves(of("wq"), s.heads), halves(of("wk"), s.kv_heads), of("wv")});
    ours[mixer + "out_proj.weight"] = of("wo");
    ours[ffn + "norm.weight"] = of("rms_ffn");
    ours[ffn + "in_proj.weight"] = at::cat({of("w1"), of("w3")});
    ours[ffn + "out_proj.weight"] = of("w2");
  }
  return std::make_unique<LanguageModel>(design, [&](const std::string& name, const std::vector<std::int64_t>&) {
    const at::Tensor value = ours.at(name).clone();  // the map ends with this function
    require_finite(value, name, path.string());
    return value;
  });
}

}  // namespace hymba
