// hymba doctor: what was found on this machine.
#include <ATen/Parallel.h>
#include <ATen/Version.h>

#include <fmt/format.h>

#include <cstdlib>

#include "base/text.h"
#include "cli/context.h"
#include "base/memory.h"
#include "base/shared_folder.h"
#include "kernels/cuda/plugin.h"
#include "kernels/isa.h"

namespace hymba::cli {
namespace {

namespace fs = std::filesystem;

// The first of these programs on PATH or in the usual places, or "".
std::string find_program(const std::string& name, const std::vector<std::string>& more) {
  std::vector<std::string> folders = split(std::getenv("PATH") != nullptr ? std::getenv("PATH") : "", ':');
  folders.insert(folders.end(), more.begin(), more.end());
  for (const auto& folder : folders) {
    std::error_code error;
    if (fs::exists(fs::path(folder) / name, error)) return (fs::path(folder) / name).string();
  }
  return "";
}

std::string torch_version() {
  const std::string text = at::show_config();
  for (const auto& line : split(text, '\n')) {
    const auto at = line.find("TORCH_VERSION=");
    if (at != std::string::npos) return line.substr(at + 14, line.find(',', at) - at - 14);
  }
  return "unknown";
}

void run_doctor_command(const Invocation& invocation) {
  const auto host_text = host();
  const std::string nvcc = find_program("nvcc", {"/usr/local/cuda/bin"});
  std::error_code error;
  const auto& cuda = kernels::cuda_status();
  const bool gpu = cuda.usable || fs::exists("/dev/nvidia0", error);
  const fs::path shared = shared_folder(home_folder());
  const bool data = fs::is_directory(shared / "data", error);
  const nlohmann::json found = {
      {"cpu", host_text.substr(0, host_text.find(','))},
      {"isa", kernels::active_isa()},
      {"isa_present", kernels::present_isas()},
      {"threads", at::get_num_threads()},
      {"memory", available_memory()},
      {"libtorch", torch_version()},
      {"cuda_toolkit", nvcc.empty() ? nlohmann::json(nullptr) : nlohmann::json(nvcc)},
      {"gpu", gpu ? nlohmann::json(cuda.usable ? cuda.devices : "NVIDIA device present") : nlohmann::json(nullptr)},
      {"cuda_kernels", cuda.text},
      {"data", data ? nlohmann::json(shared.string()) : nlohmann::json(nullptr)},
      {"commit", commit()},
      {"home", home_folder().string()},
      {"cache", default_cache_folder().string()}};
  if (invocation.json) {
    print_json(found);
    return;
  }
  const auto word = [&](const char* key) { return found[key].is_null() ? std::string("not found") : found[key].is_string() ? found[key].get<std::string>() : found[key].dump(); };
  std::string text;
  text += fmt::format("cpu           {}\n", word("cpu"));
  text += fmt::format("isa           {} (present: {}; HYMBA_ISA forces one)\n", word("isa"), join(kernels::present_isas(), " "));
  text += fmt::format("threads       {}\n", word("threads"));
  text += fmt::format("memory        {} free\n", format_bytes(found["memory"].get<double>()));
  text += fmt::format("libtorch      {}\n", word("libtorch"));
  text += fmt::format("cuda toolkit  {}\n", word("cuda_toolkit"));
  text += fmt::format("gpu           {}\n", word("gpu"));
  text += fmt::format("cuda kernels  {}\n", word("cuda_kernels"));
  text += fmt::format("data          {}\n", data ? shared.string() : "the embedded synthetic world; real text by --data");
  text += fmt::format("commit        {}\n", word("commit"));
  text += fmt::format("token cache   {}\n", word("cache"));
  print_text(text);
}

}  // namespace

Command doctor_command() {
  Command c;
  c.name = "doctor";
  c.summary = "what was found here: processor level, threads, memory, LibTorch, CUDA, data";
  c.example = "  hymba doctor\n  HYMBA_ISA=avx2 hymba doctor";
  c.run = run_doctor_command;
  return c;
}

}  // namespace hymba::cli
