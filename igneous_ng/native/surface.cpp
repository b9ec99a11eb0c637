// The mesh of an object from the codes that native/march left of it, box by box.
//
// Vertices lie on the lattice of half voxels: voxel i has its centre at 2i + 1. Equal vertices of neighbouring boxes become
// one. The result has one form, whatever the boxes and their order: vertices by z, y, x, faces from their lowest corner
// on and by their corners.

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <limits>
#include <numeric>
#include <stdexcept>
#include <string>
#include <string_view>
#include <tuple>
#include <utility>
#include <vector>

#include "cubes.hpp"
#include "vectors.hpp"

namespace py = pybind11;

namespace {

using Vec3 = std::array<int64_t, 3>;
using Face = std::array<uint32_t, 3>;
constexpr uint32_t kNone = std::numeric_limits<uint32_t>::max();
constexpr int64_t kFarthest = int64_t{1} << 29;  // voxels: lattice coordinates then fit in 31 bits

// What one box holds of an object: the corner of its first cube, in voxels, and its cubes along each axis.
struct Piece {
  Vec3 corner;
  Vec3 cubes;
  std::string_view code;
};

// Lattice points as numbers that sort by z, y, x.
class Lattice {
 public:
  explicit Lattice(const std::vector<Piece>& pieces) {
    Vec3 high{};
    for (int i = 0; i < 3; ++i) {
      low_[i] = kFarthest;
      high[i] = -kFarthest;
      for (const Piece& piece : pieces) {
        low_[i] = std::min(low_[i], piece.corner[i]);
        high[i] = std::max(high[i], piece.corner[i] + piece.cubes[i]);
      }
      size_[i] = 2 * (high[i] - low_[i]) + 2;
    }
    if (static_cast<long double>(size_[0]) * size_[1] * size_[2] >= 9e18L)
      throw std::length_error("it spans too many voxels; use a higher mip");
  }

  uint64_t key(const Vec3& voxel, int edge) const {
    const cubes::Edge at = cubes::edge_of(edge);
    uint64_t point[3];
    for (int i = 0; i < 3; ++i)
      point[i] = static_cast<uint64_t>(2 * (voxel[i] - low_[i] + (at.corner >> i & 1)) + (at.axis == i));
    return (point[2] * size_[1] + point[1]) * size_[0] + point[0];
  }

  std::array<int32_t, 3> point(uint64_t key) const {
    const auto x = static_cast<int64_t>(key % size_[0]), rest = static_cast<int64_t>(key / size_[0]);
    const std::array<int64_t, 3> from{x, rest % size_[1], rest / size_[1]};
    std::array<int32_t, 3> to;
    for (int i = 0; i < 3; ++i) to[i] = static_cast<int32_t>(2 * low_[i] + from[i] + 1);
    return to;
  }

  uint64_t keys() const { return static_cast<uint64_t>(size_[0]) * size_[1] * size_[2]; }

 private:
  Vec3 low_, size_;
};

struct Soup {
  std::vector<uint64_t> keys;  // of vertices; equal ones within a box are one already
  std::vector<Face> faces;
};

// Reads the code of one box. Vertices on the edges below and above a layer of cubes are remembered while it is passed.
class Reader {
 public:
  Reader(const Piece& piece, const Lattice& lattice, Soup& soup) : piece_(piece), lattice_(lattice), soup_(soup) {
    const size_t points = (piece.cubes[0] + 1) * (piece.cubes[1] + 1);
    for (auto& level : levels_) level.seen.assign(3 * points, kNone);
  }

  void run() {
    const uint64_t per_layer = piece_.cubes[0] * piece_.cubes[1], all = per_layer * piece_.cubes[2];
    uint64_t cube = 0, layer = 0;
    for (size_t at = 0; at < piece_.code.size();) {
      const uint64_t gap = number(at);
      if (gap >= all - cube || at == piece_.code.size()) throw std::invalid_argument("a code is damaged; forge its cells again");
      cube += gap;
      climb(layer, cube / per_layer);
      const uint64_t place = cube % per_layer;
      const auto x = static_cast<int64_t>(place % piece_.cubes[0]), y = static_cast<int64_t>(place / piece_.cubes[0]);
      emit({x, y, static_cast<int64_t>(layer)}, static_cast<uint8_t>(piece_.code[at++]));
      ++cube;
    }
  }

 private:
  // The vertices on edges that start at the points of one section: along x and y in it, along z above it.
  struct Level {
    std::vector<uint32_t> seen;
    std::vector<size_t> used;

    void clear() {
      for (size_t slot : used) seen[slot] = kNone;
      used.clear();
    }
  };

  uint64_t number(size_t& at) const {
    uint64_t value = 0;
    for (int shift = 0; shift < 63 && at < piece_.code.size(); shift += 7) {
      const auto byte = static_cast<uint8_t>(piece_.code[at++]);
      value |= static_cast<uint64_t>(byte & 127) << shift;
      if (byte < 128) return value;
    }
    throw std::invalid_argument("a code is damaged; forge its cells again");
  }

  void climb(uint64_t& layer, uint64_t to) {
    if (to == layer) return;
    levels_[0].clear();
    if (to == layer + 1)
      std::swap(levels_[0], levels_[1]);
    else
      levels_[1].clear();
    layer = to;
  }

