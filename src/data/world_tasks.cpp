#include "data/world_tasks.h"

#include <algorithm>
#include <functional>
#include <set>

#include "base/error.h"
#include "base/interrupt.h"
#include "base/text.h"
#include "data/world_recall.h"

namespace hymba::data {
namespace {

// Puts the choices in random order; choices[0] is the right one.
WorldItem choice_item(std::string context, std::vector<std::string> choices, Rng& rng) {
  WorldItem item;
  item.contexts.push_back(std::move(context));
  for (const auto i : rng.sample(choices.size(), choices.size())) {
    if (i == 0) item.gold = static_cast<int>(item.choices.size());
    item.choices.push_back(std::move(choices[i]));
  }
  return item;
}

// One of [0, n) that is not in `taken`; added to it.
std::size_t draw_other(std::size_t n, std::vector<std::size_t>& taken, Rng& rng) {
  std::size_t i = rng.below(n);
  while (std::find(taken.begin(), taken.end(), i) != taken.end()) i = rng.below(n);
  taken.push_back(i);
  return i;
}

struct Place {  // an actor in the middle of a script; `next` is the step that has not been told
  std::size_t actor, script, next;
};

Place draw_held_place(const WorldFacts& facts, Rng& rng) {
  const Lexicon& x = lexicon();
  while (true) {
    const Place p{rng.below(x.cast.size()), rng.below(x.scripts.size()), 1 + rng.below(4)};
    if (facts.combination_held(kActorAndScript, p.actor, p.script)) return p;
  }
}

// Half of the wrong ends come from scripts that the context tells: the other actor's next step, or a wrong step.
void add_wrong_steps(std::vector<std::string>& choices, const Place& told, const std::string& name, Rng& rng) {
  const Lexicon& x = lexicon();
  while (choices.size() < 4) {
    std::size_t script = rng.below(x.scripts.size()), step = 1 + rng.below(4);
    if (choices.size() == 1 && rng.chance(0.5)) {
      script = told.script;
      step = 1 + rng.below(4);
    }
    if (script == told.script && step == told.next) continue;
    const auto text = fill(x.scripts[script][step], {name});
    if (std::find(choices.begin(), choices.end(), text) == choices.end()) choices.push_back(text);
  }
}

}  // namespace

WorldItem fact_item(const std::vector<Relation>& relations, std::size_t n, Rng& rng) {
  const Relation& r = rng.pick(relations);
  const std::size_t subject = rng.pick(r.held_list);
  std::vector<std::size_t> taken = {r.value_of[subject]};
  std::vector<std::string> choices = {r.value(subject)};
  while (choices.size() < n) choices.push_back((*r.values)[draw_other(r.values->size(), taken, rng)]);
  WorldItem item = choice_item("question : " + fill(r.question, {(*r.subjects)[subject]}) + " answer :", choices, rng);
  item.meta = {{"relation", r.name}};
  return item;
}

WorldItem tool_item(const WorldFacts& facts, Rng& rng) {
  const Lexicon& x = lexicon();
  const std::size_t right = rng.below(x.tools.size()), goal = rng.below(2);
  std::vector<std::size_t> taken = {right};
  const std::size_t wrong = draw_other(x.tools.size(), taken, rng);
  return choice_item(fill(x.tool_forms[facts.goal_form(right, goal)], {x.tools[right].goals[goal]}),
                     {x.tools[right].name + " .", x.tools[wrong].name + " ."}, rng);
}

WorldItem continuation_item(const WorldFacts& facts, Rng& rng) {
  const Lexicon& x = lexicon();
  const Place a = draw_held_place(facts, rng);
  const bool two = rng.chance(0.5);
  Place b = draw_held_place(facts, rng);
  while (b.actor == a.actor || b.script == a.script) b = draw_held_place(facts, rng);
  const std::string& name = two ? x.cast[a.actor] : pronoun(a.actor);
  Text context;
  for (std::size_t i = 0, j = 0; i < a.next || (two && j < b.next);) {
    if (i < a.next && (!two || j == b.next || rng.chance(0.5))) {
      context.add(x.scripts[a.script][i], {i == 0 ? x.cast[a.actor] : name});
      ++i;
    } else {
      context.add(x.scripts[b.script][j++], {x.cast[b.actor]});
    }
  }
  std::vector<std::string> choices = {fill(x.scripts[a.script][a.next], {name})};
  if (two) choices.push_back(fill(x.scripts[b.script][b.next], {name}));
  add_wrong_steps(choices, a, name, rng);
  WorldItem item = choice_item(context.take(), choices, rng);
  item.meta = {{"actors", two ? 2 : 1}};
  return item;
}

WorldItem who_item(const WorldFacts& facts, Rng& rng) {
  const Lexicon& x = lexicon();
  while (true) {
    const std::size_t p = rng.below(x.who.size());
    const auto& names = x.who[p].of_objects ? x.objects : x.cast;
    const std::size_t a = rng.below(names.size()), b = rng.below(names.size());
    if (a == b || !facts.combination_held(kWhoPair, p, a, b)) continue;
    const std::size_t meant = rng.below(2);
    const bool swapped = rng.chance(0.5);  // which name is option 0
    const std::string lead = fill(x.who[p].text, {names[a], names[b]}) + ' ';
    WorldItem item;
    item.contexts = {lead + names[swapped ? b : a], lead + names[swapped ? a : b]};
    item.choices.assign(2, x.who[p].ends[meant]);
    item.gold = (meant == 1) != swapped ? 1 : 0;
    return item;
  }
}

WorldItem rule_item(const WorldFacts& facts, Rng& rng) {
  const Lexicon& x = lexicon();
  while (true) {
    const std::size_t o = rng.below(x.objects.size()), s = rng.below(x.situations.size());
    const bool stated = rng.chance(0.5);
    const std::size_t m = stated ? rng.below(x.materials.size()) : facts.material().value_of[o];
    if (!(stated ? facts.combination_held(kCase, o, m, s) : facts.case_held(o, s))) continue;
    const std::string& event = x.situations[s].event;
    const std::string context = stated ? fill("a $0 made of $1 $2 . it", {x.objects[o], x.materials[m], event})
                                       : fill("the $0 $1 . it", {x.objects[o], event});
    std::vector<std::string> choices = {facts.result(m, s)};
    for (const auto& result : x.situations[s].results) {
      if (result != choices[0]) choices.push_back(result);
    }
    WorldItem item = choice_item(context, choices, rng);
    item.meta = {{"material_stated", stated}};
    return item;
  }
}

WorldItem yes_no_item(Rng& rng) {
  while (true) {
    const auto statements = draw_statements(rng);
    const std::string text = statements_text(statements);
    if (!list_is_held(text)) continue;
    WorldItem item;
    item.gold = static_cast<int>(rng.below(2));
    item.contexts = {text + ' ' + yes_no_question(statements, item.gold == 1, rng)};
    item.choices = {"no", "yes"};
    item.meta = {{"statements", statements.size()}};
    return item;
  }
}

WorldItem cause_item(const WorldFacts& facts, Rng& rng) {
  const Lexicon& x = lexicon();
  const std::size_t right = rng.below(x.causes.size());
  std::vector<std::size_t> taken = {right};
  const std::size_t wrong = draw_other(x.causes.size(), taken, rng);
  const std::string& name = rng.pick(x.cast);
  const CauseForm& form = cause_forms()[facts.held_form(right)];
  const auto end = [&](std::size_t c) {
    return fill(form.asks_effect ? x.causes[c].effect : x.causes[c].cause, {name}) + " .";
  };
  WorldItem item =
      choice_item(fill(form.lead, {fill(x.causes[right].cause, {name}), fill(x.causes[right].effect, {name})}),
                  {end(right), end(wrong)}, rng);
  item.meta = {{"asks", form.asks_effect ? "effect" : "cause"}};
  return item;
}

namespace {

using Draw = std::function<WorldItem(Rng&)>;

// `items` different items; UserError where the world does not hold that many.
WorldTask make_task(WorldTask task, const Draw& draw, std::uint64_t seed, int items) {
  Rng rng(seed, "world.task." + task.name);
  std::set<std::string> seen;
  const std::size_t wanted = static_cast<std::size_t>(items);
  for (std::size_t tries = 0; task.items.size() < wanted; ++tries) {
    require(tries < 200 * (wanted + 10),
            "world task '{}': only {} different items found of the {} asked for; ask for fewer or raise held_out",
            task.name, task.items.size(), items);
    throw_if_interrupted();
    WorldItem item = draw(rng);
    auto sorted = item.choices;  // two orders of the same choices are one item
    std::sort(sorted.begin(), sorted.end());
    auto sorted_contexts = item.contexts;
    std::sort(sorted_contexts.begin(), sorted_contexts.end());
    if (!seen.insert(join(sorted_contexts, "|") + "|" + item.prompt + "|" + join(sorted, "|")).second) continue;
    task.items.push_back(std::move(item));
  }
  return task;
}

}  // namespace

std::string WorldItem::gold_text() const {
  if (choices.empty()) return prompt + ' ' + answer;
  const auto g = static_cast<std::size_t>(gold);
  return contexts[contexts.size() == 1 ? 0 : g] + ' ' + choices[g];
}

std::vector<WorldTask> World::tasks(int items) const {
  require(items > 0, "world tasks: {} items; at least 1 is needed", items);
  const WorldFacts& f = *facts_;
  const char* const mc = "multiple_choice";
  std::vector<WorldTask> out;
  const auto add = [&](const char* name, const char* manner, const char* suite, const char* kind, double chance,
                       const Draw& draw) {
    out.push_back(make_task({name, manner, suite, kind, chance, {}}, draw, seed_, items));
  };
  add("facts", "arc_easy", "general", mc, 0.25, [&](Rng& r) { return fact_item(f.one_step(), 4, r); });
  if (!f.two_step().empty())
    add("two_step", "arc_challenge", "general", mc, 0.25, [&](Rng& r) { return fact_item(f.two_step(), 4, r); });
  add("tools", "piqa", "general", mc, 0.5, [&](Rng& r) { return tool_item(f, r); });
  add("continuation", "hellaswag", "general", mc, 0.25, [&](Rng& r) { return continuation_item(f, r); });
  add("who", "winogrande", "general", "partial", 0.5, [&](Rng& r) { return who_item(f, r); });
  add("rules", "openbookqa", "general", mc, 0.25, [&](Rng& r) { return rule_item(f, r); });
  add("yes_no", "boolq", "general", mc, 0.5, [&](Rng& r) { return yes_no_item(r); });
  add("causes", "copa", "general", mc, 0.5, [&](Rng& r) { return cause_item(f, r); });
  add("passages", "squad_completion", "recall", "completion", 1.0 / static_cast<double>(lexicon().towns.size()),
      [&](Rng& r) { return passage_item(options_, r); });
  add("records", "swde", "recall", "completion", 1.0 / options_.values,
      [&](Rng& r) { return record_item(options_, r); });
  return out;
}

}  // namespace hymba::data
