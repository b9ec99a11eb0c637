// A mesh cut along the planes of a grid, box by box.
//
// Vertices are integers. Where an edge meets a plane it gets one vertex, rounded, which all faces at the edge share: put
// together, the boxes hold the same closed surface, its faces divided, without cracks.

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <limits>
#include <map>
#include <stdexcept>
#include <unordered_map>
#include <utility>
#include <vector>

#include "vectors.hpp"

namespace py = pybind11;

namespace {

using Point = std::array<int64_t, 3>;
using Face = std::array<uint32_t, 3>;
using Box = std::array<uint32_t, 3>;

struct Fragment {
  std::vector<std::array<uint32_t, 3>> points;
  std::vector<Face> faces;
};

// The planes of one axis: at the multiples of `side`, and where asked for at `half` above them.
struct Planes {
  int64_t side, half;

  // The first plane above `at`.
  int64_t above(int64_t at) const {
    const int64_t base = at / side * side;
    return half && at < base + half ? base + half : base + side;
  }
};

class Cutter {
 public:
  Cutter(std::vector<Point>& points, Planes planes) : points_(points), planes_(planes) {}

  std::vector<Face> run(std::vector<Face> faces) {
    for (axis_ = 0; axis_ < 3; ++axis_) {
      vertices_.clear();
      std::vector<Face> whole;
      whole.reserve(faces.size());
      while (!faces.empty()) {
        const Face face = faces.back();
        faces.pop_back();
        if (!cut(face, faces)) whole.push_back(face);
      }
      std::reverse(whole.begin(), whole.end());
      faces.swap(whole);
    }
    return faces;
  }

 private:
  struct Hash {
    size_t operator()(uint64_t edge) const { return (edge ^ edge >> 29) * 0x9E3779B97F4A7C15ull; }
  };

  int64_t place(uint32_t vertex) const { return points_[vertex][axis_]; }

  // Cuts a face along the lowest plane that parts it; its parts go to `out`.
  bool cut(const Face& face, std::vector<Face>& out) {
    const auto [low, high] = std::minmax({place(face[0]), place(face[1]), place(face[2])});
    const int64_t plane = planes_.above(low);
    if (plane >= high) return false;
    // Begin with the corner that is alone on its side, or lies on the plane.
    for (int i = 0; i < 3; ++i) {
      const uint32_t a = face[i], b = face[(i + 1) % 3], c = face[(i + 2) % 3];
      const int64_t pa = place(a) - plane, pb = place(b) - plane, pc = place(c) - plane;
      if (pa == 0) {
        const uint32_t m = meet(b, c, plane);
        out.push_back({a, m, c});
        out.push_back({a, b, m});
        return true;
      }
      if (pb != 0 && pc != 0 && (pb < 0) == (pc < 0) && (pa < 0) != (pb < 0)) {
        const uint32_t m = meet(a, b, plane), n = meet(a, c, plane);
        out.push_back({m, c, n});
        out.push_back({m, b, c});
        out.push_back({a, m, n});
        return true;
      }
    }
    return false;
  }

  // The vertex at which the edge meets the plane.
  uint32_t meet(uint32_t u, uint32_t v, int64_t plane) {
    if (u > v) std::swap(u, v);
    const auto added = vertices_.try_emplace(static_cast<uint64_t>(u) << 32 | v, Met{});
    std::vector<std::pair<int64_t, uint32_t>>& known = added.first->second.at;
    for (const auto& [where, vertex] : known)
      if (where == plane) return vertex;
    const Point a = points_[u], b = points_[v];
    const int64_t part = plane - a[axis_], whole = b[axis_] - a[axis_];
    Point point;
    for (int i = 0; i < 3; ++i) point[i] = a[i] + rounded((b[i] - a[i]) * part, whole);
    point[axis_] = plane;
    if (points_.size() >= std::numeric_limits<uint32_t>::max()) throw std::length_error("the mesh becomes too large");
    known.emplace_back(plane, static_cast<uint32_t>(points_.size()));
    points_.push_back(point);
    return known.back().second;
  }

