// Reads JSON's fields, each checked; says which one is wrong.
#pragma once
#include <cmath>
#include <optional>
#include <string>

#include "elsa_edge.h"
#include "json.h"

namespace elsa_edge {

// `Wrong` is the error to throw: BundleError or ProfileError.
template <typename Wrong>
struct Fields {
  static const std::map<std::string, Json>& object(const std::string& where, const Json& value) {
    if (!value.is(Json::Kind::kObject)) throw Wrong(where + " must be an object.");
    return value.object;
  }
  static const std::vector<Json>& list(const std::string& where, const Json& value) {
    if (!value.is(Json::Kind::kList)) throw Wrong(where + " must be a list.");
    return value.list;
  }
  static const std::string& text(const std::string& where, const Json& value) {
    if (!value.is(Json::Kind::kText) || value.text.empty()) throw Wrong(where + " must be a text.");
    return value.text;
  }
  static double number(const std::string& where, const Json& value, double low, double high) {
    if (!value.is(Json::Kind::kNumber) || !(value.number >= low && value.number <= high)) {
      throw Wrong(where + " must be a number from " + plain(low) + " to " + plain(high) + ".");
    }
    return value.number;
  }
  static double number(const std::string& where, const Json& value, double low, double high, double otherwise) {
    return value.is(Json::Kind::kNull) ? otherwise : number(where, value, low, high);
  }
  static std::optional<double> maybe(const std::string& where, const Json& value, double low, double high) {
    if (value.is(Json::Kind::kNull)) return std::nullopt;
    return number(where, value, low, high);
  }
  static uint64_t count(const std::string& where, const Json& value, double high = 9007199254740991.0) {
    const double found = number(where, value, 0, high);
    if (found != std::floor(found)) throw Wrong(where + " must be a whole number.");
    return static_cast<uint64_t>(found);
  }

 private:
  static std::string plain(double value) {
    char text[32];
    std::snprintf(text, sizeof text, "%g", value);
    return text;
  }
};

}  // namespace elsa_edge
