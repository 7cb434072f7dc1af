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

}  // namespace hymba
