// What is true in one world: drawn from the seed, and which part of it training asks about.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/rng.h"
#include "data/world_lexicon.h"
#include "data/world_options.h"
#include "data/world_text.h"

namespace hymba::data {

// subject -> value, every value for (nearly) equally many subjects, so that a value's frequency gives nothing away.
struct Relation {
  const RelationText* text = nullptr;  // null for a two-step relation: it has a question only
  std::string name, question;
  const std::vector<std::string>* subjects = nullptr;
  const std::vector<std::string>* values = nullptr;
  std::vector<std::size_t> value_of;    // a subject's value
  std::vector<bool> held;               // subjects whose question is kept for the tests
  std::vector<std::size_t> held_list;   // the same as indices
  std::vector<std::size_t> asked_list;  // the others: training asks about them
  const std::string& value(std::size_t subject) const { return (*values)[value_of[subject]]; }
};

// Numbers of the kinds of combinations of WorldFacts::combination_held.
inline constexpr std::uint64_t kActorAndScript = 0, kWhoPair = 1, kCase = 2;

class WorldFacts {
 public:
  WorldFacts(std::uint64_t seed, const WorldOptions& options);
  WorldFacts(const WorldFacts&) = delete;  // relations point into citizen_names_

  const std::vector<Relation>& one_step() const { return one_step_; }
  const std::vector<Relation>& two_step() const { return two_step_; }
  const Relation& material() const { return one_step_[material_]; }
  std::size_t citizens() const { return citizens_; }
  // The result word of material m in situation s.
  const std::string& result(std::size_t m, std::size_t s) const {
    return lexicon().situations[s].results[result_[m][s]];
  }
  bool case_held(std::size_t object, std::size_t s) const { return case_held_[object][s]; }
  // The form of four in which only the tests ask for the tool of a goal; training asks in the next one.
  std::size_t goal_form(std::size_t tool, std::size_t goal) const { return goal_form_[2 * tool + goal]; }
  std::size_t held_form(std::size_t cause) const { return held_form_[cause]; }  // 0-3
  // Combinations kept for the tests by a hash of their numbers: actor and script, pattern and pair of names.
  bool combination_held(std::uint64_t kind, std::uint64_t a, std::uint64_t b, std::uint64_t c = 0) const;

 private:
  std::uint64_t seed_;
  double held_share_;
  std::size_t citizens_, material_ = 0;
  std::vector<std::string> citizen_names_;
  std::vector<Relation> one_step_, two_step_;
  std::vector<std::vector<std::size_t>> result_;
  std::vector<std::vector<bool>> case_held_;
  std::vector<std::size_t> goal_form_, held_form_;
};

// Documents. Each appends whole sentences until the text has about `tokens` tokens.
void write_facts(const WorldFacts& facts, Rng& rng, int tokens, Text& out);
void write_questions(const WorldFacts& facts, Rng& rng, int tokens, Text& out);
void write_rules(const WorldFacts& facts, Rng& rng, int tokens, Text& out);

}  // namespace hymba::data
