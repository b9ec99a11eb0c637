// The graph of regions that touch: sums over the faces between each two of them.
//
// Faces are visited in small cubes, so that the edges of one are in a table that a processor's cache holds. A full table
// is emptied onto a list; the list is sorted and folded when it has doubled. All that is summed is of integers, so the
// order of visits does not show.

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <limits>
#include <stdexcept>
#include <tuple>
#include <vector>

namespace py = pybind11;

namespace {

using Vec3 = std::array<int64_t, 3>;
using Affinities = py::array_t<uint8_t, py::array::f_style>;
using Regions = py::array_t<uint64_t>;

constexpr int kBins = 32;    // of 256 / 32 grey values
constexpr int64_t kSide = 32;  // of a cube

struct NoBins {
  void count(uint8_t) {}
  void add(const NoBins&) {}
};

struct Bins {
  std::array<int32_t, kBins> counts{};
  void count(uint8_t value) { ++counts[value / (256 / kBins)]; }
  void add(const Bins& other) {
    for (int i = 0; i < kBins; ++i) counts[i] += other.counts[i];
  }
};

template <class Histogram>
struct Edge {
  uint64_t u = 0, v = 0;  // u < v
  int64_t sum = 0, key = std::numeric_limits<int64_t>::max();
  uint32_t num = 0;
  uint8_t max = 0, must = 0;
  Histogram bins;

  void face(uint8_t value, int64_t number, bool needed) {
    sum += value;
    key = std::min(key, number);
    ++num;
    max = std::max(max, value);
    must |= static_cast<uint8_t>(needed);
    bins.count(value);
  }

  void add(const Edge& other) {
    sum += other.sum;
    key = std::min(key, other.key);
    num += other.num;
    max = std::max(max, other.max);
    must |= other.must;
    bins.add(other.bins);
  }

  bool operator<(const Edge& other) const { return std::tie(u, v) < std::tie(other.u, other.v); }
  bool same(const Edge& other) const { return u == other.u && v == other.v; }
};

// Edges that are added to, by their ends.
template <class Row>
class Table {
 public:
  Table() : slots_(kSlots) {}

  Row& at(int axis, uint64_t u, uint64_t v) {
    Row*& last = last_[axis];  // faces of one axis that follow each other are often of one edge
    if (last && last->u == u && last->v == v) return *last;
    Row* found = find(u, v);
    if (!found->num) {
      if (++filled_ > kSlots / 4 * 3) {
        empty();
        filled_ = 1;
        found = find(u, v);
      }
      found->u = u;
      found->v = v;
    }
    return *(last = found);
  }

  std::vector<Row> rows() && {
    empty();
    fold();
    return std::move(rows_);
  }

 private:
  static constexpr int kBits = 15;
  static constexpr size_t kSlots = size_t{1} << kBits;

  Row* find(uint64_t u, uint64_t v) {
    size_t slot = ((u * 0x9E3779B97F4A7C15 ^ v) * 0xC2B2AE3D27D4EB4F) >> (64 - kBits);
    while (slots_[slot].num && (slots_[slot].u != u || slots_[slot].v != v)) slot = (slot + 1) % kSlots;
    return &slots_[slot];
  }

  void empty() {
    if (rows_.size() + filled_ > limit_) fold();
    for (Row& row : slots_)
      if (row.num) {
        rows_.push_back(row);
        row = Row();
      }
    filled_ = 0;
    last_.fill(nullptr);
  }

  void fold() {
    std::sort(rows_.begin(), rows_.end());
    size_t count = 0;
    for (const Row& row : rows_) {
      if (count && rows_[count - 1].same(row))
        rows_[count - 1].add(row);
      else
        rows_[count++] = row;
    }
    rows_.resize(count);
    limit_ = std::max(limit_, 2 * count);
    rows_.reserve(limit_);
  }

  std::vector<Row> slots_, rows_;
  std::array<Row*, 3> last_{};
  size_t filled_ = 0, limit_ = size_t{1} << 20;
};

// A block of regions with those before it, and its affinities with those around it.
class Block {
 public:
  Block(const Affinities& aff, const Regions& ids, int low, int high, int64_t number, Vec3 steps)
      : aff_(aff.data()), ids_(ids.data()), low_(low), high_(high), number_(number), steps_(steps) {
    for (int a = 0; a < 3; ++a) {
      shape_[a] = aff.shape(a) - 2;
      before_[a] = ids.shape(a) - shape_[a];
      id_step_[a] = ids.strides(a) / static_cast<int64_t>(sizeof(uint64_t));
      aff_step_[a] = aff.strides(a);
    }
    channel_ = aff.strides(3);
  }

  template <class Row>
  std::vector<Row> edges() const {
    Table<Row> table;
    for (int64_t z = 0; z < shape_[2]; z += kSide)
      for (int64_t y = 0; y < shape_[1]; y += kSide)
        for (int64_t x = 0; x < shape_[0]; x += kSide) cube(table, {x, y, z});
    return std::move(table).rows();
  }

 private:
  const uint64_t* ids(const Vec3& at) const {
    return ids_ + (at[0] + before_[0]) * id_step_[0] + (at[1] + before_[1]) * id_step_[1] + (at[2] + before_[2]) * id_step_[2];
  }
  const uint8_t* aff(const Vec3& at) const {
    return aff_ + (at[0] + 1) * aff_step_[0] + (at[1] + 1) * aff_step_[1] + (at[2] + 1) * aff_step_[2];
  }

