// The graph of regions that touch: sums over the faces between each two of them.
//
// Regions of a block are counted, so each is an index, and has a list of its edges with regions of lower indices; what is
// used comes to the front of its list. Faces are visited in small cubes, whose edges a processor's cache can hold, and of
// which the regions are copied as indices. All that is summed is of integers, so the order of visits does not show. Edges
// are put in order by counting.

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <limits>
#include <memory>
#include <numeric>
#include <stdexcept>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

#include "region_names.hpp"

namespace py = pybind11;

namespace {

using Vec3 = std::array<int64_t, 3>;
using Affinities = py::array_t<uint8_t, py::array::f_style>;
using Regions = py::array_t<uint64_t>;

constexpr int kBins = 32;    // of 256 / 32 grey values
constexpr int64_t kSide = 32;  // of a cube
constexpr int64_t kWide = kSide + 1;  // with the voxels before it

struct NoBins {
  void count(uint8_t) {}
  void write(int32_t*) const {}
};

struct Bins {
  std::array<int32_t, kBins> counts{};
  void count(uint8_t value) { ++counts[value / (256 / kBins)]; }
  void write(int32_t* to) const { std::copy(counts.begin(), counts.end(), to); }
};

template <class Histogram>
struct Edge {
  int64_t sum = 0, key = std::numeric_limits<int64_t>::max();
  uint32_t num = 0, other = 0, next = 0;
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
};

// Edges that are added to, by their ends.
template <class Histogram>
class Edges {
 public:
  using One = Edge<Histogram>;

  explicit Edges(regions::Names names) : names_(std::move(names)), heads_(names_.count()) {}

  regions::Names& names() { return names_; }

  // The edge of two regions, by their indices.
  One& at(uint32_t one, uint32_t other) {
    const uint32_t low = std::min(one, other), high = std::max(one, other);
    const uint64_t key = uint64_t{high} << 32 | low;
    Known& known = known_[key * 0x9E3779B97F4A7C15ull >> (64 - kKnownBits)];
    if (!known.edge || known.key != key) known = {key, &find(head(high), low)};
    return *known.edge;
  }

  size_t count() const { return count_; }

  // Visit all edges: where each is by ascending (u, v), u, v and the edge.
  template <class Visit>
  void each(Visit visit) const {
    const std::vector<uint32_t> ranks = names_.ranks();
    std::vector<std::array<uint32_t, 2>> ends(count_);
    std::vector<uint64_t> ids(ranks.size());
    for (uint32_t v = 0; v < ranks.size(); ++v) {
      ids[ranks[v]] = names_.id(v);
      for (uint32_t i = v < heads_.size() ? heads_[v] : 0; i; i = edge(i).next) {
        const auto [low, high] = std::minmax(ranks[v], ranks[edge(i).other]);
        ends[i - 1] = {low, high};
      }
    }
    std::vector<uint32_t> order(count_), sorted(count_);
    std::iota(order.begin(), order.end(), 0);
    for (int end = 1; end >= 0; --end) {
      std::vector<uint32_t> starts(ranks.size() + 1);
      for (const auto& one : ends) ++starts[one[end] + 1];
      std::partial_sum(starts.begin(), starts.end(), starts.begin());
      for (uint32_t i : order) sorted[starts[ends[i][end]]++] = i;
      order.swap(sorted);
    }
    for (uint32_t at = 0; at < count_; ++at) visit(at, ids[ends[order[at]][0]], ids[ends[order[at]][1]], edge(order[at] + 1));
  }

 private:
  static constexpr uint32_t kPage = 1 << 14;  // edges that lie together, where they stay

  static constexpr int kKnownBits = 10;

  struct Known {
    uint64_t key = 0;
    One* edge = nullptr;
  };

  One& edge(uint32_t i) const { return pages_[(i - 1) / kPage][(i - 1) % kPage]; }

  uint32_t& head(uint32_t index) {
    if (index >= heads_.size()) heads_.resize(index + 1);
    return heads_[index];
  }

