// Basins of a block of affinities: the voxels that are joined when each joins over its best face.
//
// The faces that join are known from the voxel, its six neighbours and theirs (one round of Boruvka's minimum spanning
// tree, on faces in a strict order). A row of voxels is cut into runs that are joined along x; runs of neighbouring rows
// are united in Tarjan's sets, with path halving. A set is called by its first run, so basins are numbered by first voxels.

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <limits>
#include <stdexcept>
#include <utility>
#include <vector>

namespace py = pybind11;

namespace {

using Affinities = py::array_t<uint8_t, py::array::f_style>;

constexpr uint8_t kNone = 6;  // no face is good enough; 0 to 2 are those before a voxel along x, y, z, 3 to 5 those behind

class Sets {
 public:
  uint32_t add() {
    parents_.push_back(static_cast<uint32_t>(parents_.size()));
    return parents_.back();
  }

  void unite(uint32_t one, uint32_t other) {
    one = find(one);
    other = find(other);
    if (one < other)
      parents_[other] = one;
    else
      parents_[one] = other;
  }

  // The number of the set of each element, in the order of first elements, and how many sets there are.
  std::pair<std::vector<uint32_t>, uint32_t> number() && {
    uint32_t count = 0;
    for (uint32_t i = 0; i < parents_.size(); ++i) {
      const uint32_t parent = parents_[i];  // it comes before i, and holds its number by now
      parents_[i] = parent == i ? count++ : parents_[parent];
    }
    return {std::move(parents_), count};
  }

 private:
  uint32_t find(uint32_t one) {
    while (parents_[one] != one) one = parents_[one] = parents_[parents_[one]];
    return one;
  }

  std::vector<uint32_t> parents_;
};

struct Basins {
  std::vector<int64_t> size, first;
  std::vector<uint8_t> faces;
};

// Affinities [nx + 3, ny + 3, nz + 3, 3] of a block, of the voxel before it and of the two behind it along each axis.
class Shed {
 public:
  Shed(const Affinities& aff, int low, int high, uint64_t* out)
      : data_(aff.data()), wide_(aff.shape(0)), plane_(wide_ * aff.shape(1)), channel_(plane_ * aff.shape(2)),
        nx_(wide_ - 3), ny_(aff.shape(1) - 3), nz_(aff.shape(2) - 3),
        low_(static_cast<uint8_t>(low)), high_(static_cast<uint8_t>(high)), out_(out),
        sums_(3 * (nx_ + 2) * (ny_ + 2)), best_(2 * nx_ * ny_, kNone), joins_(nx_) {}

  Basins run(uint64_t base) {
    sum(-1);
    sum(0);
    for (int64_t z = 0; z < nz_; ++z) {
      sum(z + 1);
      for (int64_t y = 0; y < ny_; ++y) {
        choose(y, z);
        join(y, z);
        tie(y, z);
      }
    }
    const auto [number, count] = std::move(sets_).number();
    return name(number, count, base);
  }

