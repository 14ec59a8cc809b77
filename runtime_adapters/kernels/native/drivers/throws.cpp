// What a body of ParallelFor throws must not cross the runtime's C: it becomes a status of the call, the next call works.
// Exits with 0 where that holds; prints what did not. tests/runtime_adapters/kernels compiles and runs it.
#include <cstdio>
#include <new>

#include "../operator.h"
#include "runtime.h"

namespace {

constexpr int64_t kTasks = 64;

enum class Throw { kNothing, kError, kBadAlloc, kNumber };
Throw what = Throw::kNothing;
std::atomic<int64_t> done{0};

// Throws in one task of many, which other threads also run.
struct Fragile {
  static constexpr const char* kName = "Fragile";
  static constexpr elsa::ort::InputKind kInputs[] = {{kOrtFloat, kOrtRequired}};

  explicit Fragile(const elsa::ort::Info&) {}
  void compute(const elsa::ort::Context& context) const {
    context.parallel(kTasks, [](int64_t task) {
      if (task == kTasks / 2) {
        if (what == Throw::kError) elsa::fail("no such column");
        if (what == Throw::kBadAlloc) throw std::bad_alloc();
        if (what == Throw::kNumber) throw 7;
      }
      ++done;
    });
  }
};

// The text of the status that a call returns; empty for success.
std::string outcome(Throw thrown) {
  static const elsa::ort::Operator<Fragile> op;
  OrtKernelInfo info;
  void* kernel = nullptr;
  elsa::ort::check(stand_in::api(), op.CreateKernelV2(&op, stand_in::api(), &info, &kernel));
  OrtKernelContext context;
  what = thrown;
  done = 0;
  OrtStatus* status = op.KernelComputeV2(kernel, &context);
  op.KernelDestroy(kernel);
  if (status == nullptr) return "";
  const std::string text = status->text;
  elsa::ort::ReleaseStatus(stand_in::api(), status);
  return text;
}

bool expect(const char* expected, const std::string& found) {
  if (found == expected) return true;
  std::printf("expected \"%s\", found \"%s\"\n", expected, found.c_str());
  return false;
}

}  // namespace

int main() {
  bool good = expect("Fragile: no such column", outcome(Throw::kError));
  good = expect("Fragile: std::bad_alloc", outcome(Throw::kBadAlloc)) && good;
  good = expect("Fragile", outcome(Throw::kNumber)) && good;
  good = expect("", outcome(Throw::kNothing)) && good;
  if (done != kTasks)
    std::printf("expected %lld tasks, found %lld\n", static_cast<long long>(kTasks), static_cast<long long>(done));
  return good && done == kTasks ? 0 : 1;
}
