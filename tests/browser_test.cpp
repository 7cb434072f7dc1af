// The page in a real browser: headless Chromium, at the widths of a desk and of a phone.
#include <gtest/gtest.h>

#include <fstream>
#include <map>

#include "base/files.h"
#include "reports/page.h"
#include "reports/test_studies.h"
#include "tests/browser.h"

namespace hymba::reports {
namespace {

namespace fs = std::filesystem;

std::vector<Record> everything() {
  auto records = invented_studies();
  for (const auto& p : paper_rows()) {
    for (const std::uint64_t seed : {0, 1}) {
      for (Record r : design_records(fmt::format("row-{:02}", p.row), p.row, seed, p.general, p.recall - 0.01 * static_cast<double>(seed))) {
        if (r.metric == "decode_tok_s") r.value = p.throughput_tok_s / 10;
        records.push_back(r);
      }
    }
  }
  return records;
}

// One browser for all tests: it starts once. Without one the tests say so and are skipped.
class Page : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    const auto program = find_chromium();
    if (program.empty()) return;
    folder_ = fs::path(testing::TempDir()) / "hymba_browser";
    fs::remove_all(folder_);
    fs::create_directories(folder_);
    PageOptions options;
    options.title = "Hymba roadmap";
    options.notes = {"results/b: no Records here"};
    DesignDetails details;
    details.config = "[row-09]\nlayers = 12\nattention.window = 16\n";
    for (int i = 0; i < 12; ++i) details.layers.push_back({"parallel(attention,mamba)", i % 5 == 0 ? 0 : 16, -1, 0});
    options.details["row-09"] = details;
    write_file_atomic(folder_ / "page.html", render_page(everything(), paper_rows(), options));
    browser_ = std::make_unique<Browser>(program, folder_ / "profile");
  }
  static void TearDownTestSuite() { browser_.reset(); }
  void SetUp() override {
    if (!browser_) GTEST_SKIP() << "no Chromium on this machine (apt-get install chromium, or HYMBA_CHROMIUM=PROGRAM): the page is not looked at in a browser";
  }
  void open(int width, bool dark = false) { browser_->open("file://" + (folder_ / "page.html").string(), width, 900, dark); }
  static nlohmann::json ask(const std::string& script) { return browser_->evaluate(script); }
  static int number(const std::string& script) { return ask(script).get<int>(); }
  static std::string text(const std::string& script) { return ask(script).get<std::string>(); }
  // Designs of the table's rows, from the top.
  static std::vector<std::string> designs() { return ask("[...document.querySelectorAll('.main-table .unfold')].map(b => b.dataset.design)"); }
  static void click(const std::string& selector) { ask("document.querySelector(" + nlohmann::json(selector).dump() + ").click()"); }
  void keep_picture(const std::string& name) {
    if (const char* folder = std::getenv("HYMBA_REPORT_SAMPLE")) write_file_atomic(fs::path(folder) / (name + ".png.base64"), browser_->picture());
  }

  static inline std::unique_ptr<Browser> browser_;
  static inline fs::path folder_;
};

TEST_F(Page, LoadsWithoutErrorsOrRequestsAndFitsDeskAndPhone) {
  for (const auto& [width, dark] : std::vector<std::pair<int, bool>>{{1440, false}, {390, true}}) {
    open(width, dark);
    EXPECT_TRUE(browser_->logged.empty()) << browser_->logged.front();
    for (const auto& address : browser_->requested) EXPECT_EQ(address.substr(address.size() - 9), "page.html") << address;
    EXPECT_LE(number("document.documentElement.scrollWidth"), width) << "the page scrolls sideways";
    EXPECT_EQ(designs().size(), 13u);
    const auto ground = text("getComputedStyle(document.body).backgroundColor");
    EXPECT_EQ(ground == "rgb(18, 21, 26)", dark) << ground;
    click("#theme");
    EXPECT_NE(text("getComputedStyle(document.body).backgroundColor"), ground);
    ask("try { localStorage.clear() } catch (_) {}");
    keep_picture(fmt::format("page-{}", width));
  }
}

TEST_F(Page, TheTableSortsFiltersAndUnfolds) {
  open(1440);
  EXPECT_EQ(designs().front(), "row-01");
  click("[data-sort=recall]");
  EXPECT_EQ(designs().front(), "row-04");  // 56.46, the paper's highest recall: so it was invented
  EXPECT_EQ(text("document.querySelector('[data-sort=recall]').closest('th').getAttribute('aria-sort')"), "descending");
  click("[data-sort=recall]");
  EXPECT_EQ(designs().front(), "row-01");
  ask("(() => { const i = document.querySelector('input[type=search]'); i.value = 'meta'; i.dispatchEvent(new Event('input')); })()");
  EXPECT_EQ(designs().size(), 2u);
  EXPECT_EQ(text("document.querySelector('.roadmap [role=status]').textContent"), "2 of 13 rows");
  ask("(() => { const i = document.querySelector('input[type=search]'); i.value = ''; i.dispatchEvent(new Event('input')); })()");
  click("[data-design=row-09]");
  EXPECT_EQ(number("document.querySelectorAll('tr.details').length"), 1);
  EXPECT_EQ(number("document.querySelectorAll('tr.details .layers li').length"), 12);
  EXPECT_NE(text("document.querySelector('tr.details pre').textContent").find("attention.window = 16"), std::string::npos);
  EXPECT_GT(number("document.querySelectorAll('tr.details table')[1].rows.length"), 10);  // its Records
  // By keyboard: the button is focused and Enter folds it.
  ask("document.querySelector('[data-design=row-09]').focus()");
  browser_->press("Enter", 13);
  ask("document.querySelector('[data-design=row-09]').click()");
  EXPECT_LE(number("document.querySelectorAll('tr.details').length"), 1);
}

