// Quadric error metrics: Garland & Heckbert 1997 (SIGGRAPH), each about the position of its own vertex.
//
// A quadric is a weighted sum of squared distances to planes. Kept about the vertex itself, its numbers stay small, so that
// single precision is enough far from the origin.

#pragma once

#include <algorithm>
#include <cmath>

#include "points.hpp"

namespace quadric {

using Point = points::Point<float>;

struct Quadric {
  float xx = 0, yy = 0, zz = 0, xy = 0, xz = 0, yz = 0;  // of second order
  Point linear{};
  float constant = 0;
  float weight = 0;  // the area of all planes

  // A plane through the vertex; the length of `normal` is twice the area that it stands for.
  void add_plane(const Point& normal) {
    const float length = std::sqrt(points::dot(normal, normal));
    if (length <= 0) return;
    const float by = 0.5f / length;
    xx += by * normal[0] * normal[0];
    yy += by * normal[1] * normal[1];
    zz += by * normal[2] * normal[2];
    xy += by * normal[0] * normal[1];
    xz += by * normal[0] * normal[2];
    yz += by * normal[1] * normal[2];
    weight += 0.5f * length;
  }

  Point apply(const Point& p) const {
    return {xx * p[0] + xy * p[1] + xz * p[2], xy * p[0] + yy * p[1] + yz * p[2], xz * p[0] + yz * p[1] + zz * p[2]};
  }

  float at(const Point& p) const {
    return std::max(0.0f, points::dot(p, apply(p)) + 2 * points::dot(linear, p) + constant);
  }

  // The same about a point that lies `by` from the old one.
  Quadric moved(const Point& by) const {
    Quadric to = *this;
    to.constant = at(by);
    to.linear = points::plus(linear, apply(by));
    return to;
  }

  void add(const Quadric& other) {
    xx += other.xx;
    yy += other.yy;
    zz += other.zz;
    xy += other.xy;
    xz += other.xz;
    yz += other.yz;
    linear = points::plus(linear, other.linear);
    constant += other.constant;
    weight += other.weight;
  }

  // The lowest point, drawn towards `near` by a little: there is one on flat ground, too.
  Point lowest(const Point& near) const {
    constexpr float kPull = 1e-3f;
    const float pull = kPull * (xx + yy + zz) + 1e-30f;
    const float a = xx + pull, b = yy + pull, c = zz + pull;
    const Point right = points::minus(points::times(near, pull), linear);
    const float i = b * c - yz * yz, j = xz * yz - xy * c, k = xy * yz - b * xz;
    const float det = a * i + xy * j + xz * k;
    if (!(det > 0)) return near;
    const float l = a * c - xz * xz, m = xy * xz - a * yz, n = a * b - xy * xy;
    const Point found = {i * right[0] + j * right[1] + k * right[2], j * right[0] + l * right[1] + m * right[2],
                         k * right[0] + m * right[1] + n * right[2]};
    return points::times(found, 1 / det);
  }
};

}  // namespace quadric
