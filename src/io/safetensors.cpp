#include "io/safetensors.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/from_blob.h>
#include <sys/mman.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <memory>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/files.h"

namespace hymba {
namespace {

using nlohmann::json;

constexpr std::uint64_t kMostHeader = 100'000'000;  // as the reference implementation

struct TypeName {
  const char* name;
  at::ScalarType type;
};
constexpr TypeName kTypes[] = {{"F32", at::kFloat}, {"F64", at::kDouble}, {"F16", at::kHalf},  {"BF16", at::kBFloat16},
                               {"I64", at::kLong},  {"I32", at::kInt},    {"I16", at::kShort}, {"I8", at::kChar},
                               {"U8", at::kByte},   {"BOOL", at::kBool}};

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
    require(entry.shape.back() == 0 || bytes <= (std::int64_t{1} << 60) / entry.shape.back(),
            "{}: its shape is too large", where);
    bytes *= entry.shape.back();
  }
  entry.begin = whole(value["data_offsets"][0], where + " data_offsets");
  entry.end = whole(value["data_offsets"][1], where + " data_offsets");
  require(entry.begin <= entry.end && entry.end <= data_size,
          "{}: bytes {}-{} lie outside the file's {} bytes of data; the file is truncated or damaged: copy or download it again", where,
          entry.begin, entry.end, data_size);
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
  require(!header.is_discarded() && header.is_object(), "{}: its header is not JSON; is this a safetensors file?",
          file);
  std::sort(keys.begin(), keys.end());
  const auto twice = std::adjacent_find(keys.begin(), keys.end());
  require(twice == keys.end(), "{}: tensor '{}' is given twice", file, twice == keys.end() ? "" : *twice);
  return header;
}

struct Header {
  std::vector<Entry> entries;  // in the order of their bytes
  std::map<std::string, std::string> metadata;
  std::size_t data = 0;  // where the tensors' bytes begin
};

// Entries in order of their bytes must touch: no overlap, and (as the format demands) no hole where bytes could hide.
void check_order(std::vector<Entry>* entries, std::int64_t data_size, const std::string& name) {
  std::sort(entries->begin(), entries->end(),
            [](const Entry& a, const Entry& b) { return std::pair(a.begin, a.end) < std::pair(b.begin, b.end); });
  std::int64_t end = 0;
  const Entry* last = nullptr;
  for (const auto& entry : *entries) {
    require(entry.begin >= end, "{}: the bytes of '{}' and '{}' overlap", name, last != nullptr ? last->name : "",
            entry.name);
    require(entry.begin == end, "{}: bytes {}-{} before tensor '{}' belong to no tensor; the file is damaged", name,
            end, entry.begin, entry.name);
    end = entry.end;
    last = &entry;
  }
  require(end == data_size, "{}: {} bytes after the last tensor belong to none; the file is damaged", name,
          data_size - end);
}

Header read_header(std::string_view bytes, const std::string& name) {
  require(bytes.size() >= 8, "{}: {} bytes are too few for a safetensors file; copy or download it again", name, bytes.size());
  std::uint64_t header_size = 0;
  std::memcpy(&header_size, bytes.data(), 8);
  require(header_size <= bytes.size() - 8,
          "{}: its header of {} bytes is longer than the file of {}; truncated (copy or download it again), "
          "or no safetensors file",
          name, header_size, bytes.size());
  require(header_size <= kMostHeader, "{}: its header of {} bytes is longer than {}, the format's limit", name,
          header_size, kMostHeader);
  const json parsed = parse_header(bytes.substr(8, header_size), name);
  Header header;
  header.data = 8 + header_size;
  const auto data_size = static_cast<std::int64_t>(bytes.size() - header.data);
  for (const auto& [key, value] : parsed.items()) {
    if (key != "__metadata__") {
      header.entries.push_back(parse_entry(key, value, data_size, name));
      continue;
    }
    require(value.is_object(), "{}: __metadata__ is not an object", name);
    for (const auto& [k, v] : value.items()) {
      require(v.is_string(), "{}: __metadata__ '{}' is not a string", name, k);
      header.metadata[k] = v.get<std::string>();
    }
  }
  check_order(&header.entries, data_size, name);
  return header;
}

at::Tensor copied(const Entry& entry, const char* data) {
  at::Tensor tensor = at::empty(entry.shape, at::TensorOptions().dtype(entry.type));
  if (entry.end > entry.begin) std::memcpy(tensor.data_ptr(), data, static_cast<std::size_t>(entry.end - entry.begin));
  return tensor;
}

}  // namespace

TensorFile parse_safetensors(std::string_view bytes, const std::string& name) {
  const Header header = read_header(bytes, name);
  TensorFile result{{}, header.metadata, nullptr};
  for (const auto& entry : header.entries)
    result.tensors[entry.name] = copied(entry, bytes.data() + header.data + entry.begin);
  return result;
}

TensorFile read_safetensors(const std::filesystem::path& path) {
  return parse_safetensors(MappedFile(path).view(), path.string());
}

TensorFile map_safetensors(const std::filesystem::path& path) {
  const auto file = std::make_shared<const MappedFile>(path);
  const Header header = read_header(file->view(), path.string());
  // The map is private, so pages that are written become the process's own; it was only opened for reading so far.
  char* bytes = const_cast<char*>(file->data());
  if (::mprotect(bytes, file->size(), PROT_READ | PROT_WRITE) != 0)
    fail("{}: cannot map it for writing: {}", path.string(), std::strerror(errno));
  TensorFile result{{}, header.metadata, file};
  for (const auto& entry : header.entries) {
    char* data = bytes + header.data + entry.begin;
    const bool aligned = reinterpret_cast<std::uintptr_t>(data) % c10::elementSize(entry.type) == 0;
    result.tensors[entry.name] = aligned && entry.end > entry.begin
                                     ? at::from_blob(
                                           data, entry.shape, [file](void*) {}, at::TensorOptions().dtype(entry.type))
                                     : copied(entry, data);
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
    header[name] = {{"dtype", name_of(tensor.scalar_type())},
                    {"shape", tensor.sizes().vec()},
                    {"data_offsets", {offset, offset + bytes}}};
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
    const at::Tensor whole_tensor = tensor.detach().to(at::kCPU).contiguous();
    bytes.append(static_cast<const char*>(whole_tensor.data_ptr()), whole_tensor.nbytes());
  }
  write_file_atomic(path, bytes);
}

}  // namespace hymba
