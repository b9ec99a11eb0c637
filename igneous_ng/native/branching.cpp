// How a skeleton branches: its parts, its longest path and its Strahler number, along trees that are cut from its loops.
//
// Trees are walked breadth first, from lists, so that no depth of a neuron overflows a stack. Sums of lengths follow paths,
// in one order.

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <algorithm>
#include <cstdint>
#include <numeric>
#include <stdexcept>
#include <utility>
#include <vector>

namespace py = pybind11;

namespace {

using Edges = py::array_t<int64_t, py::array::c_style>;
using Lengths = py::array_t<double, py::array::c_style>;

struct Link {
  int64_t other;
  double length;
};

// Vertices and the links of each, in the order in which these are given.
class Graph {
 public:
  Graph(int64_t vertices, const int64_t* edges, const double* lengths, int64_t count) : starts_(vertices + 1), links_(2 * count) {
    for (int64_t i = 0; i < 2 * count; ++i) ++starts_[edges[i] + 1];
    std::partial_sum(starts_.begin(), starts_.end(), starts_.begin());
    std::vector<int64_t> next(starts_.begin(), starts_.end() - 1);
    for (int64_t i = 0; i < count; ++i)
      for (int end = 0; end < 2; ++end) links_[next[edges[2 * i + end]]++] = {edges[2 * i + 1 - end], lengths[i]};
  }

  int64_t vertices() const { return static_cast<int64_t>(starts_.size()) - 1; }
  const Link* begin(int64_t vertex) const { return links_.data() + starts_[vertex]; }
  const Link* end(int64_t vertex) const { return links_.data() + starts_[vertex + 1]; }

 private:
  std::vector<int64_t> starts_;
  std::vector<Link> links_;
};

// One walk over a tree: vertices, nearest first, where each was reached from, and how far it is.
class Walk {
 public:
  explicit Walk(int64_t vertices) : parent(vertices, -1), far(vertices, 0.0) {}

  std::vector<int64_t> order, parent;
  std::vector<double> far;

  void from(const Graph& graph, int64_t root) {
    order.assign(1, root);
    parent[root] = root;
    far[root] = 0;
    for (size_t at = 0; at < order.size(); ++at) {
      const int64_t here = order[at];
      for (const Link* link = graph.begin(here); link != graph.end(here); ++link) {
        if (link->other == parent[here] || parent[link->other] >= 0) continue;
        parent[link->other] = here;
        far[link->other] = far[here] + link->length;
        order.push_back(link->other);
      }
    }
  }

  // Forget the last walk.
  void clear() {
    for (int64_t vertex : order) parent[vertex] = -1;
  }

  // The vertex that is farthest away; of equal ones the first.
  int64_t farthest() const {
    int64_t found = order.front();
    for (int64_t vertex : order)
      if (far[vertex] > far[found] || (far[vertex] == far[found] && vertex < found)) found = vertex;
    return found;
  }
};

// Strahler's number of a tree from its root, an end: 1 for a line, one more where two branches of the greatest meet.
int64_t strahler(const Walk& walk, std::vector<int64_t>& best, std::vector<int64_t>& twice) {
  for (int64_t vertex : walk.order) best[vertex] = twice[vertex] = 0;
  int64_t number = 0;
  for (size_t at = walk.order.size(); at-- > 1;) {
    const int64_t vertex = walk.order[at], parent = walk.parent[vertex];
    number = best[vertex] ? best[vertex] + twice[vertex] : 1;
    twice[parent] = number == best[parent] ? 1 : number > best[parent] ? 0 : twice[parent];
    best[parent] = std::max(best[parent], number);
  }
  return best[walk.order.front()];
}

// The edges of trees that span a graph, those that are met first.
Graph spanning(const Graph& graph, int64_t& parts) {
  Walk walk(graph.vertices());
  std::vector<int64_t> edges;
  std::vector<double> lengths;
  for (int64_t root = 0; root < graph.vertices(); ++root) {
    if (walk.parent[root] >= 0) continue;
    ++parts;
    walk.from(graph, root);
    for (size_t at = 1; at < walk.order.size(); ++at) {
      const int64_t vertex = walk.order[at], parent = walk.parent[vertex];
      edges.insert(edges.end(), {parent, vertex});
      const Link* link = graph.begin(vertex);
      while (link->other != parent) ++link;
      lengths.push_back(link->length);
    }
  }
  return Graph(graph.vertices(), edges.data(), lengths.data(), static_cast<int64_t>(lengths.size()));
}

struct Shape {
  int64_t parts = 0, first = -1, last = -1, strahler = 0;
  double longest = 0;
};

Shape shape_of(const Graph& graph) {
  Shape found;
  const Graph trees = spanning(graph, found.parts);
  Walk walk(trees.vertices());
  std::vector<int64_t> best(trees.vertices()), twice(trees.vertices());
  std::vector<uint8_t> seen(trees.vertices());
  for (int64_t root = 0; root < trees.vertices(); ++root) {
    if (seen[root]) continue;
    int64_t ends[2] = {root, root};
    for (int turn = 0; turn < 3; ++turn) {  // to an end, from there to the other, and back
      walk.from(trees, ends[turn == 2]);
      if (turn == 0)
        for (int64_t vertex : walk.order) seen[vertex] = 1;
      if (turn < 2) ends[turn] = walk.farthest();
      if (turn > 0) found.strahler = std::max(found.strahler, strahler(walk, best, twice));
      if (turn == 1 && walk.far[ends[1]] > found.longest) {
        found.longest = walk.far[ends[1]];
        found.first = ends[0];
        found.last = ends[1];
      }
      walk.clear();
    }
  }
  return found;
}

py::dict measure(int64_t vertices, const Edges& edges, const Lengths& lengths) {
  const auto count = static_cast<int64_t>(lengths.size());
  if (edges.ndim() != 2 || edges.shape(1) != 2 || edges.shape(0) != count) throw std::invalid_argument("give edges [m, 2] and m lengths");
  if (std::any_of(edges.data(), edges.data() + 2 * count, [&](int64_t end) { return end < 0 || end >= vertices; }))
    throw std::invalid_argument("edges are between vertices");
  Shape found;
  {
    py::gil_scoped_release release;
    found = shape_of(Graph(vertices, edges.data(), lengths.data(), count));
  }
  py::dict made;
  made["parts"] = found.parts;
  made["longest"] = found.longest;
  made["first"] = found.first;
  made["last"] = found.last;
  made["strahler"] = found.strahler;
  return made;
}

}  // namespace

PYBIND11_MODULE(branching, m) {
  m.doc() = "How a skeleton branches.";
  m.def("measure", &measure, py::arg("vertices"), py::arg("edges").noconvert(), py::arg("lengths").noconvert());
}
