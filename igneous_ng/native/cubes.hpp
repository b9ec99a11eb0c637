// The cases of marching cubes (Lorensen & Cline 1987, SIGGRAPH), derived rather than listed.
//
// Corner i of a cube lies at the bits of i: x, y, z. A vertex lies in the middle of an edge between two corners of which
// one is inside. On each face of the cube, corners inside that do not touch along an edge are parted; both cubes at the
// face see it alike, and the surfaces of two labels never cross. No triangle has a side across a face but where
// inside and outside meet there, so that each side belongs to two triangles: the surface is a manifold.

#pragma once

#include <array>
#include <cstdint>
#include <vector>

namespace cubes {

struct Edge {
  uint8_t axis;    // along which it runs
  uint8_t corner;  // its lower end
};

// Edge number 4 * axis + which of the four, in the order of their lower corners.
inline Edge edge_of(int number) {
  const int axis = number / 4, other = number % 4;
  const int low = other & ((1 << axis) - 1), high = other >> axis;
  return {static_cast<uint8_t>(axis), static_cast<uint8_t>(low | high << (axis + 1))};
}

inline int edge_between(int a, int b) {
  const int axis = (a ^ b) == 1 ? 0 : (a ^ b) == 2 ? 1 : 2;
  const int corner = a & b;
  return 4 * axis + ((corner & ((1 << axis) - 1)) | corner >> (axis + 1) << axis);
}

using Triangle = std::array<uint8_t, 3>;  // numbers of edges, in the right-hand order seen from outside

class Cases {
 public:
  Cases() {
    for (int inside = 1; inside < 255; ++inside) derive(inside);
  }
  const std::vector<Triangle>& operator[](int inside) const { return triangles_[inside]; }

 private:
  using Loop = std::vector<uint8_t>;

  void derive(int inside) {
    // The corners of each face in the right-hand order seen from outside the cube.
    static constexpr int kFaces[6][4] = {{0, 4, 6, 2}, {1, 3, 7, 5}, {0, 1, 5, 4}, {2, 6, 7, 3}, {0, 2, 3, 1}, {4, 5, 7, 6}};
    std::array<int, 12> next;
    next.fill(-1);
    for (const auto& face : kFaces)
      for (int i = 0; i < 4; ++i) {
        const int before = face[(i + 3) % 4];
        if ((inside >> before & 1) || !(inside >> face[i] & 1)) continue;
        int last = i;
        while (inside >> face[(last + 1) % 4] & 1) ++last;
        next[edge_between(before, face[i])] = edge_between(face[last % 4], face[(last + 1) % 4]);
      }
    for (int start = 0; start < 12; ++start) {
      Loop loop;
      for (int at = start; next[at] >= 0;) {
        loop.push_back(static_cast<uint8_t>(at));
        const int to = next[at];
        next[at] = -1;
        at = to;
      }
      if (!loop.empty()) fill(loop, triangles_[inside]);
    }
  }

  // Cut ears until a triangle is left, none of them along a face of the cube; for every loop that occurs this succeeds.
  static bool fill(const Loop& loop, std::vector<Triangle>& out) {
    const size_t n = loop.size(), kept = out.size();
    if (n == 3) {
      out.push_back({loop[0], loop[1], loop[2]});
      return true;
    }
    for (size_t i = 0; i < n; ++i) {
      const uint8_t before = loop[(i + n - 1) % n], after = loop[(i + 1) % n];
      if (on_one_face(before, after)) continue;
      Loop rest = loop;
      rest.erase(rest.begin() + static_cast<long>(i));
      out.push_back({before, loop[i], after});
      if (fill(rest, out)) return true;
      out.resize(kept);
    }
    return false;
  }

  static bool on_one_face(int a, int b) {
    const Edge e = edge_of(a), f = edge_of(b);
    for (int axis = 0; axis < 3; ++axis)
      if (e.axis != axis && f.axis != axis && (e.corner >> axis & 1) == (f.corner >> axis & 1)) return true;
    return false;
  }

  std::array<std::vector<Triangle>, 256> triangles_;
};

inline const Cases& cases() {
  static const Cases all;
  return all;
}

}  // namespace cubes
