#include "data/world_recall.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "data/world_stories.h"

namespace hymba::data {
namespace {

// Log-uniform in [low, high]: easy lists are as common as hard ones, so that recall is learnt from short to long.
std::size_t draw_size(std::size_t low, std::size_t high, Rng& rng) {
  if (low >= high) return high;
  const double u = std::log(static_cast<double>(low)) +
                   rng.uniform() * std::log((static_cast<double>(high) + 1) / static_cast<double>(low));
  return std::clamp(static_cast<std::size_t>(std::exp(u)), low, high);
}

struct RecordList {
  RecordForm form;
  std::string noun;
  std::vector<std::size_t> keys, values;
  std::size_t size() const { return keys.size(); }
};

int pair_tokens(RecordForm form) { return form == RecordForm::kBare ? 2 : form == RecordForm::kTerse ? 4 : 7; }

// Room for the list and one round of queries.
std::size_t most_pairs(const WorldOptions& o, RecordForm form) {
  const int fit = (o.max_tokens - 8) / (2 * pair_tokens(form));
  return static_cast<std::size_t>(std::min({fit, o.pairs_max, o.keys, o.values}));
}

void add_query(const RecordList& list, std::size_t k, Text& out) {  // up to the value
  if (list.form == RecordForm::kSentence) out.add("the $0 of", {list.noun});
  out.drawn_word(lexicon().cast[list.keys[k]]);
  if (list.form == RecordForm::kTerse) out.word(":");
  if (list.form == RecordForm::kSentence) out.word("is");
}

// stated: for the first time, so that nothing tells the value.
void add_pair(const RecordList& list, std::size_t k, bool stated, Text& out) {
  add_query(list, k, out);
  if (stated) out.mark_drawn(out.tokens());
  out.word(lexicon().colors[list.values[k]]);
  if (list.form == RecordForm::kTerse) out.word(";");
  if (list.form == RecordForm::kSentence) out.word(".");
}

void open_section(const RecordList& list, std::string_view header, Text& out) {
  if (list.form != RecordForm::kSentence) out.add("$0 :", {header});
}

void close_section(const RecordList& list, Text& out) {
  if (list.form == RecordForm::kBare) out.word(".");
}

void state_list(const RecordList& list, Text& out) {
  open_section(list, "list", out);
  for (std::size_t k = 0; k < list.size(); ++k) add_pair(list, k, true, out);
  close_section(list, out);
}

std::string list_text(const RecordList& list) {
  Text out;
  state_list(list, out);
  return out.take();
}

// A list over some of the keys in `deck` that is kept for the tests, or is not, as asked.
RecordList draw_list(const WorldOptions& o, RecordForm form, std::size_t n, std::vector<std::size_t> deck, bool held,
                     Rng& rng) {
  while (true) {
    rng.shuffle(deck);
    RecordList list{form, rng.pick(lexicon().record_nouns), {deck.begin(), deck.begin() + static_cast<long>(n)}, {}};
    list.values = rng.sample(static_cast<std::size_t>(o.values), n);
    if (list_is_held(list_text(list)) == held) return list;
  }
}

std::vector<std::size_t> full_deck(int n) {
  std::vector<std::size_t> deck(static_cast<std::size_t>(n));
  for (std::size_t i = 0; i < deck.size(); ++i) deck[i] = i;
  return deck;
}

void remove_from(std::vector<std::size_t>& deck, const std::vector<std::size_t>& used) {
  std::erase_if(deck, [&](std::size_t k) { return std::find(used.begin(), used.end(), k) != used.end(); });
}

void add_fillers(std::size_t n, Rng& rng, Text& out) {
  for (const auto f : rng.sample(lexicon().fillers.size(), n)) out.add(lexicon().fillers[f]);
}

// One list, then rounds of queries in new random order; at most `room` tokens if one round fits. List and queries say a
// pair in the same words, so that every value after the list is told by one and the same rule, "find what followed this
// key": the many later rounds, with their short distances, teach what the first round needs.
void write_list(const WorldOptions& o, const RecordList& list, int room, Rng& rng, Text& out) {
  const int start = out.tokens();
  state_list(list, out);
  const int round = static_cast<int>(list.size()) * pair_tokens(list.form);
  if (rng.chance(o.filler) && out.tokens() - start + round + 34 < room) add_fillers(1 + rng.below(6), rng, out);
  open_section(list, "again", out);
  const int rounds = std::clamp((room - (out.tokens() - start) - 1) / round, 1, o.rounds_max);
  for (int r = 0; r < rounds; ++r) {
    for (const auto k : rng.sample(list.size(), list.size())) add_pair(list, k, false, out);
  }
  close_section(list, out);
}

// Somebody visited, saw, liked ... a town.
struct Event {
  std::size_t person, town, pattern;
};

// stated: for the first time; later the person alone is drawn, and verb and town follow from the person.
void add_event(const Event& e, bool stated, Text& out) {
  for (int word = 0; word < (stated ? 3 : 1); ++word) out.mark_drawn(out.tokens() + word);
  out.add(lexicon().events[e.pattern], {lexicon().cast[e.person], lexicon().towns[e.town]});
}

std::vector<Event> draw_events(std::size_t n, Rng& rng) {
  const auto people = rng.sample(lexicon().cast.size(), n), towns = rng.sample(lexicon().towns.size(), n);
  std::vector<Event> events(n);
  for (std::size_t k = 0; k < n; ++k) events[k] = {people[k], towns[k], rng.below(lexicon().events.size())};
  return events;
}

void state_events(const std::vector<Event>& events, Text& out) {
  for (const auto& e : events) add_event(e, true, out);
}

std::string events_text(const std::vector<Event>& events) {
  Text out;
  state_events(events, out);
  return out.take();
}

// Distance in tokens from the first `word` in the prompt to the position after its end.
int distance_to(const std::string& prompt, const std::string& word) {
  const std::string padded = ' ' + prompt + ' ';
  const auto at = padded.find(' ' + word + ' ');
  return at == std::string::npos ? -1 : token_count(prompt.substr(at));
}

// Items keep a distance of `far` tokens at least, except every seventh or so.
bool far_enough(const WorldOptions& o, int distance, Rng& rng) { return distance >= o.far || rng.chance(0.05); }

}  // namespace

std::string_view passage_query(std::string_view event) { return event.substr(0, event.find(" $1")); }

void write_records(const WorldOptions& o, Rng& rng, int tokens, Text& out) {
  auto deck = full_deck(o.keys);
  // The denser in answers a form is, the oftener it comes: sparse signals make recall form late or never.
  const std::uint64_t u = rng.below(20);
  const auto form = u < 9 ? RecordForm::kBare : u < 16 ? RecordForm::kTerse : RecordForm::kSentence;
  tokens = (tokens + o.max_tokens) / 2;  // long documents: more rounds of queries
  while (true) {
    const std::size_t n = draw_size(static_cast<std::size_t>(o.pairs_min), most_pairs(o, form), rng);
    const int least = 2 * static_cast<int>(n) * pair_tokens(form) + 6;
    const int left = o.max_tokens - 2 - out.tokens();
    if (n > deck.size() || least > left) {
      if (out.tokens() > 0) return;
      continue;
    }
    const auto list = draw_list(o, form, n, deck, false, rng);
    write_list(o, list, std::min(left, std::max(least, tokens - out.tokens())), rng, out);
    remove_from(deck, list.keys);
    if (out.tokens() >= tokens) return;
  }
}

void write_passages(const WorldOptions& o, Rng& rng, int tokens, Text& out) {
  constexpr int kEvent = 4;  // tokens
  const int most = std::min(o.events_max, (o.max_tokens - 8) / (2 * kEvent));
  tokens = (tokens + o.max_tokens) / 2;
  do {
    auto events = draw_events(draw_size(2, static_cast<std::size_t>(most), rng), rng);
    const int room = o.max_tokens - 2 - out.tokens();
    if (2 * kEvent * static_cast<int>(events.size()) > room) {
      if (out.tokens() > 0) return;
      continue;
    }
    if (list_is_held(events_text(events))) continue;
    state_events(events, out);
    if (rng.chance(o.filler) && 2 * kEvent * static_cast<int>(events.size()) + 34 < room)
      add_fillers(1 + rng.below(6), rng, out);
    for (int round = 0; round < o.rounds_max; ++round) {
      rng.shuffle(events);
      for (const auto& e : events) {
        if (out.tokens() + kEvent + 2 > o.max_tokens) return;
        add_event(e, false, out);
      }
    }
  } while (out.tokens() < tokens);
}

void write_songs(Rng& rng, int tokens, Text& out) {
  const Lexicon& x = lexicon();
  std::vector<const std::string*> pool;
  for (const auto* words : {&x.cast, &x.colors, &x.objects, &x.rooms, &x.foods}) {
    for (const auto& word : *words) pool.push_back(&word);
  }
  do {
    const std::size_t n = draw_size(4, 30, rng);
    const auto verse = rng.sample(pool.size(), n);
    const std::size_t times = 2 + rng.below(2);
    for (std::size_t r = 0; r < times; ++r) {
      out.add(r == 0 ? "song :" : "again :");
      for (const auto w : verse) out.word(*pool[w]);
      out.word(".");
    }
  } while (out.tokens() + 30 < tokens);
}

WorldItem record_item(const WorldOptions& o, Rng& rng) {
  static const char* const kNames[] = {"bare", "terse", "sentence"};
  while (true) {
    const auto form = static_cast<RecordForm>(rng.below(3));
    const std::size_t most = most_pairs(o, form), least = std::min<std::size_t>(most, 3);
    const std::size_t n = least + rng.below(most - least + 1);
    const auto list = draw_list(o, form, n, full_deck(o.keys), true, rng);
    Text out;
    out.add(list_text(list));
    add_fillers(rng.below(9), rng, out);
    open_section(list, "again", out);
    const auto order = rng.sample(n, n);
    const std::size_t before = rng.below(n);  // answered queries about other keys
    for (std::size_t k = 0; k < before; ++k) add_pair(list, order[k], false, out);
    add_query(list, order[before], out);
    WorldItem item;
    item.prompt = out.take();
    item.answer = lexicon().colors[list.values[order[before]]];
    const int distance = distance_to(item.prompt, item.answer);
    if (token_count(item.prompt) + 3 > o.max_tokens || !far_enough(o, distance, rng)) continue;
    item.meta = {{"pairs", n}, {"distance", distance}, {"form", kNames[static_cast<int>(form)]}};
    return item;
  }
}

WorldItem passage_item(const WorldOptions& o, Rng& rng) {
  while (true) {
    const auto n = 4 + rng.below(static_cast<std::size_t>(o.events_max) - 3);
    const auto events = draw_events(n, rng);
    const std::string text = events_text(events);
    if (!list_is_held(text)) continue;
    Text out;
    out.add(text);
    add_fillers(rng.below(9), rng, out);
    const auto order = rng.sample(n, n);
    const std::size_t before = rng.below(n);
    for (std::size_t k = 0; k < before; ++k) add_event(events[order[k]], false, out);
    const Event& e = events[order[before]];
    out.add(passage_query(lexicon().events[e.pattern]), {lexicon().cast[e.person]});
    WorldItem item;
    item.prompt = out.take();
    item.answer = lexicon().towns[e.town];
    const int distance = distance_to(item.prompt, item.answer);
    if (token_count(item.prompt) + 3 > o.max_tokens || !far_enough(o, distance, rng)) continue;
    item.meta = {{"pairs", n}, {"distance", distance}, {"form", "event"}};
    return item;
  }
}

}  // namespace hymba::data
