// A block of voxels, x fastest, and the 26 steps from a voxel to those around it.

#pragma once

#include <array>
#include <cmath>
#include <cstdint>

namespace igneous {

using Voxel = uint32_t;  // a linear index; blocks have fewer than 2^32 - 1 voxels
struct Point {
  int32_t x, y, z;
};

class Lattice {
 public:
  static constexpr int kSteps = 26;

  Lattice(const std::array<int64_t, 3>& shape, const std::array<double, 3>& spacing) : shape(shape), spacing(spacing) {
    int k = 0;
    for (int z = -1; z <= 1; ++z)
      for (int y = -1; y <= 1; ++y)
        for (int x = -1; x <= 1; ++x)
          if (x || y || z) {
            step[k] = {x, y, z};
            offset[k++] = x + shape[0] * (y + shape[1] * z);
          }
  }

  int64_t voxels() const { return shape[0] * shape[1] * shape[2]; }

  Point point(Voxel voxel) const {
    const auto sx = static_cast<Voxel>(shape[0]), sy = static_cast<Voxel>(shape[1]);
    const Voxel row = voxel / sx, z = row / sy;
    return {static_cast<int32_t>(voxel - row * sx), static_cast<int32_t>(row - z * sy), static_cast<int32_t>(z)};
  }

  Voxel voxel(const Point& p) const { return static_cast<Voxel>(p.x + shape[0] * (p.y + shape[1] * p.z)); }

  bool inside(const Point& p) const {
    return p.x >= 0 && p.y >= 0 && p.z >= 0 && p.x < shape[0] && p.y < shape[1] && p.z < shape[2];
  }

  // Whether some of the steps from here lead out of the block.
  bool outermost(const Point& p) const {
    return p.x == 0 || p.y == 0 || p.z == 0 || p.x + 1 == shape[0] || p.y + 1 == shape[1] || p.z + 1 == shape[2];
  }

  // Calls visit(voxel, k) for each step k that stays inside; `edge` may be false only where all do.
  template <class Visit>
  void around(Voxel voxel, bool edge, Visit visit) const {
    if (!edge) {
      for (int k = 0; k < kSteps; ++k) visit(static_cast<Voxel>(voxel + offset[k]), k);
      return;
    }
    const Point p = point(voxel);
    for (int k = 0; k < kSteps; ++k)
      if (inside({p.x + step[k].x, p.y + step[k].y, p.z + step[k].z}))
        visit(static_cast<Voxel>(voxel + offset[k]), k);
  }

  double length(int k) const {
    const double x = step[k].x * spacing[0], y = step[k].y * spacing[1], z = step[k].z * spacing[2];
    return std::sqrt(x * x + y * y + z * z);
  }

  std::array<int64_t, 3> shape;
  std::array<double, 3> spacing;
  std::array<Point, kSteps> step;
  std::array<int64_t, kSteps> offset;
};

}  // namespace igneous
