#include "network.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>

#include "elements.h"

namespace elsa_edge {
namespace {

namespace ort = elsa::ort;

const std::string kLevel = "level";

// The tensor reads the bytes where they are; they must outlive it.
auto value_of(const Runtime::Handles& handles, const Tensor& tensor) {
  const Element& element = element_of(tensor.dtype);
  size_t count = 1;
  for (const int64_t size : tensor.dims) count *= static_cast<size_t>(std::max<int64_t>(0, size));
  if (tensor.bytes.size() != count * element.bytes) fail<InputError>({"A tensor's bytes do not fit its shape."});
  OrtValue* value = nullptr;
  handles.check(ort::CreateTensorWithDataAsOrtValue(handles.api, handles.memory, const_cast<char*>(tensor.bytes.data()),
                                                    tensor.bytes.size(), tensor.dims.data(), tensor.dims.size(),
                                                    element.type, &value));
  return owned(handles.api, value, ort::ReleaseValue);
}

Tensor tensor_of(const Runtime::Handles& handles, OrtValue* value) {
  OrtTensorTypeAndShapeInfo* shape = nullptr;
  handles.check(ort::GetTensorTypeAndShape(handles.api, value, &shape));
  const auto keep = owned(handles.api, shape, ort::ReleaseTensorTypeAndShapeInfo);
  OrtElementType type{};
  size_t rank = 0, count = 0;
  handles.check(ort::GetTensorElementType(handles.api, shape, &type));
  handles.check(ort::GetDimensionsCount(handles.api, shape, &rank));
  handles.check(ort::GetTensorShapeElementCount(handles.api, shape, &count));
  Tensor tensor;
  tensor.dims.resize(rank);
  handles.check(ort::GetDimensions(handles.api, shape, tensor.dims.data(), rank));
  void* data = nullptr;
  handles.check(ort::GetTensorMutableData(handles.api, value, &data));
  for (const Element& element : kElements) {
    if (element.type != static_cast<int>(type)) continue;
    tensor.dtype = element.dtype;
    tensor.bytes.assign(static_cast<const char*>(data), count * element.bytes);
    return tensor;
  }
  fail<RuntimeError>({"The network answers with an element type that this client does not know."});
}

// A folder that vanishes with what is in it; what is mapped stays in memory.
class TemporaryFolder {
 public:
  TemporaryFolder() {
    const char* place = std::getenv("TMPDIR");
    path_ = joined({place != nullptr ? place : "/tmp", "/elsa-edge-XXXXXX"});
    if (mkdtemp(path_.data()) == nullptr) fail<RuntimeError>({"Cannot make ", path_, ". Set TMPDIR."});
  }
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;
  ~TemporaryFolder() {
    for (const std::string& file : files_) std::remove(file.c_str());
    std::remove(path_.c_str());
  }
  const std::string& write(const std::string& name, const std::string& bytes) const {
    files_.push_back(joined({path_, "/", name}));
    std::FILE* file = std::fopen(files_.back().c_str(), "wb");
    const bool whole = file != nullptr && std::fwrite(bytes.data(), 1, bytes.size(), file) == bytes.size();
    if ((file != nullptr && std::fclose(file) != 0) || !whole)
      fail<RuntimeError>(
          {files_.back(), " cannot be written. Set TMPDIR to a folder with room for the bundle's weights."});
    return files_.back();
  }

 private:
  std::string path_;
  mutable std::vector<std::string> files_;
};

}  // namespace

Network::Network(std::shared_ptr<Runtime> runtime, const Bundle& bundle, const Variant& variant, const Profile& profile,
                 std::string kernels)
    : runtime_(std::move(runtime)),
      bundle_(bundle),
      variant_(variant),
      threads_(profile.threads),
      kernels_(std::move(kernels)),
      model_role_("model") {
  if (variant.kind != "nested") return;
  const bool has = profile.choice &&
                   std::find(variant.choices.begin(), variant.choices.end(), *profile.choice) != variant.choices.end();
  model_role_ = has ? *profile.choice : variant.choices.front();
}

Network::~Network() { close(); }

void Network::close() {
  if (session_ != nullptr) ort::ReleaseSession(runtime_->handles().api, session_);
  session_ = nullptr;
  loaded_.clear();
}

void Network::load(const std::string& role) {
  if (loaded_ == role) return;
  const std::string model = bundle_.file(variant_.files.at(role));
  // The level before goes first: two in memory would defeat the purpose.
  close();
  const Runtime::Handles& handles = runtime_->handles();
  OrtSessionOptions* options = nullptr;
  handles.check(ort::CreateSessionOptions(handles.api, &options));
  const auto keep = owned(handles.api, options, ort::ReleaseSessionOptions);
  handles.check(ort::SetIntraOpNumThreads(handles.api, options, threads_));
  handles.check(ort::SetInterOpNumThreads(handles.api, options, 1));
  handles.check(ort::AddSessionConfigEntry(handles.api, options, "session.intra_op.allow_spinning", "0"));
  if (variant_.kind == "nested")
    handles.check(ort::RegisterCustomOpsLibrary_V2(handles.api, options, kernels_.c_str()));
  std::map<std::string, std::string> beside;
  for (const auto& [other, path] : variant_.files) {
    const bool a_model = other == "model" || other.rfind("level_", 0) == 0 ||
                         std::find(variant_.choices.begin(), variant_.choices.end(), other) != variant_.choices.end();
    if (!a_model) beside[path.substr(path.rfind('/') + 1)] = bundle_.file(path);
  }
  if (beside.empty()) {
    handles.check(
        ort::CreateSessionFromArray(handles.api, handles.env, model.data(), model.size(), options, &session_));
  } else {
    // Weights in a file of their own: the runtime reads it itself, so it gets copies of what was checked.
    const TemporaryFolder folder;
    for (const auto& [name, bytes] : beside) folder.write(name, bytes);
    handles.check(
        ort::CreateSession(handles.api, handles.env, folder.write("model.onnx", model).c_str(), options, &session_));
  }
  loaded_ = role;
}

Tensors Network::run(const Tensors& inputs, int level) {
  const bool per_level = variant_.kind == "levels";
  load(per_level ? "level_" + std::to_string(level) : model_role_);
  const Runtime::Handles& handles = runtime_->handles();
  const Manifest& manifest = bundle_.manifest();
  const Tensor asked = Tensor::of<int64_t>({}, {level});
  const size_t inputs_count = manifest.inputs.size(), count = inputs_count + !per_level;
  std::vector<decltype(value_of(handles, asked))> values(count), kept(manifest.outputs.size());
  std::vector<const char*> names(count), outputs(kept.size());
  std::vector<OrtValue*> given(count), found(kept.size());
  for (size_t i = 0; i < count; ++i) {
    const std::string& name = i < inputs_count ? manifest.inputs[i].name : kLevel;
    names[i] = name.c_str();
    values[i] = value_of(handles, i < inputs_count ? inputs.at(name) : asked);
    given[i] = values[i].get();
  }
  for (size_t i = 0; i < outputs.size(); ++i) outputs[i] = manifest.outputs[i].name.c_str();
  handles.check(ort::Run(handles.api, session_, nullptr, names.data(), given.data(), count, outputs.data(),
                         outputs.size(), found.data()));
  for (size_t i = 0; i < kept.size(); ++i) kept[i] = owned(handles.api, found[i], ort::ReleaseValue);
  Tensors answers;
  for (size_t i = 0; i < outputs.size(); ++i) answers[outputs[i]] = tensor_of(handles, found[i]);
  return answers;
}

}  // namespace elsa_edge
