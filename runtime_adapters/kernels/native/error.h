// How the kernels refuse: an exception inside, whose text is built only when it is needed.
#pragma once
#include <stdexcept>
#include <string>
#include <type_traits>

namespace elsa {

struct Error : std::runtime_error {
  using std::runtime_error::runtime_error;
};

[[noreturn, gnu::cold]] inline void fail(const std::string& sentence) { throw Error(sentence); }

// Checks run with every inference, so a sentence is a literal, or a function that builds it:
//   require(level < count, [&] { return text("level ", level, " does not exist here"); });
template <typename Sentence>
inline void require(bool holds, const Sentence& sentence) {
  if (__builtin_expect(holds, true)) return;
  if constexpr (std::is_invocable_v<const Sentence&>) {
    fail(sentence());
  } else {
    static_assert(std::is_convertible_v<const Sentence&, const char*>,
                  "a literal, or a function that returns the text");
    fail(sentence);
  }
}

inline std::string piece(const char* words) { return words; }
inline std::string piece(const std::string& words) { return words; }
template <typename Number, typename = std::enable_if_t<std::is_arithmetic_v<Number>>>
std::string piece(Number number) {
  return std::to_string(number);
}

// Words and numbers as one sentence.
template <typename... Pieces>
std::string text(const Pieces&... pieces) {
  return (piece(pieces) + ...);
}

}  // namespace elsa
