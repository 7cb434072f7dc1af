#include <gtest/gtest.h>
#include <sys/resource.h>
#include <unistd.h>

#include <csignal>
#include <fstream>
#include <limits>
#include <memory>
#include <set>

#include "base/error.h"
#include "base/files.h"
#include "base/median.h"
#include "base/rng.h"
#include "base/stolen_time.h"
#include "base/text.h"

namespace hymba {
namespace {

std::filesystem::path temporary(const std::string& name) {
  const auto folder = std::filesystem::path(testing::TempDir()) / "hymba_base_test";
  std::filesystem::create_directories(folder);
  std::filesystem::remove_all(folder / name);
  return folder / name;
}

TEST(Rng, SameSeedSameNumbersAndStreamsDiffer) {
  Rng a(7), b(7), c(7, "x"), d(7, "y");
  for (int i = 0; i < 100; ++i) EXPECT_EQ(a.next(), b.next());
  EXPECT_NE(c.next(), d.next());
  Rng e(1);
  const auto state = e.state();
  const auto first = e.next();
  e.set_state(state);
  EXPECT_EQ(e.next(), first);
}

TEST(Rng, BelowIsInRangeAndSampleHasNoRepeats) {
  Rng rng(3);
  for (int i = 0; i < 1000; ++i) EXPECT_LT(rng.below(7), 7u);
  EXPECT_THROW(rng.below(0), Error);
  const auto s = rng.sample(20, 20);
  EXPECT_EQ(std::set<std::size_t>(s.begin(), s.end()).size(), 20u);
}

TEST(Files, AtomicWriteReplacesAndLeavesNoPart) {
  const auto path = temporary("a.txt");
  write_file_atomic(path, "one");
  write_file_atomic(path, "two");
  EXPECT_EQ(read_file(path), "two");
  for (const auto& entry : std::filesystem::directory_iterator(path.parent_path())) {
    EXPECT_EQ(entry.path().string().find(".part"), std::string::npos);
  }
}

TEST(Files, AppenderCutsHalfALineAndLocksOutASecondWriter) {
  const auto path = temporary("r.jsonl");
  std::ofstream(path) << "{\"a\":1}\n{\"b\":";
  {
    LineAppender appender(path);
    appender.append("{\"c\":2}");
    EXPECT_THROW(LineAppender second(path), UserError);
  }
  EXPECT_EQ(read_file(path), "{\"a\":1}\n{\"c\":2}\n");
}

// No file of this process may grow beyond `bytes` while this lives: what a full disk looks like from inside.
class NoRoom {
 public:
  explicit NoRoom(rlim_t bytes) : handler_(std::signal(SIGXFSZ, SIG_IGN)) {
    ::getrlimit(RLIMIT_FSIZE, &before_);
    const rlimit now{bytes, before_.rlim_max};
    ::setrlimit(RLIMIT_FSIZE, &now);
  }
  ~NoRoom() {
    ::setrlimit(RLIMIT_FSIZE, &before_);
    std::signal(SIGXFSZ, handler_);
  }

