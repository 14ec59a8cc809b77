// The part of ONNX Runtime's C interface that a custom-operator library needs, written down by hand.
//
// The interface is a table of function pointers that only ever grows, so an entry's place is fixed. Version 17 of the
// table (ONNX Runtime 1.17) has everything used here. Nothing is linked: the table arrives in RegisterCustomOps.
#pragma once
#include <cstddef>
#include <cstdint>

struct OrtStatus;
struct OrtSessionOptions;
struct OrtKernelInfo;
struct OrtKernelContext;
struct OrtValue;
struct OrtTensorTypeAndShapeInfo;
struct OrtCustomOpDomain;
struct OrtShapeInferContext;
struct OrtApi;

struct OrtApiBase {
  const OrtApi* (*GetApi)(uint32_t version);
  const char* (*GetVersionString)();
};

constexpr uint32_t kOrtApiVersion = 17;

enum OrtErrorCode : int { kOrtFail = 1, kOrtInvalidArgument = 2 };
enum OrtElementType : int { kOrtFloat = 1, kOrtUint8 = 2, kOrtInt32 = 6, kOrtInt64 = 7, kOrtFloat16 = 10 };
enum OrtCharacteristic : int { kOrtRequired = 0, kOrtOptional = 1, kOrtVariadic = 2 };

struct OrtCustomOp {
  uint32_t version;
  void* (*CreateKernel)(const OrtCustomOp*, const OrtApi*, const OrtKernelInfo*);
  const char* (*GetName)(const OrtCustomOp*);
  const char* (*GetExecutionProviderType)(const OrtCustomOp*);
  OrtElementType (*GetInputType)(const OrtCustomOp*, size_t);
  size_t (*GetInputTypeCount)(const OrtCustomOp*);
  OrtElementType (*GetOutputType)(const OrtCustomOp*, size_t);
  size_t (*GetOutputTypeCount)(const OrtCustomOp*);
  void (*KernelCompute)(void*, OrtKernelContext*);
  void (*KernelDestroy)(void*);
  OrtCharacteristic (*GetInputCharacteristic)(const OrtCustomOp*, size_t);
  OrtCharacteristic (*GetOutputCharacteristic)(const OrtCustomOp*, size_t);
  int (*GetInputMemoryType)(const OrtCustomOp*, size_t);
  int (*GetVariadicInputMinArity)(const OrtCustomOp*);
  int (*GetVariadicInputHomogeneity)(const OrtCustomOp*);
  int (*GetVariadicOutputMinArity)(const OrtCustomOp*);
  int (*GetVariadicOutputHomogeneity)(const OrtCustomOp*);
  OrtStatus* (*CreateKernelV2)(const OrtCustomOp*, const OrtApi*, const OrtKernelInfo*, void** kernel);
  OrtStatus* (*KernelComputeV2)(void* kernel, OrtKernelContext*);
  OrtStatus* (*InferOutputShapeFn)(const OrtCustomOp*, OrtShapeInferContext*);
  int (*GetStartVersion)(const OrtCustomOp*);
  int (*GetEndVersion)(const OrtCustomOp*);
  size_t (*GetMayInplace)(int** input_index, int** output_index);
  void (*ReleaseMayInplace)(int* input_index, int* output_index);
  size_t (*GetAliasMap)(int** input_index, int** output_index);
  void (*ReleaseAliasMap)(int* input_index, int* output_index);
};
static_assert(sizeof(OrtCustomOp) == 26 * sizeof(void*), "the layout of ONNX Runtime's OrtCustomOp");

namespace elsa::ort {

// An entry of the table: its place and its type. CreateCustomOpDomain(api, "elsa.nested", &domain) calls it.
template <size_t Place, typename Signature>
struct Entry;

template <size_t Place, typename Result, typename... Parameters>
struct Entry<Place, Result(Parameters...)> {
  using Function = Result (*)(Parameters...);
  static constexpr size_t kPlace = Place;

  Result operator()(const OrtApi* api, Parameters... arguments) const {
    void* const* table = reinterpret_cast<void* const*>(api);
    return reinterpret_cast<Function>(table[Place])(arguments...);
  }
};

using Status = OrtStatus*;
using Shape = const OrtTensorTypeAndShapeInfo*;
using KernelInfo = const OrtKernelInfo*;
using KernelContext = const OrtKernelContext*;

// Statuses; null is success.
inline constexpr Entry<0, Status(OrtErrorCode, const char* text)> CreateStatus{};
inline constexpr Entry<2, const char*(const OrtStatus*)> GetErrorMessage{};
inline constexpr Entry<93, void(Status)> ReleaseStatus{};

// Domains of operators.
inline constexpr Entry<26, Status(const char* name, OrtCustomOpDomain**)> CreateCustomOpDomain{};
inline constexpr Entry<27, Status(OrtCustomOpDomain*, const OrtCustomOp*)> CustomOpDomainAdd{};
inline constexpr Entry<28, Status(OrtSessionOptions*, OrtCustomOpDomain*)> AddCustomOpDomain{};

// Tensors.
inline constexpr Entry<51, Status(OrtValue*, void** data)> GetTensorMutableData{};
inline constexpr Entry<60, Status(Shape, OrtElementType*)> GetTensorElementType{};
inline constexpr Entry<61, Status(Shape, size_t* rank)> GetDimensionsCount{};
inline constexpr Entry<62, Status(Shape, int64_t* dims, size_t rank)> GetDimensions{};
inline constexpr Entry<65, Status(const OrtValue*, OrtTensorTypeAndShapeInfo**)> GetTensorTypeAndShape{};
inline constexpr Entry<99, void(OrtTensorTypeAndShapeInfo*)> ReleaseTensorTypeAndShapeInfo{};

// What a kernel is told when it is made.
inline constexpr Entry<85, Status(KernelInfo, const char* name, float*)> KernelInfoGetAttributeFloat{};
inline constexpr Entry<86, Status(KernelInfo, const char* name, int64_t*)> KernelInfoGetAttributeInt64{};
inline constexpr Entry<230, Status(KernelInfo, size_t* count)> KernelInfoGetInputCount{};
inline constexpr Entry<249, Status(KernelInfo, size_t index, int* is_constant, const OrtValue**)>
    KernelInfoGetConstantInputTensor{};

// What a kernel is told when it computes.
inline constexpr Entry<90, Status(KernelContext, size_t index, const OrtValue**)> KernelContextGetInput{};
inline constexpr Entry<91, Status(OrtKernelContext*, size_t index, const int64_t* dims, size_t rank, OrtValue**)>
    KernelContextGetOutput{};
inline constexpr Entry<274,
                       Status(KernelContext, void (*step)(void*, size_t), size_t count, size_t batches, void* data)>
    KernelContextParallelFor{};

}  // namespace elsa::ort
