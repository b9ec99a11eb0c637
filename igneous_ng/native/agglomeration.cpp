// Agglomeration of a graph of regions: always the best edge next, with the edges of the smaller list folded into those
// of the larger (Funke et al. 2019 for the order, waterz; Lu, Zlateski & Seung 2021, arXiv 2106.10795, for regions that
// are known in part). All sums are of integers, so no result depends on an order of addition.

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <algorithm>
#include <cstdint>
#include <limits>
#include <numeric>
#include <stdexcept>
#include <utility>
#include <vector>

namespace py = pybind11;

namespace {

template <class T>
using Column = py::array_t<T, py::array::c_style>;

constexpr uint32_t NONE = std::numeric_limits<uint32_t>::max();
constexpr double SURE = 256;  // the score of an edge that must be taken
constexpr int BINS = 32;
constexpr int64_t WHOLE = 1000;  // quantiles are given in thousandths: products of integers stay exact
enum Linkage { MEAN, MAX, QUANTILE };
enum State : uint8_t { GONE, KEPT, REFUSED };

struct Rules {
  int linkage;
  int64_t quantile;
  double lowest, threshold;
  int64_t guard_size;
  double guard_threshold;
  int64_t small_size;

  bool allow(double score, int64_t size) const {
    if (guard_size && score < guard_threshold && size >= guard_size) return false;
    return score >= threshold || size < small_size;
  }
};

// The columns of regions and of edges, which are changed in place.
struct Regions {
  int64_t *size, *parts, *reach;
  double* weakest;
  uint8_t* frozen;
  uint32_t count;
};

struct Edges {
  uint32_t *u, *v;
  int64_t *sum, *num, *key;
  uint8_t *must, *max;
  int32_t* bins;
  uint32_t count;

  double score(uint32_t e, const Rules& rules) const {
    if (must[e]) return SURE;
    if (rules.linkage == MEAN) return static_cast<double>(sum[e]) / static_cast<double>(num[e]);
    if (rules.linkage == MAX) return max[e];
    const int32_t* bin = bins + static_cast<size_t>(e) * BINS;
    int64_t below = 0;
    int b = 0;
    while (b < BINS - 1 && WHOLE * (below += bin[b]) < rules.quantile * num[e]) ++b;
    return 8 * b + 4;
  }

  void fold(uint32_t from, uint32_t to) {
    sum[to] += sum[from], num[to] += num[from];
    key[to] = std::min(key[to], key[from]);
    must[to] |= must[from];
    max[to] = std::max(max[to], max[from]);
    if (!bins) return;
    if (num[to] > std::numeric_limits<int32_t>::max()) throw std::overflow_error("a contact of more than 2^31 faces");
    for (int b = 0; b < BINS; ++b) bins[static_cast<size_t>(to) * BINS + b] += bins[static_cast<size_t>(from) * BINS + b];
  }
};

// The edge between two regions: open addressing, linear probing; an entry that goes moves others back (Knuth 6.4 R).
class Pairs {
 public:
  explicit Pairs(const Edges& edges) : edges_(edges), slots_(edges.count + edges.count / 2 + 1, NONE) {}

  // The edge between the ends of e, which is e from now on if there was none.
  uint32_t put(uint32_t e) {
    size_t at = home(e);
    while (slots_[at] != NONE && !same(slots_[at], e)) at = after(at);
    return slots_[at] == NONE ? slots_[at] = e : slots_[at];
  }

  void erase(uint32_t e) {
    size_t hole = home(e);
    while (slots_[hole] != e) hole = after(hole);
    for (size_t at = after(hole); slots_[at] != NONE; at = after(at)) {
      const size_t wanted = home(slots_[at]);
      const bool stays = hole < at ? hole < wanted && wanted <= at : hole < wanted || wanted <= at;
      if (!stays) slots_[hole] = slots_[at], hole = at;
    }
    slots_[hole] = NONE;
  }

 private:
  size_t after(size_t at) const { return at + 1 == slots_.size() ? 0 : at + 1; }

  uint64_t code(uint32_t e) const {
    const auto [low, high] = std::minmax(edges_.u[e], edges_.v[e]);
    return static_cast<uint64_t>(low) << 32 | high;
  }

  bool same(uint32_t e, uint32_t f) const { return code(e) == code(f); }

  size_t home(uint32_t e) const {  // splitmix64 (Steele, Lea & Flood 2014), scaled to the table
    uint64_t mixed = code(e) + 0x9e3779b97f4a7c15;
    mixed = (mixed ^ mixed >> 30) * 0xbf58476d1ce4e5b9;
    mixed = (mixed ^ mixed >> 27) * 0x94d049bb133111eb;
    mixed ^= mixed >> 31;
    return static_cast<size_t>(static_cast<unsigned __int128>(mixed) * slots_.size() >> 64);
  }

  const Edges& edges_;
  std::vector<uint32_t> slots_;
};

// Edges by falling score, then falling key: a binary heap that knows where each edge is.
class Queue {
 public:
  Queue(const Edges& edges) : edges_(edges), place_(edges.count, NONE) {}

