// One inner loop, which a macro names. Compiled against the loops' own headers, those of an older commit too.
#if defined(quads_of_1_row) || defined(quads_of_4_rows)
#include "int8_loops.h"

using namespace elsa;

extern "C" void loop(const Sweep& s, const uint8_t* x, const int32_t* offset, const int32_t* start, int32_t* sums) {
#if defined(quads_of_1_row)
  multiply<1, kMax1 * kSteps>(s, 0, x, offset, start, sums);
#else
  multiply<4, kMax4 * kSteps>(s, 0, x, offset, start, sums);
#endif
}
#elif defined(halves_of_1_row) || defined(halves_of_4_rows) || defined(halves_depthwise)
#include "half_loops.h"

using namespace elsa;

#if defined(halves_depthwise)
extern "C" void loop(const DepthwiseTileOf<Half>& t) { depthwise_halves(t); }
#elif defined(halves_of_1_row)
extern "C" void loop(const SparseTileOf<Half>& t) { sparse_rows<1, kMost1 * kHalfSteps>(t); }
#else
extern "C" void loop(const SparseTileOf<Half>& t) { sparse_rows<4, kMost4 * kHalfSteps>(t); }
#endif
#elif defined(floats_depthwise)
#include "depthwise_loops.h"

extern "C" void loop(const elsa::DepthwiseTile& t) { elsa::depthwise(t); }
#else
#include "sparse_loops.h"

using namespace elsa;

extern "C" void loop(const SparseTile& t) {
#if defined(floats_of_1_row)
  sparse_rows<1, kMax1 * kSteps, float>(t);
#else
  sparse_rows<4, kMax4 * kSteps, float>(t);
#endif
}
#endif
