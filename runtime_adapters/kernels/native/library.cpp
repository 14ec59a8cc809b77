// The library's only door: RegisterCustomOps, and the choice of instruction set.
#include <string>

#include "cells.h"
#include "conv.h"
#include "conv_depthwise.h"
#include "depthwise.h"
#include "error.h"
#include "half.h"
#include "half_pool.h"
#include "int8_between.h"
#include "int8_conv.h"
#include "int8_depthwise.h"
#include "int8_matmul.h"
#include "int8_planes.h"
#include "isa.h"
#include "kernels.h"
#include "matmul.h"
#include "operator.h"
#include "planes.h"
#include "state_products.h"

namespace elsa {

const KernelTable& kernels() {
  static const KernelTable& chosen = []() -> const KernelTable& {
#if defined(__x86_64__)
    if (instruction_set() >= Isa::kAvx512) return kernels_avx512;
    if (instruction_set() >= Isa::kAvx2) return kernels_avx2;
#endif
    return kernels_base;
  }();
  return chosen;
}

namespace {

constexpr const char* kDomain = "elsa.nested";

OrtStatus* register_all(OrtSessionOptions* options, const OrtApi* api) {
  // Operators outlive every session: ONNX Runtime keeps pointers to them.
  static ort::Operator<NestedConv<float>> conv;
  static ort::Operator<NestedConv<Half>> conv16;
  static ort::Operator<NestedDepthwise<float>> depthwise;
  static ort::Operator<NestedDepthwise<Half>> depthwise16;
  static ort::Operator<NestedConvDepthwise<float>> conv_depthwise;
  static ort::Operator<NestedConvDepthwise<Half>> conv_depthwise16;
  static ort::Operator<NestedMatMul<float>> matmul;
  static ort::Operator<NestedMatMul<Half>> matmul16;
  static ort::Operator<Lstm<FloatStateProduct>> lstm;
  static ort::Operator<Gru<FloatStateProduct>> gru;
  static ort::Operator<PlanesFromImage<float>> pack;
  static ort::Operator<PlanesFromImage<Half>> pack16;
  static ort::Operator<ImageFromPlanes<float>> unpack;
  static ort::Operator<ImageFromPlanes<Half>> unpack16;
  static ort::Operator<Float16MaxPool> max_pool16;
  static ort::Operator<Int8Conv> conv8;
  static ort::Operator<Int8Depthwise> depthwise8;
  static ort::Operator<Int8FromImage> pack8;
  static ort::Operator<ImageFromInt8> unpack8;
  static ort::Operator<Int8Mean> mean8;
  static ort::Operator<Int8MaxPool> max_pool8;
  static ort::Operator<Int8Gate> gate8;
  static ort::Operator<Int8Upsample> upsample8;
  static ort::Operator<Int8Rows> rows8;
  static ort::Operator<Int8MatMul> matmul8;
  static ort::Operator<Int8MatMulFloat> matmul8_float;
  static ort::Operator<Lstm<Int8StateProduct>> lstm8;
  static ort::Operator<Gru<Int8StateProduct>> gru8;
  static const OrtCustomOp* const all[] = {
      &conv,     &depthwise,  &conv_depthwise, &matmul,           &lstm,          &gru,
      &pack,     &unpack,     &conv8,          &depthwise8,       &pack8,         &unpack8,
      &mean8,    &max_pool8,  &rows8,          &matmul8,          &matmul8_float, &lstm8,
      &gru8,     &conv16,     &depthwise16,    &conv_depthwise16, &matmul16,      &pack16,
      &unpack16, &max_pool16, &gate8,          &upsample8};
  static OrtCustomOpDomain* domain = nullptr;
  static const std::string problem = [api]() -> std::string {
    try {
      ort::check(api, ort::CreateCustomOpDomain(api, kDomain, &domain));
      for (const OrtCustomOp* op : all) ort::check(api, ort::CustomOpDomainAdd(api, domain, op));
      return "";
    } catch (const std::exception& error) {
      return error.what();
    }
  }();
  if (!problem.empty()) return ort::CreateStatus(api, kOrtFail, problem.c_str());
  return ort::AddCustomOpDomain(api, options, domain);
}

}  // namespace
}  // namespace elsa

#define ELSA_EXPORTED extern "C" __attribute__((visibility("default")))

ELSA_EXPORTED OrtStatus* RegisterCustomOps(OrtSessionOptions* options, const OrtApiBase* base) {
  const OrtApi* api = base->GetApi(kOrtApiVersion);
  if (api != nullptr) return elsa::register_all(options, api);
  // Older than 1.17: only its first entries can be trusted.
  return elsa::ort::CreateStatus(base->GetApi(1), kOrtFail, "elsa-edge kernels need ONNX Runtime 1.17 or newer");
}

// Which instruction set the kernels use here: "avx512", "avx2", "base".
ELSA_EXPORTED const char* elsa_kernels_isa() { return elsa::kernels().name; }

// The same of the 8-bit loops: "avx512vnni", "avx512", "avxvnni", "avx2", "dotprod", "base".
ELSA_EXPORTED const char* elsa_kernels8_isa() { return elsa::kernels8().name; }
ELSA_EXPORTED const char* elsa_kernels16_isa() {
  try {
    return elsa::halves().name;
  } catch (const elsa::Error&) {
    return "none";
  }
}

// Multiply-adds in registers: rounds * 12 * (floats of a vector, returned through `lanes`). For benchmarks.
ELSA_EXPORTED float elsa_burst(int64_t rounds, int32_t* lanes) {
  *lanes = elsa::kernels().vector_units;
  return elsa::kernels().burst(rounds);
}

// Checks the bytes of a segment as a session would. Returns null, or why they are refused (valid until the next call
// of the same thread). For tests and the fuzzer.
ELSA_EXPORTED const char* elsa_segment_problem(const void* data, size_t size) {
  static thread_local std::string problem;
  try {
    elsa::Segment(data, size).validate();
    return nullptr;
  } catch (const std::exception& error) {
    problem = error.what();
    return problem.c_str();
  }
}