  void reserve(size_t count) { heap_.reserve(count); }
  bool empty() const { return heap_.empty(); }

  std::pair<double, uint32_t> pop() {
    const Entry top = heap_[0];
    remove(top.edge);
    return {top.score, top.edge};
  }

  void set(uint32_t e, double score) {
    if (place_[e] == NONE) {
      place_[e] = static_cast<uint32_t>(heap_.size());
      heap_.push_back({score, e});
    }
    settle({score, e}, place_[e]);
  }

  void remove(uint32_t e) {
    const uint32_t hole = std::exchange(place_[e], NONE);
    if (hole == NONE) return;
    const Entry last = heap_.back();
    heap_.pop_back();
    if (last.edge != e) settle(last, hole);
  }

 private:
  struct Entry {
    double score;
    uint32_t edge;
  };

  bool before(const Entry& a, const Entry& b) const {
    return a.score != b.score ? a.score > b.score : edges_.key[a.edge] > edges_.key[b.edge];
  }

  void lay(const Entry& one, size_t at) { heap_[at] = one, place_[one.edge] = static_cast<uint32_t>(at); }

  void settle(const Entry& one, size_t at) {
    for (size_t up; at && before(one, heap_[up = (at - 1) / 2]); at = up) lay(heap_[up], at);
    for (size_t down; (down = 2 * at + 1) < heap_.size(); at = down) {
      if (down + 1 < heap_.size() && before(heap_[down + 1], heap_[down])) ++down;
      if (!before(heap_[down], one)) break;
      lay(heap_[down], at);
    }
    lay(one, at);
  }

  const Edges& edges_;
  std::vector<Entry> heap_;
  std::vector<uint32_t> place_;
};

class Agglomeration {
 public:
  Agglomeration(Regions regions, Edges edges, const Rules& rules, uint8_t* state)
      : regions_(regions), edges_(edges), rules_(rules), state_(state), pairs_(edges_), queue_(edges_),
        next_(2 * static_cast<size_t>(edges.count), NONE), head_(regions.count, NONE), tail_(regions.count, NONE),
        length_(regions.count, 0), parent_(regions.count), name_(regions.count) {
    std::iota(parent_.begin(), parent_.end(), 0);
    std::iota(name_.begin(), name_.end(), 0);
  }

  void run() {
    begin();
    while (!queue_.empty()) {
      const auto [score, e] = queue_.pop();
      const uint32_t x = edges_.u[e], y = edges_.v[e];
      if (regions_.frozen[x] || regions_.frozen[y])
        regions_.frozen[x] = regions_.frozen[y] = true;
      else if (edges_.must[e] || rules_.allow(score, std::min(regions_.size[x], regions_.size[y])))
        merge(e, score);
      else
        refuse(e);
    }
    end();
  }

  // The region that each became, by its lowest number, at which the columns say what it is.
  void roots(uint32_t* root) {
    for (uint32_t i = 0; i < regions_.count; ++i) root[i] = name_[find(i)];
  }

 private:
  void begin() {
    for (uint32_t e = 0; e < edges_.count; ++e) {
      const uint32_t first = pairs_.put(e);
      state_[e] = first == e ? KEPT : GONE;
      if (first != e) edges_.fold(e, first);
    }
    size_t wanted = 0;
    for (uint32_t e = 0; e < edges_.count; ++e) wanted += state_[e] && edges_.score(e, rules_) >= rules_.lowest;
    queue_.reserve(wanted);
    for (uint32_t e = 0; e < edges_.count; ++e) {
      if (!state_[e]) continue;
      append(edges_.u[e], 2 * static_cast<size_t>(e));
      append(edges_.v[e], 2 * static_cast<size_t>(e) + 1);
      queue(e);
    }
  }

  void queue(uint32_t e) {
    const double score = edges_.score(e, rules_);
    if (score >= rules_.lowest)
      queue_.set(e, score);
    else
      queue_.remove(e);
  }

  void append(uint32_t x, size_t half) {
    const uint32_t one = static_cast<uint32_t>(half);
    next_[one] = NONE;
    (head_[x] == NONE ? head_[x] : next_[tail_[x]]) = one;
    tail_[x] = one;
    ++length_[x];
  }

  void refuse(uint32_t e) {
    pairs_.erase(e);
    state_[e] = REFUSED;
    rename(e);
  }

  // One region of the two ends of e: the one of the longer list, into which that of the other is folded.
  void merge(uint32_t e, double score) {
    uint32_t x = edges_.u[e], y = edges_.v[e];
    if (length_[x] < length_[y]) std::swap(x, y);
    pairs_.erase(e);
    state_[e] = GONE;
    unite(x, y, score);
    for (uint32_t half = head_[y], after; half != NONE; half = after) {
      after = next_[half];
      if (state_[half >> 1] == KEPT) move(half, y, x);
    }
    head_[y] = NONE;
  }

