// Text into HTML, SVG and scripts, safely.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

namespace hymba::reports {

// For element text and quoted attributes: & < > " ' become entities, control characters spaces.
std::string html_text(std::string_view text);

// JSON that may stand inside a <script>: no "<", ">" or "&" and no line separators, all written as \u escapes.
std::string script_json(const nlohmann::json& json);

}  // namespace hymba::reports
