// Simplification of a triangle mesh by collapsing edges, cheapest first, its topology kept.
//
// Cost and place of a collapse: quadric error metrics (Garland & Heckbert 1997, SIGGRAPH). A collapse is made only where the
// link condition holds (Dey, Edelsbrunner, Guha & Nekhayev 1999), so that a closed manifold stays one of the same genus;
// vertices whose triangles form no closed fan stay where they are. Collapses go in passes: the edges of a pass are sorted
// by cost, and each vertex takes part in one collapse a pass, so that costs hold throughout it.
//
// Two bounds hold the surface in place. The mean of the squared distances to the planes of the triangles replaced stays
// below the square of a quarter of the error; and what each vertex has departed from the surface, the distances of its
// collapses added up, stays below the error. The mean alone lets fine spikes vanish among large surroundings.

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <stdexcept>
#include <utility>
#include <vector>

#include "points.hpp"
#include "quadric.hpp"
#include "stars.hpp"
#include "vectors.hpp"

namespace py = pybind11;

namespace {

using points::dot;
using points::minus;
using points::normal;
using points::plus;
using points::times;
using quadric::Point;
using quadric::Quadric;
using stars::Face;
using stars::kDead;
using stars::others;

struct Mesh {
  std::vector<Point> points;
  std::vector<Face> faces;
};

class Simplifier {
 public:
  Simplifier(Mesh& mesh, float error, size_t target)
      : mesh_(mesh), mean_(error * error / 16), error_(error), target_(target) {}

  void run() {
    stars_.build(mesh_.faces, mesh_.points.size());
    measure();
    pinned_ = stars_.irregular(mesh_.faces);
    while (mesh_.faces.size() > target_) {
      const size_t before = mesh_.faces.size();
      rank();
      pass();
      compact();
      if (before - mesh_.faces.size() < before / kWorthwhile + 1) break;
      stars_.build(mesh_.faces, mesh_.points.size());
    }
  }

 private:
  struct Place {
    Point offset;  // from the first vertex
    float cost;
    bool fits;
  };
  static constexpr size_t kWorthwhile = 200;  // a pass that takes away a smaller part is the last one
  static constexpr float kFold = 0.2f;        // the cosine by which a face may turn in one collapse
  static constexpr float kShape = 1e-4f;      // what the length of an edge adds to its cost: decides on flat ground
  static constexpr uint16_t kNone = 1023;     // the key of an edge that may not be collapsed; keys have 10 bits
  static constexpr uint16_t kTwice = 4;       // keys from a cost to twice the cost

  void measure() {
    quadrics_.assign(mesh_.points.size(), Quadric{});
    departed_.assign(mesh_.points.size(), 0);
    for (const Face& face : mesh_.faces) {
      const Point n = normal(mesh_.points[face[0]], mesh_.points[face[1]], mesh_.points[face[2]]);
      for (uint32_t corner : face) quadrics_[corner].add_plane(n);
    }
  }

  // The edges that may be collapsed, by cost, in steps of a quarter; of equal steps, in the order of the mesh. Floats that
  // are not negative sort as their bits do.
  void rank() {
    keys_.assign(3 * mesh_.faces.size(), kNone);
    ends_.assign(kNone + 1, 0);
    for (size_t edge = 0; edge < keys_.size(); ++edge) {
      const auto [a, b] = corners(edge);
      if (a > b || pinned_[a] || pinned_[b]) continue;
      const Place place = best(a, b);
      if (place.fits) ++ends_[keys_[edge] = key(place.cost)];
    }
    size_t sum = 0;
    for (size_t& end : ends_) sum += std::exchange(end, sum);
    order_.resize(sum);
    for (size_t edge = 0; edge < keys_.size(); ++edge)
      if (keys_[edge] != kNone) order_[ends_[keys_[edge]]++] = static_cast<uint32_t>(edge);
  }

