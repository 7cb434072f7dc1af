// hymba generate, chat and throughput from outside: output, exit codes, bad input, interrupts.
#include <gtest/gtest.h>

#include "base/files.h"
#include "results/record.h"
#include "tests/program.h"

namespace hymba {
namespace {

TEST(Generate, ContinuesPromptsAndNamesMistakes) {
  const auto model = scratch("generator");
  ASSERT_EQ(run("train 13 --size smoke --steps 5 --out " + model.string()).code, 0);
  const std::string command = "generate " + model.string() + " --prompt-ids 5,6,7 --ignore-eos ";
  const auto greedy = run(command + "--max-new-tokens 30 --format json");
  ASSERT_EQ(greedy.code, 0) << greedy.err;
  const auto object = lines_of(greedy.out).at(0);
  for (const char* key : {"ids", "text", "prefill_tok_s", "decode_tok_s"}) EXPECT_TRUE(object.contains(key)) << key;
  EXPECT_EQ(object["ids"].size(), 30u);
  EXPECT_EQ(lines_of(run(command + "--max-new-tokens 30 --format json --chunk 1").out).at(0)["ids"], object["ids"]);
  const auto stream = lines_of(run(command + "--max-new-tokens 30 --format json --stream").out);
  ASSERT_EQ(stream.size(), 31u);
  EXPECT_EQ(stream[3]["id"], object["ids"][3]);
  const std::string draws = "--max-new-tokens 30 --format json --temperature 1.5 --top-k 40 --top-p 0.95 --seed ";
  const auto ids = [&](const std::string& seed) { return lines_of(run(command + draws + seed).out).at(0)["ids"]; };
  EXPECT_EQ(ids("3"), ids("3"));
  EXPECT_NE(ids("3"), ids("4"));
  EXPECT_EQ(run(command + "--dtype bf16 --kv-dtype fp16").code, 0);
  const std::string bare = "generate " + model.string();
  EXPECT_MISTAKE(bare + " --prompt-ids 5,100000", "prompt id 100000 is outside the vocabulary");
  EXPECT_MISTAKE(bare + " --prompt-ids=-1", "prompt id -1");
  EXPECT_MISTAKE(bare + " --prompt-ids 5,x", "whole number");
  EXPECT_MISTAKE(bare + " --prompt ''", "empty");
  EXPECT_MISTAKE(bare, "--prompt-ids");
  EXPECT_MISTAKE(bare + " --prompt-ids 5 --top-k 3", "--temperature");
  EXPECT_MISTAKE(bare + " --prompt-ids 5 --kv-dtype int8", "fp32, bf16 or fp16");
  EXPECT_MISTAKE(bare + " --prompt-ids 5 --products int8", "fp32 or bf16");
  EXPECT_MISTAKE(bare + " --prompt-ids 5 --products bf16", "add --dtype bf16");
  EXPECT_MISTAKE("generate /nowhere --prompt x", "/nowhere");
  const auto huge = run(command + "--max-new-tokens 1000000000000");
  EXPECT_EQ(huge.code, 1);
  EXPECT_NE(huge.err.find("are available"), std::string::npos) << huge.err;
}

TEST(Generate, CtrlCAndClosedOutputEndItWithOneMessage) {
  const auto model = scratch("endless");
  ASSERT_EQ(run("train 6 --size smoke --steps 2 --out " + model.string()).code, 0);
  const std::string command =
      "generate " + model.string() + " --prompt-ids 5 --ignore-eos --stream --max-new-tokens 300000";
  for (const int signal : {SIGINT, SIGHUP}) {
    const auto stopped = run(command, 3000, signal);
    EXPECT_EQ(stopped.code, 130) << stopped.err;
    EXPECT_NE(stopped.err.find("interrupted"), std::string::npos) << stopped.err;
  }
  const int status = std::system(fmt::format("bash -c \"set -o pipefail; '{}' {} 2>'{}' | head -c 20 >/dev/null\"",
                                             HYMBA_PROGRAM, command, scratch("pipe").string())
                                     .c_str());
  EXPECT_EQ(WEXITSTATUS(status), 1);
  const auto said = run("chat " + model.string() + " --max-new-tokens 5 </dev/null");
  EXPECT_EQ(said.code, 0) << said.err;
}

TEST(Generate, AModelWithoutATokenizerReadsIds) {
  const auto model = scratch("without_tokenizer");
  ASSERT_EQ(run("train 9 --size smoke --steps 2 --out " + (model / "run").string()).code, 0);
  const std::string folder = (model / "hf").string();
  ASSERT_EQ(run("export " + (model / "run").string() + " " + folder).code, 0);
  const auto made = run("generate " + folder + " --prompt-ids 1,2,3 --max-new-tokens 5 --format json");
  ASSERT_EQ(made.code, 0) << made.err;
  EXPECT_EQ(lines_of(made.out).at(0)["ids"].size(), 5u);
  EXPECT_EQ(lines_of(made.out).at(0)["ids"],
            lines_of(run("generate " + (model / "run").string() + " --prompt-ids 1,2,3 --max-new-tokens 5 --ignore-eos --format json").out).at(0)["ids"]);
  EXPECT_MISTAKE("generate " + folder + " --prompt 'a kettle'", "no tokenizer with this model");
  EXPECT_EQ(run("generate " + folder + " --prompt 'a kettle' --max-new-tokens 3 --tokenizer bytes").code, 0);
  for (const char* study : {"magnitudes", "erf", "attention"}) {
    const auto seen = run(fmt::format("{} {} --length 24 --prompts 2 --format json --out {}", study, folder, (model / study).string()));
    EXPECT_EQ(seen.code, 0) << study << ": " << seen.err;
    EXPECT_FALSE(lines_of(seen.out).empty()) << study;
  }
  EXPECT_MISTAKE("heads " + folder + " --tasks piqa --data /nowhere --out " + (model / "heads").string(), "/nowhere");
}

TEST(Tokenize, TextBecomesIdsAFileOfIdsTrainsAndMistakesAreNamed) {
  const auto folder = scratch("tokenize");
  std::filesystem::create_directories(folder);
  const auto shown = lines_of(run("tokenize bytes --text 'Hi there' --format json").out).at(0);
  EXPECT_EQ(shown["ids"], nlohmann::json({72, 105, 32, 116, 104, 101, 114, 101}));
  EXPECT_EQ(lines_of(run("tokenize bytes --decode 72,105 --format json").out).at(0)["text"], "Hi");
  std::string text;
  for (int i = 0; i < 4000; ++i) text += fmt::format("The {} kettle is warm. ", i % 7);
  write_file_atomic(folder / "text.txt", text);
  const std::string ids = (folder / "ids.bin").string();
  const auto made = run("tokenize bytes --input " + (folder / "text.txt").string() + " --out " + ids + " --format json");
  ASSERT_EQ(made.code, 0) << made.err;
  EXPECT_EQ(lines_of(made.out).at(0)["tokens"], text.size());
  const auto trained = run("train 1 --size smoke --steps 2 --data " + ids + " --tokenizer bytes --out " + (folder / "run").string());
  EXPECT_EQ(trained.code, 0) << trained.err;
  EXPECT_MISTAKE("tokenize bytes", "--text");
  EXPECT_MISTAKE("tokenize bytes --text a --decode 1", "one of");
  EXPECT_MISTAKE("tokenize bytes --decode 1,999", "id 999 is outside the vocabulary of 259");
  EXPECT_MISTAKE("tokenize bytes --decode 1,x", "--decode");
  EXPECT_MISTAKE("tokenize /nowhere.json --text a", "/nowhere.json");
  EXPECT_MISTAKE("tokenize bytes --input /nowhere", "/nowhere");
  EXPECT_MISTAKE("tokenize bytes --text a --out ids.txt", "FILE.bin");
}

TEST(Throughput, OneLineADesignWithTheKeysOfTheContract) {
  const auto out = scratch("throughput");
  const auto outcome =
      run("throughput all --size smoke --context 128 --batch 2 --dtype bf16 --fill synthetic --rounds 2 --steps 2 "
          "--format json --out " +
          out.string());
  ASSERT_EQ(outcome.code, 0) << outcome.err;
  const auto rows = lines_of(outcome.out);
  ASSERT_EQ(rows.size(), 13u);
  for (const auto& row : rows) {
    for (const char* key :
         {"design", "batch", "batch_asked", "context", "prefill_tok_s", "decode_tok_s", "decode_tok_s_min",
          "decode_tok_s_max", "cache_bytes_measured", "cache_bytes_predicted", "peak_rss_bytes", "predicted_tok_s"}) {
      EXPECT_TRUE(row.contains(key)) << key;
    }
    EXPECT_EQ(row["cache_bytes_measured"], row["cache_bytes_predicted"]) << row["design"];
    EXPECT_GT(row["decode_tok_s"].get<double>(), 0);
    EXPECT_GT(row["predicted_tok_s"].get<double>(), 0);
  }
  EXPECT_EQ(read_records(out / "records.jsonl").size(), 13u * 5);
  EXPECT_MISTAKE("throughput 9 --dtype int8", "fp32, bf16 or fp16");
  EXPECT_MISTAKE("throughput 9 --fill half", "real or synthetic");
}

}  // namespace
}  // namespace hymba
