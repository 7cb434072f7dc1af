#include "eval/shots.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>
#include <set>

#include "base/error.h"

namespace hymba::eval {
namespace {

constexpr std::uint32_t kHarnessSeed = 1234;

std::string place(const TaskDefinition& task, const Item& item) { return fmt::format("task {} item {}", task.name, item.id); }

// The examples of one group, and how the next item's are drawn.
class GroupPool {
 public:
  GroupPool(const TaskDefinition& task, std::span<const Item> pool, const std::string& group) : task_(task), random_(kHarnessSeed) {
    for (const auto& item : pool) {
      if (item.group == group) members_.push_back(&item);
    }
  }

  // `skip_itself`: the item may be among the examples.
  std::vector<const Item*> draw(const Item& item, std::size_t shots, bool skip_itself) {
    const std::size_t wanted = shots + (skip_itself ? 1 : 0);
    require(members_.size() >= wanted, "{}: expected {} worked examples, found {}{}; lower --shots or give the task 'shot_files'",
            place(task_, item), shots, skip_itself && !members_.empty() ? members_.size() - 1 : members_.size(),
            item.group.empty() ? "" : " of the group " + item.group);
    const auto others = [&](const std::vector<const Item*>& from) {
      std::vector<const Item*> kept;
      for (const Item* one : from) {
        if (!(skip_itself && one->doc == item.doc)) kept.push_back(one);
      }
      return kept;
    };
    std::vector<const Item*> chosen = others(task_.sampler == "random" ? pick(members_, wanted) : members_);
    if (chosen.size() < shots) {  // copies of the item took more than one place: again, without any
      const auto rest = others(members_);
      require(rest.size() >= shots, "{}: its worked examples are copies of itself; lower --shots or give the task 'shot_files'", place(task_, item));
      chosen = pick(rest, shots);
    }
    chosen.resize(shots);
    return chosen;
  }

 private:
  std::vector<const Item*> pick(const std::vector<const Item*>& from, std::size_t count) {
    std::vector<const Item*> picked;
    for (const auto i : random_.sample(from.size(), count)) picked.push_back(from[i]);
    return picked;
  }
  const TaskDefinition& task_;
  PythonRandom random_;
  std::vector<const Item*> members_;
};

}  // namespace

// init_by_array({seed}) of the reference implementation.
PythonRandom::PythonRandom(std::uint32_t seed) {
  state_[0] = 19650218u;
  for (std::uint32_t i = 1; i < 624; ++i) state_[i] = 1812433253u * (state_[i - 1] ^ (state_[i - 1] >> 30)) + i;
  std::size_t i = 1;
  const auto wrap = [&] {
    if (++i < 624) return;
    state_[0] = state_[623];
    i = 1;
  };
  for (int k = 0; k < 624; ++k, wrap()) state_[i] = (state_[i] ^ ((state_[i - 1] ^ (state_[i - 1] >> 30)) * 1664525u)) + seed;
  for (int k = 0; k < 623; ++k, wrap())
    state_[i] = (state_[i] ^ ((state_[i - 1] ^ (state_[i - 1] >> 30)) * 1566083941u)) - static_cast<std::uint32_t>(i);
  state_[0] = 0x80000000u;
}

std::uint32_t PythonRandom::next() {
  if (at_ == 624) {
    for (std::size_t i = 0; i < 624; ++i) {
      const std::uint32_t y = (state_[i] & 0x80000000u) | (state_[(i + 1) % 624] & 0x7fffffffu);
      state_[i] = state_[(i + 397) % 624] ^ (y >> 1) ^ ((y & 1u) != 0 ? 0x9908b0dfu : 0u);
    }
    at_ = 0;
  }
  std::uint32_t y = state_[at_++];
  y ^= y >> 11;
  y ^= (y << 7) & 0x9d2c5680u;
  y ^= (y << 15) & 0xefc60000u;
  return y ^ (y >> 18);
}

std::uint32_t PythonRandom::below(std::uint32_t n) {
  int bits = 0;
  while (bits < 32 && (n >> bits) != 0) ++bits;
  std::uint32_t r = n;
  while (r >= n) r = next() >> (32 - bits);
  return r;
}

// random.sample(): a shrinking pool where that is smaller than a set of what was taken.
std::vector<std::size_t> PythonRandom::sample(std::size_t population, std::size_t count) {
  std::vector<std::size_t> result;
  double set_size = 21;
  if (count > 5) set_size += std::pow(4.0, std::ceil(std::log(static_cast<double>(count) * 3) / std::log(4.0)));
  const auto n = static_cast<std::uint32_t>(population);
  if (static_cast<double>(population) <= set_size) {
    std::vector<std::size_t> pool(population);
    std::iota(pool.begin(), pool.end(), std::size_t{0});
    for (std::uint32_t i = 0; i < count; ++i) {
      const std::uint32_t j = below(n - i);
      result.push_back(pool[j]);
      pool[j] = pool[n - i - 1];
    }
    return result;
  }
  std::set<std::size_t> taken;
  while (result.size() < count) {
    const std::size_t j = below(n);
    if (taken.insert(j).second) result.push_back(j);
  }
  return result;
}

std::vector<std::vector<const Item*>> choose_shots(const TaskDefinition& task, std::span<const Item> items,
                                                   std::span<const Item> pool, int shots) {
  std::vector<std::vector<const Item*>> chosen(items.size());
  if (shots == 0) return chosen;
  const bool own = pool.empty();
  std::map<std::string, GroupPool> pools;
  for (std::size_t i = 0; i < items.size(); ++i) {
    const auto& group = items[i].group;
    auto found = pools.find(group);
    if (found == pools.end()) found = pools.emplace(group, GroupPool(task, own ? items : pool, group)).first;
    chosen[i] = found->second.draw(items[i], static_cast<std::size_t>(shots), own || task.spare_shot);
  }
  return chosen;
}

std::string shots_text(const TaskDefinition& task, std::span<const Item* const> shots) {
  std::string text;
  for (const Item* shot : shots) {
    // Of a partial item the right context is shown, of others the right choice.
    const bool partial = task.kind == TaskKind::kPartial;
    const auto gold = static_cast<std::size_t>(shot->gold);
    const std::string& question = shot->contexts.empty() ? shot->prompt : shot->contexts[partial ? gold : 0];
    const std::string& answer = shot->choices.empty() ? shot->answer : shot->choices[partial ? 0 : gold];
    text += question + task.delimiter + answer + task.shot_delimiter;
  }
  return text;
}

}  // namespace hymba::eval
