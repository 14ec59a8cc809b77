// ONNX Runtime's table, loaded, and its errors as sentences.
#pragma once
#include <memory>

#include "elsa_edge.h"
#include "ort_client_abi.h"
#include "text.h"

namespace elsa_edge {

struct Runtime::Handles {
  const OrtApi* api = nullptr;
  OrtEnv* env = nullptr;
  OrtMemoryInfo* memory = nullptr;

  void check(OrtStatus* status) const {
    if (status == nullptr) return;
    const std::string sentence = elsa::ort::GetErrorMessage(api, status);
    elsa::ort::ReleaseStatus(api, status);
    fail<RuntimeError>({"ONNX Runtime refuses: ", sentence.substr(0, 400)});
  }
};

// Something of the runtime's that is released with it.
template <typename Thing>
class Owned {
 public:
  using Release = void (*)(const OrtApi*, Thing*);
  Owned() = default;
  Owned(const OrtApi* api, Thing* thing, Release release) : api_(api), thing_(thing), release_(release) {}
  Owned(Owned&& other) noexcept { *this = std::move(other); }
  Owned& operator=(Owned&& other) noexcept {
    std::swap(api_, other.api_);
    std::swap(thing_, other.thing_);
    std::swap(release_, other.release_);
    return *this;
  }
  ~Owned() {
    if (thing_ != nullptr) release_(api_, thing_);
  }
  Thing* get() const { return thing_; }

 private:
  const OrtApi* api_ = nullptr;
  Thing* thing_ = nullptr;
  Release release_ = nullptr;
};

template <typename Thing, typename Release>
Owned<Thing> owned(const OrtApi* api, Thing* thing, Release release) {
  static_assert(std::is_empty_v<Release>, "an entry of the table, which is all type");
  static_cast<void>(release);
  return {api, thing, [](const OrtApi* table, Thing* given) { Release{}(table, given); }};
}

}  // namespace elsa_edge
