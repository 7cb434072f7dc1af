// INI files: stanzas, task definitions, and designs with their keys.
#include "config/ini.h"

#include "eval/task.h"
#include "model/design.h"
#include "tests/fuzz/fuzz.h"

void read_fuzzed(const std::string& bytes) {
  hymba::StanzaFile stanzas;
  stanzas.add_text(bytes, "fuzz.ini");
  for (const auto& name : stanzas.names()) {
    const auto& stanza = *stanzas.find(name);
    try {
      hymba::Design(name, "smoke", {{"fuzz.ini", false, stanza.assignments}});
    } catch (const hymba::Error&) {
    }
  }
  hymba::eval::load_task_definitions(hymba::fuzz::write_scratch("fuzz.ini", bytes));
}

std::vector<std::string> make_seeds() {
  return {"[mine]\nhidden = 64\nlayers = 4\nlayers.pattern = mamba ffn attention ffn\nattention.window = 8\nattention.full_layers = first,last\n",
          "[t]\ntitle = x\nkind = multiple_choice\nfiles = a.jsonl, b/*.csv\na.context = {q|strip|replace:x=>y}\\nA:\na.choices = {c.0} | {c.1}\na.gold = {g} in {l}\n",
          "# a comment\n[u]\nfrom = t\nkind = completion\nuntil = \\n | .\nfilter.strict = first [0-9]+\nignore = , | \\$\na.context = {q}\na.answer = {a}\nfiles = x\n"
          "[t]\nfiles = a\nabstract = true\n"};
}
