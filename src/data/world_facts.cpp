#include "data/world_facts.h"

#include <algorithm>

namespace hymba::data {
namespace {

std::uint64_t mix(std::uint64_t x) {  // splitmix64's finalizer
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ULL;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebULL;
  return x ^ (x >> 31);
}

// n subjects over v values in random order, each value floor(n / v) or one more times.
std::vector<std::size_t> balanced(std::size_t n, std::size_t v, Rng& rng) {
  const auto order = rng.sample(n, n);
  const auto names = rng.sample(v, v);
  std::vector<std::size_t> out(n);
  for (std::size_t r = 0; r < n; ++r) out[order[r]] = names[r % v];
  return out;
}

// Every second subject of each value: a value is asked in training and in the tests equally often.
std::vector<bool> hold_half(const std::vector<std::size_t>& value_of, Rng& rng) {
  std::vector<bool> held(value_of.size());
  std::vector<std::size_t> seen(1 + *std::max_element(value_of.begin(), value_of.end()));
  for (const auto subject : rng.sample(value_of.size(), value_of.size())) {
    held[subject] = seen[value_of[subject]]++ % 2 == 1;
  }
  return held;
}

void split_subjects(Relation& r, Rng& rng) {
  r.held = hold_half(r.value_of, rng);
  for (std::size_t i = 0; i < r.held.size(); ++i) (r.held[i] ? r.held_list : r.asked_list).push_back(i);
}

Relation one_step_relation(const RelationText& text, const std::vector<std::string>& subjects,
                           const std::vector<std::string>& values, Rng& rng) {
  Relation r{&text, text.name, text.question, &subjects, &values, {}, {}, {}, {}};
  r.value_of = balanced(subjects.size(), values.size(), rng);
  split_subjects(r, rng);
  return r;
}

// second(first(subject)): "in which country does ada live ?"
Relation compose(const Relation& first, const Relation& second, const std::string& question, Rng& rng) {
  Relation r{nullptr, second.name + "_of_" + first.name, question, first.subjects, second.values, {}, {}, {}, {}};
  for (const auto middle : first.value_of) r.value_of.push_back(second.value_of[middle]);
  split_subjects(r, rng);
  return r;
}

}  // namespace

WorldFacts::WorldFacts(std::uint64_t seed, const WorldOptions& options)
    : seed_(mix(seed)), held_share_(options.held_out), citizens_(static_cast<std::size_t>(options.citizens)) {
  const Lexicon& x = lexicon();
  Rng rng(seed, "world.facts");
  citizen_names_.assign(x.citizens.begin(), x.citizens.begin() + options.citizens);
  const std::vector<std::string>* values[] = {&x.towns, &x.jobs, &x.foods, &x.animals, &x.colors, &x.objects, &x.towns};
  const std::size_t attributes = static_cast<std::size_t>(options.attributes);
  for (std::size_t a = 0; a < attributes; ++a) {
    one_step_.push_back(one_step_relation(x.attributes[a], citizen_names_, *values[a], rng));
  }
  one_step_.push_back(one_step_relation(x.town_country, x.towns, x.countries, rng));
  one_step_.push_back(one_step_relation(x.animal_feed, x.animals, x.feeds, rng));
  one_step_.push_back(one_step_relation(x.object_material, x.objects, x.materials, rng));
  material_ = attributes + 2;
  // Two steps: the country of the home, the feed of the pet, the material of the thing.
  const std::size_t first[] = {0, 3, 5};
  for (std::size_t k = 0; k < 3; ++k) {
    if (first[k] >= attributes) continue;
    two_step_.push_back(compose(one_step_[first[k]], one_step_[attributes + k], x.two_step_questions[k], rng));
  }
  result_.assign(x.materials.size(), {});
  case_held_.assign(x.objects.size(), {});
  for (const auto& s : x.situations) {
    const auto result = balanced(x.materials.size(), s.results.size(), rng);
    for (std::size_t m = 0; m < result.size(); ++m) result_[m].push_back(result[m]);
    std::vector<std::size_t> of_object;
    for (std::size_t o = 0; o < x.objects.size(); ++o) of_object.push_back(result[material().value_of[o]]);
    const auto held = hold_half(of_object, rng);
    for (std::size_t o = 0; o < held.size(); ++o) case_held_[o].push_back(held[o]);
  }
  goal_form_ = balanced(2 * x.tools.size(), 4, rng);
  held_form_ = balanced(x.causes.size(), 4, rng);
}

bool WorldFacts::combination_held(std::uint64_t kind, std::uint64_t a, std::uint64_t b, std::uint64_t c) const {
  const std::uint64_t h = mix(seed_ + mix(1 + kind + 16 * (a + 1024 * (b + 1024 * c))));
  return static_cast<double>(h >> 11) * 0x1.0p-53 < held_share_;
}

void write_facts(const WorldFacts& facts, Rng& rng, int tokens, Text& out) {
  const auto& relations = facts.one_step();
  const std::size_t attributes = relations.size() - 3;
  while (out.tokens() < tokens) {
    if (rng.chance(0.75)) {  // all about one citizen, in random order
      const std::size_t citizen = rng.below(facts.citizens());
      for (const auto a : rng.sample(attributes, attributes)) {
        const Relation& r = relations[a];
        out.add(rng.pick(r.text->statements), {(*r.subjects)[citizen], r.value(citizen)});
      }
    } else {  // some towns, animals or objects
      const Relation& r = relations[attributes + rng.below(3)];
      for (const auto i : rng.sample(r.subjects->size(), 4)) {
        out.add(rng.pick(r.text->statements), {(*r.subjects)[i], r.value(i)});
      }
    }
  }
}

void write_questions(const WorldFacts& facts, Rng& rng, int tokens, Text& out) {
  while (out.tokens() < tokens) {
    const bool two = !facts.two_step().empty() && rng.chance(0.35);
    const Relation& r = rng.pick(two ? facts.two_step() : facts.one_step());
    const std::size_t i = rng.pick(r.asked_list);
    out.word("question");
    out.word(":");
    out.add(r.question, {(*r.subjects)[i]});
    out.add("answer : $0 .", {r.value(i)});
  }
}

void write_rules(const WorldFacts& facts, Rng& rng, int tokens, Text& out) {
  const Lexicon& x = lexicon();
  while (out.tokens() < tokens) {
    const std::size_t s = rng.below(x.situations.size());
    if (rng.chance(0.5)) {
      const std::size_t m = rng.below(x.materials.size());
      out.add(rng.chance(0.5) ? "everything made of $0 $1 $2 ." : "a thing made of $0 $1 $2 .",
              {x.materials[m], facts.result(m, s), x.situations[s].place});
      continue;
    }
    const std::size_t o = rng.below(x.objects.size());
    std::size_t m = facts.material().value_of[o];
    if (rng.chance(0.5)) {
      if (facts.case_held(o, s)) continue;
      out.add("the $0 $1 .", {x.objects[o], x.situations[s].event});
    } else {
      m = rng.below(x.materials.size());
      if (facts.combination_held(kCase, o, m, s)) continue;
      out.add("a $0 made of $1 $2 .", {x.objects[o], x.materials[m], x.situations[s].event});
    }
    out.add("it $0 .", {facts.result(m, s)});
  }
}

}  // namespace hymba::data
