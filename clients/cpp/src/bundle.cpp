// A bundle: nothing in it is trusted. The manifest is checked key by key, a path may not leave the bundle, and a file that
// is not listed is never read. docs/format.md says what the keys mean.
#include <sys/stat.h>

#include <fstream>

#include "elsa_edge.h"
#include "fields.h"
#include "sha256.h"

namespace elsa_edge {
namespace {

constexpr Fields kManifest([](const std::string& sentence) { throw BundleError(sentence); });
constexpr double kFormat = 2;
constexpr double kLargestNoise = 0.01, kBelowOne = 1 - std::numeric_limits<double>::epsilon() / 2;
constexpr size_t kLargestManifestBytes = 16'000'000, kMostLevels = 255;

// Accepts only plain relative paths: not absolute, no `..`, backslash, drive, scheme, query or fragment.
std::string path_of(const Json& value) {
  const std::string& path = kManifest.text({"path"}, value);
  bool plain = true;
  for (const char c : path)
    plain &= static_cast<unsigned char>(c) >= 0x20 && c != 0x7f && std::strchr("\\:?#%", c) == nullptr;
  for (size_t begin = 0, end = 0; end != std::string::npos; begin = end + 1) {
    end = path.find('/', begin);
    const std::string part = path.substr(begin, end - begin);
    plain &= !part.empty() && part != "." && part != "..";
  }
  if (!plain) fail<BundleError>({"\"", path.substr(0, 80), "\" is no path inside the bundle."});
  return path;
}

void read_level(const Json& item, LevelEntry& level) {
  kManifest.object({"ladder"}, item);
  level.name = kManifest.text({"ladder.name"}, item.at("name"));
  level.sparsity = kManifest.number({"ladder.sparsity"}, item.at("sparsity"), 0, 1);
  level.density = kManifest.maybe({"ladder.density"}, item.at("density"), 0, 1);
  level.flops_fraction = kManifest.maybe({"ladder.flops_fraction"}, item.at("flops_fraction"), 0, 1);
  level.accuracy = kManifest.maybe({"ladder.accuracy"}, item.at("accuracy"), 0, 1);
}

void read_tensor(const Json& item, TensorEntry& tensor) {
  kManifest.object({"tensor"}, item);
  tensor.name = kManifest.text({"tensor.name"}, item.at("name"));
  tensor.dtype = kManifest.text({tensor.name, ": dtype"}, item.at("dtype"));
  const std::vector<Json>& sizes = kManifest.list({tensor.name, ": shape"}, item.at("shape"));
  tensor.shape.resize(sizes.size());
  for (size_t i = 0; i < sizes.size(); ++i) {
    if (sizes[i].is(Json::Kind::kNull)) continue;
    tensor.shape[i] = static_cast<int64_t>(kManifest.count({tensor.name, ": shape"}, sizes[i]));
  }
}

void read_variant(const Json& item, const Manifest& manifest, Variant& variant) {
  kManifest.object({"variants"}, item);
  variant.name = kManifest.text({"variants.name"}, item.at("name"));
  variant.runtime = kManifest.text({variant.name, ": runtime"}, item.at("runtime"));
  const Json& instructions = item.at("instructions");
  kManifest.object({variant.name, ": instructions"}, instructions);
  variant.kind = kManifest.text({variant.name, ": instructions.kind"}, instructions.at("kind"));
  for (const auto& [role, path] : kManifest.object({variant.name, ": files"}, item.at("files"))) {
    variant.files[role] = path_of(path);
    if (manifest.files.count(variant.files[role]) == 0) {
      fail<BundleError>({variant.files[role], " is used by ", variant.name, " but not in the list of files."});
    }
  }
  variant.relative_tolerance = kManifest.number({variant.name, ": relative_tolerance"}, item.at("relative_tolerance"),
                                                std::numeric_limits<double>::min(), kBelowOne, 1e-4);
  variant.minimum_agreement =
      kManifest.maybe({variant.name, ": minimum_agreement"}, item.at("minimum_agreement"), 0, 1);
  std::vector<std::string> roles;
  if (variant.kind == "levels") {
    for (size_t level = 0; level < manifest.ladder.size(); ++level) roles.push_back("level_" + std::to_string(level));
  } else if (variant.kind == "selector" || variant.kind == "switch") {
    roles = {"model"};
  } else if (variant.kind == "nested") {
    for (const Json& choice : kManifest.list({variant.name, ": choices"}, instructions.at("choices"))) {
      variant.choices.push_back(kManifest.text({variant.name, ": choices"}, choice));
    }
    if (variant.choices.empty()) fail<BundleError>({variant.name, " has no choice of kernels."});
    roles = variant.choices;
    roles.push_back("data");
  }
  for (const std::string& role : roles) {
    if (variant.files.count(role) == 0)
      fail<BundleError>({variant.name, " is of kind ", variant.kind, " and has no file for ", role, "."});
  }
}

void read_proof(const Json& top, Manifest& manifest) {
  manifest.golden = path_of(top.at("golden"));
  if (manifest.files.count(manifest.golden) == 0) {
    fail<BundleError>({manifest.golden, " is used but not in the list of files."});
  }
  const Json &noise = top.at("noise"), &axes = top.at("class_axes");
  for (TensorEntry& output : manifest.outputs) {
    if (!noise.at(output.name).is(Json::Kind::kNull)) {
      for (const Json& level : kManifest.list({"noise"}, noise.at(output.name))) {
        output.noise.push_back(kManifest.number({"noise"}, level, 0, kLargestNoise));
      }
      if (output.noise.size() != manifest.ladder.size()) fail<BundleError>({"noise must have one entry per level."});
    }
    if (axes.is(Json::Kind::kNull)) continue;
    output.class_axis = static_cast<int>(kManifest.number({"class_axes"}, axes.at(output.name), 1, 15, 0));
  }
}

// Reads a list of things, each with a name of its own.
template <typename Entry, typename Read>
void read_each(std::string_view what, const Json& items, std::vector<Entry>& entries, Read read) {
  const std::vector<Json>& list = kManifest.list({what}, items);
  entries.resize(list.size());
  for (size_t i = 0; i < list.size(); ++i) {
    read(list[i], entries[i]);
    for (size_t other = 0; other < i; ++other) {
      if (entries[other].name == entries[i].name) fail<BundleError>({"Two entries of ", what, " have one name."});
    }
  }
}

Manifest manifest_of(const Json& top) {
  kManifest.object({"manifest.json"}, top);
  if (!top.at("format").is(Json::Kind::kNumber) || top.at("format").number != kFormat) {
    fail<BundleError>({"manifest.json is of another format; this client reads 2. Build the bundle again."});
  }
  Manifest manifest;
  manifest.name = kManifest.text({"name"}, top.at("name"));
  manifest.device = kManifest.text({"device"}, top.at("device"));
  for (const Json& item : kManifest.list({"files"}, top.at("files"))) {
    kManifest.object({"files"}, item);
    const std::string& hash = kManifest.text({"files.sha256"}, item.at("sha256"));
    if (hash.size() != 64 || hash.find_first_not_of("0123456789abcdef") != std::string::npos) {
      fail<BundleError>({"files.sha256 must have 64 hexadecimal digits."});
    }
    const FileEntry entry{kManifest.count({"files.size_bytes"}, item.at("size_bytes")), hash};
    if (!manifest.files.emplace(path_of(item.at("path")), entry).second) fail<BundleError>({"A file is listed twice."});
  }
  read_each("ladder", top.at("ladder"), manifest.ladder, read_level);
  if (manifest.ladder.empty() || manifest.ladder.size() > kMostLevels)
    fail<BundleError>({"The ladder must have 1 to 255 levels."});
  read_each("inputs", top.at("inputs"), manifest.inputs, read_tensor);
  read_each("outputs", top.at("outputs"), manifest.outputs, read_tensor);
  read_each("variants", top.at("variants"), manifest.variants,
            [&](const Json& item, Variant& variant) { read_variant(item, manifest, variant); });
  if (manifest.variants.empty()) fail<BundleError>({"The bundle has no variant."});
  read_proof(top, manifest);
  return manifest;
}

}  // namespace

ReadFile read_from(const std::string& folder) {
  return [folder](const std::string& path) {
    const std::string whole = joined({folder, "/", path});
    struct stat status{};
    // A link may lead out of the bundle, a device may never end.
    if (lstat(whole.c_str(), &status) != 0 || !S_ISREG(status.st_mode)) {
      fail<BundleError>(
          {path, " is missing from the bundle ", folder, ", or is no plain file. Copy the bundle again."});
    }
    std::ifstream stream(whole, std::ios::binary);
    std::string bytes(static_cast<size_t>(status.st_size), '\0');
    if (!stream.read(bytes.data(), static_cast<std::streamsize>(bytes.size())))
      fail<BundleError>({path, " cannot be read."});
    return bytes;
  };
}

Bundle Bundle::open(ReadFile read) {
  const std::string text = read("manifest.json");
  if (text.size() > kLargestManifestBytes) fail<BundleError>({"manifest.json is larger than 16 MB."});
  Bundle bundle;
  try {
    bundle.manifest_ = manifest_of(Json::parse(text));
  } catch (const std::invalid_argument& error) {
    fail<BundleError>({"manifest.json is no JSON (", error.what(), ")."});
  }
  bundle.read_ = std::move(read);
  return bundle;
}

std::string Bundle::file(const std::string& path) const {
  const auto entry = manifest_.files.find(path);
  if (entry == manifest_.files.end()) fail<BundleError>({path, " is not in the manifest's list of files."});
  std::string bytes = read_(path);
  if (bytes.size() != entry->second.size_bytes) {
    fail<BundleError>({path, " has ", std::to_string(bytes.size()), " bytes; the manifest says ",
                       std::to_string(entry->second.size_bytes), ". Copy the bundle again."});
  }
  if (sha256(bytes) != entry->second.sha256) {
    fail<BundleError>({path, " is not the file that was built: its SHA-256 differs. Copy the bundle again."});
  }
  return bytes;
}

}  // namespace elsa_edge
