#include "config/option_error.h"

#include <algorithm>
#include <map>

namespace hymba {
namespace {

namespace po = boost::program_options;

// What stands for Boost's placeholders is a protected member.
struct Substitutions : po::error_with_option_name {
  static std::map<std::string, std::string>& of(po::error_with_option_name& error) { return error.*(&Substitutions::m_substitutions); }
};

}  // namespace

std::string option_error_text(const po::error& error) {
  const auto* named = dynamic_cast<const po::error_with_option_name*>(&error);
  if (named == nullptr) return error.what();
  constexpr char kPercent = '\x1a';  // while Boost looks for placeholders
  po::error_with_option_name copy = *named;
  for (auto& [placeholder, text] : Substitutions::of(copy)) std::replace(text.begin(), text.end(), '%', kPercent);
  std::string text = copy.what();
  std::replace(text.begin(), text.end(), kPercent, '%');
  return text;
}

}  // namespace hymba
