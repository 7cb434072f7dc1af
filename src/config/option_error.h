// The text of an error of Boost.Program_options.
#pragma once

#include <boost/program_options/errors.hpp>
#include <string>

namespace hymba {

// error.what(), which does not end where the user's own words hold one of Boost's placeholders: `--seed %value%`, or a line
// "%invalid_line%" of an INI file, are replaced by themselves for ever.
std::string option_error_text(const boost::program_options::error& error);

}  // namespace hymba