  One& find(uint32_t& head, uint32_t low) {
    for (uint32_t i = head, before = 0; i; before = i, i = edge(i).next) {
      One& found = edge(i);
      if (found.other != low) continue;
      if (before) {
        edge(before).next = found.next;
        found.next = head;
        head = i;
      }
      return found;
    }
    if (count_ % kPage == 0) pages_.push_back(std::make_unique<One[]>(kPage));
    One& made = edge(++count_);
    made.other = low;
    made.next = head;
    head = count_;
    return made;
  }

  regions::Names names_;
  std::vector<uint32_t> heads_;  // of each region's list; edges are counted from 1
  std::vector<std::unique_ptr<One[]>> pages_;
  std::array<Known, 1 << kKnownBits> known_{};  // some of those used last
  uint32_t count_ = 0;
};

// A block of affinities with those of 2 voxels around it, and slices of its regions with the voxels before these.
class Block {
 public:
  Block(const Affinities& aff, Vec3 before, std::pair<int, int> limits, int64_t number, Vec3 steps)
      : aff_(aff.data()), low_(limits.first), high_(limits.second), number_(number), steps_(steps), before_(before) {
    for (int a = 0; a < 3; ++a) {
      shape_[a] = aff.shape(a) - 4;
      aff_step_[a] = aff.strides(a);
    }
    channel_ = aff.strides(3);
  }

  // Go on to the next slices; how many these are, or 0 if they cannot be that.
  int64_t advance(const Regions& ids) {
    start_ = stop_;
    if (start_ > 0) before_[2] = 1;
    const int64_t count = ids.shape(2) - before_[2];
    if (ids.shape(0) != shape_[0] + before_[0] || ids.shape(1) != shape_[1] + before_[1] || count < 1 || start_ + count > shape_[2]) return 0;
    for (int a = 0; a < 3; ++a) id_step_[a] = ids.strides(a) / static_cast<int64_t>(sizeof(uint64_t));
    ids_ = ids.data();
    stop_ = start_ + count;
    return count;
  }

  bool whole() const { return stop_ == shape_[2]; }

  // Whether all regions of these slices are own ones.
  bool counted(const regions::Names& names) const {
    bool other = false;
    for (int64_t z = start_; z < stop_; ++z)
      for (int64_t y = 0; y < shape_[1]; ++y) {
        const uint64_t* id = ids({0, y, z});
        for (int64_t x = 0; x < shape_[0]; ++x, id += id_step_[0]) other |= (*id != 0) & !names.own(*id);
      }
    return !other;
  }

  template <class Histogram>
  void add(Edges<Histogram>& found) const {
    std::vector<uint32_t> regions(kWide * kWide * kWide);
    for (int64_t z = start_; z < stop_; z += kSide)
      for (int64_t y = 0; y < shape_[1]; y += kSide)
        for (int64_t x = 0; x < shape_[0]; x += kSide) cube(found, regions.data(), {x, y, z});
  }

 private:
  const uint64_t* ids(const Vec3& at) const {
    return ids_ + (at[0] + before_[0]) * id_step_[0] + (at[1] + before_[1]) * id_step_[1] + (at[2] - start_ + before_[2]) * id_step_[2];
  }
  const uint8_t* aff(const Vec3& at) const {
    return aff_ + (at[0] + 2) * aff_step_[0] + (at[1] + 2) * aff_step_[1] + (at[2] + 2) * aff_step_[2];
  }

  template <class Histogram>
  void cube(Edges<Histogram>& found, uint32_t* regions, const Vec3& lo) const {
    Vec3 size;
    for (int a = 0; a < 3; ++a) size[a] = std::min(kSide, (a == 2 ? stop_ : shape_[a]) - lo[a]);
    for (int64_t z = -1; z < size[2]; ++z)
      for (int64_t y = -1; y < size[1]; ++y) copy(found.names(), {lo[0], lo[1] + y, lo[2] + z}, size[0], regions + place(y, z));
    for (int64_t z = 0; z < size[2]; ++z)
      for (int64_t y = 0; y < size[1]; ++y)
        for (int axis = 0; axis < 3; ++axis) row(found, axis, {lo[0], lo[1] + y, lo[2] + z}, size[0], regions + place(y, z));
  }

