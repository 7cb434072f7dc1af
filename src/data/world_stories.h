// Sentences about tools, causes, small stories, who is meant, and yes/no questions: training documents and the pieces
// that the tasks share with them.
#pragma once

#include <string>
#include <vector>

#include "data/world_facts.h"

namespace hymba::data {

// A cause-effect pair in one of four forms; each form of a pair is either for training or for the tests.
struct CauseForm {
  std::string lead;  // $0 cause, $1 effect: the one that is known
  bool asks_effect;  // what follows: the effect, else the cause
};
const std::vector<CauseForm>& cause_forms();

// Lists and passages are new in every document. One sixteenth of them, by a hash of their text, is for the tests only.
bool list_is_held(const std::string& text);

struct Statement {
  std::size_t person, thing;  // thing: an object, or a room
  bool in_room;
};
// Between 4 and 8 statements, at least two of either sort, about different people, objects and rooms.
std::vector<Statement> draw_statements(Rng& rng);
std::string statements_text(const std::vector<Statement>& statements);
// "question : does anna have the cup ? answer :"; `truth`: about the right thing, else about another one of the text.
std::string yes_no_question(const std::vector<Statement>& statements, bool truth, Rng& rng);

const std::string& pronoun(std::size_t actor);

void write_tools(const WorldFacts& facts, Rng& rng, int tokens, Text& out);
void write_causes(const WorldFacts& facts, Rng& rng, int tokens, Text& out);
void write_scripts(const WorldFacts& facts, Rng& rng, int tokens, Text& out);
void write_who(const WorldFacts& facts, Rng& rng, int tokens, Text& out);
void write_yes_no(const WorldFacts& facts, Rng& rng, int tokens, Text& out);

}  // namespace hymba::data
