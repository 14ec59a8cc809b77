// ONNX Runtime's table, loaded, and its errors as sentences.
#pragma once
#include <memory>

#include "elsa_edge.h"
#include "ort_client_abi.h"

namespace elsa_edge {

struct Runtime::Handles {
  const OrtApi* api = nullptr;
  OrtEnv* env = nullptr;
  OrtMemoryInfo* memory = nullptr;

  void check(OrtStatus* status) const {
    if (status == nullptr) return;
    const std::string sentence = elsa::ort::GetErrorMessage(api, status);
    elsa::ort::ReleaseStatus(api, status);
    throw RuntimeError("ONNX Runtime refuses: " + sentence.substr(0, 400));
  }
};

// Something of the runtime's that is released with it.
template <typename Thing, typename Release>
auto owned(const OrtApi* api, Thing* thing, Release release) {
  auto give_back = [api, release](Thing* given) { release(api, given); };
  return std::unique_ptr<Thing, decltype(give_back)>(thing, give_back);
}

}  // namespace elsa_edge
