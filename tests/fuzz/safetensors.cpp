#include "io/safetensors.h"

#include <cstring>

#include "tests/fuzz/fuzz.h"

void read_fuzzed(const std::string& bytes) {
  hymba::parse_safetensors(bytes, "fuzz.safetensors");
  hymba::map_safetensors(hymba::fuzz::write_scratch("model.safetensors", bytes));
}

std::vector<std::string> make_seeds() {
  const auto file = [](const std::string& header, std::size_t data) {
    const std::uint64_t size = header.size();
    std::string bytes(8, '\0');
    std::memcpy(bytes.data(), &size, 8);
    return bytes + header + std::string(data, '\1');
  };
  return {file("{}", 0), file(R"({"a":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]}})", 24),
          file(R"({"__metadata__":{"format":"pt"},"a":{"dtype":"BF16","shape":[],"data_offsets":[0,2]},"b":{"dtype":"I64","shape":[1,0],"data_offsets":[2,2]}})", 2),
          file(R"({"x":{"dtype":"BOOL","shape":[3],"data_offsets":[0,3]},"y":{"dtype":"F16","shape":[2],"data_offsets":[3,7]}})", 7)};
}
