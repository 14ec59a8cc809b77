// Each form is a list of groups of taps; what differs is which taps belong together and in what order codes lie.
#include "int8_taps.h"

namespace elsa {
namespace {

constexpr int32_t kPixelBytes = 4;

bool three_rows(const std::vector<int32_t>& offsets) {
  bool rows = offsets.size() == 9;
  for (size_t t = 0; rows && t < 9; ++t) rows = t % 3 == 0 || offsets[t] == offsets[t - 1] + kPixelBytes;
  return rows;
}

}  // namespace

TapGroups grouped(TapForm form, const std::vector<int32_t>& offsets) {
  if (form == TapForm::kThreeRows && !three_rows(offsets)) form = TapForm::kFours;
  TapGroups made;
  made.form = form;
  // Taps of a group, and the places that it has for taps.
  const size_t taps = form == TapForm::kThreeRows ? 3 : form == TapForm::kPairs ? 2 : 4;
  const size_t places = form == TapForm::kPairs ? 2 : 4;
  made.codes = static_cast<int64_t>(places * 4);
  for (size_t first = 0; first < offsets.size(); first += taps, ++made.groups) {
    if (form == TapForm::kThreeRows)
      made.offsets.push_back(offsets[first]);
    else  // what is beyond the last tap reads where the first does
      for (size_t t = first; t < first + taps; ++t) made.offsets.push_back(offsets[t < offsets.size() ? t : 0]);
    for (size_t i = 0; i < places * 4; ++i) {
      const size_t place = form == TapForm::kPairs ? i / 4 : i % 4, channel = form == TapForm::kPairs ? i % 4 : i / 4;
      const size_t tap = first + place;
      const bool there = place < taps && tap < offsets.size();
      made.from.push_back(there ? static_cast<int32_t>(tap / 4 * 16 + channel * 4 + tap % 4) : -1);
    }
  }
  return made;
}

}  // namespace elsa
