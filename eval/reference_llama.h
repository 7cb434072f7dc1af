// A llama in plain loops, for tests only: it gives the golden model's log-likelihoods without torch, so that the rules
// of eval/requests.h are checked by numbers, not by their own restatement.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "base/files.h"
#include "eval/requests.h"

namespace hymba::eval {

class ReferenceLlama final : public Scorer {
 public:
  // A Hugging Face folder with config.json and a float32 model.safetensors with tied embeddings.
  explicit ReferenceLlama(const std::filesystem::path& folder) {
    const auto config = nlohmann::json::parse(read_file(folder / "config.json"));
    D_ = config["hidden_size"], F_ = config["intermediate_size"], P_ = config["head_dim"], V_ = config["vocab_size"];
    H_ = config["num_attention_heads"], K_ = config["num_key_value_heads"], layers_ = config["num_hidden_layers"];
    theta_ = config["rope_theta"], epsilon_ = config["rms_norm_eps"];
    const std::string file = read_file(folder / "model.safetensors");
    std::uint64_t header_size = 0;
    std::memcpy(&header_size, file.data(), 8);
    const auto header = nlohmann::json::parse(file.substr(8, header_size));
    for (const auto& [name, tensor] : header.items()) {
      if (name == "__metadata__") continue;
      const std::size_t begin = tensor["data_offsets"][0], end = tensor["data_offsets"][1];
      auto& weight = weights_[name];
      weight.resize((end - begin) / 4);
      std::memcpy(weight.data(), file.data() + 8 + header_size + begin, end - begin);
    }
  }

  std::vector<LoglikelihoodResult> loglikelihood(std::span<const LoglikelihoodRequest> requests) override {
    std::vector<LoglikelihoodResult> results;
    for (const auto& request : requests) {
      std::vector<std::int32_t> ids = request.context;
      ids.insert(ids.end(), request.continuation.begin(), request.continuation.end());
      Cache cache(layers_);
      LoglikelihoodResult result{0, true};
      for (std::size_t t = 0; t + 1 < ids.size(); ++t) {
        const auto logits = step(ids[t], t, &cache, t + 1 >= request.context.size());
        if (logits.empty()) continue;
        double top = logits[0], sum = 0;
        for (const double x : logits) top = std::max(top, x);
        for (const double x : logits) sum += std::exp(x - top);
        const double mine = logits[static_cast<std::size_t>(ids[t + 1])];
        result.logprob += mine - top - std::log(sum);
        result.greedy = result.greedy && mine == top;
      }
      results.push_back(result);
    }
    return results;
  }

  std::vector<std::vector<std::int32_t>> generate(std::span<const GenerateRequest> requests) override {
    std::vector<std::vector<std::int32_t>> answers;
    for (const auto& request : requests) {
      Cache cache(layers_);
      std::vector<double> logits;
      std::size_t t = 0;
      for (; t < request.prompt.size(); ++t) logits = step(request.prompt[t], t, &cache, true);
      auto& ids = answers.emplace_back();
      while (static_cast<std::int32_t>(ids.size()) < request.max_new_tokens) {
        const auto next = static_cast<std::int32_t>(std::max_element(logits.begin(), logits.end()) - logits.begin());
        if (next == request.eos) break;
        ids.push_back(next);
        if (request.stop && request.stop(ids)) break;
        logits = step(next, t++, &cache, true);
      }
    }
    return answers;
  }

 private:
  using Vector = std::vector<double>;
  struct LayerCache {
    std::vector<Vector> keys, values;
  };
  using Cache = std::vector<LayerCache>;

  Vector multiply(const std::string& name, const Vector& x, std::size_t rows) const {
    const auto& w = weights_.at(name);
    Vector y(rows, 0.0);
    for (std::size_t r = 0; r < rows; ++r) {
      for (std::size_t c = 0; c < x.size(); ++c) y[r] += w[r * x.size() + c] * x[c];
    }
    return y;
  }

