// Basins of a block of affinities: the voxels that are joined when each joins over its best face.
//
// The faces that join are known from the voxel, its six neighbours and theirs (one round of Boruvka's minimum spanning
// tree, on faces in a strict order). A row of voxels is cut into runs that are joined along x; runs of neighbouring rows
// are united in Tarjan's sets. A set is called by its first run, so basins are numbered by first voxels. What is done for
// every voxel has no branches: a list takes each place and keeps those that matter, and only these are looked at.

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <stdexcept>
#include <utility>
#include <vector>

#include "sets.hpp"

namespace py = pybind11;

namespace {

using Vec3 = std::array<int64_t, 3>;
using Affinities = py::array_t<uint8_t, py::array::f_style>;

constexpr int kWide = 4;      // voxels of a run that are written at once; what is too much the next run replaces
constexpr uint32_t kNothing = 1u << 31;  // marks the start of a run of voxels that are in no basin
constexpr uint8_t kNone = 6;  // no face is good enough; 0 to 2 are those before a voxel along x, y, z, 3 to 5 those behind

// The basins of a block, as runs.
class Basins {
 public:
  Basins(Vec3 shape, uint64_t base, std::vector<uint32_t> starts, const std::vector<uint32_t>& slices, disjoint::Sets<uint32_t> sets)
      : shape_(shape), base_(base), starts_(std::move(starts)), slices_(slices), sets_(std::move(sets)) {
    int64_t at = 0;
    each(0, shape_[2], [&](uint32_t run, int64_t count, int sides) {
      if (!(starts_[run] & kNothing)) add(run, at, count, sides);
      at += count;
    });
  }

  // Give the voxels of slices from start on the ids of their basins.
  void paint(int64_t start, int64_t count, uint64_t* to) const {
    const uint64_t* const last = to + shape_[0] * shape_[1] * count - kWide;
    each(start, start + count, [&](uint32_t run, int64_t length, int) {
      const uint64_t id = starts_[run] & kNothing ? 0 : base_ + sets_.number(run) + 1;
      uint64_t* const end = to + length;
      if (end > last)
        std::fill(to, end, id);
      else
        for (; to < end; to += kWide) std::fill(to, to + kWide, id);
      to = end;
    });
  }

  const Vec3& shape() const { return shape_; }

  std::vector<int64_t> size, first;
  std::vector<uint8_t> faces;

 private:
  // Visit the runs of slices: which it is, its voxels, and the faces of the block that it touches.
  template <class Visit>
  void each(int64_t start, int64_t stop, Visit visit) const {
    const auto [nx, ny, nz] = shape_;
    uint32_t run = slices_[start];
    for (int64_t z = start; z < stop; ++z)
      for (int64_t y = 0; y < ny; ++y) {
        const int sides = (y == 0) << 2 | (y == ny - 1) << 3 | (z == 0) << 4 | (z == nz - 1) << 5;
        for (int64_t x = 0; x < nx; ++run) {
          const uint32_t next = starts_[run + 1] & ~kNothing;  // 0: the next row begins
          const int64_t end = next ? next : nx;
          visit(run, end - x, sides | (x == 0) | (end == nx) << 1);
          x = end;
        }
      }
  }

  void add(uint32_t run, int64_t at, int64_t voxels, int sides) {
    const uint32_t basin = sets_.enumerate(run, static_cast<uint32_t>(size.size()));
    if (basin == size.size()) {
      size.push_back(0);
      first.push_back(at);
      faces.push_back(0);
    }
    size[basin] += voxels;
    faces[basin] |= static_cast<uint8_t>(sides);
  }

  Vec3 shape_;
  uint64_t base_;
  std::vector<uint32_t> starts_;  // of runs in their rows, and 0
  std::vector<uint32_t> slices_;  // their first runs
  disjoint::Sets<uint32_t> sets_;
};

// Affinities [nx + 3, ny + 3, nz + 3, 3] of a block, of the voxel before it and of the two behind it along each axis.
class Shed {
 public:
  Shed(const Affinities& aff, int low, int high)
      : data_(aff.data()), wide_(aff.shape(0)), plane_(wide_ * aff.shape(1)), channel_(plane_ * aff.shape(2)),
        nx_(wide_ - 3), ny_(aff.shape(1) - 3), nz_(aff.shape(2) - 3),
        low_(static_cast<uint8_t>(low)), high_(static_cast<uint8_t>(high)),
        sums_(3 * (nx_ + 2) * (ny_ + 2)), best_(2 * nx_ * ny_, kNone), cuts_(2 * nx_ * ny_), runs_(2 * nx_ * ny_),
        joins_(nx_ + 1), places_(nx_ + 1) {}

