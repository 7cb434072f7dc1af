// Solves items from their text and the world's facts, never from `gold`: proof that every item has its answer.
#include <algorithm>

#include "base/text.h"
#include "data/world.h"
#include "data/world_recall.h"
#include "data/world_stories.h"

namespace hymba::data {
namespace {

using Words = std::vector<std::string>;

int index_of(const Words& choices, const std::string& text) {
  const auto found = std::find(choices.begin(), choices.end(), text);
  return found == choices.end() ? -1 : static_cast<int>(found - choices.begin());
}

bool contains(const std::string& text, const std::string& phrase) { return text.find(phrase) != std::string::npos; }

int answer_question(const std::vector<Relation>& relations, const WorldItem& item) {
  const Words text = split(item.contexts[0], ' ');
  Words slots;
  for (const Relation& r : relations) {
    if (!match_last(text, "question : " + r.question + " answer :", slots)) continue;
    const int subject = index_of(*r.subjects, slots[0]);
    if (subject >= 0) return index_of(item.choices, r.value(static_cast<std::size_t>(subject)));
  }
  return -1;
}

int find_tool(const WorldItem& item) {
  for (const Tool& tool : lexicon().tools) {
    for (const auto& goal : tool.goals) {
      for (const auto& form : lexicon().tool_forms) {
        if (item.contexts[0] == fill(form, {goal})) return index_of(item.choices, tool.name + " .");
      }
    }
  }
  return -1;
}

// The script whose steps the context tells of the named actor, and the first step that it does not tell.
int continue_story(const WorldItem& item) {
  const Words text = split(item.contexts[0], ' ');
  const std::string name = split(item.choices[0], ' ')[0];
  const bool is_pronoun = name == "she" || name == "he";
  Words slots;
  for (const auto& script : lexicon().scripts) {
    std::size_t told = 0;
    while (told < script.size() && match_last(text, script[told], slots) &&
           (slots[0] == name || (is_pronoun && told == 0))) {
      ++told;
    }
    if (told > 0 && told < script.size()) return index_of(item.choices, fill(script[told], {name}));
  }
  return -1;
}

int who_is_meant(const WorldItem& item) {
  for (const WhoPattern& p : lexicon().who) {
    Words slots;
    const Words text = split(item.contexts[0], ' ');
    if (!match_at(text, 0, split(p.text, ' '), slots)) continue;
    for (std::size_t k = 0; k < 2; ++k) {
      if (p.ends[k] != item.choices[0]) continue;
      return split(item.contexts[0], ' ').back() == slots[k] ? 0 : 1;
    }
  }
  return -1;
}

int apply_rule(const World& world, const WorldItem& item) {
  const Lexicon& x = lexicon();
  const Words text = split(item.contexts[0], ' ');
  Words slots;
  for (std::size_t s = 0; s < x.situations.size(); ++s) {
    const std::string end = x.situations[s].event + " . it";
    int material = -1;
    if (match_last(text, "the $0 " + end, slots)) {
      const int object = index_of(x.objects, slots[0]);
      if (object < 0) continue;
      material = static_cast<int>(world.facts().material().value_of[static_cast<std::size_t>(object)]);
    } else if (match_last(text, "a $0 made of $1 " + end, slots)) {
      material = index_of(x.materials, slots[1]);
    }
    if (material < 0) continue;
    return index_of(item.choices, world.facts().result(static_cast<std::size_t>(material), s));
  }
  return -1;
}

int yes_or_no(const WorldItem& item) {
  const std::string& text = item.contexts[0];
  const Words words = split(text, ' ');
  Words slots;
  std::string statement;
  if (match_last(words, "does $0 have the $1 ? answer :", slots)) {
    statement = fill("$0 has the $1 .", {slots[0], slots[1]});
  } else if (match_last(words, "is $0 in the $1 ? answer :", slots)) {
    statement = fill("$0 is in the $1 .", {slots[0], slots[1]});
  } else {
    return -1;
  }
  return index_of(item.choices, contains(text, statement) ? "yes" : "no");
}

// Every reading of the choices as the missing end of a cause-effect pair.
int find_cause(const WorldItem& item) {
  for (const std::string& name : lexicon().cast) {
    for (const Cause& c : lexicon().causes) {
      const std::string cause = fill(c.cause, {name}), effect = fill(c.effect, {name});
      for (const CauseForm& form : cause_forms()) {
        if (fill(form.lead, {cause, effect}) != item.contexts[0]) continue;
        const int choice = index_of(item.choices, (form.asks_effect ? effect : cause) + " .");
        if (choice >= 0) return choice;
      }
    }
  }
  return -1;
}

std::string recall_record(const Words& prompt) {
  // The first occurrence of the key is its binding: "mira red", "mira : red ;", "the badge of mira is red ."
  const std::string& last = prompt.back();
  const long after = last == ":" || last == "is" ? 2 : 1;  // from the key to the value
  const auto at = std::find(prompt.begin(), prompt.end(), prompt[prompt.size() - static_cast<std::size_t>(after)]);
  return prompt.end() - at > after ? *(at + after) : "";
}

std::string recall_event(const Words& prompt) {
  Words query, slots;
  for (const std::string& event : lexicon().events) {
    const Words pattern = split(passage_query(event), ' ');
    if (prompt.size() < pattern.size() || !match_at(prompt, prompt.size() - pattern.size(), pattern, query)) continue;
    for (std::size_t begin = 0; begin < prompt.size(); ++begin) {
      if (match_at(prompt, begin, split(event, ' '), slots) && slots[0] == query[0]) return slots[1];
    }
  }
  return "";
}

}  // namespace

int oracle(const World& world, const WorldTask& task, const WorldItem& item) {
  if (task.name == "facts") return answer_question(world.facts().one_step(), item);
  if (task.name == "two_step") return answer_question(world.facts().two_step(), item);
  if (task.name == "tools") return find_tool(item);
  if (task.name == "continuation") return continue_story(item);
  if (task.name == "who") return who_is_meant(item);
  if (task.name == "rules") return apply_rule(world, item);
  if (task.name == "yes_no") return yes_or_no(item);
  if (task.name == "causes") return find_cause(item);
  return -1;
}

std::string oracle_completion(const World&, const WorldTask& task, const WorldItem& item) {
  const Words prompt = split(item.prompt, ' ');
  return task.name == "records" ? recall_record(prompt) : task.name == "passages" ? recall_event(prompt) : "";
}

}  // namespace hymba::data
