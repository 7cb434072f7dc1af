#include "base/stolen_time.h"

#include <unistd.h>

#include <fstream>
#include <sstream>

namespace hymba {

double stolen_seconds() {
  std::ifstream file("/proc/stat");
  std::string line;
  std::getline(file, line);
  return stolen_seconds_of(line);
}

double stolen_seconds_of(const std::string& stat) {
  std::istringstream in(stat);
  std::string word;
  double user = 0, nice = 0, system = 0, idle = 0, wait = 0, irq = 0, soft = 0, stolen = 0;
  in >> word >> user >> nice >> system >> idle >> wait >> irq >> soft >> stolen;
  return word == "cpu" && in ? stolen / static_cast<double>(::sysconf(_SC_CLK_TCK)) : 0;
}

}  // namespace hymba
