// A bundle: nothing in it is trusted. The manifest is checked key by key, a path may not leave the bundle, and a file that
// is not listed is never read. docs/format.md says what the keys mean.
#include <sys/stat.h>

#include <fstream>

#include "elsa_edge.h"
#include "fields.h"
#include "sha256.h"

namespace elsa_edge {
namespace {

using Manifested = Fields<BundleError>;
constexpr double kFormat = 2;
constexpr size_t kLargestManifestBytes = 16'000'000, kMostLevels = 255;

// Accepts only plain relative paths: not absolute, no `..`, backslash, drive, scheme, query or fragment.
std::string path_of(const Json& value) {
  const std::string& path = Manifested::text("path", value);
  bool plain = true;
  for (const char c : path)
    plain &= static_cast<unsigned char>(c) >= 0x20 && c != 0x7f && std::strchr("\\:?#%", c) == nullptr;
  for (size_t begin = 0, end = 0; end != std::string::npos; begin = end + 1) {
    end = path.find('/', begin);
    const std::string part = path.substr(begin, end - begin);
    plain &= !part.empty() && part != "." && part != "..";
  }
  if (!plain) throw BundleError("\"" + path.substr(0, 80) + "\" is no path inside the bundle.");
  return path;
}

LevelEntry level_of(const Json& item) {
  Manifested::object("ladder", item);
  LevelEntry level;
  level.name = Manifested::text("ladder.name", item.at("name"));
  level.sparsity = Manifested::number("ladder.sparsity", item.at("sparsity"), 0, 1);
  level.density = Manifested::maybe("ladder.density", item.at("density"), 0, 1);
  level.flops_fraction = Manifested::maybe("ladder.flops_fraction", item.at("flops_fraction"), 0, 1);
  level.accuracy = Manifested::maybe("ladder.accuracy", item.at("accuracy"), 0, 1);
  return level;
}

std::vector<TensorEntry> tensors_of(const std::string& where, const Json& items) {
  std::vector<TensorEntry> tensors;
  for (const Json& item : Manifested::list(where, items)) {
    Manifested::object(where, item);
    TensorEntry tensor{
        Manifested::text(where + ".name", item.at("name")), {}, Manifested::text(where + ".dtype", item.at("dtype"))};
    for (const Json& size : Manifested::list(where + ".shape", item.at("shape"))) {
      if (size.is(Json::Kind::kNull)) {
        tensor.shape.emplace_back();
      } else {
        tensor.shape.emplace_back(static_cast<int64_t>(Manifested::count(where + ".shape", size)));
      }
    }
    tensors.push_back(std::move(tensor));
  }
  return tensors;
}

Variant variant_of(const Json& item, size_t levels, const std::map<std::string, FileEntry>& listed) {
  Manifested::object("variants", item);
  Variant variant;
  variant.name = Manifested::text("variants.name", item.at("name"));
  variant.runtime = Manifested::text(variant.name + ": runtime", item.at("runtime"));
  const Json& instructions = item.at("instructions");
  Manifested::object(variant.name + ": instructions", instructions);
  variant.kind = Manifested::text(variant.name + ": instructions.kind", instructions.at("kind"));
  for (const auto& [role, path] : Manifested::object(variant.name + ": files", item.at("files"))) {
    variant.files[role] = path_of(path);
    if (listed.count(variant.files[role]) == 0) {
      throw BundleError(variant.files[role] + " is used by " + variant.name + " but not in the list of files.");
    }
  }
  std::vector<std::string> roles;
  if (variant.kind == "levels") {
    for (size_t level = 0; level < levels; ++level) roles.push_back("level_" + std::to_string(level));
  } else if (variant.kind == "selector" || variant.kind == "switch") {
    roles = {"model"};
  } else if (variant.kind == "nested") {
    for (const Json& choice : Manifested::list(variant.name + ": choices", instructions.at("choices"))) {
      variant.choices.push_back(Manifested::text(variant.name + ": choices", choice));
    }
    if (variant.choices.empty()) throw BundleError(variant.name + " has no choice of kernels.");
    roles = variant.choices;
    roles.push_back("data");
  }
  for (const std::string& role : roles) {
    if (variant.files.count(role) == 0)
      throw BundleError(variant.name + " is of kind " + variant.kind + " and has no file for " + role + ".");
  }
  return variant;
}

template <typename Entry>
void require_unique(const std::string& what, const std::vector<Entry>& entries) {
  // The map of roles serves: another container would be code of its own.
  std::map<std::string, std::string> names;
  for (const Entry& entry : entries) {
    if (!names.try_emplace(entry.name).second) throw BundleError("Two entries have the same " + what + " name.");
  }
}

Manifest manifest_of(const Json& top) {
  Manifested::object("manifest.json", top);
  if (!top.at("format").is(Json::Kind::kNumber) || top.at("format").number != kFormat) {
    throw BundleError("manifest.json is of another format; this client reads 2. Build the bundle again.");
  }
  Manifest manifest;
  manifest.name = Manifested::text("name", top.at("name"));
  manifest.device = Manifested::text("device", top.at("device"));
  for (const Json& item : Manifested::list("files", top.at("files"))) {
    Manifested::object("files", item);
    const std::string& hash = Manifested::text("files.sha256", item.at("sha256"));
    if (hash.size() != 64 || hash.find_first_not_of("0123456789abcdef") != std::string::npos) {
      throw BundleError("files.sha256 must have 64 hexadecimal digits.");
    }
    const FileEntry entry{Manifested::count("files.size_bytes", item.at("size_bytes")), hash};
    if (!manifest.files.emplace(path_of(item.at("path")), entry).second) throw BundleError("A file is listed twice.");
  }
  for (const Json& item : Manifested::list("ladder", top.at("ladder"))) manifest.ladder.push_back(level_of(item));
  if (manifest.ladder.empty() || manifest.ladder.size() > kMostLevels)
    throw BundleError("The ladder must have 1 to 255 levels.");
  manifest.inputs = tensors_of("inputs", top.at("inputs"));
  manifest.outputs = tensors_of("outputs", top.at("outputs"));
  for (const Json& item : Manifested::list("variants", top.at("variants"))) {
    manifest.variants.push_back(variant_of(item, manifest.ladder.size(), manifest.files));
  }
  if (manifest.variants.empty()) throw BundleError("The bundle has no variant.");
  require_unique("level", manifest.ladder);
  require_unique("variant", manifest.variants);
  require_unique("input", manifest.inputs);
  require_unique("output", manifest.outputs);
  return manifest;
}

}  // namespace

ReadFile read_from(const std::string& folder) {
  return [folder](const std::string& path) {
    const std::string whole = folder + "/" + path;
    struct stat status{};
    // A link may lead out of the bundle, a device may never end.
    if (lstat(whole.c_str(), &status) != 0 || !S_ISREG(status.st_mode)) {
      throw BundleError(path + " is missing from the bundle " + folder +
                        ", or is no plain file. Copy the bundle again.");
    }
    std::ifstream stream(whole, std::ios::binary);
    std::string bytes(static_cast<size_t>(status.st_size), '\0');
    if (!stream.read(bytes.data(), static_cast<std::streamsize>(bytes.size())))
      throw BundleError(path + " cannot be read.");
    return bytes;
  };
}

Bundle Bundle::open(ReadFile read) {
  const std::string text = read("manifest.json");
  if (text.size() > kLargestManifestBytes) throw BundleError("manifest.json is larger than 16 MB.");
  Bundle bundle;
  try {
    bundle.manifest_ = manifest_of(Json::parse(text));
  } catch (const std::invalid_argument& error) {
    throw BundleError(std::string("manifest.json is no JSON (") + error.what() + ").");
  }
  bundle.read_ = std::move(read);
  return bundle;
}

std::string Bundle::file(const std::string& path) const {
  const auto entry = manifest_.files.find(path);
  if (entry == manifest_.files.end()) throw BundleError(path + " is not in the manifest's list of files.");
  std::string bytes = read_(path);
  if (bytes.size() != entry->second.size_bytes) {
    throw BundleError(path + " has " + std::to_string(bytes.size()) + " bytes; the manifest says " +
                      std::to_string(entry->second.size_bytes) + ". Copy the bundle again.");
  }
  if (sha256(bytes) != entry->second.sha256) {
    throw BundleError(path + " is not the file that was built: its SHA-256 differs. Copy the bundle again.");
  }
  return bytes;
}

}  // namespace elsa_edge
