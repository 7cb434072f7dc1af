// DESIGN|MODEL arguments: a design of ablations/ at a size, or a stored model (exchange/open_model.h).
#pragma once

#include <memory>
#include <string>

#include "cli/command.h"
#include "model/design.h"
#include "model/language_model.h"

namespace hymba::cli {

struct OpenedDesign {
  std::unique_ptr<Design> design;
  std::unique_ptr<LanguageModel> model;  // shapes without memory
};

OpenedDesign open_design_argument(const std::string& spec, const std::string& size, const Invocation& invocation);
bool is_model_path(const std::string& spec);  // a folder, or a file that holds a model

}  // namespace hymba::cli
