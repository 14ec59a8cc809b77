// JSON, and the part of YAML that elsa-edge writes profiles in, as one small value. Own code, because a profile needs the
// same grammar with plain words, and because a JSON library alone would be larger than all the rest of this client.
#pragma once
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace elsa_edge {

struct Json {
  enum class Kind { kNull, kBoolean, kNumber, kText, kList, kObject };

  Kind kind = Kind::kNull;
  bool boolean = false;
  double number = 0;
  std::string text;
  std::vector<Json> list;
  std::map<std::string, Json, std::less<>> object;

  // Strict JSON of at most 64 levels; a key twice is refused. Throws std::invalid_argument.
  static Json parse(const std::string& text);
  // Block mappings and lists of them, comments, one-line values as in JSON or as plain words. Throws std::invalid_argument.
  static Json parse_profile(const std::string& text);

  bool is(Kind wanted) const { return kind == wanted; }
  // The value of a key; null where there is none.
  const Json& at(std::string_view key) const;
};

}  // namespace elsa_edge
