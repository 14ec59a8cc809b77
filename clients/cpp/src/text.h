// Sentences out of parts. A chain of `+` says the same in several times the code, and this client is small on purpose.
#pragma once
#include <cstdio>
#include <initializer_list>
#include <stdexcept>
#include <string>
#include <string_view>

namespace elsa_edge {

using Parts = std::initializer_list<std::string_view>;

inline std::string joined(Parts parts) {
  std::string whole;
  for (const std::string_view part : parts) whole += part;
  return whole;
}

inline std::string plain(double value) {
  char text[32];
  std::snprintf(text, sizeof text, "%g", value);
  return text;
}

// Throws an error of ours. A call of this is smaller than a throw of one's own.
template <typename Wrong>
[[noreturn]] void fail(Parts sentence) {
  throw Wrong(joined(sentence));
}

// For readers of texts and archives: whoever asked them to read says of what file.
[[noreturn]] inline void refuse(Parts why) { throw std::invalid_argument(joined(why)); }

}  // namespace elsa_edge
