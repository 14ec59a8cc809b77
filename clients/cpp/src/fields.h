// Reads JSON's fields, each checked; says which one is wrong.
#pragma once
#include <cmath>
#include <optional>
#include <string>

#include "elsa_edge.h"
#include "json.h"
#include "text.h"

namespace elsa_edge {

// Where a field lies is told in parts, which are put together only when it is wrong.
class Fields {
 public:
  // `wrong` throws: a BundleError or a ProfileError.
  explicit constexpr Fields(void (*wrong)(const std::string&)) : wrong_(wrong) {}

  const std::map<std::string, Json, std::less<>>& object(Parts where, const Json& value) const {
    if (!value.is(Json::Kind::kObject)) refuse(where, " must be an object.");
    return value.object;
  }
  const std::vector<Json>& list(Parts where, const Json& value) const {
    if (!value.is(Json::Kind::kList)) refuse(where, " must be a list.");
    return value.list;
  }
  const std::string& text(Parts where, const Json& value) const {
    if (!value.is(Json::Kind::kText) || value.text.empty()) refuse(where, " must be a text.");
    return value.text;
  }
  double number(Parts where, const Json& value, double low, double high) const {
    if (!value.is(Json::Kind::kNumber) || !(value.number >= low && value.number <= high)) {
      refuse(where, joined({" must be a number from ", plain(low), " to ", plain(high), "."}));
    }
    return value.number;
  }
  double number(Parts where, const Json& value, double low, double high, double otherwise) const {
    return value.is(Json::Kind::kNull) ? otherwise : number(where, value, low, high);
  }
  std::optional<double> maybe(Parts where, const Json& value, double low, double high) const {
    if (value.is(Json::Kind::kNull)) return std::nullopt;
    return number(where, value, low, high);
  }
  uint64_t count(Parts where, const Json& value, double high = 9007199254740991.0) const {
    const double found = number(where, value, 0, high);
    if (found != std::floor(found)) refuse(where, " must be a whole number.");
    return static_cast<uint64_t>(found);
  }

 private:
  void refuse(Parts where, std::string_view must) const { wrong_(joined({joined(where), must})); }

  void (*wrong_)(const std::string&);
};

}  // namespace elsa_edge
