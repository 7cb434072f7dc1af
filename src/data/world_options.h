// What can be tuned in the miniature world. Names, defaults and meaning in one table, for INI files and --help.
#pragma once

namespace hymba::data {

struct WorldOptions {
  // Shares of the documents' tokens, up to a common factor.
  double facts = 0.20;      // statements about citizens, towns, animals, objects
  double questions = 0.09;  // questions and answers about the training half of the subjects
  double rules = 0.05;      // what happens to a material, and cases of it
  double tools = 0.03;
  double causes = 0.03;
  double scripts = 0.05;
  double who = 0.05;
  double yes_no = 0.05;
  double records = 0.25;   // key-value lists, each key asked again and again
  double passages = 0.10;  // a story that binds people, objects and rooms, then completions
  double songs = 0.10;     // a sequence of words said two or three times

  int citizens = 72;   // people with lasting facts
  int attributes = 7;  // facts a citizen has
  int keys = 32;       // alphabet of recall keys
  int values = 32;     // alphabet of recall values
  int pairs_min = 2;   // pairs in a record list
  int pairs_max = 20;
  int rounds_max = 6;     // times a list is asked through
  int events_max = 20;    // events in a passage
  int max_tokens = 240;   // of a document or an item, <bos> and <eos> included
  int far = 32;           // tokens between binding and query that most recall items keep at least
  double filler = 0.3;    // chance of sentences without news between a list or passage and its queries
  double drawn_loss = 1;  // share of lists and passages with training loss on their words that are drawn at random
  double held_out = 0.4;  // share of the combinations of actor and script, pattern and pair kept for the tests

  // In training sequences shorter than max_tokens (see Recipe::short_length).
  int short_pairs_max = 4;   // pairs_max there
  double short_records = 1;  // factor on the share of records there

  // visit(name, value, meaning) for every option.
  template <class Options, class Visit>
  static void visit(Options& o, Visit&& f) {
    f("facts", o.facts, "share of tokens: statements of facts");
    f("questions", o.questions, "share of tokens: questions about facts");
    f("rules", o.rules, "share of tokens: rules of materials and cases");
    f("tools", o.tools, "share of tokens: tools and goals");
    f("causes", o.causes, "share of tokens: causes and effects");
    f("scripts", o.scripts, "share of tokens: short stories");
    f("who", o.who, "share of tokens: who is meant");
    f("yes_no", o.yes_no, "share of tokens: passages with yes/no questions");
    f("records", o.records, "share of tokens: record lists with many queries");
    f("passages", o.passages, "share of tokens: passages with completions");
    f("songs", o.songs, "share of tokens: repeated sequences");
    f("citizens", o.citizens, "people with lasting facts, 24-96");
    f("attributes", o.attributes, "facts a citizen has, 1-7");
    f("keys", o.keys, "alphabet of recall keys, 8-32");
    f("values", o.values, "alphabet of recall values, 8-32");
    f("pairs_min", o.pairs_min, "fewest pairs of a record list");
    f("pairs_max", o.pairs_max, "most pairs of a record list");
    f("rounds_max", o.rounds_max, "rounds of queries to a list, 1-6");
    f("events_max", o.events_max, "most events of a passage, 4-20");
    f("max_tokens", o.max_tokens, "most tokens of a document or item, 32-1000");
    f("far", o.far, "distance in tokens that most recall items keep at least");
    f("filler", o.filler, "chance of sentences without news before the queries");
    f("short_pairs_max", o.short_pairs_max, "most pairs of a list in sequences shorter than max_tokens");
    f("short_records", o.short_records, "factor on the share of records there");
    f("drawn_loss", o.drawn_loss, "share of lists and passages, 0-1, with training loss on their words drawn at random");
    f("held_out", o.held_out, "share of combinations kept for the tests");
  }
};

}  // namespace hymba::data
