// Where labels touch: crossings between each two labels along the 13 directions of a voxel to its neighbours.
//
// A pair of neighbouring voxels belongs to the lower corner of the box around them, so that each is counted in one cell,
// and a cell needs one voxel more on its high sides. Most voxels have neighbours of one label and are passed over by rows.

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <numeric>
#include <stdexcept>
#include <tuple>
#include <vector>

namespace py = pybind11;

namespace {

using Vec3 = std::array<int64_t, 3>;
using Three = std::tuple<int64_t, int64_t, int64_t>;

// Corners of the box of 2 x 2 x 2 voxels are numbered by bits: 1 further along x, 2 along y, 4 along z.
constexpr int kDirections = 13;
constexpr std::array<std::array<int, 2>, kDirections> kEnds{
    {{0, 1}, {0, 2}, {0, 4}, {0, 3}, {1, 2}, {0, 5}, {1, 4}, {0, 6}, {2, 4}, {0, 7}, {1, 6}, {2, 5}, {4, 3}}};

struct Pair {
  uint64_t low = 0, high = 0;
  std::array<uint32_t, kDirections> counts{};
  std::array<std::array<int64_t, 3>, 3> sums{};  // of the lower voxels of faces, by the axis of the face
  std::array<int32_t, 3> first, end;             // the box of the voxels on both sides of faces

  Pair(uint64_t one, uint64_t other) : low(one), high(other) {
    first.fill(INT32_MAX);
    end.fill(0);
  }

  void face(int axis, const Vec3& at) {
    for (int a = 0; a < 3; ++a) {
      sums[axis][a] += at[a];
      first[a] = std::min(first[a], static_cast<int32_t>(at[a]));
      end[a] = std::max(end[a], static_cast<int32_t>(at[a] + 1 + (a == axis)));
    }
  }
};

// Pairs of labels by their names: open addressing, slots hold places in the list, counted from 1.
class Pairs {
 public:
  explicit Pairs(size_t most) : most_(most), slots_(1024) {}

  // The pair of two labels; nullptr where there are too many.
  Pair* at(uint64_t one, uint64_t other) {
    const uint64_t low = std::min(one, other), high = std::max(one, other);
    if (last_ < found_.size() && found_[last_].low == low && found_[last_].high == high) return &found_[last_];
    uint32_t* slot = &find(low, high);
    if (!*slot) {
      if (found_.size() == most_) return nullptr;
      if (2 * (found_.size() + 1) > slots_.size()) {
        grow();
        slot = &find(low, high);
      }
      found_.emplace_back(low, high);
      *slot = static_cast<uint32_t>(found_.size());
    }
    last_ = *slot - 1;
    return &found_[last_];
  }

  const std::vector<Pair>& found() const { return found_; }

 private:
  uint32_t& find(uint64_t low, uint64_t high) {
    uint64_t hash = (low * 0x9E3779B97F4A7C15ull ^ (high + 0x7F4A7C15ull)) * 0xBF58476D1CE4E5B9ull;
    size_t at = (hash ^ hash >> 31) & (slots_.size() - 1);
    while (slots_[at] && (found_[slots_[at] - 1].low != low || found_[slots_[at] - 1].high != high)) at = (at + 1) & (slots_.size() - 1);
    return slots_[at];
  }

  void grow() {
    slots_.assign(2 * slots_.size(), 0);
    for (size_t i = 0; i < found_.size(); ++i) find(found_[i].low, found_[i].high) = static_cast<uint32_t>(i + 1);
  }

  size_t most_, last_ = SIZE_MAX;
  std::vector<uint32_t> slots_;
  std::vector<Pair> found_;
};

// The labels of a cell and those one voxel further, as far as there are any.
template <class Label>
class Cell {
 public:
  Cell(const Label* labels, const Vec3& stored, const Vec3& own, const Vec3& start) : labels_(labels), stored_(stored), own_(own), start_(start) {}

  // Whether all could be counted.
  bool count(Pairs& pairs) const {
    std::vector<uint8_t> apart(own_[0] + 1);
    for (int64_t z = 0; z < own_[2]; ++z)
      for (int64_t y = 0; y < own_[1]; ++y)
        if (!row(pairs, apart.data(), y, z)) return false;
    return true;
  }

 private:
  const Label* at(int64_t y, int64_t z) const { return labels_ + stored_[0] * (y + stored_[1] * z); }

  bool row(Pairs& pairs, uint8_t* apart, int64_t y, int64_t z) const {
    const int64_t wy = y + 1 < stored_[1], wz = z + 1 < stored_[2], nx = stored_[0];
    const std::array<const Label*, 4> rows{at(y, z), at(y + wy, z), at(y, z + wz), at(y + wy, z + wz)};
    for (int64_t x = 0; x < nx; ++x)
      apart[x] = (rows[0][x] != rows[1][x]) | (rows[0][x] != rows[2][x]) | (rows[0][x] != rows[3][x]);
    const int there = static_cast<int>(2 * wy + 4 * wz);
    for (int64_t x = 0; x < own_[0]; ++x) {
      const int64_t wx = x + 1 < nx;
      if (!(apart[x] | apart[x + wx] | (rows[0][x] != rows[0][x + wx]))) continue;
      if (!block(pairs, rows, x, x + wx, {x + start_[0], y + start_[1], z + start_[2]}, there | static_cast<int>(wx))) return false;
    }
    return true;
  }

