// elsa-verify: what proves a release on a device that has no Python. `elsa-edge deploy` brings it to phones; by hand:
//
//   elsa-verify LIBONNXRUNTIME LIBELSA_NESTED|- verify BUNDLE [--device PROFILE]
//   elsa-verify LIBONNXRUNTIME LIBELSA_NESTED|- run BUNDLE [--device PROFILE] [--seconds S]
//
// `verify` compares every level of every variant that the client runs with the golden answers in the bundle, `run` makes
// runs of the golden inputs under the controller. Both print one JSON object, as `elsa-edge verify --json` and
// `elsa-edge run --json` do, and end with 0 when all is well.
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <sstream>

#include "elsa_edge.h"
#include "golden.h"
#include "text.h"

using namespace elsa_edge;

namespace {

struct Asked {
  std::shared_ptr<Runtime> runtime;
  std::string verb, bundle, kernels;
  std::optional<Profile> profile;
  double seconds = 1;
};

std::string quoted(const std::string& text) {
  std::string out = "\"";
  for (const char c : text) {
    char escape[8];
    std::snprintf(escape, sizeof escape, "\\u%04x", static_cast<unsigned char>(c));
    const bool special = c == '"' || c == '\\' || static_cast<unsigned char>(c) < 0x20 || c == 0x7f;
    out += special ? std::string(escape) : std::string(1, c);
  }
  return out + "\"";
}

Profile read_profile(const std::string& path) {
  std::ifstream stream(path, std::ios::binary);
  std::stringstream text;
  text << stream.rdbuf();
  if (!stream) fail<ProfileError>({path, " cannot be read."});
  return parse_profile(text.str());
}

Asked asked_of(int count, char** words) {
  static constexpr const char* kUsage =
      "elsa-verify LIBONNXRUNTIME LIBELSA_NESTED|- verify|run BUNDLE [--device PROFILE] [--seconds S]";
  if (count < 5) fail<InputError>({kUsage});
  Asked asked;
  asked.kernels = std::string_view(words[2]) == "-" ? "" : words[2];
  asked.verb = words[3];
  asked.bundle = words[4];
  for (int i = 5; i < count; ++i) {
    const std::string_view option = words[i];
    if (option == "--json") continue;
    if (i + 1 == count) fail<InputError>({kUsage});
    if (option == "--device") {
      asked.profile = read_profile(words[++i]);
    } else if (option == "--seconds") {
      asked.seconds = std::atof(words[++i]);
    } else {
      fail<InputError>({kUsage});
    }
  }
  if (asked.verb != "verify" && asked.verb != "run") fail<InputError>({kUsage});
  asked.runtime = Runtime::load(words[1]);
  return asked;
}

std::unique_ptr<AdaptiveSession> opened(const Asked& asked, const Profile& profile,
                                        const std::optional<std::string>& variant) {
  OpenOptions options;
  options.profile = profile;
  options.variant = variant;
  options.kernels = asked.kernels;
  return AdaptiveSession::open(asked.runtime, read_from(asked.bundle), std::move(options));
}

// One variant with every choice of kernels that a profile may name; returns its entry of the JSON answer.
std::string verified(const Asked& asked, const Manifest& manifest, const Variant& variant, const Profile& profile) {
  const std::string head = joined({"{\"name\": ", quoted(variant.name), ", \"runtime\": ", quoted(variant.runtime)});
  if (!runs_here(variant, !asked.kernels.empty())) {
    const bool needs_kernels = runs_here(variant, true);
    return joined({head, ", \"ok\": false, \"skipped\": \"",
                   needs_kernels ? "it needs libelsa_nested.so" : "the native client does not run it",
                   "\", \"levels\": []}"});
  }
  const std::vector<std::string> choices = variant.choices.empty() ? std::vector<std::string>{""} : variant.choices;
  for (const std::string& choice : choices) {
    Profile chosen = profile;
    if (!choice.empty()) chosen.choice = choice;
    opened(asked, chosen, variant.name)->verify();
  }
  std::string levels;
  for (size_t level = 0; level < manifest.ladder.size(); ++level) {
    levels += joined({level > 0 ? ", " : "", "{\"level\": ", std::to_string(level),
                      ", \"name\": ", quoted(manifest.ladder[level].name), ", \"ok\": true}"});
  }
  return joined({head, ", \"ok\": true, \"skipped\": null, \"levels\": [", levels, "]}"});
}

void verify(const Asked& asked, const Bundle& bundle, const Profile& profile) {
  std::string variants;
  bool any = false;
  for (const Variant& variant : bundle.manifest().variants) {
    any = any || runs_here(variant, !asked.kernels.empty());
    variants += joined({variants.empty() ? "" : ", ", verified(asked, bundle.manifest(), variant, profile)});
  }
  if (!any) fail<BundleError>({"The native client runs no variant of this bundle. Add --variant ort-switch."});
  std::printf("{\"bundle\": %s, \"ok\": true, \"verifier\": \"native\", \"variants\": [%s]}\n",
              quoted(asked.bundle).c_str(), variants.c_str());
}

void run(const Asked& asked, const Bundle& bundle, const Profile& profile) {
  const auto session = opened(asked, profile, std::nullopt);
  const Manifest& manifest = bundle.manifest();
  const std::vector<Batch> batches = read_golden(bundle.file(manifest.golden), manifest.ladder.size());
  const auto until = std::chrono::steady_clock::now() + std::chrono::duration<double>(asked.seconds);
  long long runs = 0;
  do {
    session->run(batches.front().inputs);
    ++runs;
  } while (std::chrono::steady_clock::now() < until);
  std::printf("{\"variant\": %s, \"runs\": %lld, \"last_level\": %d}\n", quoted(session->variant().name).c_str(), runs,
              session->level());
}

}  // namespace

int main(int count, char** words) try {
  const Asked asked = asked_of(count, words);
  const Bundle bundle = Bundle::open(read_from(asked.bundle));
  const Profile profile = asked.profile ? *asked.profile : parse_profile(bundle.file("device.yaml"));
  (asked.verb == "verify" ? verify : run)(asked, bundle, profile);
} catch (const Error& error) {
  std::fprintf(stderr, "Error: %s\n", error.what());
  return 1;
}
