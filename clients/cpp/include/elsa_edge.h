// Runs elsa-edge bundles on ONNX Runtime, with the controller that picks the sparsity level. docs/clients.md says the rules.
//
//     auto runtime = elsa_edge::Runtime::load("libonnxruntime.so");
//     auto session = elsa_edge::AdaptiveSession::open(runtime, elsa_edge::read_from("bundle"));
//     auto outputs = session->run({{"input", elsa_edge::Tensor::of<float>({1, 3, 224, 224}, pixels)}});
//
// C++17, POSIX; links nothing but libdl. All errors are elsa_edge::Error, with a sentence for people.
#pragma once
#include <chrono>
#include <cstdint>
#include <cstring>
#include <functional>
#include <limits>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

namespace elsa_edge {

inline constexpr double kInfinity = std::numeric_limits<double>::infinity();

struct Error : std::runtime_error {
  using std::runtime_error::runtime_error;
};
// The bundle is damaged, was changed, or is of a kind that this client does not know.
struct BundleError : Error {
  using Error::Error;
};
// The device profile asks for what cannot be held.
struct ProfileError : Error {
  using Error::Error;
};
// The caller gave something that cannot be: an input of another shape, a level that does not exist.
struct InputError : Error {
  using Error::Error;
};
// ONNX Runtime or the kernels cannot be loaded, or the runtime refused.
struct RuntimeError : Error {
  using Error::Error;
};

// What the controller must hold; twin of elsa_edge/control/policy.py, which says what each number means.
struct Policy {
  double budget_ms = kInfinity;
  double allowed_miss_rate = 0.05;
  int window_runs = 200;
  double reserve_bytes = 32e6;
  double hysteresis_bytes = 16e6;
  double pressure_limit_percent = 10;
  double temperature_limit_c = kInfinity;
  double minimum_accuracy = 0;
  double margin = 0;
  double up_margin = 0.05;
  int up_after_runs = 8;
  double dwell_ms = 500;
  int discard_runs = 2;
  double idle_gap_ms = 2000;
};

// What is known about one level on one device; nothing where nothing is known.
struct LevelFacts {
  std::string name;
  double work = 1;  // arithmetic relative to the dense network
  std::optional<double> p50_ms, p95_ms;
  double switch_ms = 0;
  std::optional<double> memory_bytes, accuracy;
};

// Everything the controller needs that does not change. Vectors per candidate go from the least to the most valuable.
struct Plan {
  Policy policy;
  std::vector<LevelFacts> levels;
  std::vector<int> candidates, positions;
  std::vector<double> reference_log_ms, residual_variance, lead;
  std::vector<char> measured;
  bool any_measured = false, all_measured = false;
  std::vector<double> memory_bytes;
  double ample_bytes = 0;
  std::vector<double> switch_share;
  double stay_log_ms = 0, up_log_ms = 0, shared_variance = 0, tail_log = 0;
  std::vector<std::string> notes;  // sentences for people
};

Plan make_plan(const std::vector<LevelFacts>& levels, const Policy& policy);

// What the caller saw at one moment, and nothing where it saw nothing. `now_ms`: a monotonic clock at the end of the run.
struct Observation {
  double now_ms = 0;
  std::optional<int> level;
  std::optional<double> latency_ms, available_bytes, pressure_percent, temperature_c;
};

// What to run next, and how sure that is. `reason` is one of docs/controller.md, a text that lives for ever.
struct Decision {
  int level = 0;
  const char* reason = "start";
  bool feasible = true;
  std::optional<double> predicted_ms;
  double slowdown = 1;
  double miss_rate = 0;
};

// One decision per run. Not for several threads at once.
class Controller {
 public:
  explicit Controller(Plan plan, double now_ms = 0, std::optional<double> available_bytes = std::nullopt);
  Controller(Controller&&) noexcept;
  ~Controller();
  const Decision& observe(const Observation& observation);
  const Decision& decision() const;
  const Plan& plan() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

// Reads one file of a bundle, by its path inside the bundle; throws BundleError where there is none.
using ReadFile = std::function<std::string(const std::string& path)>;
ReadFile read_from(const std::string& folder);

struct LevelEntry {
  std::string name;
  double sparsity = 0;
  std::optional<double> density, flops_fraction, accuracy;
};
struct TensorEntry {
  std::string name;
  std::vector<std::optional<int64_t>> shape;  // nothing where any size fits
  std::string dtype;
  // Of outputs: the network's own noise at each level, if known; the axis of its classes, 0 for none, -1 for the last.
  std::vector<double> noise;
  int class_axis = -1;
};
struct Variant {
  std::string name, runtime, kind;
  std::map<std::string, std::string> files;  // role to path
  std::vector<std::string> choices;          // of the kind `nested`, the preferred first
  double relative_tolerance = 1e-4;          // what `verify` allows, relative to the largest expected number
  std::optional<double> minimum_agreement;   // of variants that are not exact: share of places with the same class
};
struct FileEntry {
  uint64_t size_bytes = 0;
  std::string sha256;
};
struct Manifest {
  std::string name, device;
  std::vector<LevelEntry> ladder;
  std::vector<TensorEntry> inputs, outputs;
  std::vector<Variant> variants;
  std::map<std::string, FileEntry> files;
  std::string golden;  // path of the golden answers
};

// A bundle: its manifest, and its files, each compared with its size and SHA-256 before anything else sees it.
class Bundle {
 public:
  static Bundle open(ReadFile read);
  std::string file(const std::string& path) const;
  const Manifest& manifest() const { return manifest_; }