  Basins run(uint64_t base) {
    sum(-1);
    sum(0);
    for (int64_t z = 0; z < nz_; ++z) {
      sum(z + 1);
      slices_.push_back(count_);
      for (int64_t y = 0; y < ny_; ++y) {
        choose(y, z);
        cut(y, z);
        if (y > 0) tie(y, z, y - 1, z, 1);
        if (z > 0) tie(y, z, y, z - 1, 2);
      }
    }
    starts_.resize(count_ + 1);
    starts_[count_] = 0;
    return {{nx_, ny_, nz_}, base, std::move(starts_), slices_, std::move(sets_)};
  }

 private:
  const uint8_t* row(int axis, int64_t y, int64_t z) const {
    return data_ + axis * channel_ + (z + 1) * plane_ + (y + 1) * wide_ + 1;
  }
  uint16_t* sums(int64_t y, int64_t z) { return sums_.data() + ((z + 1) % 3 * (ny_ + 2) + y + 1) * (nx_ + 2) + 1; }
  size_t kept(int64_t y, int64_t z) const { return ((z & 1) * ny_ + y) * nx_; }  // where a row of two planes lies
  uint8_t* best(int64_t y, int64_t z) { return best_.data() + kept(y, z); }

  // The sums of the faces of each voxel of a plane, and of the voxels around it, that may join; times 8.
  void sum(int64_t z) {
    const uint8_t low = low_;
    const auto counted = [low](uint8_t value) { return static_cast<uint16_t>(value > low ? value : 0); };
    for (int64_t y = -1; y <= ny_; ++y) {
      const uint8_t *x0 = row(0, y, z), *y0 = row(1, y, z), *z0 = row(2, y, z);
      const uint8_t *y1 = row(1, y + 1, z), *z1 = row(2, y, z + 1);
      uint16_t* to = sums(y, z);
      for (int64_t x = -1; x <= nx_; ++x)
        to[x] = static_cast<uint16_t>((counted(x0[x]) + counted(y0[x]) + counted(z0[x]) + counted(x0[x + 1]) + counted(y1[x]) + counted(z1[x])) << 3);
    }
  }

  // The best face of each voxel of a row. Of its highest that to the voxel of the highest sum; of these the first, for
  // the faces are in the order of their numbers.
  void choose(int64_t y, int64_t z) {
    const uint8_t *x0 = row(0, y, z), *y0 = row(1, y, z), *z0 = row(2, y, z);
    const uint8_t *x1 = x0 + 1, *y1 = row(1, y + 1, z), *z1 = row(2, y, z + 1);
    const uint16_t *own = sums(y, z), *yb = sums(y - 1, z), *zb = sums(y, z - 1), *ya = sums(y + 1, z), *za = sums(y, z + 1);
    uint8_t* to = best(y, z);
    const uint8_t low = low_;
    const int64_t nx = nx_;  // the compiler must see that no store changes it
    for (int64_t x = 0; x < nx; ++x) {
      const uint8_t top = std::max(std::max(std::max(x0[x], y0[x]), std::max(z0[x], x1[x])), std::max(y1[x], z1[x]));
      const auto rank = [top](uint8_t value, uint16_t sum, int order) {
        return static_cast<int16_t>(value == top ? sum | order : 0);
      };
      int16_t found = rank(x0[x], own[x - 1], 5);
      found = std::max(found, rank(y0[x], yb[x], 4));
      found = std::max(found, rank(z0[x], zb[x], 3));
      found = std::max(found, rank(x1[x], own[x + 1], 2));
      found = std::max(found, rank(y1[x], ya[x], 1));
      found = std::max(found, rank(z1[x], za[x], 0));
      to[x] = static_cast<uint8_t>(top > low ? 5 - (found & 7) : kNone);
    }
  }

  // Cut a row into runs that are joined along x, and one for all voxels that follow each other and join nothing.
  void cut(int64_t y, int64_t z) {
    const uint8_t *face = best(y, z), *aff = row(0, y, z);
    uint8_t* cuts = cuts_.data() + kept(y, z);
    cuts[0] = 1;
    const uint8_t high = high_;
    const int64_t nx = nx_;
    for (int64_t x = 1; x < nx; ++x)
      cuts[x] = !((face[x] == 0) | (face[x - 1] == 3) | (aff[x] >= high) | ((face[x] == kNone) & (face[x - 1] == kNone)));
    if (static_cast<int64_t>(starts_.size()) < count_ + nx_ + 1) starts_.resize(starts_.size() * 2 + nx_ + 1);
    uint32_t* runs = runs_.data() + kept(y, z);
    uint32_t* starts = starts_.data();
    uint32_t count = count_;
    for (int64_t x = 0; x < nx; ++x) {
      starts[count] = static_cast<uint32_t>(x) | (face[x] == kNone ? kNothing : 0);
      count += cuts[x];
      runs[x] = count - 1;
    }
    sets_.grow(count_ = count);
  }