  static constexpr std::array<int64_t, 3> kSteps{1, kWide, kWide * kWide};
  static constexpr int64_t place(int64_t y, int64_t z) { return 1 + (y + 1) * kSteps[1] + (z + 1) * kSteps[2]; }

  // The regions of a row and of the voxel before it, by their indices, counted from 1.
  void copy(regions::Names& names, const Vec3& at, int64_t count, uint32_t* to) const {
    const bool own = at[1] >= 0 && at[2] >= 0, known = at[1] + before_[1] >= 0 && at[2] - start_ + before_[2] >= 0;
    if (!known) {
      std::fill(to - 1, to + count, 0);
      return;
    }
    const uint64_t* id = ids(at);
    const auto named = [&](uint64_t one) { return one ? names.of(one) + 1 : 0; };
    to[-1] = at[0] + before_[0] ? named(id[-id_step_[0]]) : 0;
    const int64_t step = id_step_[0];
    if (own && step == 1)
      for (int64_t x = 0; x < count; ++x) to[x] = id[x] ? names.of_own(id[x]) + 1 : 0;
    else
      for (int64_t x = 0; x < count; ++x) to[x] = named(id[x * step]);
  }

  // The faces along an axis before the voxels of a row, of which the regions are given.
  template <class Histogram>
  void row(Edges<Histogram>& found, int axis, const Vec3& at, int64_t count, const uint32_t* one) const {
    const uint32_t* other = one - kSteps[axis];
    std::array<uint8_t, kSide> parted;
    for (int64_t x = 0; x < count; ++x) parted[x] = (one[x] != other[x]) & (one[x] != 0) & (other[x] != 0);
    std::array<uint8_t, kSide + 1> places;
    size_t faces = 0;
    for (int64_t x = 0; x < count; ++x) {
      places[faces] = static_cast<uint8_t>(x);
      faces += parted[x];
    }
    const uint8_t* values = aff(at) + axis * channel_;
    int64_t number = number_ + axis;
    for (int a = 0; a < 3; ++a) number += 3 * at[a] * steps_[a];
    for (size_t i = 0; i < faces; ++i) {
      const int64_t x = places[i];
      const Vec3 here{at[0] + x, at[1], at[2]};
      const bool needed = here[axis] == 0 && must(here, axis, values[x]);
      found.at(one[x] - 1, other[x] - 1).face(values[x], number + 3 * x, needed);
    }
  }

  // Whether a face joins its voxels, which only the border of the block has kept apart.
  bool must(Vec3 at, int axis, int value) const {
    if (value <= low_) return false;
    if (value >= high_ || best(at) == axis) return true;
    --at[axis];
    return best(at) == axis + 3;
  }

  // The best face of a voxel: 0 to 2 are those before it along x, y, z, 3 to 5 those behind. Of its highest that to the
  // voxel of the highest sum; of these the first.
  int best(const Vec3& at) const {
    const uint8_t* own = aff(at);
    int found = 0;
    std::pair<int, int> top{-1, -1};
    for (int face = 0; face < 6; ++face) {
      const int value = across(own, face);
      if (value < top.first) continue;
      const int64_t step = aff_step_[face % 3];
      const std::pair<int, int> one{value, sum(own + (face < 3 ? -step : step))};
      if (one > top) {
        top = one;
        found = face;
      }
    }
    return found;
  }

  // The sum of the faces of a voxel that may join.
  int sum(const uint8_t* own) const {
    int total = 0;
    for (int face = 0; face < 6; ++face) {
      const int value = across(own, face);
      if (value > low_) total += value;
    }
    return total;
  }

  // The affinity of a face of a voxel.
  int across(const uint8_t* own, int face) const {
    const int axis = face % 3;
    return own[axis * channel_ + (face < 3 ? 0 : aff_step_[axis])];
  }