TEST_F(Page, EveryFigureHasItsMarksItsTableAndItsFiles) {
  open(1440);
  const int layers = kTestLayers, lines = 13;
  const std::map<std::string, int> marks = {
      {"heads-row-09", (3 + 1) * 2 * layers + 4 * layers},  // three tasks and their mean, two branches; 4 heads a layer
      {"needle", lines * 5 * 5},
      {"needle-length", lines * 5},
      {"receptive-field", lines},
      {"receptive-field-profile", lines * 8},
      {"magnitudes", 9 * 3 * 2 * layers},                       // the nine hybrids
      {"throughput", 4 * 13},                                   // ours, the paper's, two rooflines
      {"context-cost", 4 * 7},                                  // seven rows have more than the column's 8000 tokens
      {"curves", 13 * 60 + 13 * 2 + 7 * 60},                        // loss, held-out loss, learning rate of seven
  };
  for (const auto& [id, expected] : marks) {
    EXPECT_EQ(number(fmt::format("document.querySelectorAll('#{} .m').length", id)), expected) << id;
  }
  const auto bad = ask(
      "[...document.querySelectorAll('section.figure.study')].filter(s => !s.querySelector('.panels svg[aria-label][tabindex]') || s.querySelectorAll('details tr').length < 2 || "
      "s.querySelectorAll('.controls button').length < 2).map(s => s.id)");
  EXPECT_EQ(bad, nlohmann::json::array()) << bad;
  // Downloads: a picture that parses, has no variables of the page in it, and a table.
  ask("H.save = (name, type, text) => { window.saved = [name, type, text]; }");
  ask("[...document.querySelectorAll('#needle .controls button')].find(b => b.textContent === 'SVG').click()");
  EXPECT_EQ(text("saved[0]"), "needle.svg");
  EXPECT_EQ(number("new DOMParser().parseFromString(saved[2], 'image/svg+xml').querySelectorAll('parsererror').length"), 0);
  EXPECT_EQ(number("saved[2].split('var(').length"), 1);
  EXPECT_GT(number("new DOMParser().parseFromString(saved[2], 'image/svg+xml').querySelectorAll('text').length"), 100);
  ask("[...document.querySelectorAll('#needle .controls button')].find(b => b.textContent === 'CSV').click()");
  EXPECT_EQ(number("saved[2].trim().split('\\r\\n').length"), 1 + lines * 5 * 5);
}

TEST_F(Page, ValuesShowUnderThePointerAndByKeys) {
  open(1440);
  const auto at = ask(
      "(() => { const m = document.querySelector('#receptive-field .m'); m.scrollIntoView({block: 'center'}); const b = m.getBoundingClientRect(); return [b.x + b.width / 2, b.y + b.height / "
      "2]; })()");
  browser_->move(at[0], at[1]);
  EXPECT_NE(text("document.getElementById('tip').textContent").find("mean distance"), std::string::npos);
  browser_->move(2, 2);
  ask("document.querySelector('#needle .panels svg').focus()");
  browser_->press("ArrowRight", 39);
  EXPECT_FALSE(ask("document.getElementById('tip').hidden").get<bool>());
  EXPECT_NE(text("document.getElementById('tip').textContent").find("length"), std::string::npos);
  browser_->press("Escape", 27);
  EXPECT_TRUE(ask("document.getElementById('tip').hidden").get<bool>());
}

TEST_F(Page, SaysWhatIsMissingAndPrints) {
  open(1440);
  EXPECT_NE(text("document.querySelector('.missing').textContent").find("results/b: no Records here"), std::string::npos);
  EXPECT_EQ(number("document.querySelector('#findings tbody').rows.length"), 10);
  EXPECT_GT(number("document.querySelectorAll('#provenance tbody tr').length"), 5);
  const auto pdf = browser_->print();
  EXPECT_GT(pdf.size(), 20000u);
  if (const char* folder = std::getenv("HYMBA_REPORT_SAMPLE")) write_file_atomic(fs::path(folder) / "page.pdf.base64", pdf);
}

}  // namespace
}  // namespace hymba::reports
