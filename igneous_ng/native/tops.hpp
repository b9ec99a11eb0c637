// Where a surface of samples is highest, between them, and how sharply.

#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdlib>
#include <limits>

namespace tops {

constexpr int kNear = 3;                           // coefficients are wanted so far from the highest sample
constexpr int kTail = 6;                           // samples on each side that a coefficient rests on
constexpr int kWidth = 2 * (kNear + kTail) + 1;    // samples of the doubled surface that are looked at
constexpr int kLobes = 6;                          // samples on each side that one between two rests on
constexpr double kPole = -0.26794919243112270647;  // of the cubic spline's inverse: sqrt(3) - 2
constexpr int kSteps = 6;
constexpr double kFarthest = 0.75;  // samples from the highest one

struct Surface {
  const float* values;
  int side;

  double at(int x, int y) const {  // mirrored at the ends, 0 where nothing is known
    const int last = side - 1;
    x = std::abs(last - std::abs(last - x));
    y = std::abs(last - std::abs(last - y));
    const float value = values[y * side + x];
    return std::isnan(value) ? 0.0 : value;
  }
  bool known(int x, int y) const {
    return x >= 0 && y >= 0 && x < side && y < side && !std::isnan(values[y * side + x]);
  }
};

using Weights = std::array<double, 4>;

// Of a cubic B-spline at a part t of a sample, and of its slope and curvature there.
inline std::array<Weights, 3> splines(double t) {
  const double s = 1 - t;
  return {Weights{s * s * s / 6, (4 + t * t * (3 * t - 6)) / 6, (4 + s * s * (3 * s - 6)) / 6, t * t * t / 6},
          Weights{-s * s / 2, t * (1.5 * t - 2), -s * (1.5 * s - 2), t * t / 2}, Weights{s, 3 * t - 2, 3 * s - 2, t}};
}

// Lanczos' weights halfway between samples, of those that are 1/2, 3/2, ... away; they and their mirror sum to 1.
inline std::array<double, kLobes> halfway() {
  std::array<double, kLobes> found;
  double sum = 0;
  for (int k = 0; k < kLobes; ++k) {
    const double x = M_PI * (k + 0.5);
    sum += 2 * (found[k] = std::sin(x) / x * std::sin(x / kLobes) / (x / kLobes));
  }
  for (double& one : found) one /= sum;
  return found;
}

// The surface around a sample: doubled, for what a search samples is too coarse for a spline and bends its top towards
// samples, then a cubic spline (Unser, Aldroubi and Eden 1993, "B-spline signal processing").
class Spline {
 public:
  Spline(const Surface& of, int x, int y) {
    constexpr int reach = kNear + kTail, rows = reach / 2 + 1 + kLobes;
    static const std::array<double, kLobes> weights = halfway();
    double across[2 * rows + 1][kWidth], doubled[kWidth][kWidth], half[kWidth][kWide];
    for (int j = -rows; j <= rows; ++j)
      for (int i = -reach; i <= reach; ++i)
        across[j + rows][i + reach] = between(weights, i, [&](int k) { return of.at(x + k, y + j); });
    for (int j = -reach; j <= reach; ++j)
      for (int i = 0; i < kWidth; ++i)
        doubled[j + reach][i] = between(weights, j, [&](int k) { return across[k + rows][i]; });
    for (int j = 0; j < kWidth; ++j)
      for (int i = 0; i < kWide; ++i) half[j][i] = filtered([&](int k) { return doubled[j][i + kTail + k]; });
    for (int j = 0; j < kWide; ++j)
      for (int i = 0; i < kWide; ++i) c_[j][i] = filtered([&](int k) { return half[j + kTail + k][i]; });
  }

  // A derivative, of orders p and q along x and y, at a place counted from the sample.
  double at(double x, double y, int p, int q) const {
    x *= 2, y *= 2;
    const int i = static_cast<int>(std::floor(x)), j = static_cast<int>(std::floor(y));
    const Weights across = splines(x - i)[p], down = splines(y - j)[q];
    double sum = 0;
    for (int n = 0; n < 4; ++n)
      for (int m = 0; m < 4; ++m) sum += down[n] * across[m] * c_[j + n - 1 + kNear][i + m - 1 + kNear];
    return std::ldexp(sum, p + q);
  }

 private:
  static constexpr int kWide = 2 * kNear + 1;

  // The value at half of place `i`.
  template <class At>
  static double between(const std::array<double, kLobes>& weights, int i, At at) {
    if (i % 2 == 0) return at(i / 2);
    const int low = (i - 1) / 2;  // exact: i is odd
    double sum = 0;
    for (int k = 0; k < kLobes; ++k) sum += weights[k] * (at(low - k) + at(low + 1 + k));
    return sum;
  }

  template <class At>
  static double filtered(At at) {
    double sum = at(0), power = 1;
    for (int k = 1; k <= kTail; ++k) sum += (power *= kPole) * (at(-k) + at(k));
    return sum * std::sqrt(3.0);
  }

  double c_[kWide][kWide];
};

struct Peak {
  double x, y, value, next, spread, xx, xy, yy;
  bool inner;
};

// From the highest sample to the top: Newton's steps, while they lead to a top.
inline void climb(const Spline& spline, Peak& peak) {
  double x = 0, y = 0;
  for (int step = 0; step < kSteps; ++step) {
    const double gx = spline.at(x, y, 1, 0), gy = spline.at(x, y, 0, 1), xx = spline.at(x, y, 2, 0),
                 xy = spline.at(x, y, 1, 1), yy = spline.at(x, y, 0, 2), det = xx * yy - xy * xy;
    if (det <= 0 || xx >= 0) break;
    x = std::clamp(x - (yy * gx - xy * gy) / det, -kFarthest, kFarthest);
    y = std::clamp(y - (xx * gy - xy * gx) / det, -kFarthest, kFarthest);
  }
  peak.x += x;
  peak.y += y;
  peak.value = spline.at(x, y, 0, 0);
  peak.xx = spline.at(x, y, 2, 0);
  peak.xy = spline.at(x, y, 1, 1);
  peak.yy = spline.at(x, y, 0, 2);
}

inline Peak highest(const Surface& surface, int apart) {
  const int side = surface.side, size = side * side;
  int best = -1;
  for (int i = 0; i < size; ++i)
    if (!std::isnan(surface.values[i]) && (best < 0 || surface.values[i] > surface.values[best])) best = i;
  const double nothing = std::numeric_limits<double>::quiet_NaN();
  if (best < 0) return Peak{nothing, nothing, nothing, nothing, nothing, nothing, nothing, nothing, false};
  const int x = best % side, y = best / side;
  Peak peak{double(x - side / 2), double(y - side / 2), 0, 0, 0, 0, 0, 0, true};
  double squares = 0;
  int count = 0;
  for (int j = 0; j < side; ++j) {
    for (int i = 0; i < side; ++i) {
      const float value = surface.values[j * side + i];
      if (std::isnan(value) || (std::abs(i - x) <= apart && std::abs(j - y) <= apart)) continue;
      peak.next = std::max<double>(peak.next, value);
      squares += static_cast<double>(value) * value;
      ++count;
    }
  }
  peak.spread = count ? std::sqrt(squares / count) : 0;
  for (int j = -1; j <= 1; ++j)
    for (int i = -1; i <= 1; ++i) peak.inner = peak.inner && surface.known(x + i, y + j);
  climb(Spline(surface, x, y), peak);
  return peak;
}

}  // namespace tops