  const uint8_t* aff_;
  const uint64_t* ids_ = nullptr;
  int low_, high_;
  int64_t number_, channel_;
  Vec3 steps_, before_, shape_, id_step_, aff_step_;
  int64_t start_ = 0, stop_ = 0;  // the slices that are here
};

template <class Histogram>
py::tuple columns(const Edges<Histogram>& edges) {
  const auto count = static_cast<py::ssize_t>(edges.count());
  py::array_t<uint64_t> u(count), v(count);
  py::array_t<int64_t> sum(count), num(count), key(count);
  py::array_t<uint8_t> must(count), max(count);
  py::array_t<int32_t> bins({std::is_same_v<Histogram, Bins> ? count : 0, py::ssize_t{kBins}});
  auto to = std::make_tuple(u.mutable_data(), v.mutable_data(), sum.mutable_data(), num.mutable_data(), key.mutable_data(),
                            must.mutable_data(), max.mutable_data());
  int32_t* const counts = bins.mutable_data();
  {
    py::gil_scoped_release release;
    edges.each([&](size_t at, uint64_t one, uint64_t other, const Edge<Histogram>& edge) {
      const auto values = std::make_tuple(one, other, edge.sum, int64_t{edge.num}, edge.key, edge.must, edge.max);
      std::apply([&](auto*... out) { std::apply([&](auto... value) { ((out[at] = value), ...); }, values); }, to);
      edge.bins.write(counts + at * kBins);
    });
  }
  return py::make_tuple(u, v, sum, num, key, must, max, std::is_same_v<Histogram, Bins> ? py::object(bins) : py::none());
}

// The edges of a block, to which slices of regions are given one after the other.
class Graph {
 public:
  virtual ~Graph() = default;
  virtual void add(const Regions& ids) = 0;
  virtual py::tuple edges() const = 0;
};

template <class Histogram>
class Binned : public Graph {
 public:
  Binned(const Affinities& aff, regions::Names names, const Block& block) : aff_(aff), block_(block), edges_(std::move(names)) {}

  void add(const Regions& ids) override {
    if (ids.ndim() != 3 || !block_.advance(ids))
      throw std::invalid_argument("affinities are of a block and 2 voxels around; regions of its next slices and the voxels before");
    py::gil_scoped_release release;
    if (!block_.counted(edges_.names())) throw std::invalid_argument("the regions of a block are counted, and others are before it");
    block_.add(edges_);
  }

  py::tuple edges() const override {
    if (!block_.whole()) throw std::invalid_argument("slices of the block are missing");
    return columns(edges_);
  }

 private:
  Affinities aff_;  // is kept as long as it is looked at
  Block block_;
  Edges<Histogram> edges_;
};

using Three = std::tuple<int64_t, int64_t, int64_t>;

Vec3 vec(const Three& values) { return {std::get<0>(values), std::get<1>(values), std::get<2>(values)}; }

std::unique_ptr<Graph> begin(const Affinities& aff, std::pair<uint64_t, uint64_t> own, const Three& before, std::pair<int, int> limits, int64_t number, const Three& steps, bool histogram) {
  if (aff.ndim() != 4 || aff.shape(3) != 3 || std::min({aff.shape(0), aff.shape(1), aff.shape(2)}) < 5)
    throw std::invalid_argument("give affinities [x, y, z, 3] of a block and 2 voxels around");
  if ((aff.shape(0) - 4) * (aff.shape(1) - 4) * (aff.shape(2) - 4) >= std::numeric_limits<uint32_t>::max() / 3)
    throw std::invalid_argument("a block of 2^32 faces or more; use smaller leaves");
  const Block block(aff, vec(before), limits, number, vec(steps));
  const regions::Names names(own.first, own.second);
  if (histogram) return std::make_unique<Binned<Bins>>(aff, names, block);
  return std::make_unique<Binned<NoBins>>(aff, names, block);
}

}  // namespace

PYBIND11_MODULE(region_graph, m) {
  m.doc() = "The graph of regions that touch.";
  py::class_<Graph>(m, "Graph")
      .def(py::init(&begin), py::arg("aff").noconvert(), py::arg("own"), py::arg("before"), py::arg("limits"),
           py::arg("number"), py::arg("steps"), py::arg("histogram"))
      .def("add", &Graph::add, py::arg("ids").noconvert())
      .def("edges", &Graph::edges);
}