 private:
  const uint8_t* row(int axis, int64_t y, int64_t z) const {
    return data_ + axis * channel_ + (z + 1) * plane_ + (y + 1) * wide_ + 1;
  }
  uint16_t* sums(int64_t y, int64_t z) { return sums_.data() + ((z + 1) % 3 * (ny_ + 2) + y + 1) * (nx_ + 2) + 1; }
  uint8_t* best(int64_t y, int64_t z) { return best_.data() + ((z & 1) * ny_ + y) * nx_; }

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
    for (int64_t x = 0; x < nx_; ++x) {
      const uint8_t top = std::max({x0[x], y0[x], z0[x], x1[x], y1[x], z1[x]});
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

  // Which faces before the voxels of a row join, as bits; those that lead out of the block do not.
  void join(int64_t y, int64_t z) {
    const uint8_t* own = best(y, z);
    uint8_t* to = joins_.data();
    std::fill(joins_.begin(), joins_.end(), uint8_t{0});
    mark(to + 1, own + 1, own, row(0, y, z) + 1, 0, nx_ - 1);
    if (y > 0) mark(to, own, best(y - 1, z), row(1, y, z), 1, nx_);
    if (z > 0) mark(to, own, best(y, z - 1), row(2, y, z), 2, nx_);
  }

  void mark(uint8_t* to, const uint8_t* own, const uint8_t* before, const uint8_t* aff, uint8_t axis, int64_t count) const {
    const auto bit = static_cast<uint8_t>(1 << axis), behind = static_cast<uint8_t>(axis + 3);
    const uint8_t high = high_;
    for (int64_t i = 0; i < count; ++i) {
      const bool joined = (own[i] == axis) | (before[i] == behind) | (aff[i] >= high);
      to[i] = static_cast<uint8_t>(to[i] | (joined ? bit : 0));
    }
  }

  // Give each voxel of a row its run, counted from 1, and unite the runs that touch those of rows before.
  void tie(int64_t y, int64_t z) {
    const uint8_t* face = best(y, z);
    uint64_t* to = out_ + (z * ny_ + y) * nx_;
    uint32_t run = 0;
    for (int64_t x = 0; x < nx_; ++x) {
      if (face[x] == kNone) {
        to[x] = 0;
        continue;
      }
      const uint8_t joins = joins_[x];
      if (!(joins & 1)) run = sets_.add();
      to[x] = uint64_t{run} + 1;
      if (joins & 2) sets_.unite(run, static_cast<uint32_t>(to[x - nx_] - 1));
      if (joins & 4) sets_.unite(run, static_cast<uint32_t>(to[x - nx_ * ny_] - 1));
    }
  }

  // Replace runs by the ids of their basins.
  Basins name(const std::vector<uint32_t>& number, uint32_t count, uint64_t base) {
    Basins made{std::vector<int64_t>(count), std::vector<int64_t>(count), std::vector<uint8_t>(count)};
    for (int64_t z = 0; z < nz_; ++z)
      for (int64_t y = 0; y < ny_; ++y) {
        const auto sides = static_cast<uint8_t>((y == 0) << 2 | (y == ny_ - 1) << 3 | (z == 0) << 4 | (z == nz_ - 1) << 5);
        const int64_t row = (z * ny_ + y) * nx_;
        uint64_t* to = out_ + row;
        for (int64_t x = 0; x < nx_;) {
          const int64_t start = x;
          const uint64_t run = to[x];
          do ++x;
          while (x < nx_ && to[x] == run);
          if (!run) continue;
          const uint32_t basin = number[run - 1];
          if (!made.size[basin]) made.first[basin] = row + start;
          made.size[basin] += x - start;
          made.faces[basin] |= static_cast<uint8_t>(sides | (start == 0) | (x == nx_) << 1);
          std::fill(to + start, to + x, base + basin + 1);
        }
      }
    return made;
  }

  const uint8_t* data_;
  int64_t wide_, plane_, channel_, nx_, ny_, nz_;
  uint8_t low_, high_;
  uint64_t* out_;
  std::vector<uint16_t> sums_;  // of three planes
  std::vector<uint8_t> best_;   // of two
  std::vector<uint8_t> joins_;
  Sets sets_;
};

template <class T>
py::array_t<T> array_of(const std::vector<T>& values) {
  return py::array_t<T>(static_cast<py::ssize_t>(values.size()), values.data());
}

py::tuple basins(const Affinities& aff, int low, int high, uint64_t base) {
  if (aff.ndim() != 4 || aff.shape(3) != 3 || std::min({aff.shape(0), aff.shape(1), aff.shape(2)}) < 4)
    throw std::invalid_argument("give affinities [x, y, z, 3] of a block, of 1 voxel before it and of 2 behind it");
  if (low < 0 || low >= high || high > 255) throw std::invalid_argument("limits are from 0 to 255, the lower one first");
  const py::ssize_t nx = aff.shape(0) - 3, ny = aff.shape(1) - 3, nz = aff.shape(2) - 3;
  if (nx * ny * nz >= std::numeric_limits<uint32_t>::max()) throw std::invalid_argument("a block of 2^32 voxels or more; use smaller leaves");
  py::array_t<uint64_t, py::array::f_style> out({nx, ny, nz});
  uint64_t* const to = out.mutable_data();
  Basins made;
  {
    py::gil_scoped_release release;
    made = Shed(aff, low, high, to).run(base);
  }
  return py::make_tuple(out, array_of(made.size), array_of(made.faces), array_of(made.first));
}

}  // namespace

PYBIND11_MODULE(watershed, m) {
  m.doc() = "Basins of a block of affinities.";
  m.def("basins", &basins, py::arg("aff").noconvert(), py::arg("low"), py::arg("high"), py::arg("base"));
}
