#include "kernels/cuda/emulator.h"

#include <algorithm>
#include <boost/context/fiber.hpp>
#include <boost/context/pooled_fixedsize_stack.hpp>
#include <map>
#include <memory>

#include "kernels/cuda/emulator_lanes.h"
#include "kernels/cuda/shared_shadow.h"

namespace hymba::kernels::cuda::emulator {

Place place;

namespace {

namespace ctx = boost::context;

std::map<std::uintptr_t, std::size_t> buffers;
std::uint64_t seed = 1;
Counters counted;

struct Copy {
  std::int64_t offset;
  int bytes, group;
  char data[16];
};

struct Thread : Lane {
  ctx::fiber fiber;
  bool done = false, waiting = false;
  int wait_line = 0;
  const char* wait_for = "";
  std::vector<Copy> copies;
  int group = 0;  // of cp.async that is being filled
};

struct Block {
  std::vector<Thread> threads;
  std::vector<std::vector<Gathering>> warps;
  SharedShadow shared;
  std::int64_t dynamic_bytes = 0;
  std::map<int, std::pair<std::int64_t, int>> arrays;  // static: line -> offset, bytes
  int current = -1, at_barrier = 0, barrier_line = 0;
  std::uint32_t clock = 0;
  std::vector<int> runnable;
  std::string error;
  ctx::fiber main;
  std::uint64_t random = 1;

