// What an application embeds: a loaded variant, the controller, the clock.
#include <algorithm>
#include <chrono>
#include <cstdio>

#include "comparison.h"
#include "elsa_edge.h"
#include "golden.h"
#include "network.h"

namespace elsa_edge {
namespace {

double steady_ms() {
  return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

std::optional<double> free_memory_bytes() {
  std::FILE* meminfo = std::fopen("/proc/meminfo", "re");
  if (meminfo == nullptr) return std::nullopt;
  double kilobytes = -1;
  for (char line[128]; kilobytes < 0 && std::fgets(line, sizeof line, meminfo) != nullptr;) {
    std::sscanf(line, "MemAvailable: %lf kB", &kilobytes);
  }
  std::fclose(meminfo);
  return kilobytes < 0 ? std::nullopt : std::optional<double>(kilobytes * 1024);
}

using Variants = std::vector<const Variant*>;

std::string names_of(const Variants& variants) {
  std::string names;
  for (const Variant* variant : variants) names += joined({names.empty() ? "" : ", ", variant->name});
  return names.empty() ? "none" : names;
}

const Variant* find(const Variants& variants, const std::string& name) {
  for (const Variant* variant : variants) {
    if (variant->name == name) return variant;
  }
  return nullptr;
}

const Variant& choose(const Manifest& manifest, const Profile& profile, const OpenOptions& options) {
  Variants all, runnable;
  for (const Variant& variant : manifest.variants) {
    all.push_back(&variant);
    if (runs_here(variant, !options.kernels.empty())) runnable.push_back(&variant);
  }
  static constexpr const char* kRemedy =
      "Build with --variant ort-switch, or give the path of libelsa_nested.so for nested variants.";
  if (options.variant) {
    if (const Variant* found = find(runnable, *options.variant)) return *found;
    if (find(all, *options.variant) == nullptr) {
      fail<BundleError>({"The bundle has no variant ", *options.variant, ": it has ", names_of(all), "."});
    }
    fail<BundleError>({*options.variant, " cannot be run by this client: ", names_of(runnable), " can. ", kRemedy});
  }
  for (const std::string& name : profile.variants) {
    if (const Variant* found = find(runnable, name)) return *found;
  }
  if (runnable.empty()) {
    fail<BundleError>({"The bundle has no variant for this client (it has ", names_of(all), "). ", kRemedy});
  }
  return *runnable.front();
}

}  // namespace

bool runs_here(const Variant& variant, bool with_kernels) {
  const bool plain = variant.kind == "switch" || variant.kind == "levels" || variant.kind == "selector";
  return variant.runtime == "onnxruntime" && (plain || (variant.kind == "nested" && with_kernels));
}

struct AdaptiveSession::State {
  mutable std::mutex turn;
  Bundle bundle;
  OpenOptions options;
  Profile profile;
  const Variant& variant;
  Network network;
  Controller controller;

  static void complete(OpenOptions& options) {
    if (!options.now_ms) options.now_ms = steady_ms;
    if (!options.available_bytes) options.available_bytes = free_memory_bytes;
    if (!options.temperature_c) options.temperature_c = [] { return std::optional<double>(); };
    if (options.kernels.empty()) return;
    if (const auto problem = library_problem(options.kernels)) throw RuntimeError(*problem);
  }

  State(std::shared_ptr<Runtime> runtime, Bundle&& given, OpenOptions&& completed)
      : bundle(std::move(given)),
        options(std::move(completed)),
        profile(options.profile ? *std::move(options.profile) : parse_profile(bundle.file("device.yaml"))),
        variant(choose(bundle.manifest(), profile, options)),
        network(std::move(runtime), bundle, variant, profile, options.kernels),
        controller(make_plan(level_facts(bundle.manifest(), profile, variant.name), profile.policy), options.now_ms(),
                   options.available_bytes()) {}