  // Unite the runs of a row with those of one before it along an axis: where a face joins, unless it is between the
  // same two runs as the face before it, which joins, too.
  void tie(int64_t y, int64_t z, int64_t before_y, int64_t before_z, uint8_t axis) {
    const size_t here = kept(y, z), there = kept(before_y, before_z);
    const uint8_t *own = best_.data() + here, *before = best_.data() + there, *aff = row(axis, y, z);
    const uint8_t *cuts = cuts_.data() + here, *others = cuts_.data() + there;
    const auto behind = static_cast<uint8_t>(axis + 3);
    const uint8_t high = high_;
    uint8_t* joins = joins_.data() + 1;  // the first of all is 0
    const int64_t nx = nx_;
    for (int64_t x = 0; x < nx; ++x) joins[x] = (own[x] == axis) | (before[x] == behind) | (aff[x] >= high);
    uint32_t* places = places_.data();
    size_t count = 0;
    for (int64_t x = 0; x < nx; ++x) {
      places[count] = static_cast<uint32_t>(x);
      count += joins[x] & (cuts[x] | others[x] | !joins[x - 1]);
    }
    const uint32_t *run = runs_.data() + here, *other = runs_.data() + there;
    for (size_t i = 0; i < count; ++i) sets_.unite(run[places[i]], other[places[i]]);
  }

  const uint8_t* data_;
  int64_t wide_, plane_, channel_, nx_, ny_, nz_;
  uint8_t low_, high_;
  std::vector<uint16_t> sums_;  // of three planes
  std::vector<uint8_t> best_;   // of two
  std::vector<uint8_t> cuts_;   // of two: whether a run begins
  std::vector<uint32_t> runs_;  // of two
  std::vector<uint8_t> joins_;
  std::vector<uint32_t> places_;
  std::vector<uint32_t> starts_, slices_;  // where runs begin in their rows, and the first run of each slice
  uint32_t count_ = 0;                     // of runs
  disjoint::Sets<uint32_t> sets_;
};

template <class T>
py::array_t<T> array_of(const std::vector<T>& values) {
  return py::array_t<T>(static_cast<py::ssize_t>(values.size()), values.data());
}

Basins basins(const Affinities& aff, int low, int high, uint64_t base) {
  if (aff.ndim() != 4 || aff.shape(3) != 3 || std::min({aff.shape(0), aff.shape(1), aff.shape(2)}) < 4)
    throw std::invalid_argument("give affinities [x, y, z, 3] of a block, of 1 voxel before it and of 2 behind it");
  if (low < 0 || low >= high || high > 255) throw std::invalid_argument("limits are from 0 to 255, the lower one first");
  if ((aff.shape(0) - 3) * (aff.shape(1) - 3) * (aff.shape(2) - 3) >= int64_t{kNothing})
    throw std::invalid_argument("a block of 2^31 voxels or more; use smaller leaves");
  py::gil_scoped_release release;
  return Shed(aff, low, high).run(base);
}

void paint(const Basins& found, int64_t start, py::array_t<uint64_t, py::array::f_style>& out) {
  const auto [nx, ny, nz] = found.shape();
  if (out.ndim() != 3 || out.shape(0) != nx || out.shape(1) != ny || start < 0 || start + out.shape(2) > nz)
    throw std::invalid_argument("the slices to paint are not of the block");
  uint64_t* const to = out.mutable_data();
  const int64_t count = out.shape(2);
  py::gil_scoped_release release;
  found.paint(start, count, to);
}

}  // namespace

PYBIND11_MODULE(watershed, m) {
  m.doc() = "Basins of a block of affinities.";
  py::class_<Basins>(m, "Basins")
      .def_property_readonly("size", [](const Basins& one) { return array_of(one.size); })
      .def_property_readonly("faces", [](const Basins& one) { return array_of(one.faces); })
      .def_property_readonly("first", [](const Basins& one) { return array_of(one.first); })
      .def("paint", &paint, py::arg("start"), py::arg("out").noconvert());
  m.def("basins", &basins, py::arg("aff").noconvert(), py::arg("low"), py::arg("high"), py::arg("base"));
}
