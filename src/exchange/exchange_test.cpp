// Import and export: round trips bit for bit, options of the formats, and what damaged or contradicting folders are
// told.
#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/zeros.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cmath>
#include <cstdlib>
#include <cstring>
#include <limits>

#include "base/files.h"
#include "base/shared_folder.h"
#include "exchange/export.h"
#include "exchange/hf_folder.h"
#include "exchange/stored_weights.h"
#include "io/safetensors.h"

namespace hymba {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

const DesignLibrary& library() {
  static const DesignLibrary designs(std::string(HYMBA_SOURCE_DIR) + "/ablations");
  return designs;
}

// A fresh folder, removed at the end of the test.
class Exchange : public testing::Test {
 protected:
  void SetUp() override {
    root_ =
        fs::temp_directory_path() /
        fmt::format("hymba-exchange-{}-{}", testing::UnitTest::GetInstance()->current_test_info()->name(), ::getpid());
    fs::create_directories(root_);
  }
  void TearDown() override { fs::remove_all(root_); }

  static LoadedModel make(const std::string& name, std::vector<Assignment> overrides) {
    for (auto& a : overrides) a.origin = "command line";
    overrides.push_back({"vocab", "40", "command line"});
    LoadedModel loaded{library().open(name, "smoke", overrides), {}, nullptr};
    loaded.model = std::make_unique<LanguageModel>(loaded.design, 11);
    return loaded;
  }

  static std::string error_of(const std::function<void()>& f) {
    try {
      f();
    } catch (const UserError& error) {
      return error.what();
    }
    return "no error";
  }

  // A small Hymba with K/V sharing on disk, to be damaged.
  fs::path stored(const std::string& name) {
    const fs::path folder = root_ / name;
    export_hf(make("row-13", {}), folder, "fp32");
    return folder;
  }
  std::string error_of_tensors(const std::function<void(std::map<std::string, at::Tensor>&)>& change) {
    const fs::path folder = stored(fmt::format("damaged{}", count_++));
    auto tensors = read_safetensors(folder / "model.safetensors").tensors;
    change(tensors);
    write_safetensors(folder / "model.safetensors", tensors);
    return error_of([&] { load_model(folder); });
  }
  std::string error_of_config(const json& changes) {
    const fs::path folder = stored(fmt::format("config{}", count_++));
    json config = json::parse(read_file(folder / "config.json"));
    config.update(changes);
    write_file_atomic(folder / "config.json", config.dump());
    return error_of([&] { load_model(folder); });
  }

