// What is wrong or extreme, from outside: every mistake ends with one line that names it, exit code 2, and nothing lost.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cmath>
#include <fstream>

#include "base/files.h"
#include "io/safetensors.h"
#include "tests/program.h"

namespace hymba {
namespace {

constexpr const char* kHuge = "9223372036854775807";

fs::path trained(const std::string& name, const std::string& arguments) {
  const auto folder = scratch(name);
  const auto outcome = run(fmt::format("train {} --size smoke --out {}", arguments, folder.string()));
  EXPECT_EQ(outcome.code, 0) << outcome.err;
  return folder;
}

TEST(OddInput, AnEmptyValueIsNotTheDefault) {
  EXPECT_MISTAKE("roadmap --rows '' --size smoke", "--rows ''", "empty");
  EXPECT_MISTAKE("train 9 --size smoke --out ''", "--out ''", "empty");
  EXPECT_MISTAKE("eval /nowhere --tasks ''", "--tasks ''", "empty");
  EXPECT_MISTAKE("throughput 9 --size smoke --contexts ''", "--contexts ''", "empty");
  EXPECT_MISTAKE("heads /nowhere --layers ''", "--layers ''", "empty");
  EXPECT_MISTAKE("sweep --vary attention.window=8 --from ''", "--from ''", "empty");
  EXPECT_MISTAKE("show ''", "an argument is empty");
  EXPECT_MISTAKE("report ''", "an argument is empty");
}

TEST(OddInput, WordsThatNoCommandTakes) {
  EXPECT_MISTAKE("--nonsense", "no command in '--nonsense'");
  EXPECT_MISTAKE("--format json", "no command");
  EXPECT_MISTAKE("show 9 --seed %value%", "%value%", "seed");  // Boost's own placeholders
  EXPECT_MISTAKE("show 9 --threads=%canonical_option%", "%canonical_option%", "threads");
  EXPECT_EQ(run("--help").code, 0);
  EXPECT_MISTAKE("world --size large", "--size large", "smoke");
  EXPECT_MISTAKE("show 9 --train.lr=3", "train.lr", "no effect here", "designs");
  EXPECT_MISTAKE("cache 9 --set world.keys=16", "world.keys", "no effect here");
  EXPECT_MISTAKE("world --attention.window=5", "attention.window", "no effect here", "the synthetic world");
  EXPECT_MISTAKE("eval /nowhere --attention.window=5", "attention.window", "no effect here");
  EXPECT_MISTAKE("train 9 --size smoke --steps 1 --vocab=5", "--vocab=5", "the tokenizer sets it");
  EXPECT_MISTAKE("roadmap --rows 1 --size smoke --task-names nonsense", "--task-names needs --data");
  EXPECT_MISTAKE("sweep --vary vocab=10,20 --size smoke", "--vary vocab", "the tokenizer sets it");
  EXPECT_MISTAKE("sweep --vary attention.window=8 --attention.window=9 --size smoke", "the key is varied and set");
  EXPECT_MISTAKE("sweep --vary attention.window", "--vary attention.window: expected key=value");
  ::setenv("HYMBA_ISA", "nonsense", 1);
  EXPECT_MISTAKE("show 9", "HYMBA_ISA", "nonsense");
  ::unsetenv("HYMBA_ISA");
}

TEST(OddInput, NumbersBeyondAllBounds) {
  EXPECT_MISTAKE(fmt::format("cache 9 --context {}", kHuge), "--context", "from 1 to");
  EXPECT_MISTAKE(fmt::format("throughput 9 --size smoke --batch {}", kHuge), "--batch", "from 1 to");
  EXPECT_MISTAKE("roadmap --rows 1 --size smoke --limit -1", "--limit -1");
  EXPECT_MISTAKE(fmt::format("roadmap --rows 1 --size smoke --limit {}", kHuge), "--limit");
  EXPECT_MISTAKE(fmt::format("show 9 --vocab={}", kHuge), "vocab", "at most");
  EXPECT_MISTAKE(fmt::format("show 9 --meta_tokens={}", kHuge), "meta_tokens", "at most");
  EXPECT_MISTAKE(fmt::format("show 9 --attention.window={}", kHuge), "attention.window", "at most");
  EXPECT_MISTAKE("show 9 --attention.head_dim=9223372036854775806", "attention.head_dim", "at most");
  EXPECT_MISTAKE("show 9 --attention.v_dim=4611686018427387904", "attention.v_dim", "at most");
  EXPECT_MISTAKE(fmt::format("show 9 --mamba.state={}", kHuge), "mamba.state", "from 1 to");
  EXPECT_MISTAKE("show 9 --mamba.state=1048576 --mamba.expand=1048576", "mamba.x_proj", "check the design's sizes");
  EXPECT_MISTAKE("show 9 --init_std=nan", "init_std", "finite");
  // Overflows made a run of no steps of these, which ended well and put an empty model in place of a trained one.
  const std::string train = "train 9 --size smoke --out " + scratch("huge").string();
  EXPECT_MISTAKE(fmt::format("{} --tokens {}", train, kHuge), "--tokens", "from 1 to");
  EXPECT_MISTAKE(fmt::format("{} --steps {}", train, kHuge), "--steps", "from 1 to");
  EXPECT_MISTAKE(fmt::format("{} --train.tokens={}", train, kHuge), "train.tokens", "at most");
  EXPECT_MISTAKE(fmt::format("{} --train.batch={}", train, kHuge), "train.batch", "at most");
  EXPECT_MISTAKE(train + " --train.lr=inf", "train.lr", "finite");
  const auto memory = run(train + " --train.batch=1000000 --train.length=1000000");
  EXPECT_EQ(memory.code, 1);
  EXPECT_EQ(memory.err.find("frame #"), std::string::npos) << memory.err;
}

TEST(OddInput, PlacesThatCannotBeWritten) {
  const auto file = scratch("a_file");
  write_file_atomic(file, "kept");
  for (const std::string command : {"train 9 --size smoke --steps 1", "roadmap --rows 1 --size smoke", "sweep --vary attention.window=8 --size smoke"}) {
    EXPECT_MISTAKE(fmt::format("{} --out {}", command, file.string()), "a_file", "choose a place that can be written");
    EXPECT_MISTAKE(fmt::format("{} --out {}/below", command, file.string()), "a_file", "choose a place that can be written");
  }
  EXPECT_EQ(read_file(file), "kept");
}

TEST(OddInput, AClosedReaderCostsNoStepOfTraining) {
  const auto folder = scratch("closed");
  const auto command = fmt::format("bash -c \"set -o pipefail; '{}' train 6 --size smoke --steps 400 --train.log_every=2 --format json --out '{}' 2>/dev/null | head -n 3 >/dev/null\"",
                                   HYMBA_PROGRAM, folder.string());
  EXPECT_EQ(WEXITSTATUS(std::system(command.c_str())), 1);
  const auto both = fmt::format("bash -c \"set -o pipefail; '{}' train 6 --size smoke --steps 400 --train.log_every=2 --out '{}' 2>&1 | head -n 3 >/dev/null\"", HYMBA_PROGRAM,
                                scratch("closed_stderr").string());
  EXPECT_EQ(WEXITSTATUS(std::system(both.c_str())), 130);
  fs::path newest;
  for (const auto& entry : fs::directory_iterator(folder)) {
    if (fs::exists(entry.path() / "state.json")) newest = entry.path();
  }
  ASSERT_FALSE(newest.empty());
  EXPECT_GE(nlohmann::json::parse(read_file(newest / "state.json"))["step"].get<int>(), 6);
}

// A model's folder of one family to damage, with weights of its own.
class DamagedModel : public testing::Test {
 protected:
  void SetUp() override {
    const auto trained_model = trained("to_export", "6 --steps 2");
    folder = scratch("hf");
    ASSERT_EQ(run(fmt::format("export {} {}", trained_model.string(), folder.string())).code, 0);
    tensors = read_safetensors(folder / "model.safetensors").tensors;
    config = nlohmann::json::parse(read_file(folder / "config.json"));
  }
  void write_tensors(const std::map<std::string, at::Tensor>& changed) { write_safetensors(folder / "model.safetensors", changed); }
  void write_config(const nlohmann::json& changed) { write_file_atomic(folder / "config.json", changed.dump()); }
  std::string generate() const { return fmt::format("generate {} --prompt-ids 5,6 --max-new-tokens 2", folder.string()); }

