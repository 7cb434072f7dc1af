#include "cli/design_argument.h"

#include "base/error.h"
#include "cli/context.h"
#include "exchange/open_model.h"

namespace hymba::cli {

bool is_model_path(const std::string& spec) { return std::filesystem::is_directory(spec) || model_kind(spec) != ModelKind::kNone; }

OpenedDesign open_design_argument(const std::string& spec, const std::string& size, const Invocation& invocation) {
  OpenedDesign opened;
  if (is_model_path(spec)) {
    require(invocation.overrides.empty(), "{}: a stored model's design cannot be changed by --set", spec);
    opened.design = std::make_unique<Design>(read_model_design(spec));
  } else {
    opened.design = std::make_unique<Design>(open_design(spec, size, invocation));
  }
  opened.model = std::make_unique<LanguageModel>(*opened.design, 0, /*meta=*/true);
  return opened;
}

}  // namespace hymba::cli
