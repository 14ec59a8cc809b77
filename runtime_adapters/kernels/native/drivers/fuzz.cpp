// Fuzz target over segment bytes: `python -m elsa_edge.runtime_adapters.kernels.harden fuzz` compiles it with clang and libFuzzer.
// What the check accepts is then computed with, inside memory that the sanitizer watches.
#include <cstring>
#include <vector>

#include "../half.h"
#include "../segment.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  try {
    const std::vector<uint8_t> bytes(data, data + size);
    const elsa::Segment segment(bytes.data(), bytes.size());
    segment.validate();
    const elsa::SegmentHeader& h = segment.header();
    if (h.rows > 4096 || h.columns > 4096) return 0;
    std::vector<float> x(h.columns, 1.0f), y(static_cast<size_t>(segment.groups()) * h.block_rows, 0.0f);
    for (uint32_t block = 0; block < segment.blocks(); ++block) {
      const elsa::Run run = segment.run(block);
      const auto gemv = segment.value_type() == elsa::ValueType::kFloat16 ? elsa::halves().gemv : elsa::kernels().gemv;
      gemv(segment.block_rows(), segment.value_type(), &run, 1, x.data() + static_cast<size_t>(block) * h.column_block,
           0, static_cast<int32_t>(segment.groups()), static_cast<int32_t>(h.rows), y.data());
    }
  } catch (const std::exception&) {
    // refused: that is the point
  }
  return 0;
}
