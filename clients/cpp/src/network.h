// The runtime's sessions of a variant: one for all levels, or one at a time for the level in use.
#pragma once
#include <string>

#include "elsa_edge.h"
#include "runtime.h"

namespace elsa_edge {

class Network {
 public:
  Network(std::shared_ptr<Runtime> runtime, const Bundle& bundle, const Variant& variant, const Profile& profile,
          std::string kernels);
  ~Network();
  Network(const Network&) = delete;
  Network& operator=(const Network&) = delete;
  Tensors run(const Tensors& inputs, int level);

 private:
  void load(const std::string& role);
  void close();

  std::shared_ptr<Runtime> runtime_;
  const Bundle& bundle_;
  const Variant& variant_;
  const int threads_;
  const std::string kernels_;
  std::string model_role_, loaded_;
  OrtSession* session_ = nullptr;
};

}  // namespace elsa_edge
