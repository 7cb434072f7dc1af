// The files of reports/assets, compiled in (see CMakeLists.txt).
#pragma once

namespace hymba::reports {

extern const char* const kPageCss;
extern const char* const kPageJs[5];  // in the order in which the page loads them

}  // namespace hymba::reports