  void unite(uint32_t x, uint32_t y, double score) {
    parent_[y] = x;
    name_[x] = std::min(name_[x], name_[y]);
    regions_.size[x] += regions_.size[y];
    regions_.parts[x] += regions_.parts[y];
    regions_.reach[x] = std::max(regions_.reach[x], regions_.reach[y]);
    regions_.weakest[x] = std::min({score, regions_.weakest[x], regions_.weakest[y]});
  }

  // The edge of this half ends at x where it ended at y.
  void move(uint32_t half, uint32_t y, uint32_t x) {
    const uint32_t e = half >> 1;
    pairs_.erase(e);
    (edges_.u[e] == y ? edges_.u[e] : edges_.v[e]) = x;
    const uint32_t there = pairs_.put(e);
    if (there == e) return append(x, half);
    state_[e] = GONE;
    queue_.remove(e);
    edges_.fold(e, there);
    queue(there);
  }

  void end() {
    for (uint32_t e = 0; e < edges_.count; ++e)
      if (state_[e] == KEPT) rename(e);
    for (uint32_t i = 0; i < regions_.count; ++i) {
      const uint32_t name = name_[i];
      if (parent_[i] != i || name == i) continue;
      regions_.size[name] = regions_.size[i];
      regions_.parts[name] = regions_.parts[i];
      regions_.reach[name] = regions_.reach[i];
      regions_.weakest[name] = regions_.weakest[i];
      regions_.frozen[name] = regions_.frozen[i];
    }
  }

  void rename(uint32_t e) {
    const uint32_t one = name_[edges_.u[e]], other = name_[edges_.v[e]];
    edges_.u[e] = std::min(one, other), edges_.v[e] = std::max(one, other);
  }

  uint32_t find(uint32_t i) {
    while (parent_[i] != i) i = parent_[i] = parent_[parent_[i]];
    return i;
  }

  Regions regions_;
  Edges edges_;
  Rules rules_;
  uint8_t* state_;
  Pairs pairs_;
  Queue queue_;
  std::vector<uint32_t> next_, head_, tail_, length_, parent_, name_;
};

template <class T>
T* column(const py::dict& table, const char* name, py::ssize_t count) {
  if (!py::isinstance<Column<T>>(table[name])) throw std::invalid_argument(std::string(name) + ": of another type");
  auto values = py::cast<Column<T>>(table[name]);
  if (values.shape(0) != count) throw std::invalid_argument(std::string(name) + ": of another length");
  return values.mutable_data();
}

py::ssize_t rows(const py::dict& table, const char* name) {
  const py::ssize_t count = py::len(table[name]);
  if (count >= NONE / 2) throw std::invalid_argument("more than two thousand million rows");
  return count;
}

Edges edges_of(const py::dict& table, py::ssize_t regions, bool binned) {
  const py::ssize_t count = rows(table, "u");
  Edges edges{column<uint32_t>(table, "u", count),   column<uint32_t>(table, "v", count),
              column<int64_t>(table, "sum", count),  column<int64_t>(table, "num", count),
              column<int64_t>(table, "key", count),  column<uint8_t>(table, "must", count),
              column<uint8_t>(table, "max", count),  nullptr,
              static_cast<uint32_t>(count)};
  if (binned) {
    edges.bins = column<int32_t>(table, "bins", count);
    if (py::cast<Column<int32_t>>(table["bins"]).size() != count * BINS) throw std::invalid_argument("bins: not 32 each");
  }
  for (py::ssize_t e = 0; e < count; ++e)
    if (edges.u[e] >= regions || edges.v[e] >= regions || edges.u[e] == edges.v[e] || edges.num[e] < 1)
      throw std::invalid_argument("an edge of no faces, to no region, or of one region with itself");
  return edges;
}

py::tuple agglomerate(const py::dict& nodes, const py::dict& table, int linkage, int64_t quantile, py::tuple limits) {
  const py::ssize_t count = rows(nodes, "size");
  Regions regions{column<int64_t>(nodes, "size", count),   column<int64_t>(nodes, "parts", count),
                  column<int64_t>(nodes, "reach", count),  column<double>(nodes, "weakest", count),
                  column<uint8_t>(nodes, "frozen", count), static_cast<uint32_t>(count)};
  const Edges edges = edges_of(table, count, linkage == QUANTILE);
  const Rules rules{linkage,
                    quantile,
                    limits[0].cast<double>(),
                    limits[1].cast<double>(),
                    limits[2].cast<int64_t>(),
                    limits[3].cast<double>(),
                    limits[4].cast<int64_t>()};
  Column<uint32_t> root(count);
  Column<uint8_t> state(edges.count);
  uint32_t* roots = root.mutable_data();
  uint8_t* states = state.mutable_data();
  {
    py::gil_scoped_release release;
    Agglomeration work(regions, edges, rules, states);
    work.run();
    work.roots(roots);
  }
  return py::make_tuple(root, state);
}

}  // namespace

PYBIND11_MODULE(agglomeration, m) {
  m.attr("GONE") = static_cast<int>(GONE);
  m.attr("KEPT") = static_cast<int>(KEPT);
  m.attr("REFUSED") = static_cast<int>(REFUSED);
  m.def("agglomerate", &agglomerate);
}