  void emit(const Vec3& cube, uint8_t inside) {
    uint32_t known[12];
    std::fill(known, known + 12, kNone);
    for (const auto& triangle : cubes::cases()[inside]) {
      Face face;
      for (int i = 0; i < 3; ++i) {
        uint32_t& vertex = known[triangle[i]];
        if (vertex == kNone) vertex = find(cube, triangle[i]);
        face[i] = vertex;
      }
      soup_.faces.push_back(face);
    }
  }

  uint32_t find(const Vec3& cube, int edge) {
    const cubes::Edge at = cubes::edge_of(edge);
    const auto x = cube[0] + (at.corner & 1), y = cube[1] + (at.corner >> 1 & 1);
    Level& level = levels_[at.corner >> 2];
    const size_t slot = 3 * (y * (piece_.cubes[0] + 1) + x) + at.axis;
    uint32_t& vertex = level.seen[slot];
    if (vertex == kNone) {
      if (soup_.keys.size() >= kNone - 1) throw std::length_error("it has too many vertices; use a higher mip");
      vertex = static_cast<uint32_t>(soup_.keys.size());
      level.used.push_back(slot);
      soup_.keys.push_back(lattice_.key({piece_.corner[0] + cube[0], piece_.corner[1] + cube[1], piece_.corner[2] + cube[2]}, edge));
    }
    return vertex;
  }

  const Piece& piece_;
  const Lattice& lattice_;
  Soup& soup_;
  std::array<Level, 2> levels_;
};

// Sorts keys below `limit` with their places, by digits of 11 bits from the lowest.
void sort_by_digits(std::vector<std::pair<uint64_t, uint32_t>>& rows, uint64_t limit) {
  std::vector<std::pair<uint64_t, uint32_t>> other(rows.size());
  for (int shift = 0; shift < 64 && limit >> shift; shift += 11) {
    std::array<size_t, 2048> starts{};
    for (const auto& row : rows) ++starts[row.first >> shift & 2047];
    size_t sum = 0;
    for (auto& start : starts) sum += std::exchange(start, sum);
    for (const auto& row : rows) other[starts[row.first >> shift & 2047]++] = row;
    rows.swap(other);
  }
}

// Makes equal vertices one, in the order of their keys; faces follow.
std::vector<uint64_t> join(Soup& soup, uint64_t limit) {
  std::vector<std::pair<uint64_t, uint32_t>> rows(soup.keys.size());
  for (size_t i = 0; i < rows.size(); ++i) rows[i] = {soup.keys[i], static_cast<uint32_t>(i)};
  std::vector<uint64_t>().swap(soup.keys);
  sort_by_digits(rows, limit);
  std::vector<uint32_t> number(rows.size());
  std::vector<uint64_t> distinct;
  for (const auto& row : rows) {
    if (distinct.empty() || distinct.back() != row.first) distinct.push_back(row.first);
    number[row.second] = static_cast<uint32_t>(distinct.size() - 1);
  }
  for (Face& face : soup.faces)
    for (uint32_t& corner : face) corner = number[corner];
  return distinct;
}

std::vector<Face> sorted(std::vector<Face>&& faces, size_t vertices) {
  std::vector<size_t> starts(vertices + 1, 0);
  for (Face& face : faces) {
    std::rotate(face.begin(), std::min_element(face.begin(), face.end()), face.end());
    ++starts[face[0] + 1];
  }
  std::partial_sum(starts.begin(), starts.end(), starts.begin());
  std::vector<Face> out(faces.size());
  for (const Face& face : faces) out[starts[face[0]]++] = face;
  std::vector<Face>().swap(faces);
  for (size_t vertex = 0, start = 0; vertex < vertices; start = starts[vertex++])
    std::sort(out.begin() + static_cast<long>(start), out.begin() + static_cast<long>(starts[vertex]));
  return out;
}

using Raw = std::tuple<Vec3, Vec3, py::bytes>;

std::vector<Piece> checked(const std::vector<Raw>& raw) {
  std::vector<Piece> pieces;
  for (const auto& [corner, cubes, code] : raw) {
    for (int i = 0; i < 3; ++i)
      if (cubes[i] < 1 || cubes[i] > kFarthest || std::abs(corner[i]) > kFarthest - cubes[i])
        throw std::invalid_argument("a piece lies too far out; forge its cells again");
    if (cubes[0] * cubes[1] > kFarthest) throw std::invalid_argument("a piece lies too far out; forge its cells again");
    pieces.push_back({corner, cubes, std::string_view(code)});
  }
  return pieces;
}

py::tuple surface(const std::vector<Raw>& raw) {
  const std::vector<Piece> pieces = checked(raw);
  std::vector<std::array<int32_t, 3>> vertices;
  std::vector<Face> faces;
  if (!pieces.empty()) {
    py::gil_scoped_release release;
    const Lattice lattice(pieces);
    Soup soup;
    for (const Piece& piece : pieces) Reader(piece, lattice, soup).run();
    const std::vector<uint64_t> keys = join(soup, lattice.keys());
    faces = sorted(std::move(soup.faces), keys.size());
    vertices.reserve(keys.size());
    for (uint64_t key : keys) vertices.push_back(lattice.point(key));
  }
  return py::make_tuple(vectors::rows(std::move(vertices)), vectors::rows(std::move(faces)));
}

}  // namespace

PYBIND11_MODULE(surface, m) {
  m.doc() = "The mesh of an object from the codes of its boxes.";
  m.def("surface", &surface, py::arg("pieces"));
}
