// The words and phrases of the miniature world: data only. Which belongs to which (who lives where, what is made of
// what) is drawn from the seed in world_facts.cpp. `$0`, `$1`, `$2` in a phrase stand for one word each.
#pragma once

#include <array>
#include <string>
#include <vector>

namespace hymba::data {

// A relation's wording. Statements teach a fact; the question is asked in training for a half or two thirds of the
// subjects only.
struct RelationText {
  std::string name;
  std::vector<std::string> statements;  // $0 subject, $1 value
  std::string question;                 // $0 subject; the answer is the value alone
};

struct Tool {
  std::string name;
  std::array<std::string, 2> goals;
};

struct Cause {
  std::string cause, effect;  // $0 a name
};

// "$0 ... $1 ... because" and two ends: ends[k] is true of $k.
struct WhoPattern {
  bool of_objects;  // else of people
  std::string text;
  std::array<std::string, 2> ends;
};

struct Situation {
  std::string place, event;          // "in water", "falls into water"
  std::vector<std::string> results;  // "floats", ...
};

struct Lexicon {
  std::vector<std::string> citizens;  // people with lasting facts
  std::vector<std::string> cast;      // people of stories and records: first half "she", second half "he"
  std::vector<std::string> towns, countries, jobs, foods, animals, feeds, colors, objects, rooms, materials;
  std::vector<RelationText> attributes;  // of citizens
  RelationText town_country, animal_feed, object_material;
  std::vector<std::string> two_step_questions;  // of citizens: country, feed of the pet, material of the thing
  std::vector<Situation> situations;
  std::vector<Tool> tools;
  std::vector<std::string> tool_statements;       // $0 goal, $1 tool
  std::vector<std::string> tool_forms;            // four ways to ask for the tool of goal $0
  std::vector<std::vector<std::string>> scripts;  // $0 name or pronoun
  std::vector<Cause> causes;
  std::vector<WhoPattern> who;
  std::vector<std::string> fillers;  // sentences that say nothing about anyone
  std::vector<std::string> events;   // $0 person, $1 object, $2 room
  std::vector<std::string> record_nouns;
  std::vector<std::string> words;  // every other word that documents and items use
};

const Lexicon& lexicon();

// All words, the first `citizens` citizens' names among them, each once, in an order that does not depend on the seed.
std::vector<std::string> lexicon_words(int citizens);

}  // namespace hymba::data