 private:
  void (*handler_)(int);
  rlimit before_{};
};

template <class Write>
std::string error_of(const Write& write) {
  try {
    write();
  } catch (const UserError&) {
    return "a full disk is not the user's mistake";
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

TEST(Files, AFullDiskNamesFileAndRemedyAndCostsNothingWritten) {
  const auto path = temporary("records.jsonl"), whole = temporary("whole");
  write_file_atomic(whole, "old");
  LineAppender appender(path);
  appender.append("{\"a\":1}");
  {
    const NoRoom no_room(12);
    const auto appended = error_of([&] { appender.append("{\"b\":22222222}"); });
    EXPECT_NE(appended.find("records.jsonl: cannot append: "), std::string::npos) << appended;
    EXPECT_NE(appended.find("make room"), std::string::npos) << appended;
    const auto replaced = error_of([&] { write_file_atomic(whole, std::string(100, 'x')); });
    EXPECT_NE(replaced.find("whole: cannot write 100 bytes: "), std::string::npos) << replaced;
  }
  EXPECT_EQ(read_file(path), "{\"a\":1}\n");
  EXPECT_EQ(read_file(whole), "old");
  EXPECT_FALSE(std::filesystem::exists(whole.string() + fmt::format(".part{}", ::getpid())));
  appender.append("{\"c\":3}");
  EXPECT_EQ(read_file(path), "{\"a\":1}\n{\"c\":3}\n");
}

// This process's resident pages of a map (mincore() would count the page cache).
long resident_kb(const void* address) {
  std::ifstream maps("/proc/self/smaps");
  const auto at = reinterpret_cast<std::uintptr_t>(address);
  bool here = false;
  for (std::string line; std::getline(maps, line);) {
    std::uintptr_t first = 0, last = 0;
    if (std::sscanf(line.c_str(), "%lx-%lx ", &first, &last) == 2) here = first <= at && at < last;
    long kb = 0;
    if (here && std::sscanf(line.c_str(), "Rss: %ld kB", &kb) == 1) return kb;
  }
  return -1;
}

TEST(Files, AMapGivesPagesBackAndReadsThemAgain) {
  const auto path = temporary("map.bin");
  std::string bytes(1 << 20, 'x');
  bytes[700000] = 'y';
  write_file_atomic(path, bytes);
  const MappedFile map(path);
  EXPECT_EQ(map.view(), bytes);
  EXPECT_GE(resident_kb(map.data()), 1024);
  map.release(map.data() + 100, bytes.size() - 200);
  EXPECT_LE(resident_kb(map.data()), 64);  // the two pages at the ends, and what is read around a fault
  EXPECT_EQ(map.view(), bytes);
  std::string other(1 << 16, 'z');
  map.release(other.data(), other.size());  // not of this map: stays
  EXPECT_EQ(other, std::string(1 << 16, 'z'));
}

TEST(Files, MissingFileNamesItself) {
  try {
    read_file("no/such/file");
    FAIL();
  } catch (const UserError& error) {
    EXPECT_NE(std::string(error.what()).find("no/such/file"), std::string::npos);
  }
}

TEST(Files, APlaceThatCannotBeWrittenIsTheUsersMistake) {
  const auto file = temporary("in_the_way");
  write_file_atomic(file, "kept");
  const auto mistake = [](const std::function<void()>& act) {
    try {
      act();
    } catch (const UserError& error) {
      return std::string(error.what());
    }
    return std::string();
  };
  for (const auto& said : {mistake([&] { make_folder(file); }), mistake([&] { make_folder(file / "below"); }), mistake([&] { write_file_atomic(file / "x", "y"); }),
                           mistake([&] { FolderLock lock(file); }), mistake([&] { LineAppender appender(file / "records.jsonl"); }),
                           mistake([&] { write_file_atomic(file.parent_path(), "y"); })}) {
    EXPECT_NE(said.find("choose a place that can be written"), std::string::npos) << said;
  }
  EXPECT_EQ(read_file(file), "kept");
  EXPECT_NE(mistake([] { read_file(""); }).find("empty"), std::string::npos);
}

TEST(Text, NumbersForPeople) {
  EXPECT_EQ(format_count(950), "950");
  EXPECT_EQ(format_count(12345), "12.3k");
  EXPECT_EQ(format_count(1522797824), "1.52G");
  EXPECT_EQ(format_bytes(1867776), "1.87 MB");
  EXPECT_EQ(format_seconds(185), "3 min 05 s");
}

TEST(Text, RangesAndTheirErrors) {
  EXPECT_EQ(parse_ranges("1,5-7", 1, 13, "--rows"), (std::vector<int>{1, 5, 6, 7}));
  EXPECT_THROW(parse_ranges("14", 1, 13, "--rows"), UserError);
  EXPECT_THROW(parse_ranges("", 1, 13, "--rows"), UserError);
  EXPECT_THROW(parse_ranges("5-3", 1, 13, "--rows"), UserError);
  EXPECT_THROW(parse_ranges("x", 1, 13, "--rows"), UserError);
}

// Never disturbed here: one call, whose number comes back.
TEST(StolenTime, AQuietRunReturnsWhatItsFunctionDid) {
  int calls = 0;
  const QuietRun run = quiet_run(1000000, [&] { return 10.0 + ++calls; });
  EXPECT_EQ(calls, 1);
  EXPECT_EQ(run.value, 11);
  EXPECT_GE(run.seconds, 0);
  EXPECT_LT(run.stolen, 0.01);
}

TEST(StolenTime, IsTheEighthNumberOfTheFirstLine) {
  const double tick = 1.0 / static_cast<double>(::sysconf(_SC_CLK_TCK));
  EXPECT_DOUBLE_EQ(stolen_seconds_of("cpu  10 20 30 40 50 60 70 250 90 100\ncpu0 1 2 3 4 5 6 7 8 9 10\n"), 250 * tick);
  EXPECT_EQ(stolen_seconds_of("cpu  10 20 30 40"), 0);  // kernels before 2.6.11
  EXPECT_EQ(stolen_seconds_of(""), 0);
  EXPECT_EQ(stolen_seconds_of("intr 1 2 3 4 5 6 7 8 9"), 0);
  const double before = stolen_seconds();
  EXPECT_GE(before, 0);
  EXPECT_GE(stolen_seconds(), before);
}

TEST(Error, NearestWord) {
  EXPECT_EQ(nearest("attention.windw", {"attention.window", "mamba.state"}), "attention.window");
  EXPECT_EQ(nearest("zzz", {"attention.window"}), "");
}

TEST(Median, OddEvenNone) {
  EXPECT_DOUBLE_EQ(median({3, 1, 2}), 2);
  EXPECT_DOUBLE_EQ(median({10, 1, 4, 2}), 3);
  EXPECT_DOUBLE_EQ(median({}), 0);
}

#ifdef __SANITIZE_ADDRESS__
// A finding that only prints a line would fail no test.
TEST(SanitizersDeathTest, EndTheProgram) {
  volatile int most = std::numeric_limits<int>::max(), shift = 40;
  EXPECT_DEATH(most = most + 1, "signed integer overflow");
  EXPECT_DEATH(most = 1 << shift, "shift exponent 40");
  EXPECT_DEATH(
      {
        const auto numbers = std::make_unique<int[]>(3);
        volatile int behind = 3;
        most = numbers[static_cast<std::size_t>(behind)];
      },
      "heap-buffer-overflow");
}
#endif

}  // namespace
}  // namespace hymba
