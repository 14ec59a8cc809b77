// What an application embeds: a loaded variant, the controller, the clock.
#include <algorithm>
#include <chrono>
#include <fstream>

#include "elsa_edge.h"
#include "network.h"

namespace elsa_edge {
namespace {

double steady_ms() {
  return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

std::optional<double> free_memory_bytes() {
  std::ifstream meminfo("/proc/meminfo");
  for (std::string key, unit; meminfo >> key;) {
    double kilobytes = 0;
    if (key == "MemAvailable:" && meminfo >> kilobytes) return kilobytes * 1024;
    std::getline(meminfo, unit);
  }
  return std::nullopt;
}

std::string names_of(const std::vector<Variant>& variants) {
  std::string names;
  for (const Variant& variant : variants) names += (names.empty() ? "" : ", ") + variant.name;
  return names.empty() ? "none" : names;
}

Variant choose(const Manifest& manifest, const Profile& profile, const OpenOptions& options) {
  std::vector<Variant> runnable;
  for (const Variant& variant : manifest.variants) {
    const bool kernels = variant.kind == "nested" && !options.kernels.empty();
    const bool plain = variant.kind == "switch" || variant.kind == "levels" || variant.kind == "selector";
    if (variant.runtime == "onnxruntime" && (plain || kernels)) runnable.push_back(variant);
  }
  const auto find = [](const std::vector<Variant>& variants, const std::string& name) {
    return std::find_if(variants.begin(), variants.end(), [&](const Variant& variant) { return variant.name == name; });
  };
  const std::string remedy =
      "Build with --variant ort-switch, or give the path of libelsa_nested.so for nested variants.";
  if (options.variant) {
    const auto found = find(runnable, *options.variant);
    if (found != runnable.end()) return *found;
    if (find(manifest.variants, *options.variant) == manifest.variants.end()) {
      throw BundleError("The bundle has no variant " + *options.variant + ": it has " + names_of(manifest.variants) +
                        ".");
    }
    throw BundleError(*options.variant + " cannot be run by this client: " + names_of(runnable) + " can. " + remedy);
  }
  for (const std::string& name : profile.variants) {
    const auto found = find(runnable, name);
    if (found != runnable.end()) return *found;
  }
  if (runnable.empty())
    throw BundleError("The bundle has no variant for this client (it has " + names_of(manifest.variants) + "). " +
                      remedy);
  return runnable.front();
}

}  // namespace

struct AdaptiveSession::State {
  mutable std::mutex turn;
  Bundle bundle;
  OpenOptions options;
  Profile profile;
  Variant variant;
  Network network;
  Controller controller;

  static OpenOptions completed(OpenOptions options) {
    if (!options.now_ms) options.now_ms = steady_ms;
    if (!options.available_bytes) options.available_bytes = free_memory_bytes;
    if (!options.temperature_c) options.temperature_c = [] { return std::optional<double>(); };
    if (!options.kernels.empty()) {
      if (const auto problem = library_problem(options.kernels)) throw RuntimeError(*problem);
    }
    return options;
  }

  State(std::shared_ptr<Runtime> runtime, Bundle given, OpenOptions wanted)
      : bundle(std::move(given)),
        options(completed(std::move(wanted))),
        profile(options.profile ? *options.profile : parse_profile(bundle.file("device.yaml"))),
        variant(choose(bundle.manifest(), profile, options)),
        network(std::move(runtime), bundle, variant, profile, options.kernels),
        controller(make_plan(level_facts(bundle.manifest(), profile, variant.name), profile.policy), options.now_ms(),
                   options.available_bytes()) {}

  void check(const Tensors& inputs, int level) const {
    const Manifest& manifest = bundle.manifest();
    const int last = static_cast<int>(manifest.ladder.size()) - 1;
    if (level < 0 || level > last) {
      throw InputError("There is no level " + std::to_string(level) + ": expected 0 to " + std::to_string(last) + ".");
    }
    for (const TensorEntry& entry : manifest.inputs) {
      const auto given = inputs.find(entry.name);
      if (given == inputs.end()) throw InputError("The input " + entry.name + " is missing.");
      const Tensor& tensor = given->second;
      bool fits = tensor.dims.size() == entry.shape.size();
      std::string expected, found;
      for (size_t i = 0; i < entry.shape.size(); ++i) {
        fits = fits && (!entry.shape[i] || *entry.shape[i] == tensor.dims[i]);
        expected += (i > 0 ? "x" : "") + (entry.shape[i] ? std::to_string(*entry.shape[i]) : std::string("any"));
      }
      for (size_t i = 0; i < tensor.dims.size(); ++i) found += (i > 0 ? "x" : "") + std::to_string(tensor.dims[i]);
      if (!fits)
        throw InputError("The input " + entry.name + " has the shape " + found + "; expected " + expected + ".");
      if (tensor.dtype != entry.dtype)
        throw InputError("The input " + entry.name + " is of type " + tensor.dtype + "; expected " + entry.dtype + ".");
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

int AdaptiveSession::level() const { return last_decision().level; }
Decision AdaptiveSession::last_decision() const {
  const std::lock_guard<std::mutex> alone(state_->turn);
  return state_->controller.decision();
}
const Bundle& AdaptiveSession::bundle() const { return state_->bundle; }
const Variant& AdaptiveSession::variant() const { return state_->variant; }
const std::vector<std::string>& AdaptiveSession::notes() const { return state_->controller.plan().notes; }

}  // namespace elsa_edge
