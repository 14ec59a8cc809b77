// The part of ONNX Runtime's C interface that running a session needs, beside the kernels' ort_abi.h, which it shares.
#pragma once
#include "ort_abi.h"

struct OrtEnv;
struct OrtSession;
struct OrtRunOptions;
struct OrtMemoryInfo;

namespace elsa::ort {

// ONNX Runtime 1.18.
constexpr uint32_t kClientApiVersion = 18;

inline constexpr Entry<3, Status(int severity, const char* name, OrtEnv**)> CreateEnv{};
inline constexpr Entry<6, Status(const OrtEnv*)> DisableTelemetryEvents{};
inline constexpr Entry<7, Status(const OrtEnv*, const char* path, const OrtSessionOptions*, OrtSession**)>
    CreateSession{};
inline constexpr Entry<8, Status(const OrtEnv*, const void* bytes, size_t size, const OrtSessionOptions*, OrtSession**)>
    CreateSessionFromArray{};
inline constexpr Entry<9, Status(OrtSession*, const OrtRunOptions*, const char* const* inputs, const OrtValue* const*,
                                 size_t, const char* const* outputs, size_t, OrtValue**)>
    Run{};
inline constexpr Entry<10, Status(OrtSessionOptions**)> CreateSessionOptions{};
inline constexpr Entry<24, Status(OrtSessionOptions*, int threads)> SetIntraOpNumThreads{};
inline constexpr Entry<25, Status(OrtSessionOptions*, int threads)> SetInterOpNumThreads{};
inline constexpr Entry<49, Status(const OrtMemoryInfo*, void* data, size_t size, const int64_t* dims, size_t rank,
                                  int type, OrtValue**)>
    CreateTensorWithDataAsOrtValue{};
inline constexpr Entry<64, Status(Shape, size_t* count)> GetTensorShapeElementCount{};
inline constexpr Entry<69, Status(int allocator, int memory, OrtMemoryInfo**)> CreateCpuMemoryInfo{};
inline constexpr Entry<92, void(OrtEnv*)> ReleaseEnv{};
inline constexpr Entry<94, void(OrtMemoryInfo*)> ReleaseMemoryInfo{};
inline constexpr Entry<95, void(OrtSession*)> ReleaseSession{};
inline constexpr Entry<96, void(OrtValue*)> ReleaseValue{};
inline constexpr Entry<100, void(OrtSessionOptions*)> ReleaseSessionOptions{};
inline constexpr Entry<130, Status(OrtSessionOptions*, const char* key, const char* value)> AddSessionConfigEntry{};
inline constexpr Entry<228, Status(OrtSessionOptions*, const char* path)> RegisterCustomOpsLibrary_V2{};

}  // namespace elsa::ort