  template <class Row>
  void cube(Table<Row>& table, const Vec3& lo) const {
    Vec3 hi;
    for (int a = 0; a < 3; ++a) hi[a] = std::min(lo[a] + kSide, shape_[a]);
    for (int64_t z = lo[2]; z < hi[2]; ++z)
      for (int64_t y = lo[1]; y < hi[1]; ++y)
        for (int axis = 0; axis < 3; ++axis) row(table, axis, {lo[0], y, z}, hi[0]);
  }

  // The faces along an axis before the voxels of a row.
  template <class Row>
  void row(Table<Row>& table, int axis, Vec3 at, int64_t end) const {
    if (at[axis] + before_[axis] == 0) {  // nothing is before the first voxel
      if (axis) return;
      ++at[0];
    }
    const uint64_t* id = ids(at);
    const uint8_t* values = aff(at) + axis * channel_;
    int64_t number = number_ + axis;
    for (int a = 0; a < 3; ++a) number += 3 * at[a] * steps_[a];
    for (; at[0] < end; ++at[0], id += id_step_[0], ++values, number += 3) {
      const uint64_t one = *id, other = *(id - id_step_[axis]);
      if (one == other || !one || !other) continue;
      const bool needed = at[axis] == 0 && must(at, axis, *values);
      table.at(axis, std::min(one, other), std::max(one, other)).face(*values, number, needed);
    }
  }

  // Whether a face joins its voxels, which only the border of the block has kept apart.
  bool must(Vec3 at, int axis, int value) const {
    if (value <= low_) return false;
    if (value >= high_ || best(at) == axis) return true;
    --at[axis];
    return best(at) == axis + 3;
  }

  // The best face of a voxel: 0 to 2 are those before it along x, y, z, 3 to 5 those behind.
  int best(const Vec3& at) const {
    const uint8_t* own = aff(at);
    int found = 0, top = -1;
    for (int face = 0; face < 6; ++face) {
      const int axis = face % 3;
      const uint8_t value = own[axis * channel_ + (face < 3 ? 0 : aff_step_[axis])];
      if (value > top) {
        top = value;
        found = face;
      }
    }
    return found;
  }

  const uint8_t* aff_;
  const uint64_t* ids_;
  int low_, high_;
  int64_t number_, channel_;
  Vec3 steps_, shape_, before_, id_step_, aff_step_;
};

template <class T, class Row, class Get>
py::array_t<T> column(const std::vector<Row>& rows, Get get) {
  py::array_t<T> made(static_cast<py::ssize_t>(rows.size()));
  std::transform(rows.begin(), rows.end(), made.mutable_data(), get);
  return made;
}

template <class Row>
py::tuple columns(const Block& block) {
  std::vector<Row> rows;
  {
    py::gil_scoped_release release;
    rows = block.edges<Row>();
  }
  py::object bins = py::none();
  if constexpr (std::is_same_v<Row, Edge<Bins>>) {
    py::array_t<int32_t> counts({static_cast<py::ssize_t>(rows.size()), static_cast<py::ssize_t>(kBins)});
    int32_t* to = counts.mutable_data();
    for (const Row& row : rows) to = std::copy(row.bins.counts.begin(), row.bins.counts.end(), to);
    bins = counts;
  }
  return py::make_tuple(
      column<uint64_t>(rows, [](const Row& r) { return r.u; }), column<uint64_t>(rows, [](const Row& r) { return r.v; }),
      column<int64_t>(rows, [](const Row& r) { return r.sum; }), column<int64_t>(rows, [](const Row& r) { return r.num; }),
      column<int64_t>(rows, [](const Row& r) { return r.key; }), column<uint8_t>(rows, [](const Row& r) { return r.must; }),
      column<uint8_t>(rows, [](const Row& r) { return r.max; }), bins);
}

py::tuple edges(const Affinities& aff, const Regions& ids, std::pair<int, int> limits, int64_t number, const std::tuple<int64_t, int64_t, int64_t>& steps, bool histogram) {
  if (aff.ndim() != 4 || ids.ndim() != 3 || aff.shape(3) != 3) throw std::invalid_argument("give affinities [x, y, z, 3] and regions [x, y, z]");
  py::ssize_t voxels = 1;
  for (int a = 0; a < 3; ++a) {
    const py::ssize_t length = aff.shape(a) - 2;
    if (length < 1 || ids.shape(a) < length || ids.shape(a) > length + 1)
      throw std::invalid_argument("affinities are of a block and 1 voxel around; regions of the block and at most 1 voxel before");
    voxels *= length;
  }
  if (voxels >= std::numeric_limits<uint32_t>::max() / 3) throw std::invalid_argument("a block of 2^32 faces or more; use smaller leaves");
  const auto [x, y, z] = steps;
  const Block block(aff, ids, limits.first, limits.second, number, {x, y, z});
  return histogram ? columns<Edge<Bins>>(block) : columns<Edge<NoBins>>(block);
}

}  // namespace

PYBIND11_MODULE(region_graph, m) {
  m.doc() = "The graph of regions that touch.";
  m.def("edges", &edges, py::arg("aff").noconvert(), py::arg("ids").noconvert(), py::arg("limits"), py::arg("number"),
        py::arg("steps"), py::arg("histogram"));
}