  Thread& self() { return threads[current]; }
  Clock now() { return {current, clock, self().warp_clock}; }
};

Block* block = nullptr;

std::uint64_t next_random() {
  block->random = block->random * 6364136223846793005ull + 1442695040888963407ull;
  return block->random >> 33;
}

void suspend(const char* what, int line) {
  Thread& t = block->self();
  t.waiting = true, t.wait_for = what, t.wait_line = line;
  block->main = std::move(block->main).resume();
}

void wake(int thread) {
  Thread& t = block->threads[thread];
  if (!t.waiting) return;
  t.waiting = false;
  block->runnable.push_back(thread);
}

// The current thread joins a collective of its warp; comes back when all lanes of the mask have.
void gather(Kind kind, unsigned mask, int line, const char* what) {
  const int warp = block->current / 32, lane = block->current % 32;
  if (!(mask >> lane & 1)) fail(std::string(what) + ": the calling lane is not in its mask");
  auto& open = block->warps[warp];
  auto found = std::find_if(open.begin(), open.end(), [&](const Gathering& g) { return g.mask == mask; });
  if (found == open.end()) found = open.insert(open.end(), {mask, 0, kind, line});
  if (found->kind != kind || found->line != line) {
    fail(std::string(what) + " at line " + std::to_string(line) + ": other lanes of the warp wait at line " +
         std::to_string(found->line));
  }
  found->arrived |= 1u << lane;
  if (found->arrived != mask) return suspend(what, line);
  const Gathering g = *found;
  open.erase(found);
  Lane* lanes[32] = {};
  for (int i = 0; i < 32 && warp * 32 + i < static_cast<int>(block->threads.size()); ++i)
    lanes[i] = &block->threads[warp * 32 + i];
  ++counted.collectives;
  counted.mma += g.kind == Kind::kMma ? 1 : g.kind == Kind::kMma3 ? 3 : 0;
  finish(g, lanes);
  for (int i = 0; i < 32; ++i) {
    if ((mask >> i & 1) && i != lane) wake(warp * 32 + i);
  }
}

void land(const Copy& c) {
  const std::string error = block->shared.write(c.offset, c.bytes, c.data, block->now());
  if (!error.empty()) fail(error);
}

std::string stuck() {
  std::string text = "threads wait for others that never come:";
  int shown = 0, done = 0;
  for (std::size_t i = 0; i < block->threads.size(); ++i) {
    const Thread& t = block->threads[i];
    done += t.done;
    if (!t.done && shown++ < 3) {
      text += " thread " + std::to_string(i) + " at " + t.wait_for + " line " + std::to_string(t.wait_line) + ";";
    }
  }
  return text + " " + std::to_string(done) + " have exited";
}

using Pool = ctx::pooled_fixedsize_stack;
Pool& stacks() {
  static Pool pool(256 * 1024);
  return pool;
}

void start(int i, const std::function<void()>& kernel) {
  block->threads[i].fiber = ctx::fiber(std::allocator_arg, stacks(), [i, &kernel](ctx::fiber&& main) {
    block->main = std::move(main);
    try {
      kernel();
      if (block->error.empty() && !block->self().copies.empty()) {
        block->error = "thread " + std::to_string(i) + " exits while its cp.async is under way";
      }
    } catch (const Error& error) {
      if (block->error.empty()) block->error = error.what();
    }
    block->threads[i].done = true;
    return std::move(block->main);
  });
  block->runnable.push_back(i);
}

void run_block(const std::function<void()>& kernel) {
  std::size_t left = block->threads.size();
  for (std::size_t i = 0; i < block->threads.size(); ++i) start(static_cast<int>(i), kernel);
  while (left > 0 && block->error.empty()) {
    if (block->runnable.empty()) {
      block->error = stuck();
      break;
    }
    std::swap(block->runnable[next_random() % block->runnable.size()], block->runnable.back());
    block->current = block->runnable.back();
    block->runnable.pop_back();
    place.thread.x = static_cast<unsigned>(block->current);
    Thread& t = block->self();
    t.fiber = std::move(t.fiber).resume();
    left -= t.done;
  }
}

}  // namespace

Counters& counters() { return counted; }

Buffers::~Buffers() {
  for (const void* p : added_) buffers.erase(reinterpret_cast<std::uintptr_t>(p));
}

void Buffers::add(const void* data, std::size_t bytes) {
  if (!data || bytes == 0) return;
  buffers[reinterpret_cast<std::uintptr_t>(data)] = bytes;
  added_.push_back(data);
}

Range buffer_of(const void* p) {
  auto next = buffers.upper_bound(reinterpret_cast<std::uintptr_t>(p));
  if (next == buffers.begin()) return {};
  --next;
  const char* begin = reinterpret_cast<const char*>(next->first);
  const char* at = static_cast<const char*>(p);
  return at <= begin + next->second ? Range{begin, begin + next->second} : Range{};
}

void set_seed(std::uint64_t value) { seed = value; }

void fail(const std::string& what) {
  if (!block) throw Error(what);
  throw Error("block (" + std::to_string(place.block.x) + ", " + std::to_string(place.block.y) + ", " +
              std::to_string(place.block.z) + ") thread " + std::to_string(block->current) + ": " + what);
}

void run(dim3 grid, int threads, int shared_bytes, const std::function<void()>& kernel) {
  if (threads < 1 || threads > 1024 || shared_bytes > 227 * 1024 || grid.y > 65535 || grid.z > 65535) {
    throw Error("a launch beyond the limits: " + std::to_string(threads) + " threads, " + std::to_string(shared_bytes) +
                " bytes of shared memory, grid y " + std::to_string(grid.y) + ", z " + std::to_string(grid.z));
  }
  place.threads = dim3(static_cast<unsigned>(threads)), place.grid = grid;
  for (unsigned z = 0; z < grid.z; ++z) {
    for (unsigned y = 0; y < grid.y; ++y) {
      for (unsigned x = 0; x < grid.x; ++x) {
        Block one;
        one.random = seed + ++counted.blocks * 7919;
        one.threads.resize(static_cast<std::size_t>(threads));
        one.warps.resize(static_cast<std::size_t>(threads + 31) / 32);
        one.dynamic_bytes = shared_bytes;
        one.shared.reset(static_cast<std::size_t>(shared_bytes));
        block = &one;
        place.block = {x, y, z};
        run_block(kernel);
        const std::string error = one.error;
        one.threads.clear();  // unwinds what still waits
        block = nullptr;
        if (!error.empty()) throw Error(error);
      }
    }
  }
}

void shared_read(std::int64_t offset, int bytes, void* to) {
  const std::string error = block->shared.read(offset, bytes, to, block->now());
  if (!error.empty()) fail(error);
}

void shared_write(std::int64_t offset, int bytes, const void* from) {
  const std::string error = block->shared.write(offset, bytes, from, block->now());
  if (!error.empty()) fail(error);
}

std::int64_t pool_bytes() { return block->dynamic_bytes; }

std::int64_t static_array(int line, int bytes) {
  auto [found, added] =
      block->arrays.try_emplace(line, static_cast<std::int64_t>(block->shared.size() + 15) / 16 * 16, bytes);
  if (added) block->shared.grow(static_cast<std::size_t>(found->second.first + bytes));
  return found->second.first;
}

void async_copy(std::int64_t offset, int bytes, const void* from, bool valid) {
  const std::string error = block->shared.claim(offset, bytes, block->now(), true);
  if (!error.empty()) fail(error);
  Thread& t = block->self();
  Copy c{offset, bytes, t.group, {}};
  if (valid) std::memcpy(c.data, from, static_cast<std::size_t>(bytes));
  t.copies.push_back(c);
  ++counted.cp_async;
}

void async_commit() { ++block->self().group; }

void async_wait(int groups) {
  Thread& t = block->self();
  std::size_t left = 0;
  for (const Copy& c : t.copies) {
    if (c.group < t.group - groups) {
      land(c);
    } else {
      t.copies[left++] = c;
    }
  }
  t.copies.resize(left);
}

void sync_threads(int line) {
  Block& b = *block;
  if (b.at_barrier > 0 && b.barrier_line != line) {
    fail("__syncthreads at line " + std::to_string(line) + ": other threads of the block wait at line " +
         std::to_string(b.barrier_line));
  }
  b.barrier_line = line;
  if (++b.at_barrier < static_cast<int>(b.threads.size())) return suspend("__syncthreads", line);
  b.at_barrier = 0;
  ++b.clock, ++counted.barriers;
  for (std::size_t i = 0; i < b.threads.size(); ++i) wake(static_cast<int>(i));
}

void sync_warp(unsigned mask, int line) { gather(Kind::kSync, mask, line, "__syncwarp"); }

std::uint64_t shuffle(Shuffle kind, unsigned mask, std::uint64_t bits, int operand, int width, int line) {
  constexpr Kind kKinds[] = {Kind::kUp, Kind::kDown, Kind::kXor, Kind::kIndex};
  Thread& t = block->self();
  t.value = bits, t.operand = operand, t.width = width;
  gather(kKinds[static_cast<int>(kind)], mask, line, "a shuffle");
  return t.value;
}

unsigned ballot(unsigned mask, bool predicate, int line) {
  block->self().value = predicate;
  gather(Kind::kBallot, mask, line, "a vote");
  return static_cast<unsigned>(block->threads[place.thread.x].value);
}

void mma(float* d, const float* a, const float* b, bool three) {
  Thread& t = block->self();
  t.d = d, t.a = a, t.b = b;
  gather(three ? Kind::kMma3 : Kind::kMma, 0xffffffffu, 0, "mma");
}

}  // namespace hymba::kernels::cuda::emulator
