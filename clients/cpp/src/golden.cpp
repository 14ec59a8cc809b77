#include "golden.h"

#include <algorithm>
#include <utility>

#include "elements.h"
#include "inflate.h"
#include "text.h"

namespace elsa_edge {
namespace {

constexpr size_t kLargestBytes = size_t{1} << 28, kMostBatches = 9;

// Little-endian numbers of 2 or 4 bytes; nothing outside the bytes is read.
size_t number_at(std::string_view bytes, size_t place, int size) {
  size_t number = 0;
  if (place > bytes.size() || bytes.size() - place < static_cast<size_t>(size)) refuse({"a damaged zip archive"});
  for (int i = size; i-- > 0;) number = number << 8 | static_cast<uint8_t>(bytes[place + static_cast<size_t>(i)]);
  return number;
}

std::string_view part_of(std::string_view bytes, size_t begin, size_t size) {
  if (begin > bytes.size() || bytes.size() - begin < size) refuse({"a damaged zip archive"});
  return bytes.substr(begin, size);
}

// Takes what a text begins with, when it does.
bool take(std::string_view& text, std::string_view start) {
  const bool there = text.substr(0, start.size()) == start;
  if (there) text.remove_prefix(start.size());
  return there;
}

int take_number(std::string_view& text) {
  int number = -1;
  for (; !text.empty() && text[0] >= '0' && text[0] <= '9' && number < 100'000'000; text.remove_prefix(1)) {
    number = 10 * std::max(number, 0) + text[0] - '0';
  }
  return number;
}

Tensor array_of(const std::string& npy) {
  static constexpr std::pair<const char*, const char*> kTypes[] = {
      {"f4", "float32"}, {"f8", "float64"}, {"f2", "float16"}, {"i8", "int64"}, {"i4", "int32"},
      {"i2", "int16"},   {"i1", "int8"},    {"u2", "uint16"},  {"u1", "uint8"}, {"b1", "bool"}};
  std::string_view rest = npy;
  if (!take(rest, std::string_view("\x93NUMPY\x01\0", 8))) refuse({"no array of numpy"});
  std::string_view header = part_of(rest, 2, number_at(rest, 0, 2));
  rest.remove_prefix(2 + header.size());
  Tensor tensor;
  if (take(header, "{'descr': '") && (take(header, "<") || take(header, "|"))) {
    for (const auto& [code, dtype] : kTypes) {
      if (take(header, code)) tensor.dtype = dtype;
    }
  }
  if (tensor.dtype.empty() || !take(header, "', 'fortran_order': False, 'shape': ("))
    refuse({"an array of another kind than ours"});
  for (int size = take_number(header); size >= 0; size = take_number(header)) {
    tensor.dims.push_back(size);
    take(header, ",");
    take(header, " ");
  }
  if (!take(header, "), }")) refuse({"an array of another kind than ours"});
  tensor.bytes = rest;
  size_t bytes = element_of(tensor.dtype).bytes;
  for (const int64_t size : tensor.dims) bytes *= static_cast<size_t>(size);
  if (tensor.bytes.size() != bytes) refuse({"an array is cut short"});
  return tensor;
}

// `input/NAME`, `output/LEVEL/NAME`, and both below `further/0/` for the second batch, and so on.
void sort_in(std::string_view name, const std::string& npy, size_t levels, std::vector<Batch>& batches) {
  std::string_view rest = name;
  int batch = 0, level = -1;
  bool known = rest.size() > 4 && rest.substr(rest.size() - 4) == ".npy";
  if (known) rest.remove_suffix(4);
  if (take(rest, "further/")) {
    batch = take_number(rest) + 1;
    known &= batch > 0 && take(rest, "/");
  }
  if (!take(rest, "input/")) {
    known &= take(rest, "output/");
    level = take_number(rest);
    known &= level >= 0 && take(rest, "/");
  }
  if (!known || rest.empty() || static_cast<size_t>(batch) >= kMostBatches || level >= static_cast<int>(levels)) {
    refuse({"it holds ", name.substr(0, 80)});
  }
  while (batches.size() <= static_cast<size_t>(batch)) batches.push_back({{}, std::vector<Tensors>(levels)});
  Batch& there = batches[static_cast<size_t>(batch)];
  (level < 0 ? there.inputs : there.outputs[static_cast<size_t>(level)])[std::string(rest)] = array_of(npy);
}

bool same_names(const Tensors& one, const Tensors& other) {
  return !one.empty() && std::equal(one.begin(), one.end(), other.begin(), other.end(),
                                    [](const auto& a, const auto& b) { return a.first == b.first; });
}

std::vector<Batch> read(std::string_view zip, size_t levels) {
  std::vector<Batch> batches;
  const size_t end = zip.size() < 22 ? 0 : zip.size() - 22;
  if (part_of(zip, end, 4) != std::string_view("PK\5\6", 4)) refuse({"no zip archive"});
  size_t at = number_at(zip, end + 16, 4), left = kLargestBytes;
  for (size_t count = number_at(zip, end + 10, 2); count > 0; --count) {
    if (part_of(zip, at, 4) != std::string_view("PK\1\2", 4)) refuse({"a damaged zip archive"});
    const std::string_view name = part_of(zip, at + 46, number_at(zip, at + 28, 2));
    const size_t method = number_at(zip, at + 10, 2), local = number_at(zip, at + 42, 4);
    const size_t begin = local + 30 + number_at(zip, local + 26, 2) + number_at(zip, local + 28, 2);
    const std::string_view packed = part_of(zip, begin, number_at(zip, at + 20, 4));
    if (method != 0 && method != 8) refuse({"a damaged zip archive"});
    const std::string npy = method == 0 ? std::string(packed) : Inflate(packed, left).whole();
    left -= std::min(left, npy.size());
    sort_in(name, npy, levels, batches);
    at += 46 + name.size() + number_at(zip, at + 30, 2) + number_at(zip, at + 32, 2);
  }
  if (batches.empty()) refuse({"it has no batch"});
  const Batch& first = batches.front();
  for (const Batch& batch : batches) {
    bool whole = same_names(batch.inputs, first.inputs);
    for (const Tensors& outputs : batch.outputs) whole &= same_names(outputs, first.outputs.front());
    if (!whole) refuse({"it is incomplete"});
  }
  return batches;
}

}  // namespace

std::vector<Batch> read_golden(const std::string& archive, size_t levels) {
  try {
    return read(archive, levels);
  } catch (const std::invalid_argument& error) {
    fail<BundleError>({"The golden file cannot be read (", error.what(), "). Copy the bundle again."});
  }
}

}  // namespace elsa_edge