 private:
  Manifest manifest_;
  ReadFile read_;
};

struct MeasuredLevel {
  std::string name;
  std::optional<double> p50_ms, p95_ms, switch_ms, memory_bytes, accuracy;
};
// What a client reads of a device profile.
struct Profile {
  std::string name;
  std::vector<std::string> variants;
  Policy policy;
  int threads = 1;
  std::optional<std::string> choice, measured_variant;
  std::vector<MeasuredLevel> measured;
};
// Reads a profile in the form in which elsa-edge writes it (a part of YAML: see docs/clients.md), or as JSON.
Profile parse_profile(const std::string& text);
std::vector<LevelFacts> level_facts(const Manifest& manifest, const Profile& profile, const std::string& variant);

// A tensor, as bytes. `dtype` is numpy's name.
struct Tensor {
  std::string dtype;
  std::vector<int64_t> dims;
  std::string bytes;

  template <typename T>
  static Tensor of(std::vector<int64_t> dims, const std::vector<T>& values) {
    return {dtype_of(T{}), std::move(dims),
            std::string(reinterpret_cast<const char*>(values.data()), values.size() * sizeof(T))};
  }
  template <typename T>
  std::vector<T> values() const {
    if (dtype != dtype_of(T{})) throw InputError("The tensor is of type " + dtype + ", not " + dtype_of(T{}) + ".");
    std::vector<T> out(bytes.size() / sizeof(T));
    std::memcpy(out.data(), bytes.data(), out.size() * sizeof(T));
    return out;
  }

 private:
  static const char* dtype_of(float) { return "float32"; }
  static const char* dtype_of(double) { return "float64"; }
  static const char* dtype_of(int64_t) { return "int64"; }
  static const char* dtype_of(int32_t) { return "int32"; }
  static const char* dtype_of(int8_t) { return "int8"; }
  static const char* dtype_of(uint8_t) { return "uint8"; }
};
using Tensors = std::map<std::string, Tensor>;

// ONNX Runtime's shared library, 1.18 or newer, loaded once and kept.
class Runtime {
 public:
  static std::shared_ptr<Runtime> load(const std::string& path = "libonnxruntime.so");
  ~Runtime();
  struct Handles;
  const Handles& handles() const { return *handles_; }

 private:
  std::unique_ptr<Handles> handles_;
};

// Says in one sentence what is wrong with a native library, or nothing: absent, of another machine, or aligned to smaller
// pages than this device has.
std::optional<std::string> library_problem(const std::string& path, long page_bytes = 0);

// Whether this client runs a variant; those of the kind `nested` need the kernels.
bool runs_here(const Variant& variant, bool with_kernels);

struct OpenOptions {
  std::optional<Profile> profile;                          // by default the bundle's own device.yaml
  std::optional<std::string> variant;                      // by default the profile's first that can be run here
  std::string kernels;                                     // path of libelsa_nested.so; without it `nested` is not run
  std::function<std::optional<double>()> available_bytes;  // by default MemAvailable of /proc/meminfo
  std::function<std::optional<double>()> temperature_c;
  std::function<double()> now_ms;  // a monotonic clock
};

// One network that runs at several sparsity levels and holds a policy by choosing among them. Threads may share it: runs
// wait for each other.
class AdaptiveSession {
 public:
  static std::unique_ptr<AdaptiveSession> open(std::shared_ptr<Runtime> runtime, ReadFile read,
                                               OpenOptions options = {});
  ~AdaptiveSession();
  // Runs one inference, at the controller's level or at one that the caller chooses.
  Tensors run(const Tensors& inputs, std::optional<int> level = std::nullopt);
  // Compares every level with the golden answers in the bundle, as `elsa-edge verify` does; throws BundleError when one
  // answers otherwise. Hashes say that the files are those of the manifest, this says that they compute what was built,
  // here: worth a moment after an update.
  void verify();
  int level() const;
  Decision last_decision() const;
  const Bundle& bundle() const;
  const Variant& variant() const;
  const std::vector<std::string>& notes() const;

 private:
  struct State;
  explicit AdaptiveSession(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace elsa_edge