  fs::path folder;
  std::map<std::string, at::Tensor> tensors;
  nlohmann::json config;
};

TEST_F(DamagedModel, WithoutTokenizerIdsStandForText) {
  const auto text = run(generate());
  ASSERT_EQ(text.code, 0) << text.err;
  const auto json = lines_of(run(generate() + " --format json").out).at(0);
  EXPECT_TRUE(json["text"].is_null());
  EXPECT_EQ(text.out, fmt::format("{} {}\n", json["ids"][0].get<int>(), json["ids"][1].get<int>()));
  EXPECT_MISTAKE(fmt::format("generate {} --prompt word", folder.string()), "no tokenizer with this model", "--tokenizer FILE");
  EXPECT_MISTAKE(fmt::format("heads {} --tasks piqa --data /nowhere", folder.string()), "/nowhere");
  EXPECT_MISTAKE(fmt::format("import {} {} --tokenizer /nowhere.model", folder.string(), scratch("imported").string()), "/nowhere.model");
  EXPECT_FALSE(fs::exists(folder.parent_path() / "imported"));
}

TEST_F(DamagedModel, TensorsAreNamedWithWhatWasExpected) {
  const char* const name = "model.layers.0.mlp.gate_proj.weight";
  ASSERT_TRUE(tensors.contains(name));
  const auto whole = read_file(folder / "model.safetensors");
  write_file_atomic(folder / "model.safetensors", whole.substr(0, whole.size() / 2));
  EXPECT_MISTAKE(generate(), "model.safetensors", "truncated");
  auto changed = tensors;
  changed.erase(name);
  write_tensors(changed);
  EXPECT_MISTAKE(generate(), name, "is missing");
  changed["renamed"] = tensors[name];
  write_tensors(changed);
  EXPECT_MISTAKE(generate(), name, "there is 'renamed'");
  changed = tensors;
  changed[name] = tensors[name].t().contiguous();
  write_tensors(changed);
  EXPECT_MISTAKE(generate(), name, "has shape", "config.json needs");
  changed = tensors;
  std::swap(changed[name], changed["model.norm.weight"]);
  write_tensors(changed);
  EXPECT_MISTAKE(generate(), "has shape", "config.json needs");
  changed = tensors;
  changed[name] = tensors[name].clone();
  changed[name].data_ptr<float>()[3] = std::nanf("");
  write_tensors(changed);
  EXPECT_MISTAKE(generate(), name, "nan at element 3");
}

TEST_F(DamagedModel, AHeadOfItsOwnIsNotTied) {
  ASSERT_EQ(config["tie_word_embeddings"], true);
  auto changed = tensors;
  changed["lm_head.weight"] = tensors["model.embed_tokens.weight"].clone();
  write_tensors(changed);
  EXPECT_EQ(run(generate()).code, 0);  // the same tensor twice
  changed["lm_head.weight"][0][0] += 1;
  write_tensors(changed);
  EXPECT_MISTAKE(generate(), "lm_head.weight", "differs from 'model.embed_tokens.weight'", "tie_word_embeddings");
}

TEST_F(DamagedModel, ShardsIndexAndConfig) {
  nlohmann::json map = nlohmann::json::object();
  for (const auto& [name, tensor] : tensors) map[name] = "model-00001-of-00001.safetensors";
  const auto index = folder / "model.safetensors.index.json";
  fs::rename(folder / "model.safetensors", folder / "model-00001-of-00001.safetensors");
  EXPECT_MISTAKE(generate(), "no model.safetensors", "model-00001-of-00001.safetensors", "without its index");
  write_file_atomic(index, nlohmann::json{{"weight_map", map}}.dump());
  EXPECT_EQ(run(generate()).code, 0);
  map["model.norm.weight"] = "model-00002-of-00002.safetensors";
  write_file_atomic(index, nlohmann::json{{"weight_map", map}}.dump());
  EXPECT_MISTAKE(generate(), "model-00002-of-00002.safetensors is missing", "model.norm.weight");
  write_file_atomic(index, "{\"weight_map\": ");
  EXPECT_MISTAKE(generate(), "index.json", "truncated or damaged");
  fs::remove(index);
  fs::rename(folder / "model-00001-of-00001.safetensors", folder / "model.safetensors");
  auto changed = config;
  changed["model_type"] = "nonsense";
  write_config(changed);
  EXPECT_MISTAKE(generate(), "config.json", "nonsense", "llama");
  changed.erase("model_type");
  write_config(changed);
  EXPECT_MISTAKE(generate(), "config.json", "model_type is missing", "llama");
  changed = config;
  changed["hidden_size"] = 2 * config["hidden_size"].get<int>();
  write_config(changed);
  EXPECT_MISTAKE(generate(), "config.json");
  changed["hidden_size"] = "wide";
  write_config(changed);
  EXPECT_MISTAKE(generate(), "hidden_size = \"wide\"", "whole number");
  write_file_atomic(folder / "config.json", "{");
  EXPECT_MISTAKE(generate(), "config.json", "not a JSON object");
}

TEST(OddInput, TokenizersTasksAndLabelsThatDoNotFit) {
  const auto folder = scratch("tasks");
  std::string text;
  for (int i = 0; i < 3000; ++i) text += fmt::format("The number {} comes before the number {}.\n", i, i + 1);
  write_file_atomic(folder / "numbers.txt", text);
  const auto model = trained("bytes", "6 --steps 2 --data " + (folder / "numbers.txt").string());
  const auto eval = fmt::format("eval {} --tasks arc_easy --data {}", model.string(), folder.string());
  EXPECT_MISTAKE(eval, "arc_easy", "commonsense/arc_easy.jsonl", "found none of them");
  EXPECT_MISTAKE(fmt::format("eval {} --tasks arc_easy --data /nowhere", model.string()), "/nowhere");
  const auto label = [&](const std::string& gold) {
    write_file_atomic(folder / "commonsense" / "arc_easy.jsonl",
                      "{\"query\": \"Question: a?\", \"choices\": [\"b\", \"c\"], \"gold\": 1}\n{\"query\": \"Question: d?\", \"choices\": [\"e\", \"f\"], \"gold\": " + gold + "}\n");
  };
  label("0");
  EXPECT_EQ(run(eval).code, 0);
  for (const char* gold : {"2", "-1", "null", "0.5", "\"x\""}) {
    label(gold);
    EXPECT_MISTAKE(eval, "arc_easy.jsonl:2", "gold");
  }
  label("0}");
  EXPECT_MISTAKE(eval, "arc_easy.jsonl:2", "JSON");
  // A tokenizer with more ids than the model: that of the synthetic world for one that reads bytes.
  fs::path state;
  for (const auto& entry : fs::directory_iterator(model)) {
    if (fs::exists(entry.path() / "state.json")) state = entry.path() / "state.json";
  }
  auto json = nlohmann::json::parse(read_file(state));
  json["tokenizer"] = "world:";
  write_file_atomic(state, json.dump());
  EXPECT_MISTAKE(fmt::format("eval {}", model.string()), "259 ids", "another model's tokenizer");
  EXPECT_MISTAKE(fmt::format("generate {} --prompt the", model.string()), "another model's tokenizer");
  json["tokenizer"] = "world: nonsense=3";
  write_file_atomic(state, json.dump());
  EXPECT_MISTAKE(fmt::format("eval {}", model.string()), "no option 'nonsense'");
  json["curve"] = {{"x", 1}};
  write_file_atomic(state, json.dump());
  EXPECT_MISTAKE(fmt::format("eval {}", model.string()), "state.json", "curve", "damaged");
}

TEST(OddInput, ModelsWithoutACommonTask) {
  const auto model = trained("compared", "6 --steps 2"), a = scratch("samples_a"), b = scratch("samples_b");
  ASSERT_EQ(run(fmt::format("eval {} --tasks facts --limit 4 --log-samples --out {}", model.string(), a.string())).code, 0);
  ASSERT_EQ(run(fmt::format("eval {} --tasks rules --limit 4 --log-samples --out {}", model.string(), b.string())).code, 0);
  EXPECT_MISTAKE(fmt::format("compare {} {}", a.string(), b.string()), "no task in common");
  EXPECT_MISTAKE(fmt::format("compare {} {} --tasks rules", a.string(), b.string()), "samples_rules.jsonl");
  const auto slip = run(fmt::format("compare {} /nowhere --limit 4", model.string()));
  EXPECT_EQ(slip.code, 2);
  EXPECT_EQ(slip.err.find("eval task="), std::string::npos) << "scored before the second argument was looked at: " << slip.err;
}

TEST(OddInput, AGivenTokenizerMakesAWorldsModelReadText) {
  const auto model = trained("reader", "6 --steps 2"), folder = scratch("reader_data");
  std::string text;
  for (int i = 0; i < 100; ++i) text += fmt::format("The number {} comes before the number {}.\n", i, i + 1);
  write_file_atomic(folder / "numbers.txt", text);
  write_file_atomic(folder / "arc_easy.jsonl", "{\"query\": \"Question: a?\", \"choices\": [\"b\", \"c\"], \"gold\": 1}\n");
  const auto attention = fmt::format("attention {} --length 16 --prompts 2 --data text={} --out {}", model.string(), (folder / "numbers.txt").string(), scratch("reader_out").string());
  EXPECT_MISTAKE(attention, "knows the synthetic world's words alone");
  const auto eval = fmt::format("eval {} --tasks arc_easy --data {}", model.string(), folder.string());
  EXPECT_MISTAKE(eval, "knows the synthetic world's words alone");
  for (const auto& command : {attention, eval}) {
    const auto read = run(command + " --tokenizer bytes");
    EXPECT_EQ(read.code, 0) << read.err;
  }
}

// Cutting a cell to fit 120 columns took the upper ends of the intervals away.
TEST(OddInput, IntervalsAreWholeInANarrowTable) {
  const auto a = scratch("interval_a"), b = scratch("interval_b");
  for (const auto& [folder, right] : {std::pair{a, 0.0}, std::pair{b, 1.0}}) {
    std::string lines;
    for (int i = 0; i < 30; ++i) lines += fmt::format("{{\"id\":\"{}\",\"doc_id\":{},\"acc\":{},\"acc_norm\":{},\"metrics\":[\"acc\",\"acc_norm\"]}}\n", i, i, i % 3 == 0 ? right : 0.0, i % 2);
    write_file_atomic(folder / "samples_arc_challenge.jsonl", lines);
  }
  const auto compared = run(fmt::format("compare {} {}", a.string(), b.string()));
  ASSERT_EQ(compared.code, 0) << compared.err;
  EXPECT_EQ(compared.out.find("…"), std::string::npos) << compared.out;
}

TEST(OddInput, ResultsThatContradictThemselvesOrAreDamaged) {
  const auto out = scratch("results"), damaged = scratch("damaged"), page = scratch("odd.html");
  ASSERT_EQ(run("roadmap --size smoke --rows 1 --limit 8 --train.tokens=3000 --out " + out.string()).code, 0);
  const auto text = read_file(out / "records.jsonl");
  const auto report = fmt::format("report {} --out {}", damaged.string(), page.string());
  const auto lines = split(trim(text), '\n');
  const auto write = [&](const std::function<void(nlohmann::json&)>& change, bool add) {
    std::string changed = add ? text : "";
    for (const auto& line : lines) {
      auto record = nlohmann::json::parse(line);
      change(record);
      changed += record.dump() + "\n";
    }
    write_file_atomic(damaged / "records.jsonl", changed);
  };
  // Two commits, and the same number twice with two values: said in the page and at the terminal.
  write([](nlohmann::json& r) { r["commit"] = "other"; if (r["metric"] == "acc") r["value"] = 0.987; }, true);
  const auto contradicting = run(report);
  ASSERT_EQ(contradicting.code, 0) << contradicting.err;
  for (const std::string words : {"come from 2 commits", "contradict each other"}) {
    EXPECT_NE(read_file(page).find(words), std::string::npos) << words;
    EXPECT_NE(contradicting.out.find(words), std::string::npos) << words;
  }
  write([](nlohmann::json& r) { r["extra"] = nlohmann::json::array({1}); }, false);
  EXPECT_MISTAKE(report, "records.jsonl:1", "\"extra\"", "an object");
  write([](nlohmann::json& r) { r["seed"] = -3; }, false);
  EXPECT_MISTAKE(report, "records.jsonl:1", "\"seed\"", "-3");
  write([](nlohmann::json& r) { r["n"] = 1.5; }, false);
  EXPECT_MISTAKE(report, "records.jsonl:1", "\"n\"", "1.5");
  write([](nlohmann::json& r) { r["extra"] = {{"config", 5}, {"layers", {{{"mixer", 5}, {"window", "x"}}}}, {"row", "x"}, {"context", "y"}}; }, false);
  EXPECT_EQ(run(report).code, 0) << run(report).err;
  write_file_atomic(damaged / "records.jsonl", lines[0] + "\n{broken\n" + lines[1] + "\n");
  EXPECT_MISTAKE(report, "records.jsonl:2", "repair or delete this line");
  write_file_atomic(damaged / "records.jsonl", text + "{\"study\":");
  ASSERT_EQ(run(report).code, 0);
  EXPECT_NE(read_file(page).find("the last line is broken off"), std::string::npos);
  fs::remove(damaged / "records.jsonl");
  EXPECT_MISTAKE(report, "no Records here");
}

}  // namespace
}  // namespace hymba
