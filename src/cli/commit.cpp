// Alone and without headers: it is compiled again after every commit.
#include "commit.h"

#include <string>

namespace hymba::cli {

std::string commit() { return HYMBA_COMMIT; }  // declared in cli/context.h

}  // namespace hymba::cli