  static int64_t rounded(int64_t value, int64_t by) {
    if (by < 0) value = -value, by = -by;
    const int64_t doubled = 2 * value + by, floor = doubled / (2 * by);
    return floor - (doubled % (2 * by) < 0);
  }

  struct Met {
    std::vector<std::pair<int64_t, uint32_t>> at;
  };

  std::vector<Point>& points_;
  const Planes planes_;
  int axis_ = 0;
  std::unordered_map<uint64_t, Met, Hash> vertices_;
};

// Boxes in the order of a Z curve through them, x first.
struct ZOrder {
  bool operator()(const Box& a, const Box& b) const {
    int axis = 2;
    for (int i = 1; i >= 0; --i)
      if (highest(a[i] ^ b[i], a[axis] ^ b[axis])) axis = i;
    return a[axis] < b[axis];
  }

  // Whether the highest bit of `x` is above that of `y`.
  static bool highest(uint32_t x, uint32_t y) { return x > y && (x ^ y) > y; }
};

using Fragments = std::map<Box, Fragment, ZOrder>;

Fragments sorted(const std::vector<Point>& points, const std::vector<Face>& faces, int64_t side) {
  std::map<Box, std::vector<Face>, ZOrder> boxes;
  for (const Face& face : faces) {
    const Point &a = points[face[0]], &b = points[face[1]], &c = points[face[2]];
    if (a == b || b == c || c == a) continue;
    Box box;
    for (int i = 0; i < 3; ++i) {
      const auto [low, high] = std::minmax({a[i], b[i], c[i]});
      const int64_t at = low / side;
      box[i] = static_cast<uint32_t>(low == high && at > 0 && at * side == low ? at - 1 : at);
    }
    boxes[box].push_back(face);
  }
  Fragments fragments;
  std::vector<uint32_t> number(points.size());
  std::vector<uint32_t> of(points.size(), 0);
  uint32_t epoch = 0;
  for (auto& [box, listed] : boxes) {
    ++epoch;
    Fragment& fragment = fragments[box];
    for (Face& face : listed) {
      for (uint32_t& corner : face) {
        if (of[corner] != epoch) {
          of[corner] = epoch;
          number[corner] = static_cast<uint32_t>(fragment.points.size());
          std::array<uint32_t, 3> local;
          for (int i = 0; i < 3; ++i) local[i] = static_cast<uint32_t>(points[corner][i] - side * box[i]);
          fragment.points.push_back(local);
        }
        corner = number[corner];
      }
      fragment.faces.push_back(face);
    }
  }
  return fragments;
}

py::list split(const vectors::Given<int64_t>& vertices, const vectors::Given<uint32_t>& triangles, int64_t side, int64_t half) {
  std::vector<Point> points = vectors::copied(vertices);
  std::vector<Face> faces = vectors::copied(triangles);
  vectors::check_corners(faces, points.size());
  if (side < 1 || side > 1 << 20 || half < 0 || half >= side) throw std::invalid_argument("boxes have sides of 1 to 2**20");
  for (const Point& point : points)
    for (int64_t value : point)
      if (value < 0 || value > int64_t{1} << 30) throw std::invalid_argument("coordinates go from 0 to 2**30");
  Fragments fragments;
  {
    py::gil_scoped_release release;
    faces = Cutter(points, {side, half}).run(std::move(faces));
    fragments = sorted(points, faces, side);
  }
  py::list out;
  for (auto& [box, fragment] : fragments)
    out.append(py::make_tuple(box, vectors::rows(std::move(fragment.points)), vectors::rows(std::move(fragment.faces))));
  return out;
}

}  // namespace

PYBIND11_MODULE(octree, m) {
  m.doc() = "A mesh cut along the planes of a grid.";
  m.def("split", &split, py::arg("vertices"), py::arg("faces"), py::arg("side"), py::arg("half"));
}
