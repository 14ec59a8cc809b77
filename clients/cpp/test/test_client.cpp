// What the C++ client is held to: test_client FIXTURES LIBONNXRUNTIME LIBELSA_NESTED SMALL_PAGES [golden].
// benchmarks.clients.fixtures writes FIXTURES; SMALL_PAGES is a library for pages of 4 KB.
#include <dirent.h>
#include <dlfcn.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <ctime>
#include <fstream>
#include <set>

#include "elsa_edge.h"
#include "json.h"

using namespace elsa_edge;

namespace {

int failures = 0;

void expect(bool holds, const std::string& what) {
  if (holds) return;
  std::printf("FAILED: %s\n", what.c_str());
  ++failures;
}

// What was wrong, and the sentence for it, as a line to keep.
void keep(const std::string& what, std::string said) {
  for (size_t at = 0; (at = said.find('"', at)) != std::string::npos; at += 2) said.insert(at, 1, '\\');
  std::printf("{\"bad_input\": \"%s\", \"said\": \"%s\"}\n", what.c_str(), said.c_str());
}

void expect_says(const std::string& what, const std::string& words, const std::optional<std::string>& said) {
  expect(said && said->find(words) != std::string::npos, what + ": " + said.value_or("nothing is said"));
  keep(what, said.value_or(""));
}

// The call must throw this error, with these words.
template <typename Wrong, typename Call>
void expect_refused(const std::string& what, const std::string& words, Call call) {
  try {
    call();
    expect(false, what + " is accepted");
  } catch (const Wrong& error) {
    expect(std::string(error.what()).find(words) != std::string::npos, what + ": " + error.what());
  } catch (const std::exception& error) {
    expect(false, what + " throws another error: " + error.what());
  }
}

std::string slurp(const std::string& path) {
  std::ifstream stream(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(stream), {}};
}

std::optional<double> maybe(const Json& value) {
  return value.is(Json::Kind::kNull) ? std::nullopt : std::optional<double>(value.number);
}

bool close(std::optional<double> found, std::optional<double> expected) {
  if (!found || !expected) return found.has_value() == expected.has_value();
  return std::abs(*found - *expected) <= 1e-9 * std::max(1.0, std::abs(*expected));
}

// JSON has no infinity; a limit that is null is one.
Policy policy_of(const Json& record) {
  const auto number = [&](const char* key) { return maybe(record.at(key)).value_or(kInfinity); };
  Policy policy;
  policy.budget_ms = number("budget_ms");
  policy.allowed_miss_rate = number("allowed_miss_rate");
  policy.window_runs = static_cast<int>(number("window_runs"));
  policy.reserve_bytes = number("reserve_bytes");
  policy.hysteresis_bytes = number("hysteresis_bytes");
  policy.pressure_limit_percent = number("pressure_limit_percent");
  policy.temperature_limit_c = number("temperature_limit_c");
  policy.minimum_accuracy = number("minimum_accuracy");
  policy.margin = number("margin");
  policy.up_margin = number("up_margin");
  policy.up_after_runs = static_cast<int>(number("up_after_runs"));
  policy.dwell_ms = number("dwell_ms");
  policy.discard_runs = static_cast<int>(number("discard_runs"));
  policy.idle_gap_ms = number("idle_gap_ms");
  return policy;
}

std::vector<LevelFacts> levels_of(const Json& records) {
  std::vector<LevelFacts> levels;
  for (const Json& record : records.list) {
    levels.push_back({record.at("name").text, record.at("work").number, maybe(record.at("p50_ms")),
                      maybe(record.at("p95_ms")), record.at("switch_ms").number, maybe(record.at("memory_bytes")),
                      maybe(record.at("accuracy"))});
  }
  return levels;
}

Observation observation_of(const Json& row) {
  Observation seen;
  seen.now_ms = maybe(row.list[0]).value_or(std::nan(""));
  if (const auto level = maybe(row.list[1])) seen.level = static_cast<int>(*level);
  seen.latency_ms = maybe(row.list[2]);
  seen.available_bytes = maybe(row.list[3]);
  seen.pressure_percent = maybe(row.list[4]);
  seen.temperature_c = maybe(row.list[5]);
  return seen;
}

// Mean processor time of a decision; the clock of the wall would count who else computes.
double decision_us(const Json& all) {
  double seconds = 0;
  size_t steps = 0;
  for (const Json& trace : all.list) {
    if (trace.at("start").is(Json::Kind::kNull)) continue;
    std::vector<Observation> seen;
    for (const Json& row : trace.at("rows").list) {
      if (!row.list[1].is(Json::Kind::kNull)) seen.push_back(observation_of(row.list[0]));
    }
    Controller controller(make_plan(levels_of(trace.at("levels")), policy_of(trace.at("policy"))), 0,
                          maybe(trace.at("available_bytes")));
    const std::clock_t began = std::clock();
    for (const Observation& observation : seen) controller.observe(observation);
    seconds += static_cast<double>(std::clock() - began) / CLOCKS_PER_SEC;
    steps += seen.size();
  }
  return 1e6 * seconds / static_cast<double>(steps);
}

void traces(const std::string& folder) {
  const Json all = Json::parse(slurp(folder + "/traces.json"));
  std::set<std::string> reasons;
  size_t steps = 0, other = 0;
  for (const Json& trace : all.list) {
    if (trace.at("start").is(Json::Kind::kNull)) {
      expect_refused<ProfileError>("a plan that cannot be made", "",
                                   [&] { make_plan(levels_of(trace.at("levels")), policy_of(trace.at("policy"))); });
      continue;
    }
    Controller controller(make_plan(levels_of(trace.at("levels")), policy_of(trace.at("policy"))), 0,
                          maybe(trace.at("available_bytes")));
    const auto same = [&](const Decision& found, const Json& expected) {
      return found.level == static_cast<int>(expected.list[0].number) && found.reason == expected.list[1].text &&
             found.feasible == expected.list[2].boolean;
    };
    other += !same(controller.decision(), trace.at("start"));
    reasons.insert(controller.decision().reason);
    for (const Json& row : trace.at("rows").list) {
      const Observation seen = observation_of(row.list[0]);
      const Json& expected = row.list[1];
      if (expected.is(Json::Kind::kNull)) {
        expect_refused<InputError>("an observation that cannot be", "", [&] { controller.observe(seen); });
        continue;
      }
      const Decision& found = controller.observe(seen);
      other += !(same(found, expected) && close(found.predicted_ms, maybe(expected.list[3])) &&
                 close(found.miss_rate, expected.list[4].number));
      reasons.insert(found.reason);
      ++steps;
    }
  }
  expect(steps >= 10'000, "at least 10,000 steps");
  expect(other == 0, std::to_string(other) + " decisions are not Python's");
  std::printf("{\"steps\": %zu, \"different\": %zu, \"reasons\": %zu, \"decision_us\": %.3f}\n", steps, other,
              reasons.size(), decision_us(all));
}

struct Golden {
  Tensors inputs;
  Json outputs;
};

Golden golden_of(const std::string& folder) {
  const Json record = Json::parse(slurp(folder + "/golden.json"));
  Golden golden;
  for (const auto& [name, tensor] : record.at("inputs").object) {
    std::vector<int64_t> dims;
    std::vector<float> values;
    for (const Json& size : tensor.at("dims").list) dims.push_back(static_cast<int64_t>(size.number));
    for (const Json& value : tensor.at("data").list) values.push_back(static_cast<float>(value.number));
    golden.inputs[name] = Tensor::of<float>(dims, values);
  }
  golden.outputs = record.at("outputs");
  return golden;
}

// The largest difference from the golden outputs at all levels, relative to each output's largest value.
double difference(AdaptiveSession& session, const Golden& golden) {
  double worst = 0;
  for (size_t level = 0; level < golden.outputs.list.size(); ++level) {
    const Tensors found = session.run(golden.inputs, static_cast<int>(level));
    for (const auto& [name, expected] : golden.outputs.list[level].object) {
      const auto answer = found.find(name);
      if (answer == found.end()) return kInfinity;
      const std::vector<float> values = answer->second.values<float>();
      if (values.size() != expected.list.size()) return kInfinity;
      double largest = 1e-30, apart = 0;
      for (size_t i = 0; i < values.size(); ++i) {
        largest = std::max(largest, std::abs(expected.list[i].number));
        // A NaN is as far as can be.
        apart = std::isnan(values[i]) ? kInfinity : std::max(apart, std::abs(expected.list[i].number - values[i]));
      }
      worst = std::max(worst, apart / largest);
    }
  }
  return worst;
}

void golden_outputs(const std::shared_ptr<Runtime>& runtime, const std::string& folder, const std::string& kernels,
                    const Golden& golden) {
  for (const char* variant : {"ort-switch", "ort-levels", "onnx-selector", "ort-nested", "ort-nested-int8"}) {
    OpenOptions options;
    options.variant = variant;
    options.kernels = kernels;
    const auto session = AdaptiveSession::open(runtime, read_from(folder + "/bundle"), options);
    session->verify();
    // 8 bits are held to a tolerance of their own by verify.
    if (options.variant == "ort-nested-int8") continue;
    const double worst = difference(*session, golden);
    expect(worst <= 1e-4, std::string(variant) + " is outside the contract");
    std::printf("{\"variant\": \"%s\", \"levels\": %zu, \"largest_relative_difference\": %.3g}\n", variant,
                golden.outputs.list.size(), worst);
  }
}

void controlled(const std::shared_ptr<Runtime>& runtime, const std::string& folder, const Golden& golden) {
  double now = 0;
  OpenOptions options;
  options.variant = "ort-switch";
  // Each look at the clock takes 15 ms, so that a run takes 15 as well.
  options.now_ms = [&now] { return now += 15; };
  options.available_bytes = [] { return std::optional<double>(); };
  options.profile = parse_profile(
      "name: slow\nqos:\n  latency_budget_ms: 10\n  switching:\n    dwell_ms: 0\nmeasured:\n  levels:\n"
      "    - {name: s80, p50_ms: 2, p95_ms: 2.2}\n    - {name: s50, p50_ms: 5, p95_ms: 5.5}\n    - {name: dense, "
      "p50_ms: "
      "8, p95_ms: 8.8}\n");
  const auto session = AdaptiveSession::open(runtime, read_from(folder + "/bundle"), options);
  expect(session->level() == 2, "begins at the densest level");
  for (int i = 0; i < 40; ++i) session->run(golden.inputs);
  expect(session->level() < 2 && !session->last_decision().feasible,
         "goes down when runs exceed the budget, and says that nothing fits");
  expect_refused<InputError>("no input", "is missing", [&] { session->run({}); });
  Tensors more = golden.inputs;
  more["foo"] = more.begin()->second;
  expect_refused<InputError>("an input too many", "no input foo", [&] { session->run(more); });
  expect_refused<InputError>("another shape", "has the shape 1x3",
                             [&] { session->run({{"input", Tensor::of<float>({1, 3}, {1, 2, 3})}}); });
  expect_refused<InputError>("another level", "no level 3", [&] { session->run(golden.inputs, 3); });
  expect(session->run(golden.inputs).count("output") == 1, "goes on after what was refused");
}

// Every hostile bundle is refused in words of ours, or answers as the one that was built; a file that does not fit its hash
// is always refused. A hash that was made to fit is no proof, so the golden answers are asked as well.
void hostile(const std::shared_ptr<Runtime>& runtime, const std::string& folder, const Golden& golden) {
  struct Count {
    int refused = 0, equal = 0, wrong = 0;
  };
  std::map<std::string, Count> counts;
  DIR* listed = opendir((folder + "/hostile").c_str());
  if (listed == nullptr) return expect(false, "there are hostile bundles");
  for (const dirent* entry = readdir(listed); entry != nullptr; entry = readdir(listed)) {
    const std::string name = entry->d_name, kind = name.substr(0, name.find('-'));
    if (name[0] == '.') continue;
    const ReadFile theirs = read_from(folder + "/hostile/" + name), ours = read_from(folder + "/bundle");
    const ReadFile read = [&](const std::string& path) {
      struct stat status{};
      return stat((folder + "/hostile/" + name + "/" + path).c_str(), &status) == 0 ? theirs(path) : ours(path);
    };
    Count& count = counts[kind];
    try {
      OpenOptions options;
      options.variant = "ort-switch";
      const auto session = AdaptiveSession::open(runtime, read, options);
      session->verify();
      ++(difference(*session, golden) <= 1e-4 ? count.equal : count.wrong);
    } catch (const Error&) {
      ++count.refused;
    } catch (const std::exception& error) {
      expect(false, name + " throws what is not ours: " + error.what());
    }
  }
  closedir(listed);
  expect(counts["unhashed"].refused == 500, "a changed file without its hash is run");
  for (const char* kind : {"data", "manifest"})
    expect(counts[kind].wrong == 0, std::string(kind) + " leads to other answers");
  for (const auto& [kind, count] : counts) {
    std::printf("{\"hostile\": \"%s\", \"refused\": %d, \"answers_equal\": %d, \"answers_wrong\": %d}\n", kind.c_str(),
                count.refused, count.equal, count.wrong);
  }
}

void bad_input(const std::shared_ptr<Runtime>& runtime, const std::string& folder, const std::string& library,
               const std::string& small_pages) {
  expect_refused<RuntimeError>("a runtime that is not there", "onnxruntime/capi",
                               [] { Runtime::load("/nowhere/libonnxruntime.so"); });
  const std::string copy = folder + "/library.so";
  const auto changed = [&](size_t place, const std::string& bytes) {
    std::string content = slurp(library);
    std::ofstream(copy, std::ios::binary) << content.replace(place, bytes.size(), bytes);
    return library_problem(copy, 4096);
  };
  expect(!library_problem(library, 16384), "our own kernels are fit for pages of 16 KB");
  expect(!library_problem(small_pages, 4096), "a library for pages of 4 KB is good where pages have 4 KB");
  expect_says("a library of another machine", "32-bit ARM", changed(18, std::string("\x28\0", 2)));
  expect_says("a text", "is no shared library", changed(0, "nope"));
  expect_says("no library", "is missing", library_problem("/nowhere/libelsa_nested.so"));
  expect_says("a library for pages of 4 KB on a device with 16", "max-page-size=16384",
              library_problem(small_pages, 16384));
  OpenOptions options;
  options.variant = "ort-nested";
  expect_refused<BundleError>("nested without kernels", "libelsa_nested.so",
                              [&] { AdaptiveSession::open(runtime, read_from(folder + "/bundle"), options); });
  options.kernels = "/nowhere/libelsa_nested.so";
  expect_refused<RuntimeError>("kernels that are not there", "is missing",
                               [&] { AdaptiveSession::open(runtime, read_from(folder + "/bundle"), options); });
  if (library_problem(small_pages)) {
    // This machine has larger pages: its loader would say only "not page-aligned".
    options.kernels = small_pages;
    expect(dlopen(small_pages.c_str(), RTLD_NOW) == nullptr, "the loader refuses smaller pages, too");
    expect_refused<RuntimeError>("kernels for smaller pages", "max-page-size=16384",
                                 [&] { AdaptiveSession::open(runtime, read_from(folder + "/bundle"), options); });
    keep("kernels for pages of 4 KB, opened on pages of " + std::to_string(sysconf(_SC_PAGESIZE)),
         *library_problem(small_pages));
  }
  expect_refused<BundleError>("no bundle", "manifest.json is missing", [&] { Bundle::open(read_from("/nowhere")); });
  for (const char* text : {"", "a: &x 1", "a: {b: 1", "a: 1\n    b: 2", "a: 1\na: 2", "- 1", "\"a: 1", "a: b #c"}) {
    expect_refused<ProfileError>(std::string("the profile ") + text, "", [&] { parse_profile(text); });
  }
}

}  // namespace

int main(int count, char** arguments) {
  if (count < 5)
    return std::fprintf(stderr, "test_client FIXTURES LIBONNXRUNTIME LIBELSA_NESTED SMALL_PAGES [golden]\n"), 2;
  const std::string folder = arguments[1], kernels = arguments[3];
  // What was found before a crash is not lost.
  std::setvbuf(stdout, nullptr, _IOLBF, 1024);
  // Under emulation, where all takes long, only what depends on the machine.
  const bool only_golden = count > 5;
  if (!only_golden) traces(folder);
  const auto runtime = Runtime::load(arguments[2]);
  const Golden golden = golden_of(folder);
  golden_outputs(runtime, folder, kernels, golden);
  controlled(runtime, folder, golden);
  bad_input(runtime, folder, kernels, arguments[4]);
  if (!only_golden) hostile(runtime, folder, golden);
  std::printf("%s\n", failures == 0 ? "all of the C++ client's tests pass" : "some of the C++ client's tests FAILED");
  return failures == 0 ? 0 : 1;
}
