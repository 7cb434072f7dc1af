#include "data/world_stories.h"

namespace hymba::data {
namespace {

// An actor and a script that training may join.
std::pair<std::size_t, std::size_t> draw_actor(const WorldFacts& facts, Rng& rng) {
  const Lexicon& x = lexicon();
  while (true) {
    const std::size_t actor = rng.below(x.cast.size()), script = rng.below(x.scripts.size());
    if (!facts.combination_held(kActorAndScript, actor, script)) return {actor, script};
  }
}

void write_one_story(const WorldFacts& facts, Rng& rng, Text& out) {
  const Lexicon& x = lexicon();
  const auto [actor, script] = draw_actor(facts, rng);
  for (std::size_t k = 0; k < x.scripts[script].size(); ++k) {
    out.add(x.scripts[script][k], {k == 0 ? x.cast[actor] : pronoun(actor)});
  }
}

// Two stories told in turns: the next step depends on who is named.
void write_two_stories(const WorldFacts& facts, Rng& rng, Text& out) {
  const Lexicon& x = lexicon();
  const auto a = draw_actor(facts, rng);
  auto b = draw_actor(facts, rng);
  while (b.first == a.first || b.second == a.second) b = draw_actor(facts, rng);
  const auto& script_a = x.scripts[a.second];
  const auto& script_b = x.scripts[b.second];
  std::size_t i = 0, j = 0;
  while (i < script_a.size() || j < script_b.size()) {
    if (j == script_b.size() || (i < script_a.size() && rng.chance(0.5))) {
      out.add(script_a[i++], {x.cast[a.first]});
    } else {
      out.add(script_b[j++], {x.cast[b.first]});
    }
  }
}

}  // namespace

const std::vector<CauseForm>& cause_forms() {
  static const std::vector<CauseForm> forms = {
      {"$0 , so", true}, {"$0 . as a result ,", true}, {"$1 because", false}, {"$1 . the reason is that", false}};
  return forms;
}

// By the hash's high bits: its lowest one is the parity of all bytes, the same for every order of the same words.
bool list_is_held(const std::string& text) { return hash64(text) >> 60 == 0; }

const std::string& pronoun(std::size_t actor) {
  static const std::string she = "she", he = "he";
  return actor < lexicon().cast.size() / 2 ? she : he;
}

std::vector<Statement> draw_statements(Rng& rng) {
  const Lexicon& x = lexicon();
  const std::size_t n = 4 + rng.below(5);
  const auto people = rng.sample(x.cast.size(), n);
  const auto objects = rng.sample(x.objects.size(), n);
  const auto rooms = rng.sample(x.rooms.size(), n);
  std::vector<Statement> out;
  for (std::size_t k = 0; k < n; ++k) {
    const bool in_room = k < 4 ? k % 2 == 0 : rng.chance(0.5);
    out.push_back({people[k], in_room ? rooms[k] : objects[k], in_room});
  }
  rng.shuffle(out);
  return out;
}

std::string statements_text(const std::vector<Statement>& statements) {
  const Lexicon& x = lexicon();
  Text text;
  for (const auto& s : statements) {
    text.add(s.in_room ? "$0 is in the $1 ." : "$0 has the $1 .",
             {x.cast[s.person], s.in_room ? x.rooms[s.thing] : x.objects[s.thing]});
  }
  return text.take();
}

std::string yes_no_question(const std::vector<Statement>& statements, bool truth, Rng& rng) {
  const Lexicon& x = lexicon();
  const Statement& about = rng.pick(statements);
  std::size_t thing = about.thing;
  while (!truth && thing == about.thing) {
    const Statement& other = rng.pick(statements);
    if (other.in_room == about.in_room) thing = other.thing;
  }
  return fill(about.in_room ? "question : is $0 in the $1 ? answer :" : "question : does $0 have the $1 ? answer :",
              {x.cast[about.person], about.in_room ? x.rooms[thing] : x.objects[thing]});
}

void write_tools(const WorldFacts& facts, Rng& rng, int tokens, Text& out) {
  const Lexicon& x = lexicon();
  while (out.tokens() < tokens) {
    const std::size_t t = rng.below(x.tools.size()), g = rng.below(2);
    if (rng.chance(0.5)) {
      out.add(rng.pick(x.tool_statements), {x.tools[t].goals[g], x.tools[t].name});
    } else {
      out.add(x.tool_forms[(facts.goal_form(t, g) + 1) % 4], {x.tools[t].goals[g]});
      out.add("$0 .", {x.tools[t].name});
    }
  }
}

void write_causes(const WorldFacts& facts, Rng& rng, int tokens, Text& out) {
  const Lexicon& x = lexicon();
  while (out.tokens() < tokens) {
    const std::size_t c = rng.below(x.causes.size());
    std::size_t f = rng.below(4);
    while (f == facts.held_form(c)) f = rng.below(4);
    const std::string& name = rng.pick(x.cast);
    const std::string cause = fill(x.causes[c].cause, {name}), effect = fill(x.causes[c].effect, {name});
    out.add(cause_forms()[f].lead, {cause, effect});
    out.add(cause_forms()[f].asks_effect ? effect : cause);
    out.word(".");
  }
}

void write_scripts(const WorldFacts& facts, Rng& rng, int tokens, Text& out) {
  do {
    if (rng.chance(0.5)) {
      write_one_story(facts, rng, out);
    } else {
      write_two_stories(facts, rng, out);
    }
  } while (out.tokens() < tokens - 40);
}

void write_who(const WorldFacts& facts, Rng& rng, int tokens, Text& out) {
  const Lexicon& x = lexicon();
  while (out.tokens() < tokens) {
    const std::size_t p = rng.below(x.who.size());
    const auto& names = x.who[p].of_objects ? x.objects : x.cast;
    const std::size_t a = rng.below(names.size()), b = rng.below(names.size());
    if (a == b || facts.combination_held(kWhoPair, p, a, b)) continue;
    const std::size_t meant = rng.below(2);
    out.add(x.who[p].text, {names[a], names[b]});
    out.word(names[meant == 0 ? a : b]);
    out.add(x.who[p].ends[meant]);
  }
}

void write_yes_no(const WorldFacts&, Rng& rng, int tokens, Text& out) {
  do {
    const auto statements = draw_statements(rng);
    const std::string text = statements_text(statements);
    if (list_is_held(text)) continue;
    out.add(text);
    for (std::size_t k = 0; k < statements.size() / 2 + 2; ++k) {
      const bool truth = rng.chance(0.5);
      out.add(yes_no_question(statements, truth, rng));
      out.add(truth ? "yes ." : "no .");
    }
  } while (out.tokens() < tokens - 50);
}

}  // namespace hymba::data