  // An edge is known by the number of the corner that it starts at.
  std::pair<uint32_t, uint32_t> corners(size_t edge) const {
    const Face& face = mesh_.faces[edge / 3];
    return {face[edge % 3], face[(edge % 3 + 1) % 3]};
  }

  static uint16_t key(float cost) {
    uint32_t bits;
    std::memcpy(&bits, &cost, sizeof bits);
    return static_cast<uint16_t>(std::min<uint32_t>(bits >> 21, kNone - 1));
  }

  Place best(uint32_t a, uint32_t b) const {
    const Point along = minus(mesh_.points[b], mesh_.points[a]), middle = times(along, 0.5f);
    const Quadric other = quadrics_[b].moved(times(along, -1.0f));
    Quadric both = quadrics_[a];
    both.add(other);
    const float length = dot(along, along);
    Point offset = both.lowest(middle);
    const Point off = minus(offset, middle);
    if (!(dot(off, off) <= 4 * length)) offset = middle;
    const float first = quadrics_[a].at(offset), second = other.at(offset);
    const bool fits = first <= mean_ * quadrics_[a].weight && second <= mean_ * other.weight;
    return {offset, first + second + kShape * both.weight * length, fits};
  }

  void pass() {
    spent_.assign(mesh_.points.size(), 0);
    seen_.assign(mesh_.points.size(), kDead);
    left_ = mesh_.faces.size();
    // Dearer edges wait for a later pass: cheaper ones may come to lie beside them.
    const size_t share = order_.size() > 3000 ? order_.size() / 2 : order_.size();
    const auto median = std::upper_bound(ends_.begin(), ends_.begin() + kNone, share) - ends_.begin();
    const size_t stop = ends_[std::min<size_t>(median + kTwice, kNone - 1)];
    uint32_t epoch = 0;
    for (size_t i = 0; i < stop && left_ > target_; ++i) {
      const auto [a, b] = corners(order_[i]);
      if (a == kDead || b == kDead || spent_[a] || spent_[b] || !linked(a, b, epoch++)) continue;
      const Point offset = best(a, b).offset, to = plus(mesh_.points[a], offset);
      float far = 0;
      if (bears(a, b, to, far) && bears(b, a, to, far)) collapse(a, b, offset, far);
    }
  }

  // The link condition: the rings of both share the two corners opposite to their edge and nothing else.
  bool linked(uint32_t a, uint32_t b, uint32_t epoch) {
    size_t first = 0, second = 0, shared = 0;
    for (uint32_t f : stars_.of(a))
      if (mesh_.faces[f][0] != kDead) {
        seen_[others(mesh_.faces[f], a).first] = epoch;
        ++first;
      }
    for (uint32_t f : stars_.of(b))
      if (mesh_.faces[f][0] != kDead) {
        shared += seen_[others(mesh_.faces[f], b).first] == epoch;
        ++second;
      }
    return shared == 2 && !(first == 3 && second == 3);  // two fans of three make a tetrahedron
  }

  // Whether `vertex` may go to `to` when its edge to `other` is collapsed: no face turns over, and none departs too far.
  // `far` grows to what the vertex will have departed.
  bool bears(uint32_t vertex, uint32_t other, const Point& to, float& far) const {
    const Point way = minus(to, mesh_.points[vertex]);
    float most = 0;
    for (uint32_t f : stars_.of(vertex)) {
      const Face& face = mesh_.faces[f];
      if (face[0] == kDead) continue;
      const auto [next, last] = others(face, vertex);
      const Point &p = mesh_.points[next], &q = mesh_.points[last];
      const Point before = normal(mesh_.points[vertex], p, q);
      const float size = dot(before, before), risen = dot(before, way);
      most = std::max(most, risen * risen / (size + std::numeric_limits<float>::min()));
      if (next == other || last == other) continue;
      const Point after = normal(to, p, q);
      const float turn = dot(before, after);
      if (turn <= 0 || turn * turn < kFold * kFold * size * dot(after, after)) return false;
    }
    most = std::max(most, gap(vertex, other, to));  // planes do not tell how far a tip goes along its axis
    far = std::max(far, departed_[vertex] + std::sqrt(most));
    return far <= error_;
  }

