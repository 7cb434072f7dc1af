// Data files of tasks, results and samples. The first byte chooses what the rest is called.
#include "eval/records.h"

#include "eval/comparison.h"
#include "eval/task.h"
#include "results/record.h"
#include "tests/fuzz/fuzz.h"

namespace {

constexpr const char* kNames[] = {"a.jsonl", "a.csv", "a.json", "a.txt", "b.txt", "c.txt", "records.jsonl", "samples_a.jsonl"};

hymba::eval::TaskDefinition task() {
  static const auto definitions = hymba::eval::load_task_definitions(hymba::fuzz::write_scratch(
      "t.ini", "[t]\nfiles = a.jsonl\na.context = {q|strip}\na.choices = {c}\na.gold = {g}\nb.context = {question|capitalize}\nb.choices = {x.text} | {y|last_word}\nb.gold = {k} in {l}\n"));
  return definitions.at(0);
}

}  // namespace

void read_fuzzed(const std::string& bytes) {
  if (bytes.empty()) return;
  const auto which = static_cast<std::size_t>(static_cast<unsigned char>(bytes[0])) % std::size(kNames);
  const auto folder = hymba::fuzz::scratch() / "data";
  std::filesystem::remove_all(folder);
  std::filesystem::create_directories(folder);
  const auto path = hymba::fuzz::write_scratch("data/" + std::string(kNames[which]), bytes.substr(1));
  if (which == 6) {
    hymba::read_records(path);
  } else if (which == 7) {
    for (const auto& [name, samples] : hymba::eval::read_samples(folder)) hymba::eval::compare_samples(name, samples, samples, 5);
  } else {
    const char* formats[] = {"", "", "", "blocks:2", "articles", "whole"};
    hymba::eval::read_rows(path, formats[which]);
    if (which == 0) hymba::eval::load_task(task(), folder);
  }
}

std::vector<std::string> make_seeds() {
  const auto seed = [](int which, const std::string& text) { return std::string(1, static_cast<char>(which)) + text; };
  return {seed(0, "{\"q\": \"x\", \"c\": [\"a\", \"b\"], \"g\": 1}\n{\"question\": \"y\", \"x\": {\"text\": \"u\"}, \"y\": \"v w\", \"k\": \"A\", \"l\": [\"A\", \"B\"]}\n"),
          seed(1, "q,g\n\"a \"\"b\"\",\nc\",1\n"), seed(2, "{\"data\":[{\"title\":\"t\",\"paragraphs\":[{\"context\":\"c\",\"qas\":[{\"id\":\"1\",\"question\":\"q\",\"answers\":[{\"text\":\"a\",\"answer_start\":0}]}]}]}]}"),
          seed(3, "a\nb\n"), seed(4, " = T = \n text\n = = S = = \n"), seed(5, "whole"),
          seed(6, "{\"study\":\"eval\",\"design\":\"d\",\"size\":\"\",\"metric\":\"acc\",\"task\":\"t\",\"value\":0.5,\"error\":null,\"unit\":\"1\",\"n\":3,\"seed\":0,\"config_hash\":\"00\",\"commit\":\"c\",\"host\":\"h\",\"time\":\"t\",\"extra\":{}}\n"),
          seed(7, "{\"id\":\"0\",\"acc\":1.0,\"loglikelihood\":-2.5}\n{\"id\":\"1\",\"acc\":0.0,\"loglikelihood\":-1.5}\n")};
}
