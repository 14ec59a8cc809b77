// Element types of tensors: numpy's names, ONNX's numbers, and sizes.
#pragma once
#include <string>

#include "elsa_edge.h"
#include "text.h"

namespace elsa_edge {

struct Element {
  const char* dtype;
  int type;
  size_t bytes;
};
inline constexpr Element kElements[] = {{"float32", 1, 4},  {"uint8", 2, 1},   {"int8", 3, 1},  {"uint16", 4, 2},
                                        {"int16", 5, 2},    {"int32", 6, 4},   {"int64", 7, 8}, {"bool", 9, 1},
                                        {"float16", 10, 2}, {"float64", 11, 8}};

inline const Element& element_of(const std::string& dtype) {
  for (const Element& element : kElements) {
    if (dtype == element.dtype) return element;
  }
  fail<InputError>({"Tensors of type ", dtype, " are not supported by this client."});
}

}  // namespace elsa_edge