  // The squared distance of `vertex` to the faces that will be around `to`.
  float gap(uint32_t vertex, uint32_t other, const Point& to) const {
    const Point& from = mesh_.points[vertex];
    const Point way = minus(to, from);
    float nearest = dot(way, way);
    for (uint32_t one : {vertex, other})
      for (uint32_t f : stars_.of(one)) {
        const Face& face = mesh_.faces[f];
        if (face[0] == kDead) continue;
        const auto [next, last] = others(face, one);
        if (next == vertex || last == vertex || next == other || last == other) continue;
        nearest = std::min(nearest, points::squared_distance(from, to, mesh_.points[next], mesh_.points[last]));
      }
    return nearest;
  }

  void collapse(uint32_t a, uint32_t b, const Point& offset, float far) {
    for (uint32_t f : stars_.of(b)) {
      Face& face = mesh_.faces[f];
      if (face[0] == kDead) continue;
      if (face[0] == a || face[1] == a || face[2] == a) {
        face[0] = kDead;
        --left_;
        continue;
      }
      for (uint32_t& corner : face)
        if (corner == b) corner = a;
    }
    const Point to = plus(mesh_.points[a], offset);
    const Quadric moved = quadrics_[b].moved(minus(to, mesh_.points[b]));
    quadrics_[a] = quadrics_[a].moved(offset);
    quadrics_[a].add(moved);
    mesh_.points[a] = to;
    departed_[a] = far;
    spent_[a] = spent_[b] = 1;
  }

  // Leaves out dead faces and the vertices that no face has any more.
  void compact() {
    auto& faces = mesh_.faces;
    faces.erase(std::remove_if(faces.begin(), faces.end(), [](const Face& face) { return face[0] == kDead; }), faces.end());
    std::vector<uint32_t>& number = seen_;
    std::fill(number.begin(), number.end(), kDead);
    for (const Face& face : faces)
      for (uint32_t corner : face) number[corner] = 0;
    uint32_t count = 0;
    for (size_t vertex = 0; vertex < number.size(); ++vertex) {
      if (number[vertex] == kDead) continue;
      mesh_.points[count] = mesh_.points[vertex];
      quadrics_[count] = quadrics_[vertex];
      departed_[count] = departed_[vertex];
      pinned_[count] = pinned_[vertex];
      number[vertex] = count++;
    }
    mesh_.points.resize(count);
    quadrics_.resize(count);
    departed_.resize(count);
    pinned_.resize(count);
    for (Face& face : faces)
      for (uint32_t& corner : face) corner = number[corner];
  }

  Mesh& mesh_;
  const float mean_, error_;
  const size_t target_;
  size_t left_ = 0;
  stars::Stars stars_;
  std::vector<Quadric> quadrics_;
  std::vector<float> departed_;
  std::vector<uint8_t> pinned_, spent_;
  std::vector<uint32_t> seen_, order_;
  std::vector<uint16_t> keys_;  // by edge
  std::vector<size_t> ends_;    // by key, where its edges end in the order
};

py::tuple simplify(const vectors::Given<float>& points, const vectors::Given<uint32_t>& faces, float error, size_t target) {
  Mesh mesh{vectors::copied(points), vectors::copied(faces)};
  vectors::check_corners(mesh.faces, mesh.points.size());
  if (!(error >= 0)) throw std::invalid_argument("the error is a length");
  {
    py::gil_scoped_release release;
    Simplifier(mesh, error, target).run();
  }
  return py::make_tuple(vectors::rows(std::move(mesh.points)), vectors::rows(std::move(mesh.faces)));
}

}  // namespace

PYBIND11_MODULE(simplify, m) {
  m.doc() = "Simplification of triangle meshes, their topology kept.";
  m.def("simplify", &simplify, py::arg("vertices"), py::arg("faces"), py::arg("error"), py::arg("target"));
}