  // The pairs of one box of 2 x 2 x 2 voxels, of which ``there`` tells the axes along which it has two.
  static bool block(Pairs& pairs, const std::array<const Label*, 4>& rows, int64_t x, int64_t next, const Vec3& place, int there) {
    std::array<uint64_t, 8> corner;
    for (int i = 0; i < 4; ++i) {
      corner[2 * i] = rows[i][x];
      corner[2 * i + 1] = rows[i][next];
    }
    for (int d = 0; d < kDirections; ++d) {
      const auto [i, j] = kEnds[d];
      if (corner[i] == corner[j] || ((i ^ j) & ~there)) continue;
      Pair* const pair = pairs.at(corner[i], corner[j]);
      if (!pair) return false;
      ++pair->counts[d];
      if (d < 3) pair->face(d, place);
    }
    return true;
  }

  const Label* labels_;
  Vec3 stored_, own_, start_;
};

template <class Label>
bool counted(const py::buffer_info& info, const Vec3& own, const Vec3& start, Pairs& pairs) {
  const Vec3 stored{info.shape[0], info.shape[1], info.shape[2]};
  return Cell<Label>(static_cast<const Label*>(info.ptr), stored, own, start).count(pairs);
}

bool any(const py::buffer_info& info, const Vec3& own, const Vec3& start, Pairs& pairs) {
  switch (info.itemsize) {
    case 1: return counted<uint8_t>(info, own, start, pairs);
    case 2: return counted<uint16_t>(info, own, start, pairs);
    case 4: return counted<uint32_t>(info, own, start, pairs);
    default: return counted<uint64_t>(info, own, start, pairs);
  }
}

py::dict columns(const std::vector<Pair>& found) {
  std::vector<uint32_t> order(found.size());
  std::iota(order.begin(), order.end(), 0);
  std::sort(order.begin(), order.end(), [&](uint32_t a, uint32_t b) { return std::tie(found[a].low, found[a].high) < std::tie(found[b].low, found[b].high); });
  const auto n = static_cast<py::ssize_t>(found.size());
  py::array_t<uint64_t> low(n), high(n);
  py::array_t<int64_t> counts({n, py::ssize_t{kDirections}}), sums({n, py::ssize_t{3}, py::ssize_t{3}});
  py::array_t<int32_t> first({n, py::ssize_t{3}}), end({n, py::ssize_t{3}});
  for (py::ssize_t i = 0; i < n; ++i) {
    const Pair& pair = found[order[i]];
    low.mutable_data()[i] = pair.low;
    high.mutable_data()[i] = pair.high;
    std::copy(pair.counts.begin(), pair.counts.end(), counts.mutable_data() + kDirections * i);
    for (int axis = 0; axis < 3; ++axis) std::copy(pair.sums[axis].begin(), pair.sums[axis].end(), sums.mutable_data() + 9 * i + 3 * axis);
    std::copy(pair.first.begin(), pair.first.end(), first.mutable_data() + 3 * i);
    std::copy(pair.end.begin(), pair.end.end(), end.mutable_data() + 3 * i);
  }
  py::dict made;
  made["low"] = low;
  made["high"] = high;
  made["counts"] = counts;
  made["sums"] = sums;
  made["first"] = first;
  made["end"] = end;
  return made;
}

py::object find(const py::buffer& labels, const Three& own, const Three& start, size_t most) {
  const py::buffer_info info = labels.request();
  const Vec3 size{std::get<0>(own), std::get<1>(own), std::get<2>(own)};
  const Vec3 from{std::get<0>(start), std::get<1>(start), std::get<2>(start)};
  bool plain = info.ndim == 3 && (info.itemsize == 1 || info.itemsize == 2 || info.itemsize == 4 || info.itemsize == 8);
  py::ssize_t step = info.itemsize;
  for (int a = 0; plain && a < 3; ++a) {
    plain = size[a] >= 1 && (info.shape[a] == size[a] || info.shape[a] == size[a] + 1) && (info.strides[a] == step || info.shape[a] == 1);
    step *= info.shape[a];
  }
  if (!plain) throw std::invalid_argument("give labels [x, y, z] in Fortran order, of a cell and at most a voxel more on each high side");
  Pairs pairs(most);
  bool whole = false;
  {
    py::gil_scoped_release release;
    whole = any(info, size, from, pairs);
  }
  if (!whole) return py::none();
  return columns(pairs.found());
}

}  // namespace

PYBIND11_MODULE(faces, m) {
  m.doc() = "Where labels touch.";
  m.def("find", &find, py::arg("labels"), py::arg("own"), py::arg("start"), py::arg("most"));
}
