#include "mixer/mixer.h"

#include <map>

#include "base/error.h"
#include "base/text.h"

namespace hymba {
namespace {

std::map<std::string, MixerTypeMaker>& registry() {
  static std::map<std::string, MixerTypeMaker> makers;
  return makers;
}

std::set<std::string>& channel_mixers() {
  static std::set<std::string> names;
  return names;
}

}  // namespace

bool is_channel_mixer(const std::string& name) { return channel_mixers().count(name) != 0; }

CacheBytes& CacheBytes::operator+=(const CacheBytes& o) {
  kv_full += o.kv_full;
  kv_window += o.kv_window;
  conv += o.conv;
  ssm += o.ssm;
  meta += o.meta;
  kv_shared_saved += o.kv_shared_saved;
  return *this;
}

void check_size(const std::string& key, std::int64_t value) {
  require(value > 0 && value <= kMostSize, "{} = {}: expected a whole number from 1 to {}", key, value, kMostSize);
}

void register_mixer(const std::string& name, MixerTypeMaker maker, bool channels) {
  if (channels) channel_mixers().insert(name);
  if (!registry().emplace(name, std::move(maker)).second) fail("two mixers are registered as '{}'", name);
}

std::vector<std::string> mixer_names() {
  std::vector<std::string> names;
  for (const auto& [name, maker] : registry()) names.push_back(name);
  return names;
}

std::unique_ptr<MixerType> make_mixer_type(const std::string& name) {
  const auto found = registry().find(name);
  if (found == registry().end()) {
    const auto near = nearest(name, mixer_names());
    user_error("no mixer '{}'{}; there are: {}", name, near.empty() ? "" : fmt::format(" (did you mean {}?)", near),
               join(mixer_names(), ", "));
  }
  return found->second();
}

StepFunction Mixer::bind_step(const at::Tensor& p_BX, const at::Tensor& y_BE, StepBatch& step, MixerCache* mine) const {
  std::vector<MixerCache> sequences;
  for (std::int64_t b = 0; b < step.batch; ++b) sequences.push_back(mine != nullptr ? mine->sequence(b) : MixerCache());
  return [this, p_BX, y_BE, sequences, lengths = step.lengths_B, cached = mine != nullptr]() mutable {
    for (std::int64_t b = 0; b < p_BX.size(0); ++b) {
      Pass pass;
      pass.position = lengths.const_data_ptr<std::int64_t>()[b] - 1;
      const at::Tensor row = p_BX.narrow(0, b, 1).unsqueeze(1);
      y_BE.narrow(0, b, 1).copy_(forward(row, pass, cached ? &sequences[static_cast<std::size_t>(b)] : nullptr).select(1, 0));
    }
  };
}

}  // namespace hymba
