// Distances of points to the surface of a triangle mesh, exact up to a reach.
//
// Triangles are listed by the cells of a grid that their boxes meet; a point looks at the cells around it, nearest first.

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <limits>
#include <stdexcept>
#include <utility>
#include <vector>

#include "points.hpp"
#include "vectors.hpp"

namespace py = pybind11;

namespace {

using Point = points::Point<double>;
using Cell = std::array<int64_t, 3>;
using Face = std::array<uint32_t, 3>;

class Surface {
 public:
  Surface(std::vector<Point> points, std::vector<Face> faces, double side)
      : points_(std::move(points)), faces_(std::move(faces)), side_(side) {
    while (slots_ < 2 * faces_.size()) slots_ *= 2;
    starts_.assign(slots_ + 1, 0);
    each([this](size_t slot, uint32_t) { ++starts_[slot + 1]; });
    for (size_t i = 1; i <= slots_; ++i) starts_[i] += starts_[i - 1];
    listed_.resize(starts_[slots_]);
    std::vector<size_t> at(starts_.begin(), starts_.end() - 1);
    each([this, &at](size_t slot, uint32_t face) { listed_[at[slot]++] = face; });
  }

  double to(const Point& p, double reach) const {
    const Cell home = cell(p);
    const auto rings = static_cast<int64_t>(std::ceil(reach / side_));
    double best = std::numeric_limits<double>::infinity();
    for (int64_t ring = 0; ring <= rings; ++ring) {
      look(p, home, ring, best);
      if (best <= ring * side_ * ring * side_) break;  // nothing nearer lies farther out
    }
    return best <= reach * reach ? std::sqrt(best) : std::numeric_limits<double>::infinity();
  }

 private:
  Cell cell(const Point& p) const {
    Cell at;
    for (int i = 0; i < 3; ++i) at[i] = static_cast<int64_t>(std::floor(p[i] / side_));
    return at;
  }

  size_t slot(const Cell& at) const {
    uint64_t mixed = 0;
    for (int i = 0; i < 3; ++i) mixed = (mixed ^ static_cast<uint64_t>(at[i])) * 0x9E3779B97F4A7C15ull, mixed ^= mixed >> 29;
    return mixed & (slots_ - 1);
  }

  template <class Visit>
  void each(const Visit& visit) const {
    for (uint32_t f = 0; f < faces_.size(); ++f) {
      const Point &a = points_[faces_[f][0]], &b = points_[faces_[f][1]], &c = points_[faces_[f][2]];
      Point low, high;
      for (int i = 0; i < 3; ++i) {
        low[i] = std::min({a[i], b[i], c[i]});
        high[i] = std::max({a[i], b[i], c[i]});
      }
      const Cell from = cell(low), to = cell(high);
      for (int64_t z = from[2]; z <= to[2]; ++z)
        for (int64_t y = from[1]; y <= to[1]; ++y)
          for (int64_t x = from[0]; x <= to[0]; ++x) visit(slot({x, y, z}), f);
    }
  }

  // The cells at this distance, in cells, from `home`.
  void look(const Point& p, const Cell& home, int64_t ring, double& best) const {
    for (int64_t z = -ring; z <= ring; ++z)
      for (int64_t y = -ring; y <= ring; ++y) {
        const bool side = std::abs(z) == ring || std::abs(y) == ring;
        const int64_t step = side || ring == 0 ? 1 : 2 * ring;
        for (int64_t x = -ring; x <= ring; x += step) {
          const size_t at = slot({home[0] + x, home[1] + y, home[2] + z});
          for (size_t i = starts_[at]; i < starts_[at + 1]; ++i) {
            const Face& face = faces_[listed_[i]];
            best = std::min(best, points::squared_distance(p, points_[face[0]], points_[face[1]], points_[face[2]]));
          }
        }
      }
  }

  std::vector<Point> points_;
  std::vector<Face> faces_;
  double side_;
  size_t slots_ = 16;
  std::vector<size_t> starts_;
  std::vector<uint32_t> listed_;
};

// Cells of about the size of the triangles, of which few are then met by more than a few.
double side_for(const std::vector<Point>& points, const std::vector<Face>& faces, double reach) {
  double sum = 0;
  for (const Face& face : faces) {
    const Point along = points::minus(points[face[1]], points[face[0]]);
    sum += std::sqrt(points::dot(along, along));
  }
  return std::max(faces.empty() ? reach : sum / static_cast<double>(faces.size()), reach / 8);
}

void check_places(const std::vector<Point>& points, double reach) {
  for (const Point& point : points)
    for (double value : point)
      if (!(std::abs(value) < 1e15 * reach)) throw std::invalid_argument("a coordinate is too far away, or no number");
}

py::array_t<double> distances(const vectors::Given<double>& asked, const vectors::Given<double>& vertices,
                              const vectors::Given<uint32_t>& triangles, double reach) {
  const std::vector<Point> from = vectors::copied(asked);
  std::vector<Point> points = vectors::copied(vertices);
  std::vector<Face> faces = vectors::copied(triangles);
  vectors::check_corners(faces, points.size());
  if (!(reach > 0)) throw std::invalid_argument("the reach is a positive length");
  check_places(from, reach);
  check_places(points, reach);
  py::array_t<double> found(static_cast<py::ssize_t>(from.size()));
  double* to = found.mutable_data();
  py::gil_scoped_release release;
  const double side = side_for(points, faces, reach);
  const Surface surface(std::move(points), std::move(faces), side);
  for (size_t i = 0; i < from.size(); ++i) to[i] = surface.to(from[i], reach);
  return found;
}

}  // namespace

PYBIND11_MODULE(distance, m) {
  m.doc() = "Distances of points to a triangle mesh.";
  m.def("distances", &distances, py::arg("points"), py::arg("vertices"), py::arg("faces"), py::arg("reach"));
}