  void check(const Tensors& inputs, int level) const {
    const Manifest& manifest = bundle.manifest();
    const int last = static_cast<int>(manifest.ladder.size()) - 1;
    if (level < 0 || level > last) {
      fail<InputError>({"There is no level ", std::to_string(level), ": expected 0 to ", std::to_string(last), "."});
    }
    for (const auto& [name, tensor] : inputs) {
      bool known = false;
      for (const TensorEntry& entry : manifest.inputs) known |= entry.name == name;
      if (!known) fail<InputError>({"The network has no input ", name, "."});
    }
    for (const TensorEntry& entry : manifest.inputs) {
      const auto given = inputs.find(entry.name);
      if (given == inputs.end()) fail<InputError>({"The input ", entry.name, " is missing."});
      const Tensor& tensor = given->second;
      bool fits = tensor.dims.size() == entry.shape.size();
      std::string expected, found;
      for (size_t i = 0; i < entry.shape.size(); ++i) {
        fits = fits && (!entry.shape[i] || *entry.shape[i] == tensor.dims[i]);
        expected += joined({i > 0 ? "x" : "", entry.shape[i] ? std::to_string(*entry.shape[i]) : "any"});
      }
      for (size_t i = 0; i < tensor.dims.size(); ++i)
        found += joined({i > 0 ? "x" : "", std::to_string(tensor.dims[i])});
      if (!fits) fail<InputError>({"The input ", entry.name, " has the shape ", found, "; expected ", expected, "."});
      if (tensor.dtype != entry.dtype)
        fail<InputError>({"The input ", entry.name, " is of type ", tensor.dtype, "; expected ", entry.dtype, "."});
    }
  }
};

AdaptiveSession::AdaptiveSession(std::unique_ptr<State> state) : state_(std::move(state)) {}
AdaptiveSession::~AdaptiveSession() = default;

std::unique_ptr<AdaptiveSession> AdaptiveSession::open(std::shared_ptr<Runtime> runtime, ReadFile read,
                                                       OpenOptions options) {
  Bundle bundle = Bundle::open(std::move(read));
  // Also what will not be read today: a bundle with one changed file is not the one that was built.
  for (const auto& file : bundle.manifest().files) bundle.file(file.first);
  State::complete(options);
  auto state = std::make_unique<State>(std::move(runtime), std::move(bundle), std::move(options));
  return std::unique_ptr<AdaptiveSession>(new AdaptiveSession(std::move(state)));
}

Tensors AdaptiveSession::run(const Tensors& inputs, std::optional<int> asked) {
  const std::lock_guard<std::mutex> alone(state_->turn);
  const int level = asked ? *asked : state_->controller.decision().level;
  state_->check(inputs, level);
  const double began_ms = state_->options.now_ms();
  Tensors outputs = state_->network.run(inputs, level);
  Observation seen;
  seen.now_ms = state_->options.now_ms();
  seen.level = level;
  seen.latency_ms = std::max(0.0, seen.now_ms - began_ms);
  seen.available_bytes = state_->options.available_bytes();
  seen.temperature_c = state_->options.temperature_c();
  state_->controller.observe(seen);
  return outputs;
}

void AdaptiveSession::verify() {
  const std::lock_guard<std::mutex> alone(state_->turn);
  const Manifest& manifest = state_->bundle.manifest();
  const std::vector<Batch> batches = read_golden(state_->bundle.file(manifest.golden), manifest.ladder.size());
  for (size_t level = 0; level < manifest.ladder.size(); ++level) {
    Comparison comparison(manifest, state_->variant, level);
    for (const Batch& batch : batches) {
      state_->check(batch.inputs, static_cast<int>(level));
      comparison.compare(state_->network.run(batch.inputs, static_cast<int>(level)), batch.outputs[level]);
    }
    comparison.end();
  }
}

int AdaptiveSession::level() const { return last_decision().level; }
Decision AdaptiveSession::last_decision() const {
  const std::lock_guard<std::mutex> alone(state_->turn);
  return state_->controller.decision();
}
const Bundle& AdaptiveSession::bundle() const { return state_->bundle; }
const Variant& AdaptiveSession::variant() const { return state_->variant; }
const std::vector<std::string>& AdaptiveSession::notes() const { return state_->controller.plan().notes; }

}  // namespace elsa_edge
