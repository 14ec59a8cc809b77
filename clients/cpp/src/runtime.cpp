// Native libraries: what is wrong with one is said before it is loaded, because the loader's own words help nobody.
#include "runtime.h"

#include <dlfcn.h>
#include <elf.h>
#include <unistd.h>

#include <fstream>

namespace elsa_edge {
namespace {

constexpr uint16_t machine_here() {
#if defined(__aarch64__)
  return EM_AARCH64;
#elif defined(__x86_64__)
  return EM_X86_64;
#else
  return EM_NONE;
#endif
}

std::string machine_name(uint16_t machine) {
  if (machine == EM_AARCH64) return "64-bit ARM";
  if (machine == EM_X86_64) return "64-bit x86";
  if (machine == EM_ARM) return "32-bit ARM";
  return joined({"machine ", std::to_string(machine)});
}

}  // namespace

std::optional<std::string> library_problem(const std::string& path, long page_bytes) {
  std::ifstream stream(path, std::ios::binary);
  Elf64_Ehdr header{};
  if (!stream)
    return joined(
        {path,
         " is missing. Put it beside the program, or build it: python -m elsa_edge.runtime_adapters.kernels.build."});
  if (!stream.read(reinterpret_cast<char*>(&header), sizeof header) ||
      std::memcmp(header.e_ident, ELFMAG, SELFMAG) != 0) {
    return joined({path, " is no shared library. Copy it again."});
  }
  if (header.e_ident[EI_CLASS] != ELFCLASS64 || (machine_here() != EM_NONE && header.e_machine != machine_here())) {
    return joined({path, " is for ", machine_name(header.e_machine), ", this machine is ", machine_name(machine_here()),
                   ". Take the library of this machine."});
  }
  const auto pages = static_cast<uint64_t>(page_bytes > 0 ? page_bytes : sysconf(_SC_PAGESIZE));
  for (int i = 0; i < header.e_phnum; ++i) {
    Elf64_Phdr segment{};
    stream.seekg(static_cast<std::streamoff>(header.e_phoff + uint64_t{header.e_phentsize} * static_cast<uint64_t>(i)));
    if (!stream.read(reinterpret_cast<char*>(&segment), sizeof segment))
      return joined({path, " is cut short. Copy it again."});
    if (segment.p_type == PT_LOAD && segment.p_align < pages) {
      return joined({path, " is aligned to pages of ", std::to_string(segment.p_align),
                     " bytes, this device has pages of ", std::to_string(pages),
                     ". Link it with -Wl,-z,max-page-size=16384."});
    }
  }
  return std::nullopt;
}

std::shared_ptr<Runtime> Runtime::load(const std::string& path) {
  // A path is looked at; a bare name is the loader's to find.
  static constexpr const char* kWhere =
      "Give the path of libonnxruntime.so, 1.18 or newer: it lies in the Python package under onnxruntime/capi.";
  if (path.find('/') != std::string::npos) {
    if (access(path.c_str(), R_OK) != 0) fail<RuntimeError>({path, " is missing. ", kWhere});
    if (const auto problem = library_problem(path)) throw RuntimeError(*problem);
  }
  // Never closed: ONNX Runtime's threads and statics live until the end.
  void* library = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) {
    fail<RuntimeError>({"ONNX Runtime cannot be loaded (", dlerror(), "). ", kWhere});
  }
  const auto base = reinterpret_cast<const OrtApiBase* (*)()>(dlsym(library, "OrtGetApiBase"));
  if (base == nullptr) fail<RuntimeError>({path, " is not ONNX Runtime: it has no OrtGetApiBase."});
  auto runtime = std::shared_ptr<Runtime>(new Runtime);
  runtime->handles_ = std::make_unique<Handles>();
  Handles& handles = *runtime->handles_;
  handles.api = base()->GetApi(elsa::ort::kClientApiVersion);
  if (handles.api == nullptr) {
    fail<RuntimeError>({path, " is ONNX Runtime ", base()->GetVersionString(), "; this client needs 1.18 or newer."});
  }
  // 3: errors only; they come back as sentences.
  handles.check(elsa::ort::CreateEnv(handles.api, 3, "elsa-edge", &handles.env));
  handles.check(elsa::ort::DisableTelemetryEvents(handles.api, handles.env));
  handles.check(elsa::ort::CreateCpuMemoryInfo(handles.api, 0, 0, &handles.memory));
  return runtime;
}

Runtime::~Runtime() {
  if (handles_ && handles_->memory) elsa::ort::ReleaseMemoryInfo(handles_->api, handles_->memory);
  if (handles_ && handles_->env) elsa::ort::ReleaseEnv(handles_->api, handles_->env);
}

}  // namespace elsa_edge
