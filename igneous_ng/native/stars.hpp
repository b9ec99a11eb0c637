// Which triangles each vertex is a corner of.

#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <utility>
#include <vector>

namespace stars {

using Face = std::array<uint32_t, 3>;
constexpr uint32_t kDead = std::numeric_limits<uint32_t>::max();  // no vertex; the first corner of a face that is gone

// A face as seen from one of its corners: the corner after it and the one before.
inline std::pair<uint32_t, uint32_t> others(const Face& face, uint32_t corner) {
  if (face[0] == corner) return {face[1], face[2]};
  return face[1] == corner ? std::make_pair(face[2], face[0]) : std::make_pair(face[0], face[1]);
}

class Stars {
 public:
  struct Star {
    const uint32_t *first, *last;
    const uint32_t* begin() const { return first; }
    const uint32_t* end() const { return last; }
    size_t size() const { return static_cast<size_t>(last - first); }
  };

  void build(const std::vector<Face>& faces, size_t vertices) {
    starts_.assign(vertices + 2, 0);
    for (const Face& face : faces)
      for (uint32_t corner : face) ++starts_[corner + 2];
    for (size_t i = 2; i < starts_.size(); ++i) starts_[i] += starts_[i - 1];
    faces_.resize(3 * faces.size());
    for (size_t f = 0; f < faces.size(); ++f)
      for (uint32_t corner : faces[f]) faces_[starts_[corner + 1]++] = static_cast<uint32_t>(f);
  }

  Star of(uint32_t vertex) const { return {faces_.data() + starts_[vertex], faces_.data() + starts_[vertex + 1]}; }

  // Of each vertex, whether its faces are anything but one closed fan, each seen in the same sense.
  std::vector<uint8_t> irregular(const std::vector<Face>& faces) const {
    const size_t count = starts_.size() - 2;
    std::vector<uint8_t> found(count);
    std::vector<uint32_t> seen(count, kDead), after(count);
    for (uint32_t vertex = 0; vertex < count; ++vertex) found[vertex] = !closed_fan(vertex, faces, seen, after);
    return found;
  }

 private:
  bool closed_fan(uint32_t vertex, const std::vector<Face>& faces, std::vector<uint32_t>& seen,
                  std::vector<uint32_t>& after) const {
    uint32_t first = kDead;
    for (uint32_t f : of(vertex)) {
      const auto [next, last] = others(faces[f], vertex);
      if (next == vertex || last == vertex || next == last || seen[next] == vertex) return false;
      seen[next] = vertex;
      after[next] = first = last;
    }
    if (first == kDead) return false;
    uint32_t at = first;
    for (size_t left = of(vertex).size(); left; --left) {
      if (seen[at] != vertex) return false;
      at = after[at];
      if (at == first) return left == 1;
    }
    return false;
  }

  std::vector<uint32_t> starts_, faces_;
};

}  // namespace stars
