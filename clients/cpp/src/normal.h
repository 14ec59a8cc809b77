// Quantiles of the normal distribution: Wichura's algorithm AS 241 (Applied Statistics 37, 1988), as CPython's NormalDist.
#pragma once
#include <array>
#include <cmath>

namespace elsa_edge {

using Coefficients = std::array<double, 8>;

inline double polynomial(const Coefficients& coefficients, double x) {
  double sum = 0;
  for (const double coefficient : coefficients) sum = sum * x + coefficient;
  return sum;
}

// Returns x with P(X <= x) = share, for share in (0, 1).
inline double normal_quantile(double share) {
  static constexpr Coefficients kNear[2] = {
      {2.5090809287301226727e3, 3.343057558358812811e4, 6.7265770927008700853e4, 4.5921953931549871457e4,
       1.3731693765509461125e4, 1.9715909503065514427e3, 1.3314166789178437745e2, 3.387132872796366608},
      {5.226495278852854561e3, 2.8729085735721942674e4, 3.930789580009271061e4, 2.1213794301586595867e4,
       5.394196021424751107e3, 6.8718700749205790830e2, 4.2313330701600911252e1, 1}};
  static constexpr Coefficients kMiddle[2] = {
      {7.7454501427834140764e-4, 2.27238449892691845833e-2, 2.4178072517745061177e-1, 1.27045825245236838258,
       3.64784832476320460504, 5.7694972214606914055, 4.6303378461565452959, 1.42343711074968357734},
      {1.05075007164441684324e-9, 5.475938084995344946e-4, 1.51986665636164571966e-2, 1.4810397642748007459e-1,
       6.8976733498510000455e-1, 1.6763848301838038494, 2.05319162663775882187, 1}};
  static constexpr Coefficients kFar[2] = {
      {2.01033439929228813265e-7, 2.71155556874348757815e-5, 1.24266094738807843860e-3, 2.65321895265761230930e-2,
       2.96560571828504891230e-1, 1.78482653991729133580, 5.46378491116411436990, 6.65790464350110377720},
      {2.04426310338993978564e-15, 1.4215117583164458887e-7, 1.8463183175100546818e-5, 7.868691311456132591e-4,
       1.48753612908506148525e-2, 1.36929880922735805310e-1, 5.9983220655588793769e-1, 1}};
  const double q = share - 0.5;
  if (std::abs(q) <= 0.425) {
    const double r = 0.180625 - q * q;
    return q * polynomial(kNear[0], r) / polynomial(kNear[1], r);
  }
  const double tail = std::sqrt(-std::log(q <= 0 ? share : 1 - share));
  const auto& table = tail <= 5 ? kMiddle : kFar;
  const double r = tail <= 5 ? tail - 1.6 : tail - 5;
  const double x = polynomial(table[0], r) / polynomial(table[1], r);
  return q < 0 ? -x : x;
}

}  // namespace elsa_edge
