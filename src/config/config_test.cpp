#include <gtest/gtest.h>

#include "base/error.h"
#include "config/ini.h"
#include "config/resolver.h"

namespace hymba {
namespace {

namespace po = boost::program_options;

constexpr const char* kText = R"(# designs
[base]
a.x = 1
a.y = 2
[base@small]
a.x = 7
[one]
title = First
a.x = 3
[two]
from = one
b.name = word
[two@small]
a.y = 9
)";

struct A {
  int x = 0, y = 0;
  double z = 0.5;
  po::options_description options() {
    po::options_description d;
    d.add_options()("a.x", po::value(&x)->default_value(5), "")("a.y", po::value(&y)->default_value(6), "")(
        "a.z", po::value(&z)->default_value(0.5), "");
    return d;
  }
};
struct B {
  std::string name;
  po::options_description options() {
    po::options_description d;
    d.add_options()("b.name", po::value(&name)->default_value("none"), "");
    return d;
  }
};
const std::set<std::string> kKnown = {"a.x", "a.y", "a.z", "b.name"};

StanzaFile file() {
  StanzaFile f;
  f.add_text(kText, "test.ini");
  return f;
}

template <class F>
std::string error_of(F f) {
  try {
    f();
  } catch (const UserError& error) {
    return error.what();
  }
  return "no error";
}

TEST(Resolver, StrongestLayerWinsAndOriginIsKept) {
  const auto f = file();
  Resolver r(stanza_layers(f, "two", "small", {parse_assignment("a.z=2")}));
  A a;
  B b;
  r.read(a.options());
  r.read(b.options());
  r.check(kKnown);
  EXPECT_EQ(a.x, 3);
  EXPECT_EQ(a.y, 9);
  EXPECT_EQ(a.z, 2);
  EXPECT_EQ(b.name, "word");
  EXPECT_EQ(r.resolved().at("a.x").origin, "test.ini [one] line 9");
  EXPECT_EQ(r.resolved().at("a.z").origin, "command line");
}

TEST(Resolver, HashFollowsValuesNotTheirOrigin) {
  const auto f = file();
  Resolver r1(stanza_layers(f, "one", "", {})), r2(stanza_layers(f, "base", "", {parse_assignment("a.x=3")}));
  A a;
  r1.read(a.options());
  r2.read(a.options());
  EXPECT_EQ(r1.hash(), r2.hash());
}

TEST(Resolver, Errors) {
  auto f = file();
  f.add_text("[bad]\na.q = 1\n[noop]\na.x = 1\n[unread]\nb.name = x\n[type]\na.x = many\n", "bad.ini");
  const auto run = [&](const std::string& name) {
    return error_of([&] {
      Resolver r(stanza_layers(f, name, "", {}));
      A a;
      r.read(a.options());
      r.check(kKnown);
    });
  };
  EXPECT_NE(run("bad").find("bad.ini [bad] line 2: unknown key 'a.q' (did you mean a.x?)"), std::string::npos) << run("bad");
  EXPECT_NE(run("noop").find("changes nothing"), std::string::npos);
  EXPECT_NE(run("unread").find("no component"), std::string::npos);
  EXPECT_NE(run("type").find("bad.ini [type] line 8: a.x = 'many'"), std::string::npos) << run("type");
  EXPECT_NE(run("tow").find("did you mean two?"), std::string::npos);
  f.add_text("[placeholder]\na.x = 1%value%%canonical_option%\n", "more.ini");
  EXPECT_NE(run("placeholder").find("more.ini [placeholder] line 2: a.x = '1%value%%canonical_option%'"), std::string::npos) << run("placeholder");
}

TEST(Ini, BrokenFilesNameTheLine) {
  StanzaFile f;
  EXPECT_NE(error_of([&] { f.add_text("x = 1\n[a]\n", "f.ini"); }).find("f.ini line 1"), std::string::npos);
  EXPECT_NE(error_of([&] { f.add_text("[a]\nx = 1\nx = 2\n", "f.ini"); }).find("line 3: 'x' is given twice"), std::string::npos);
  EXPECT_NE(error_of([&] { f.add_text("[a]\nx = 1\n= 2\n", "f.ini"); }).find("line 3: a value without a key"), std::string::npos);
  EXPECT_NE(error_of([&] { f.add_text("[b\n", "f.ini"); }).find("expected [name]"), std::string::npos);
  EXPECT_NE(error_of([&] { f.add_text("[../b]\nx = 1\n", "f.ini"); }).find("f.ini line 1: [../b]: expected a name without '/'"), std::string::npos);
  EXPECT_NE(error_of([&] { f.add_text("[b]\nx%invalid_line% y\n", "f.ini"); }).find("x%invalid_line% y"), std::string::npos);  // Boost's own placeholder
  f.add_text("[c]\nfrom = d\n[d]\nfrom = c\n", "g.ini");
  EXPECT_NE(error_of([&] { stanza_layers(f, "c", "", {}); }).find("circle"), std::string::npos);
}

}  // namespace
}  // namespace hymba