  fs::path root_;
  int count_ = 0;
};

void expect_contains(const std::string& text, const std::vector<std::string>& words) {
  for (const auto& word : words)
    EXPECT_NE(text.find(word), std::string::npos) << "'" << word << "' is not in: " << text;
}

TEST_F(Exchange, ReadingAnExportGivesTheSameBits) {
  const at::NoGradGuard no_grad;
  const std::vector<std::tuple<std::string, std::string, std::vector<Assignment>>> cases = {
      {"row-13", "hymba", {}},
      {"row-09", "hymba", {{"attention.qk_norm", "rms", ""}}},
      {"row-09",
       "hymba",
       {{"attention.qk_norm", "rms_per_head", ""}, {"ffn", "relu2", ""}, {"mamba.inner_norms", "false", ""}}},
      {"row-08",
       "hymba",
       {{"attention.bias", "all", ""},
        {"mamba.proj_bias", "true", ""},
        {"mamba.conv_bias", "false", ""},
        {"tied", "false", ""}}},
      {"row-05", "hymba", {{"attention.rope", "false", ""}, {"ffn", "none", ""}}},
      {"row-07", "hymba", {{"attention.rope_scaling", "dynamic_ntk", ""}, {"attention.rope_original", "64", ""}}},
      {"row-06", "llama", {{"attention.bias", "all", ""}, {"ffn.bias", "true", ""}}},
      {"row-06",
       "llama",
       {{"attention.rope_scaling", "llama3", ""},
        {"attention.rope_factor", "8", ""},
        {"attention.rope_original", "32", ""}}},
      {"row-06", "mistral", {{"attention.window", "8", ""}}},
      {"row-01", "mamba", {{"ffn", "none", ""}, {"mamba.inner_norms", "false", ""}, {"mamba.proj_bias", "true", ""}}},
      {"mamba2", "mamba2", {{"mamba2.in_bias", "true", ""}, {"mamba2.out_bias", "true", ""}}},
  };
  for (std::size_t i = 0; i < cases.size(); ++i) {
    const auto& [name, family, overrides] = cases[i];
    SCOPED_TRACE(fmt::format("{} {}", name, i));
    const auto loaded = make(name, overrides);
    const fs::path folder = root_ / std::to_string(i);
    EXPECT_EQ(export_hf(loaded, folder, "fp32"), family);
    const auto back = load_model(folder);
    ASSERT_EQ(back.model->parameters().all().size(), loaded.model->parameters().all().size());
    for (const auto& p : loaded.model->parameters().all())
      EXPECT_TRUE(at::equal(p.value, back.model->parameters().find(p.name)->value)) << p.name;
    const at::Tensor ids = at::zeros({2, 19}, at::kLong) + 7;
    EXPECT_TRUE(at::equal(loaded.model->forward(ids), back.model->forward(ids)));
  }
}

TEST_F(Exchange, BfloatIsRoundedOnceAndDesignsWithoutALayoutAreNamed) {
  const at::NoGradGuard no_grad;
  const auto loaded = make("row-13", {});
  export_hf(loaded, root_ / "bf16", "bf16");
  const auto back = load_model(root_ / "bf16");
  for (const auto& p : loaded.model->parameters().all()) {
    EXPECT_TRUE(at::equal(p.value.to(at::kBFloat16).to(at::kFloat), back.model->parameters().find(p.name)->value))
        << p.name;
  }
  const auto stored = load_model_as_stored(root_ / "bf16");
  EXPECT_EQ(stored.model->parameters().find("layers.0.mixer.in_proj.weight")->value.scalar_type(), at::kBFloat16);
  EXPECT_EQ(stored.model->parameters().find("norm.weight")->value.scalar_type(), at::kFloat);
  const at::Tensor ids = at::zeros({2, 19}, at::kLong) + 7;
  const at::Tensor wide = back.model->forward(ids), narrow = stored.model->forward(ids);
  EXPECT_LT((wide - narrow).abs().max().item<double>(), 1e-5 * wide.abs().max().item<double>());
  expect_contains(error_of([&] { export_hf(loaded, root_ / "bf16", "fp32"); }), {"is there already"});
  expect_contains(error_of([&] { export_hf(make("row-11", {}), root_ / "x", "fp32"); }),
                  {"parallel.fusion = concat", "hymba"});
  expect_contains(error_of([&] { export_hf(make("row-10", {}), root_ / "x", "fp32"); }),
                  {"cannot be said in the layout of"});
  expect_contains(error_of([&] { export_hf(make("samba", {}), root_ / "x", "fp32"); }), {"no Hugging Face layout"});
  expect_contains(error_of([&] { export_hf(loaded, root_ / "x", "fp8"); }), {"--dtype fp8"});
}

TEST_F(Exchange, ShardsWithAnIndex) {
  const fs::path folder = stored("sharded");
  const auto tensors = read_safetensors(folder / "model.safetensors").tensors;
  fs::remove(folder / "model.safetensors");
  std::map<std::string, at::Tensor> parts[2];
  json map = json::object();
  for (const auto& [name, tensor] : tensors) {
    const int part = map.size() % 3 == 0 ? 1 : 0;
    parts[part][name] = tensor;
    map[name] = fmt::format("part-{}.safetensors", part);
  }
  for (int i = 0; i < 2; ++i) write_safetensors(folder / fmt::format("part-{}.safetensors", i), parts[i]);
  const auto write_index = [&] {
    write_file_atomic(folder / "model.safetensors.index.json",
                      json{{"metadata", json::object()}, {"weight_map", map}}.dump());
  };
  write_index();
  EXPECT_NO_THROW(load_model(folder));
  const auto name = map.begin().key();
  const json right = map;
  map["no.such.tensor"] = "part-0.safetensors";
  write_index();
  expect_contains(error_of([&] { load_model(folder); }), {"index.json", "no.such.tensor", "in no shard"});
  map = right;
  map[name] = "part-7.safetensors";
  write_index();
  expect_contains(error_of([&] { load_model(folder); }), {"part-7.safetensors is missing", name});
  map[name] = "../part-1.safetensors";
  write_index();
  expect_contains(error_of([&] { load_model(folder); }), {"beside the index"});
  map = right;
  parts[0][name] = parts[1].at(name);
  write_safetensors(folder / "part-0.safetensors", parts[0]);
  write_index();
  expect_contains(error_of([&] { load_model(folder); }), {name, "is also in"});
  write_file_atomic(folder / "model.safetensors.index.json", "{\"weight_map\": ");
  expect_contains(error_of([&] { load_model(folder); }), {"weight_map", "truncated"});
}

TEST_F(Exchange, DamagedTensorsAreNamed) {
  using Tensors = std::map<std::string, at::Tensor>;
  const std::string name = "model.layers.1.mamba.conv1d.weight";
  expect_contains(error_of_tensors([&](Tensors& t) { t.erase(name); }), {name, "is missing"});
  expect_contains(error_of_tensors([&](Tensors& t) {
                    t["model.layers.1.mamba.conv.weight"] = t.at(name);
                    t.erase(name);
                  }),
                  {name, "is missing", "conv.weight", "renamed"});
  expect_contains(error_of_tensors([&](Tensors& t) { t["extra"] = t.at(name); }), {"'extra'", "no place"});
  expect_contains(error_of_tensors([&](Tensors& t) { t[name] = t.at(name).transpose(0, 2).contiguous(); }),
                  {name, "has shape [4, 1,", "config.json needs"});
  expect_contains(error_of_tensors([&](Tensors& t) { t[name] = t.at(name).to(at::kLong); }), {name, "type Long"});
  const auto poison = [&](float value) { return [&, value](Tensors& t) { t.at(name).data_ptr<float>()[3] = value; }; };
  expect_contains(error_of_tensors(poison(std::nanf(""))), {name, "nan at element 3", "model.safetensors"});
  expect_contains(error_of_tensors(poison(std::numeric_limits<float>::infinity())), {name, "inf at element 3"});
  for (const auto type : {at::kBFloat16, at::kHalf}) {
    const auto narrow = [&](Tensors& t) {
      poison(std::nanf(""))(t);
      t[name] = t.at(name).to(type);
    };
    expect_contains(error_of_tensors(narrow), {name, "nan at element 3"});
  }
}

TEST_F(Exchange, ContradictingConfigsAreNamed) {
  expect_contains(error_of_config({{"model_type", "retnet"}, {"num_attention_heads", nullptr}}),
                  {"config.json", "model_type", "retnet", "hymba"});
  expect_contains(error_of_config({{"num_key_value_heads", 3}}),
                  {"config.json", "num_key_value_heads = 3", "does not divide"});
  expect_contains(error_of_config({{"hidden_size", "wide"}}), {"hidden_size = \"wide\"", "whole number"});
  expect_contains(error_of_config({{"hidden_size", -4}}), {"hidden_size = -4"});
  expect_contains(error_of_config({{"hidden_size", 1e300}}), {"hidden_size"});
  expect_contains(error_of_config({{"num_hidden_layers", 2000000000}}), {"num_hidden_layers"});
  expect_contains(error_of_config({{"vocab_size", 41}}), {"embed_tokens", "has shape [40,", "needs [41,"});
  expect_contains(error_of_config({{"global_attn_idx", {0, 99}}}), {"global_attn_idx", "99"});
  expect_contains(error_of_config({{"kv_reuse_group", {{1, 2}, {2, 3}}}}), {"config.json", "stands in two groups"});
  expect_contains(error_of_config({{"kv_reuse_group", "all"}}), {"kv_reuse_group"});
  expect_contains(error_of_config({{"num_experts", 8}}), {"num_experts = 8", "not supported"});
  expect_contains(error_of_config({{"mlp_hidden_act", "gelu"}}), {"mlp_hidden_act", "silu or relu2"});
  expect_contains(error_of_config({{"rope_type", "yarn"}}), {"rope_type", "yarn"});
  expect_contains(error_of_config({{"memory_tokens_interspersed_every", 4}}), {"memory_tokens_interspersed_every"});
}

TEST_F(Exchange, FoldersWithoutAModel) {
  expect_contains(error_of([&] { load_model(root_ / "nothing"); }), {"no such model"});
  expect_contains(error_of([&] { load_model(root_); }), {"no model here", "config.json"});
  const fs::path folder = stored("whole");
  const std::string bytes = read_file(folder / "model.safetensors");
  write_file_atomic(folder / "model.safetensors", bytes.substr(0, bytes.size() / 2));
  expect_contains(error_of([&] { load_model(folder); }), {"model.safetensors", "truncated"});
  fs::remove(folder / "model.safetensors");
  expect_contains(error_of([&] { load_model(folder); }), {"no model.safetensors"});
  EXPECT_NO_THROW(read_model_design(folder));  // config.json alone is a design
  write_file_atomic(folder / "config.json", "{\"model_type\": \"hym");
  expect_contains(error_of([&] { load_model(folder); }), {"config.json", "not a JSON object"});
}

TEST_F(Exchange, TokenizerAgainstVocabulary) {
  auto loaded = make("row-13", {});
  EXPECT_NO_THROW(require_tokenizer_fits(loaded, 40, "t.model", "m"));
  EXPECT_NO_THROW(require_tokenizer_fits(loaded, 39, "t.model", "m"));
  expect_contains(error_of([&] { require_tokenizer_fits(loaded, 41, "t.model", "m"); }), {"40 ids", "t.model has 41"});
}

// Cache of any family by its usual keys, from config.json alone: 2 bytes a value.
TEST_F(Exchange, CacheFromAConfigAlone) {
  const auto bytes = [&](const json& config, std::int64_t context) {
    write_file_atomic(root_ / "config.json", config.dump());
    const LanguageModel model(read_model_design(root_), 0, true);
    CacheQuery query;
    query.context = context;
    return model.cache_bytes(query).total();
  };
  EXPECT_EQ(
      bytes({{"model_type", "gpt2"}, {"n_layer", 12}, {"n_embd", 768}, {"n_head", 12}, {"vocab_size", 50257}}, 8000),
      12.0 * 8000 * 2 * 768 * 2);
  const json qwen = {{"model_type", "qwen2"},     {"num_hidden_layers", 28},     {"hidden_size", 1536},
                     {"num_attention_heads", 12}, {"num_key_value_heads", 2},    {"vocab_size", 151936},
                     {"intermediate_size", 8960}, {"use_sliding_window", false}, {"sliding_window", 32768},
                     {"hidden_act", "silu"}};
  EXPECT_EQ(bytes(qwen, 8000), 28.0 * 8000 * 2 * 2 * 128 * 2);
  EXPECT_EQ(bytes({{"model_type", "gemma"},
                   {"num_hidden_layers", 18},
                   {"hidden_size", 2048},
                   {"num_attention_heads", 8},
                   {"num_key_value_heads", 1},
                   {"head_dim", 256},
                   {"vocab_size", 256000}},
                  100),
            18.0 * 100 * 2 * 256 * 2);
  EXPECT_EQ(bytes({{"model_type", "gemma3_text"},
                   {"num_hidden_layers", 6},
                   {"hidden_size", 64},
                   {"num_attention_heads", 4},
                   {"num_key_value_heads", 2},
                   {"head_dim", 16},
                   {"sliding_window", 10},
                   {"sliding_window_pattern", 6}},
                  100),
            (5.0 * 10 + 100) * 2 * 32 * 2);
  EXPECT_EQ(bytes({{"model_type", "phi"},
                   {"num_hidden_layers", 32},
                   {"hidden_size", 2560},
                   {"num_attention_heads", 32},
                   {"num_key_value_heads", nullptr}},
                  10),
            32.0 * 10 * 2 * 2560 * 2);
  write_file_atomic(root_ / "config.json",
                    json{{"model_type", "gpt2"}, {"n_layer", 1}, {"n_embd", 8}, {"n_head", 2}}.dump());
  expect_contains(error_of([&] { load_model(root_); }), {"gpt2", "only the cache"});
}

TEST_F(Exchange, ConfigOptionsBecomeDesignKeys) {
  const auto keys = [&](const std::string& text) {
    write_file_atomic(root_ / "config.json", text);
    std::map<std::string, std::string> values;
    const auto design = read_model_design(root_);
    for (const auto& [key, value] : design.resolved().resolved()) values[key] = value.value;
    return values;
  };
  const std::string base =
      R"("num_hidden_layers":6,"hidden_size":32,"num_attention_heads":4,"num_key_value_heads":2,"vocab_size":50,)";
  auto h = keys("{\"model_type\":\"hymba\"," + base +
                R"("intermediate_size":0,"mamba_dt_rank":"auto","sliding_window":4,"global_attn_idx":[],
      "kv_reuse_group":null,"kv_reuse_every_i_layer":4,"rope_type":null,"kq_norm":"perhead-rms","mamba_expand":3,"mamba_proj_bias":true})");
  EXPECT_EQ(h["ffn"], "none");
  EXPECT_EQ(h["mamba.dt_rank"], "2");
  EXPECT_EQ(h["attention.window"], "5");  // theirs is inclusive
  EXPECT_EQ(h["attention.full_layers"], "none");
  EXPECT_EQ(h["attention.kv_groups"], "0-1-2-3, 4-5");
  EXPECT_EQ(h["attention.qk_norm"], "rms_per_head");
  EXPECT_EQ(h["attention.v_dim"], "24");
  EXPECT_EQ(h["attention.bias"], "all");
  EXPECT_EQ(h["attention.rope_scaling"], "none");
  h = keys("{\"model_type\":\"hymba\"," + base +
           R"("sliding_window":null,"global_attn_idx":[0],"rope":false,"rope_type":"ntk"})");
  EXPECT_EQ(h["attention.window"], "0");
  EXPECT_EQ(h["attention.rope"], "false");
  auto l = keys("{\"model_type\":\"llama\"," + base +
                R"("intermediate_size":64,"rope_theta":500000.0,"rope_scaling":{"rope_type":"llama3","factor":8.0,
      "low_freq_factor":1.0,"high_freq_factor":4.0,"original_max_position_embeddings":8192}})");
  EXPECT_EQ(l["attention.rope_scaling"], "llama3");
  EXPECT_EQ(l["attention.rope_original"], "8192");
  auto f = keys("{\"model_type\":\"falcon_h1\"," + base +
                R"("intermediate_size":64,"mamba_d_ssm":48,"mamba_n_heads":6,"mamba_d_head":"auto",
      "mamba_d_state":8,"mamba_rms_norm":true,"time_step_limit":[0.01, Infinity],"mlp_multipliers":[0.5,2.0]})");
  EXPECT_EQ(f["mamba2.dt_floor"], "0.01");
  EXPECT_EQ(f["mamba2.norm_before_gate"], "true");
  EXPECT_EQ(f["mamba2.head_dim"], "8");
  EXPECT_EQ(f["ffn.gate_scale"], "0.5");
  auto j = keys("{\"model_type\":\"jamba\"," + base +
                R"("intermediate_size":64,"attn_layer_period":3,"attn_layer_offset":2,"num_experts":4,
      "expert_layer_period":2,"expert_layer_offset":1})");
  EXPECT_EQ(j["layers.pattern"], "mamba swiglu mamba moe attention swiglu mamba moe mamba swiglu attention moe");
}

