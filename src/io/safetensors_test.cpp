#include "io/safetensors.h"

#include <ATen/ops/arange.h>
#include <ATen/ops/equal.h>
#include <gtest/gtest.h>

#include <cstring>

#include "base/error.h"
#include "base/files.h"

namespace hymba {
namespace {

std::filesystem::path file() { return std::filesystem::path(testing::TempDir()) / "hymba_tensors.safetensors"; }

std::string with_header(const std::string& header, std::size_t data) {
  std::uint64_t size = header.size();
  std::string bytes(8, '\0');
  std::memcpy(bytes.data(), &size, 8);
  return bytes + header + std::string(data, 'x');
}

std::string error_for(const std::string& bytes) {
  write_file_atomic(file(), bytes);
  try {
    read_safetensors(file());
  } catch (const UserError& error) {
    return error.what();
  }
  return "no error";
}

TEST(Safetensors, RoundTripKeepsBitsTypesAndMetadata) {
  const at::Tensor a = at::arange(6, at::kFloat).view({2, 3}), b = at::arange(4, at::kLong), c = a.to(at::kBFloat16);
  write_safetensors(file(), {{"a", a.t()}, {"b", b}, {"c", c}}, {{"k", "v"}});
  const auto back = read_safetensors(file());
  EXPECT_TRUE(at::equal(back.tensors.at("a"), a.t()));
  EXPECT_TRUE(at::equal(back.tensors.at("b"), b));
  EXPECT_TRUE(at::equal(back.tensors.at("c"), c));
  EXPECT_EQ(back.metadata.at("k"), "v");
}

TEST(Safetensors, DamagedFilesAreRefusedWithTheTensorsName) {
  const auto entry = [](const std::string& name, const std::string& shape, int begin, int end) {
    return "\"" + name + R"(":{"dtype":"F32","shape":)" + shape + R"(,"data_offsets":[)" + std::to_string(begin) + "," +
           std::to_string(end) + "]}";
  };
  EXPECT_NE(error_for("abc").find("too few"), std::string::npos);
  EXPECT_NE(error_for(with_header("{}", 0).substr(0, 9)).find("longer than the file"), std::string::npos);
  EXPECT_NE(error_for(with_header("{not json", 0)).find("not JSON"), std::string::npos);
  EXPECT_NE(error_for(with_header("{" + entry("w", "[2]", 0, 8) + "}", 4)).find("tensor 'w': bytes 0-8"),
            std::string::npos);
  EXPECT_NE(error_for(with_header("{" + entry("w", "[3]", 0, 8) + "}", 8)).find("needs 12 bytes"), std::string::npos);
  EXPECT_NE(
      error_for(with_header("{" + entry("a", "[2]", 0, 8) + "," + entry("b", "[2]", 4, 12) + "}", 12)).find("overlap"),
      std::string::npos);
  EXPECT_NE(error_for(with_header("{" + entry("a", "[1]", 0, 4) + "," + entry("a", "[1]", 4, 8) + "}", 8))
                .find("given twice"),
            std::string::npos);
  EXPECT_NE(error_for(with_header("{" + entry("a", "[1]", 0, 4) + "," + entry("b", "[1]", 8, 12) + "}", 12))
                .find("belong to no tensor"),
            std::string::npos);
  EXPECT_NE(error_for(with_header("{" + entry("a", "[1]", 0, 4) + "}", 9)).find("5 bytes after the last tensor"),
            std::string::npos);
  EXPECT_NE(error_for(with_header("{" + entry("a", "[1]", 4, 0) + "}", 4)), "no error");
  EXPECT_NE(error_for(with_header("{" + entry("a", "[1.5]", 0, 4) + "}", 4)), "no error");
  EXPECT_NE(error_for(with_header(R"({"__metadata__":{"a":1}})", 0)).find("not a string"), std::string::npos);
  EXPECT_NE(
      error_for(with_header(R"({"a":{"dtype":"Q4","shape":[1],"data_offsets":[0,4]}})", 4)).find("unknown type 'Q4'"),
      std::string::npos);
  EXPECT_NE(error_for(with_header("{" + entry("w", "[9223372036854775807,4]", 0, 4) + "}", 4)), "no error");
  EXPECT_NE(error_for(with_header("{" + entry("w", "[-1]", 0, 4) + "}", 4)), "no error");
}

// Tensors lie in the file's map, outlive the TensorFile, and writing to them leaves the file as it is.
TEST(Safetensors, MappedTensorsAreTheFilesOwnBytes) {
  const at::Tensor a = at::arange(6, at::kFloat).view({2, 3}), empty = at::arange(0, at::kFloat);
  write_safetensors(file(), {{"a", a}, {"empty", empty}});
  at::Tensor mapped;
  {
    const auto tensors = map_safetensors(file()).tensors;
    mapped = tensors.at("a");
    EXPECT_EQ(tensors.at("empty").numel(), 0);
  }
  EXPECT_TRUE(at::equal(mapped, a));
  mapped.data_ptr<float>()[0] = 9;
  EXPECT_EQ(mapped.data_ptr<float>()[0], 9);
  EXPECT_TRUE(at::equal(read_safetensors(file()).tensors.at("a"), a));
}

// A header of odd length puts tensors where their type may not be read in place.
TEST(Safetensors, TensorsThatAreNotAlignedAreCopied) {
  const std::string header = R"({"w":{"dtype":"F32","shape":[1],"data_offsets":[0,4]} })";
  std::string bytes = with_header(header + std::string(3 - (header.size() + 8) % 4 % 3, ' '), 4);
  const float value = 2.5f;
  std::memcpy(bytes.data() + bytes.size() - 4, &value, 4);
  write_file_atomic(file(), bytes);
  EXPECT_EQ(map_safetensors(file()).tensors.at("w").data_ptr<float>()[0], 2.5f);
}

}  // namespace
}  // namespace hymba
