// Points and directions in space, and the distance of a point to a triangle.

#pragma once

#include <array>

namespace points {

template <class T>
using Point = std::array<T, 3>;

template <class T>
Point<T> minus(const Point<T>& a, const Point<T>& b) {
  return {a[0] - b[0], a[1] - b[1], a[2] - b[2]};
}

template <class T>
Point<T> plus(const Point<T>& a, const Point<T>& b) {
  return {a[0] + b[0], a[1] + b[1], a[2] + b[2]};
}

template <class T>
Point<T> times(const Point<T>& a, T by) {
  return {a[0] * by, a[1] * by, a[2] * by};
}

template <class T>
T dot(const Point<T>& a, const Point<T>& b) {
  return a[0] * b[0] + a[1] * b[1] + a[2] * b[2];
}

template <class T>
Point<T> cross(const Point<T>& a, const Point<T>& b) {
  return {a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]};
}

// Outwards, twice as long as the triangle is large.
template <class T>
Point<T> normal(const Point<T>& a, const Point<T>& b, const Point<T>& c) {
  return cross(minus(b, a), minus(c, a));
}

// The squared length of from - s * along - t * other.
template <class T>
T rest(const Point<T>& from, const Point<T>& along, T s, const Point<T>& other, T t) {
  const Point<T> off = minus(minus(from, times(along, s)), times(other, t));
  return dot(off, off);
}

// The squared distance of p to the triangle a, b, c, which may be flat: Ericson 2005, Real-Time Collision Detection, 5.1.5.
template <class T>
T squared_distance(const Point<T>& p, const Point<T>& a, const Point<T>& b, const Point<T>& c) {
  const Point<T> ab = minus(b, a), ac = minus(c, a), ap = minus(p, a);
  const T d1 = dot(ab, ap), d2 = dot(ac, ap);
  if (d1 <= 0 && d2 <= 0) return dot(ap, ap);
  const Point<T> bp = minus(p, b);
  const T d3 = dot(ab, bp), d4 = dot(ac, bp);
  if (d3 >= 0 && d4 <= d3) return dot(bp, bp);
  const T vc = d1 * d4 - d3 * d2;
  if (vc <= 0 && d1 >= 0 && d3 <= 0 && d1 > d3) return rest(ap, ab, d1 / (d1 - d3), ac, T{0});
  const Point<T> cp = minus(p, c);
  const T d5 = dot(ab, cp), d6 = dot(ac, cp);
  if (d6 >= 0 && d5 <= d6) return dot(cp, cp);
  const T vb = d5 * d2 - d1 * d6;
  if (vb <= 0 && d2 >= 0 && d6 <= 0 && d2 > d6) return rest(ap, ab, T{0}, ac, d2 / (d2 - d6));
  const T va = d3 * d6 - d5 * d4;
  if (va <= 0 && d4 - d3 >= 0 && d5 - d6 >= 0) {
    const T w = (d4 - d3) / ((d4 - d3) + (d5 - d6));
    return rest(ap, ab, 1 - w, ac, w);
  }
  const T whole = va + vb + vc;
  return rest(ap, ab, vb / whole, ac, vc / whole);
}

}  // namespace points
