#include "data/world_lexicon.h"

#include <set>

#include "base/text.h"

namespace hymba::data {
namespace {

std::vector<std::string> list(const char* words) { return split(words, ' '); }

void fill_people_and_things(Lexicon& x) {
  x.citizens = list(
      "ada abel agnes albert alma amos anton arthur astrid basil bella bruno carla cecil celia cora cyrus daisy damian "
      "della diego edgar edith elena eliot elsa enid erik ernest esther ethan eva fiona flora frank frida gemma george "
      "gerda gideon gilda greta harold harriet hector helga herman hilda hugo ida igor ingrid irene ivan jacob joan "
      "joel jonas judith julia karl kira lars laura lena lewis lila linus lotte lucas lydia mabel magda marco martha "
      "maude mila miles mira mona nadia naomi nora norman oren oscar otto petra phoebe ralph rita ronan ruth sasha "
      "seth silas");
  x.cast = list(
      "anna beth clara dora emma fay grace iris kate mary olga rosa tina vera xena zoe "
      "adam ben carl david evan felix gus henry jack leo nick paul sam umar walt yusuf");
  x.towns = list(
      "oakton milford redhill ashby kelso norwick dunmore helmsley varna tarrin lowick brenton calder eastby fenwick "
      "garth holm inver jarrow kirkby langley marlow newport orton");
  x.countries = list("arden borland corvia delmar estora farland galdor hestia istria jorvia kaldor lorvia");
  x.jobs = list(
      "baker doctor farmer teacher painter singer driver tailor nurse pilot judge sailor miner weaver potter carpenter "
      "gardener hunter cook clerk guard poet smith writer");
  x.foods = list(
      "bread cheese rice soup honey apples pears plums grapes cherries fish eggs beans corn cake nuts berries salad "
      "carrots onions potatoes mushrooms pasta melons");
  x.animals = list("dog cat horse goat rabbit parrot turtle duck sheep pig donkey goose hen mouse frog hamster");
  x.feeds = list("grass seeds leaves worms meat hay insects roots");
  x.colors = list(
      "red blue green yellow black white brown pink purple orange gray gold silver violet crimson amber ivory teal "
      "navy "
      "olive maroon beige cyan coral scarlet indigo turquoise lilac ruby jade tan mint");
  x.objects = list(
      "cup ball box book lamp coin ring hat bag key bell chair table bowl plate spoon mirror basket bottle clock drum "
      "doll flute kite vase pipe mask shoe belt comb pen crown");
  x.rooms = list(
      "kitchen garden attic cellar barn library hall garage office school market church tower station harbor forest "
      "museum theater stable bakery hotel castle cave park shop hospital temple factory studio tent cabin mill");
  x.materials = list("iron steel wood glass stone paper wool clay rubber wax leather bronze cork bone silk tin");
}

void fill_relations(Lexicon& x) {
  x.attributes = {
      {"home",
       {"$0 lives in $1 .", "the home of $0 is in $1 .", "$0 has a house in $1 .", "in $1 lives $0 ."},
       "where does $0 live ?"},
      {"job", {"$0 works as a $1 .", "$0 is a good $1 .", "$0 earns money as a $1 ."}, "what is the job of $0 ?"},
      {"food",
       {"$0 likes to eat $1 .", "$0 loves $1 .", "the favorite food of $0 is $1 ."},
       "what does $0 like to eat ?"},
      {"pet", {"$0 has a $1 .", "the pet of $0 is a $1 .", "$0 keeps a $1 at home ."}, "which animal does $0 have ?"},
      {"color",
       {"the favorite color of $0 is $1 .", "$0 likes the color $1 .", "$0 often wears $1 ."},
       "which color does $0 like best ?"},
      {"thing", {"$0 owns a $1 .", "$0 bought a $1 long ago .", "the $1 of $0 is well known ."}, "what did $0 buy ?"},
      {"birth", {"$0 was born in $1 .", "$0 comes from $1 .", "as a child $0 lived in $1 ."}, "where was $0 born ?"}};
  x.town_country = {"country",
                    {"$0 is a town in $1 .", "the town of $0 lies in $1 .", "$0 belongs to $1 ."},
                    "in which country is $0 ?"};
  x.animal_feed = {
      "feed", {"a $0 eats $1 .", "every $0 likes $1 .", "the food of the $0 is $1 ."}, "what does a $0 eat ?"};
  x.object_material = {"material",
                       {"the $0 is made of $1 .", "people make a $0 from $1 .", "$1 is used for the $0 ."},
                       "what is a $0 made of ?"};
  x.two_step_questions = {"in which country does $0 live ?", "what does the pet of $0 eat ?",
                          "what is the thing that $0 bought made of ?"};
  x.situations = {{"in water", "falls into water", list("floats sinks swells softens")},
                  {"in the fire", "falls into the fire", list("burns melts glows cracks")},
                  {"under a hammer", "is hit with a hammer", list("breaks bends rings bounces")}};
}

void fill_tools(Lexicon& x) {
  x.tools = {{"knife", {"cut the bread", "peel the onions"}},   {"saw", {"cut the board", "remove the branch"}},
             {"hammer", {"drive the nail", "crack the nuts"}},  {"axe", {"split the log", "cut down the tree"}},
             {"broom", {"sweep the floor", "clear the steps"}}, {"brush", {"paint the wall", "color the fence"}},
             {"needle", {"sew the shirt", "mend the coat"}},    {"ladder", {"reach the roof", "climb the wall"}},
             {"bucket", {"carry the water", "empty the pond"}}, {"rope", {"tie the boat", "pull the cart"}},
             {"shovel", {"dig the hole", "move the sand"}},     {"scissors", {"cut the paper", "trim the hair"}},
             {"oven", {"bake the cake", "roast the meat"}},     {"pot", {"boil the eggs", "cook the rice"}},
             {"map", {"find the way", "plan the trip"}},        {"towel", {"dry the dishes", "wipe the hands"}},
             {"soap", {"wash the socks", "clean the pan"}},     {"net", {"catch the fish", "trap the birds"}}};
  x.tool_statements = {"the $1 is used to $0 .", "with the $1 you can $0 ."};
  x.tool_forms = {"to $0 , use the", "goal : $0 . solution : use the", "if you want to $0 , take the",
                  "to $0 , you need the"};
}

void fill_scripts(Lexicon& x) {
  x.scripts = {{"$0 goes to the kitchen .", "$0 fills the pot with water .", "$0 puts the rice into the pot .",
                "$0 waits until the rice is soft .", "$0 eats the rice with a spoon ."},
               {"$0 goes to the garden .", "$0 digs a small hole .", "$0 drops the seeds into the hole .",
                "$0 covers the seeds with soil .", "$0 gives the soil some water ."},
               {"$0 walks to the lake .", "$0 throws the net into the water .", "$0 waits for the fish .",
                "$0 pulls the net out of the water .", "$0 carries the fish home ."},
               {"$0 sits down at the table .", "$0 takes a pen and some paper .", "$0 writes a letter to a friend .",
                "$0 folds the letter .", "$0 sends the letter to the town ."},
               {"$0 walks to the shop .", "$0 takes a basket .", "$0 fills the basket with apples .",
                "$0 pays for the apples .", "$0 puts the apples on a plate at home ."},
               {"$0 is very tired .", "$0 climbs into bed .", "$0 turns off the lamp .", "$0 closes both eyes .",
                "$0 sleeps until the morning ."},
               {"$0 is covered with mud .", "$0 fills the bath with warm water .", "$0 washes with soap .",
                "$0 takes a dry towel .", "$0 puts on a clean shirt ."},
               {"$0 goes to the station .", "$0 buys a ticket .", "$0 gets on the train .",
                "$0 finds a seat by the window .", "$0 gets off in the next town ."},
               {"$0 feels sick .", "$0 calls the doctor .", "$0 shows the doctor a sore arm .",
                "$0 takes the pills with milk .", "$0 feels well again ."},
               {"$0 goes to the library .", "$0 looks for a book about animals .", "$0 reads the book for an hour .",
                "$0 gives the book back .", "$0 walks home in the evening ."},
               {"$0 is cold in the cabin .", "$0 brings some dry wood .", "$0 lights the fire .",
                "$0 sits near the fire .", "$0 becomes warm ."},
               {"$0 takes the kite to the hill .", "$0 waits for the wind .", "$0 runs down the hill .",
                "$0 lets the kite rise .", "$0 holds the string tight ."},
               {"$0 walks to the harbor .", "$0 steps into the boat .", "$0 takes in the rope .",
                "$0 rows across the bay .", "$0 ties the boat to a tree ."},
               {"$0 goes to the bakery .", "$0 mixes flour and water .", "$0 shapes the dough .",
                "$0 bakes the dough in the oven .", "$0 sells the bread ."}};
}

void fill_causes(Lexicon& x) {
  x.causes = {{"$0 dropped the vase", "the vase broke"},
              {"it rained all night", "the river rose"},
              {"$0 forgot the coat", "$0 felt cold"},
              {"the sun shone all day", "the snow melted"},
              {"$0 ran very fast", "$0 was out of breath"},
              {"the wind was strong", "the tree fell down"},
              {"$0 ate too much cake", "$0 felt sick"},
              {"the lamp had no oil", "the hall was dark"},
              {"$0 studied hard", "$0 passed the test"},
              {"$0 lost the key", "the door stayed closed"},
              {"$0 watered the flowers", "the flowers grew tall"},
              {"$0 told a joke", "everyone laughed"},
              {"$0 won the race", "$0 got a prize"},
              {"the boat had a hole", "the boat sank"},
              {"$0 stayed up late", "$0 was tired in the morning"},
              {"the bread was left in the oven", "the bread burned"},
              {"$0 broke a rule", "the teacher was angry"},
              {"the well was empty", "nobody had water"},
              {"$0 pulled the rope", "the bell rang"},
              {"$0 left the gate open", "the sheep ran away"},
              {"the music started", "people began to dance"},
              {"$0 shook the branch", "the apples fell down"},
              {"the clock stopped", "$0 came late"},
              {"$0 found a gold coin", "$0 became rich"}};
}

void fill_who(Lexicon& x) {
  x.who = {{false, "$0 thanked $1 because", {"was grateful .", "had helped ."}},
           {false, "$0 was angry with $1 because", {"had lost money .", "had told a lie ."}},
           {false, "$0 lent money to $1 because", {"was rich .", "was poor ."}},
           {false, "$0 asked $1 a question because", {"was curious .", "knew the answer ."}},
           {false, "$0 could not lift $1 because", {"was too weak .", "was too heavy ."}},
           {false, "$0 ran after $1 because", {"wanted the coin back .", "had stolen a coin ."}},
           {false, "$0 visited $1 in the hospital because", {"felt worried .", "was sick ."}},
           {false, "$0 beat $1 in the race because", {"was fast .", "was slow ."}},
           {false, "$0 taught $1 to read because", {"was a teacher .", "was a child ."}},
           {false, "$0 gave bread to $1 because", {"was kind .", "was hungry ."}},
           {false, "$0 hid from $1 because", {"was afraid .", "was dangerous ."}},
           {false, "$0 sold a horse to $1 because", {"needed money .", "needed a horse ."}},
           {true, "the $0 does not fit into the $1 because the", {"is too big .", "is too small ."}},
           {true, "the $0 broke the $1 because the", {"was hard .", "was thin ."}},
           {true, "the $0 hid the $1 because the", {"was in front .", "was behind ."}},
           {true, "the $0 fell off the $1 because the", {"was round .", "was not flat ."}}};
}

void fill_rest(Lexicon& x) {
  x.fillers = {"the day was long .",        "the sky was clear .",  "it was a quiet morning .", "the wind was cold .",
               "birds sang in the trees .", "nobody said a word .", "the road was empty .",     "time went by .",
               "it was late in the day .",  "the snow was deep .",  "there was no hurry .",     "the river was slow .",
               "a small rain fell .",       "the moon was out .",   "everyone was tired .",     "the air was warm ."};
  x.events = {"$0 visited $1 .", "$0 saw $1 .", "$0 liked $1 .", "$0 left $1 .", "$0 reached $1 .", "$0 missed $1 ."};
  x.record_nouns = list("code badge flag sign");
  x.words = list(
      ". , : ; ? question answer goal solution use the so as a result because reason is that it she he yes no does "
      "have "
      "has holds in list again song everything made of thing was had");
}

}  // namespace

const Lexicon& lexicon() {
  static const Lexicon instance = [] {
    Lexicon x;
    fill_people_and_things(x);
    fill_relations(x);
    fill_tools(x);
    fill_scripts(x);
    fill_causes(x);
    fill_who(x);
    fill_rest(x);
    return x;
  }();
  return instance;
}

std::vector<std::string> lexicon_words(int citizens) {
  const Lexicon& x = lexicon();
  std::vector<std::string> out;
  std::set<std::string> seen;
  const auto add = [&](const std::string& phrase) {
    for (const auto& word : split(phrase, ' ')) {
      if (word[0] != '$' && seen.insert(word).second) out.push_back(word);
    }
  };
  const auto add_all = [&](const std::vector<std::string>& phrases) {
    for (const auto& phrase : phrases) add(phrase);
  };
  const auto add_relation = [&](const RelationText& relation) {
    add_all(relation.statements);
    add(relation.question);
  };
  add_all({x.citizens.begin(), x.citizens.begin() + citizens});
  for (const auto* words : {&x.words, &x.cast, &x.colors, &x.objects, &x.rooms, &x.towns, &x.countries, &x.jobs,
                            &x.foods, &x.animals, &x.feeds, &x.materials, &x.two_step_questions, &x.tool_statements,
                            &x.tool_forms, &x.fillers, &x.events, &x.record_nouns})
    add_all(*words);
  for (const auto& relation : x.attributes) add_relation(relation);
  for (const auto* relation : {&x.town_country, &x.animal_feed, &x.object_material}) add_relation(*relation);
  for (const auto& s : x.situations) add(s.place + ' ' + s.event + ' ' + join(s.results, " "));
  for (const auto& tool : x.tools) add(tool.name + ' ' + tool.goals[0] + ' ' + tool.goals[1]);
  for (const auto& script : x.scripts) add_all(script);
  for (const auto& c : x.causes) add(c.cause + ' ' + c.effect);
  for (const auto& w : x.who) add(w.text + ' ' + w.ends[0] + ' ' + w.ends[1]);
  return out;
}

}  // namespace hymba::data
