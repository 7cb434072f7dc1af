#include "io/safetensors.h"

#include <ATen/ops/empty.h>

#include <algorithm>
#include <cstring>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/files.h"

namespace hymba {
namespace {

using nlohmann::json;

struct TypeName {
  const char* name;
  at::ScalarType type;
};
constexpr TypeName kTypes[] = {{"F32", at::kFloat},    {"F64", at::kDouble}, {"F16", at::kHalf}, {"BF16", at::kBFloat16},
                               {"I64", at::kLong},     {"I32", at::kInt},    {"I16", at::kShort}, {"I8", at::kChar},
                               {"U8", at::kByte},      {"BOOL", at::kBool}};

at::ScalarType type_of(const std::string& name, const std::string& where) {
  for (const auto& known : kTypes) {
    if (name == known.name) return known.type;
  }
  user_error("{}: unknown type '{}'", where, name);
}

std::string name_of(at::ScalarType type) {
  for (const auto& known : kTypes) {
    if (type == known.type) return known.name;
  }
  fail("safetensors has no name for the type {}", at::toString(type));
}

// A JSON whole number that fits, not negative.
std::int64_t whole(const json& value, const std::string& where) {
  require(value.is_number_unsigned() && value.get<std::uint64_t>() < (std::uint64_t{1} << 62),
          "{}: expected a whole number, found {}", where, value.dump());
  return value.get<std::int64_t>();
}

struct Entry {
  std::string name;
  at::ScalarType type;
  std::vector<std::int64_t> shape;
  std::int64_t begin, end;
};

Entry parse_entry(const std::string& name, const json& value, std::int64_t data_size, const std::string& file) {
  const std::string where = fmt::format("{}: tensor '{}'", file, name);
  require(value.is_object() && value.contains("dtype") && value["dtype"].is_string() && value.contains("shape") &&
              value["shape"].is_array() && value.contains("data_offsets") && value["data_offsets"].is_array() &&
              value["data_offsets"].size() == 2,
          "{}: expected dtype, shape and data_offsets", where);
  Entry entry{name, type_of(value["dtype"].get<std::string>(), where), {}, 0, 0};
  std::int64_t bytes = static_cast<std::int64_t>(c10::elementSize(entry.type));
  for (const auto& n : value["shape"]) {
    entry.shape.push_back(whole(n, where + " shape"));
    require(entry.shape.back() == 0 || bytes <= (std::int64_t{1} << 60) / entry.shape.back(), "{}: its shape is too large", where);
    bytes *= entry.shape.back();
  }
  entry.begin = whole(value["data_offsets"][0], where + " data_offsets");
  entry.end = whole(value["data_offsets"][1], where + " data_offsets");
  require(entry.begin <= entry.end && entry.end <= data_size,
          "{}: bytes {}-{} lie outside the file's {} bytes of data; the file is truncated or damaged", where, entry.begin,
          entry.end, data_size);
  require(entry.end - entry.begin == bytes, "{}: its shape needs {} bytes, the offsets give {}", where, bytes,
          entry.end - entry.begin);
  return entry;
}

// Parses the header; a key given twice is an error, which the plain parser would hide.
json parse_header(std::string_view text, const std::string& file) {
  std::vector<std::string> keys;
  const auto callback = [&](int depth, json::parse_event_t event, json& parsed) {
    if (event == json::parse_event_t::key && depth == 1) keys.push_back(parsed.get<std::string>());
    return true;
  };
  const json header = json::parse(text, callback, /*allow_exceptions=*/false);
  require(!header.is_discarded() && header.is_object(), "{}: its header is not JSON; is this a safetensors file?", file);
  std::sort(keys.begin(), keys.end());
  const auto twice = std::adjacent_find(keys.begin(), keys.end());
  require(twice == keys.end(), "{}: tensor '{}' is given twice", file, twice == keys.end() ? "" : *twice);
  return header;
}

}  // namespace

TensorFile read_safetensors(const std::filesystem::path& path) {
  const MappedFile file(path);
  const std::string name = path.string();
  require(file.size() >= 8, "{}: {} bytes are too few for a safetensors file", name, file.size());
  std::uint64_t header_size = 0;
  std::memcpy(&header_size, file.data(), 8);
  require(header_size <= file.size() - 8, "{}: its header of {} bytes is longer than the file of {}; truncated, or no "
          "safetensors file", name, header_size, file.size());
  const json header = parse_header(file.view().substr(8, header_size), name);
  const auto data_size = static_cast<std::int64_t>(file.size() - 8 - header_size);
  const char* data = file.data() + 8 + header_size;
  TensorFile result;
  std::vector<Entry> entries;
  for (const auto& [key, value] : header.items()) {
    if (key == "__metadata__") {
      require(value.is_object(), "{}: __metadata__ is not an object", name);
      for (const auto& [k, v] : value.items()) {
        require(v.is_string(), "{}: __metadata__ '{}' is not a string", name, k);
        result.metadata[k] = v.get<std::string>();
      }
      continue;
    }
    entries.push_back(parse_entry(key, value, data_size, name));
  }
  std::sort(entries.begin(), entries.end(), [](const Entry& a, const Entry& b) { return a.begin < b.begin; });
  for (std::size_t i = 1; i < entries.size(); ++i) {
    require(entries[i].begin >= entries[i - 1].end, "{}: the bytes of '{}' and '{}' overlap", name, entries[i - 1].name,
            entries[i].name);
  }
  for (const auto& entry : entries) {
    at::Tensor tensor = at::empty(entry.shape, at::TensorOptions().dtype(entry.type));
    if (entry.end > entry.begin) std::memcpy(tensor.data_ptr(), data + entry.begin, static_cast<std::size_t>(entry.end - entry.begin));
    result.tensors[entry.name] = tensor;
  }
  return result;
}

void write_safetensors(const std::filesystem::path& path, const std::map<std::string, at::Tensor>& tensors,
                       const std::map<std::string, std::string>& metadata) {
  json header = json::object();
  if (!metadata.empty()) header["__metadata__"] = metadata;
  std::size_t offset = 0;
  for (const auto& [name, tensor] : tensors) {
    const std::size_t bytes = tensor.nbytes();
    header[name] = {{"dtype", name_of(tensor.scalar_type())}, {"shape", tensor.sizes().vec()}, {"data_offsets", {offset, offset + bytes}}};
    offset += bytes;
  }
  std::string text = header.dump();
  text.resize((text.size() + 7) / 8 * 8, ' ');
  const std::uint64_t size = text.size();
  std::string bytes(8, '\0');
  std::memcpy(bytes.data(), &size, 8);
  bytes += text;
  bytes.reserve(bytes.size() + offset);
  for (const auto& [name, tensor] : tensors) {
    const at::Tensor whole_tensor = tensor.detach().contiguous();
    bytes.append(static_cast<const char*>(whole_tensor.data_ptr()), whole_tensor.nbytes());
  }
  write_file_atomic(path, bytes);
}

}  // namespace hymba