  Vector norm(const std::string& name, const Vector& x) const {
    double squares = 0;
    for (const double v : x) squares += v * v;
    Vector y(x);
    for (std::size_t i = 0; i < x.size(); ++i) {
      y[i] *= weights_.at(name)[i] / std::sqrt(squares / static_cast<double>(x.size()) + epsilon_);
    }
    return y;
  }

  // Rotates the pairs (i, i + P / 2) of every head.
  void rope(Vector& x, std::size_t position) const {
    for (std::size_t head = 0; head < x.size(); head += P_) {
      for (std::size_t i = 0; i < P_ / 2; ++i) {
        const double angle = static_cast<double>(position) *
                             std::pow(theta_, -2.0 * static_cast<double>(i) / static_cast<double>(P_));
        double &a = x[head + i], &b = x[head + i + P_ / 2];
        const double rotated = a * std::cos(angle) - b * std::sin(angle);
        b = b * std::cos(angle) + a * std::sin(angle);
        a = rotated;
      }
    }
  }

  Vector attend(const Vector& q, const LayerCache& cache) const {
    Vector out(H_ * P_, 0.0);
    for (std::size_t h = 0; h < H_; ++h) {
      const std::size_t kv = h / (H_ / K_) * P_;
      Vector scores;
      double sum = 0;
      for (const auto& key : cache.keys) {
        double dot = 0;
        for (std::size_t i = 0; i < P_; ++i) dot += q[h * P_ + i] * key[kv + i];
        scores.push_back(std::exp(dot / std::sqrt(static_cast<double>(P_))));
        sum += scores.back();
      }
      for (std::size_t t = 0; t < scores.size(); ++t) {
        for (std::size_t i = 0; i < P_; ++i) out[h * P_ + i] += scores[t] / sum * cache.values[t][kv + i];
      }
    }
    return out;
  }

  // One token; the logits, or nothing where they are not wanted.
  Vector step(std::int32_t id, std::size_t position, Cache* cache, bool want_logits) const {
    const auto& embedding = weights_.at("model.embed_tokens.weight");
    const auto row = embedding.begin() + id * static_cast<std::ptrdiff_t>(D_);
    Vector x(row, row + static_cast<std::ptrdiff_t>(D_));
    for (std::size_t l = 0; l < layers_; ++l) {
      const std::string layer = "model.layers." + std::to_string(l) + ".";
      const Vector h = norm(layer + "input_layernorm.weight", x);
      Vector q = multiply(layer + "self_attn.q_proj.weight", h, H_ * P_);
      Vector k = multiply(layer + "self_attn.k_proj.weight", h, K_ * P_);
      rope(q, position);
      rope(k, position);
      (*cache)[l].keys.push_back(std::move(k));
      (*cache)[l].values.push_back(multiply(layer + "self_attn.v_proj.weight", h, K_ * P_));
      const Vector o = multiply(layer + "self_attn.o_proj.weight", attend(q, (*cache)[l]), D_);
      for (std::size_t i = 0; i < D_; ++i) x[i] += o[i];
      const Vector m = norm(layer + "post_attention_layernorm.weight", x);
      Vector gate = multiply(layer + "mlp.gate_proj.weight", m, F_);
      const Vector up = multiply(layer + "mlp.up_proj.weight", m, F_);
      for (std::size_t i = 0; i < F_; ++i) gate[i] *= up[i] / (1.0 + std::exp(-gate[i]));
      const Vector down = multiply(layer + "mlp.down_proj.weight", gate, D_);
      for (std::size_t i = 0; i < D_; ++i) x[i] += down[i];
    }
    if (!want_logits) return {};
    return multiply("model.embed_tokens.weight", norm("model.norm.weight", x), V_);
  }

  std::size_t D_ = 0, F_ = 0, P_ = 0, H_ = 0, K_ = 0, V_ = 0, layers_ = 0;
  double theta_ = 0, epsilon_ = 0;
  std::map<std::string, std::vector<float>> weights_;
};

}  // namespace hymba::eval
