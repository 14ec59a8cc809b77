// classify BUNDLE LIBONNXRUNTIME [LIBELSA_NESTED]: runs a bundle on zeros, and says what the controller does.
#include <cstdio>

#include "elsa_edge.h"

int main(int count, char** arguments) try {
  if (count < 3) return std::fprintf(stderr, "classify BUNDLE LIBONNXRUNTIME [LIBELSA_NESTED]\n"), 2;
  elsa_edge::OpenOptions options;
  if (count > 3) options.kernels = arguments[3];
  const auto runtime = elsa_edge::Runtime::load(arguments[2]);
  const auto session = elsa_edge::AdaptiveSession::open(runtime, elsa_edge::read_from(arguments[1]), options);
  // After an update: every level against the golden answers in the bundle. Takes as long as a few inferences.
  session->verify();
  for (const std::string& note : session->notes()) std::printf("%s\n", note.c_str());

  elsa_edge::Tensors inputs;
  for (const auto& entry : session->bundle().manifest().inputs) {
    std::vector<int64_t> dims;
    size_t size = 1;
    for (const auto& dim : entry.shape) {
      dims.push_back(dim.value_or(1));
      size *= static_cast<size_t>(dims.back());
    }
    // Your pixels, samples or tokens come here.
    inputs[entry.name] = entry.dtype == "int64" ? elsa_edge::Tensor::of<int64_t>(dims, std::vector<int64_t>(size))
                                                : elsa_edge::Tensor::of<float>(dims, std::vector<float>(size));
  }
  for (int run = 0; run < 20; ++run) {
    const int level = session->level();
    session->run(inputs);
    const auto decision = session->last_decision();
    std::printf("ran %s, next %s (%s)\n", session->bundle().manifest().ladder[static_cast<size_t>(level)].name.c_str(),
                session->bundle().manifest().ladder[static_cast<size_t>(decision.level)].name.c_str(), decision.reason);
  }
} catch (const elsa_edge::Error& error) {
  std::fprintf(stderr, "%s\n", error.what());
  return 1;
}
