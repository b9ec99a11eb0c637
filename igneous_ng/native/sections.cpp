// Areas of cuts across objects: the voxels of one label that a plane meets, followed from one voxel on, and of each the
// polygon that the plane cuts out of it.

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <algorithm>
#include <cmath>
#include <stdexcept>
#include <vector>

#include "lattice.hpp"

namespace py = pybind11;

namespace {

using namespace igneous;
using Labels = py::array_t<uint32_t, py::array::f_style>;
using Rows = py::array_t<int64_t, py::array::c_style | py::array::forcecast>;
using Vectors = py::array_t<double, py::array::c_style | py::array::forcecast>;
using Vec = std::array<double, 3>;

Vec cross(const Vec& a, const Vec& b) {
  return {a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]};
}

// The area that the plane normal * x = away, normal of length 1, cuts out of a box of `sides` around the origin.
double cut(const Vec& normal, double away, const Vec& sides) {
  Vec points[12];
  int count = 0;
  for (int axis = 0; axis < 3; ++axis) {  // edges along this axis
    const int u = (axis + 1) % 3, v = (axis + 2) % 3;
    if (std::abs(normal[axis]) < 1e-12) continue;
    for (int corner = 0; corner < 4; ++corner) {
      Vec p;
      p[u] = (corner & 1 ? 0.5 : -0.5) * sides[u];
      p[v] = (corner & 2 ? 0.5 : -0.5) * sides[v];
      p[axis] = (away - normal[u] * p[u] - normal[v] * p[v]) / normal[axis];
      if (std::abs(p[axis]) <= 0.5 * sides[axis]) points[count++] = p;
    }
  }
  if (count < 3) return 0;
  const Vec first = std::abs(normal[0]) < 0.9 ? Vec{1, 0, 0} : Vec{0, 1, 0};
  const Vec e = cross(normal, first), f = cross(normal, e);
  Vec middle = {0, 0, 0};
  for (int i = 0; i < count; ++i)
    for (int k = 0; k < 3; ++k) middle[k] += points[i][k] / count;
  std::array<std::array<double, 3>, 12> flat;  // angle, and the two coordinates in the plane
  for (int i = 0; i < count; ++i) {
    double x = 0, y = 0;
    for (int k = 0; k < 3; ++k) x += (points[i][k] - middle[k]) * e[k], y += (points[i][k] - middle[k]) * f[k];
    flat[i] = {std::atan2(y, x), x, y};
  }
  std::sort(flat.begin(), flat.begin() + count);
  double twice = 0;
  for (int i = 0; i < count; ++i) {
    const auto &a = flat[i], &b = flat[(i + 1) % count];
    twice += a[1] * b[2] - a[2] * b[1];
  }
  double size = 0;  // e and f are of this length, not of 1
  for (int k = 0; k < 3; ++k) size += e[k] * e[k];
  return 0.5 * std::abs(twice) / size;
}

class Sections {
 public:
  Sections(const Lattice& lattice, const uint32_t* labels)
      : lattice_(lattice), labels_(labels), seen_(lattice.voxels(), false) {}

  // The area across the object at a voxel; negative where the cut reaches the edge of the block.
  double area(Voxel start, const Vec& normal) {
    const Point centre = lattice_.point(start);
    const auto& s = lattice_.spacing;
    const double reach = 0.5 * (std::abs(normal[0]) * s[0] + std::abs(normal[1]) * s[1] + std::abs(normal[2]) * s[2]);
    double total = 0;
    bool open = false;
    found_.assign(1, start);
    seen_[start] = true;
    for (size_t at = 0; at < found_.size(); ++at) {
      const Point p = lattice_.point(found_[at]);
      const bool edge = lattice_.outermost(p);
      open |= edge;
      total += cut(normal, distance(centre, p, normal), s);
      lattice_.around(found_[at], edge, [&](Voxel next, int k) {
        if (seen_[next] || labels_[next] != labels_[start]) return;
        const Point& step = lattice_.step[k];
        if (std::abs(distance(centre, {p.x + step.x, p.y + step.y, p.z + step.z}, normal)) >= reach) return;
        seen_[next] = true;
        found_.push_back(next);
      });
    }
    for (const Voxel voxel : found_) seen_[voxel] = false;
    return open ? -total : total;
  }

 private:
  // Where the plane through the centre lies, seen from the voxel at p.
  double distance(const Point& centre, const Point& p, const Vec& normal) const {
    const auto& s = lattice_.spacing;
    return normal[0] * (centre.x - p.x) * s[0] + normal[1] * (centre.y - p.y) * s[1] +
           normal[2] * (centre.z - p.z) * s[2];
  }

  const Lattice& lattice_;
  const uint32_t* labels_;
  std::vector<bool> seen_;
  std::vector<Voxel> found_;
};

Vec unit(const double* row) {
  const double length = std::sqrt(row[0] * row[0] + row[1] * row[1] + row[2] * row[2]);
  if (!(length > 0) || !std::isfinite(length)) throw std::invalid_argument("a normal without a direction");
  return {row[0] / length, row[1] / length, row[2] / length};
}

py::array_t<float> areas(const Labels& labels, const std::array<double, 3>& spacing, const Rows& voxels,
                         const Vectors& normals) {
  if (labels.ndim() != 3 || voxels.ndim() != 2 || voxels.shape(1) != 3 || normals.ndim() != 2 ||
      normals.shape(1) != 3 || normals.shape(0) != voxels.shape(0))
    throw std::invalid_argument("a block and as many voxels as normals are wanted, in rows of three");
  for (const double side : spacing)
    if (!(side > 0) || !std::isfinite(side)) throw std::invalid_argument("voxels must have a size");
  const Lattice lattice({labels.shape(0), labels.shape(1), labels.shape(2)}, spacing);
  if (lattice.voxels() >= 4294967295) throw std::invalid_argument("2^32 voxels or more");
  const py::ssize_t count = voxels.shape(0);
  std::vector<Voxel> starts(count);
  std::vector<Vec> units(count);
  for (py::ssize_t i = 0; i < count; ++i) {
    const int64_t* row = voxels.data() + 3 * i;
    for (int axis = 0; axis < 3; ++axis)
      if (row[axis] < 0 || row[axis] >= lattice.shape[axis]) throw std::invalid_argument("a voxel outside");
    starts[i] = static_cast<Voxel>(row[0] + lattice.shape[0] * (row[1] + lattice.shape[1] * row[2]));
    units[i] = unit(normals.data() + 3 * i);
  }
  py::array_t<float> found(count);
  float* out = found.mutable_data();
  {
    py::gil_scoped_release release;
    Sections sections(lattice, labels.data());
    for (py::ssize_t i = 0; i < count; ++i) out[i] = static_cast<float>(sections.area(starts[i], units[i]));
  }
  return found;
}

}  // namespace

PYBIND11_MODULE(sections, m) { m.def("areas", &areas); }