// llama2.c's smallest checkpoint says its documented story word for word (greedy from bos, until bos comes again).
TEST(Llama2c, SaysItsDocumentedStory) {
  const fs::path folder = shared_folder(HYMBA_SOURCE_DIR) / "data" / "checkpoints" / "stories260K";
  if (!fs::exists(folder / "stories260K.bin"))
    GTEST_SKIP() << "no " << folder << ": set HYMBA_SHARED to the shared folder";
  const at::NoGradGuard no_grad;
  const auto loaded = load_model(folder / "stories260K.bin");
  const std::string words = read_file(folder / "tok512.bin");  // int32 longest; then float score, int32 length, bytes
  std::vector<std::string> pieces;
  for (std::size_t at = 4; at + 8 <= words.size();) {
    std::int32_t length = 0;
    std::memcpy(&length, words.data() + at + 4, 4);
    pieces.push_back(words.substr(at + 8, static_cast<std::size_t>(length)));
    at += 8 + static_cast<std::size_t>(length);
  }
  ASSERT_EQ(static_cast<std::int64_t>(pieces.size()), loaded.model->config().vocab);
  ModelCache cache = loaded.model->make_cache(1, 256);
  std::string text;
  std::int64_t id = 1;
  for (int step = 0; step < 256; ++step) {
    const std::int64_t last = id;
    id = loaded.model->logits(loaded.model->forward(at::zeros({1, 1}, at::kLong) + id, &cache))
             .argmax()
             .item<std::int64_t>();
    if (id == 1) break;
    std::string piece = pieces[static_cast<std::size_t>(id)];
    if (last == 1 && piece[0] == ' ') piece.erase(0, 1);
    if (piece.size() == 6 && piece.compare(0, 3, "<0x") == 0)
      piece = std::string(1, static_cast<char>(std::stoi(piece.substr(3, 2), nullptr, 16)));
    text += piece;
  }
  const std::string document = read_file(folder / "stories260K.md");
  const auto begin = document.find("Once upon a time"), end = document.find("\n```", begin);
  EXPECT_EQ(text, document.substr(begin, end - begin));
}

TEST_F(Exchange, Llama2cFilesOfTheWrongLength) {
  std::string bytes(28, '\0');
  const std::int32_t header[] = {8, 16, 1, 2, 1, 10, 4};
  std::memcpy(bytes.data(), header, 28);
  write_file_atomic(root_ / "m.bin", bytes + std::string(400, 'x'));
  expect_contains(error_of([&] { load_model(root_ / "m.bin"); }), {"m.bin", "428 bytes", "truncated"});
  write_file_atomic(root_ / "m.bin", "short");
  expect_contains(error_of([&] { load_model(root_ / "m.bin"); }), {"too few"});
}

}  // namespace
}  // namespace hymba
