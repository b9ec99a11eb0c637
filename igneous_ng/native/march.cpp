// Marching cubes of all labels of a box in one pass, as a code of few bytes a cube.
//
// The code of a label lists the cubes that its surface passes, z slowest: for each the number of cubes left out since the
// one before, seven bits a byte, lowest first, the eighth bit saying that more follow; then the corners inside, a bit
// each. native/surface turns codes into triangles.

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>
#include <stdexcept>
#include <string>
#include <tuple>
#include <unordered_map>
#include <vector>

#include "cubes.hpp"

namespace py = pybind11;

namespace {

using Vec3 = std::array<py::ssize_t, 3>;
using Flags = std::array<bool, 3>;

struct Found {
  uint64_t label = 0;
  uint64_t voxels = 0;
  uint64_t triangles = 0;
  uint64_t next = 0;  // the number of the cube after the last one written
  Vec3 low{}, high{};  // the cubes that its surface passes lie in [low, high)
  std::string code;

  void add(uint64_t cube, uint8_t inside, size_t count, const Vec3& at) {
    const bool first = code.empty();
    for (int i = 0; i < 3; ++i) {
      low[i] = first ? at[i] : std::min(low[i], at[i]);
      high[i] = first ? at[i] + 1 : std::max(high[i], at[i] + 1);
    }
    uint64_t gap = cube - next;
    for (; gap >= 128; gap >>= 7) code.push_back(static_cast<char>(gap | 128));
    code.push_back(static_cast<char>(gap));
    code.push_back(static_cast<char>(inside));
    triangles += count;
    next = cube + 1;
  }
};

// Small numbers for labels, in the order in which they are met; 0 stays 0.
class Numbers {
 public:
  Numbers() { found.emplace_back(); }

  uint32_t of(uint64_t label) {
    if (label == label_) return number_;
    label_ = label;
    const auto added = numbers_.try_emplace(label, static_cast<uint32_t>(found.size()));
    if (added.second) {
      found.emplace_back();
      found.back().label = label;
    }
    return number_ = added.first->second;
  }

  std::vector<Found> found;  // by number

 private:
  std::unordered_map<uint64_t, uint32_t> numbers_{{0, 0}};
  uint64_t label_ = 0;
  uint32_t number_ = 0;
};

template <class Label>
class March {
 public:
  March(const py::buffer_info& info, const Vec3& own, const Flags& low, const Flags& high) : own_(own), low_(low) {
    for (int i = 0; i < 3; ++i) {
      shape_[i] = info.shape[i];
      step_[i] = info.strides[i];
      size_[i] = shape_[i] + low[i] + high[i];
    }
    data_ = static_cast<const char*>(info.ptr);
    for (auto& section : sections_) section.assign(size_[0] * size_[1], 0);
    plain_.resize(size_[0]);
    for (int inside = 0; inside < 256; ++inside) count_[inside] = cubes::cases()[inside].size();
  }

  std::vector<Found> run() {
    for (py::ssize_t z = 0; z < size_[2]; ++z) {
      sections_[0].swap(sections_[1]);
      load(z);
      if (z) layer(z - 1);
    }
    auto& found = numbers_.found;
    found.erase(found.begin());
    std::sort(found.begin(), found.end(), [](const Found& a, const Found& b) { return a.label < b.label; });
    return std::move(found);
  }

 private:
  // Section z of the box with its background, numbered; counts the voxels that the box owns.
  void load(py::ssize_t z) {
    auto& section = sections_[1];
    const py::ssize_t from = z - low_[2];
    if (from < 0 || from >= shape_[2]) {
      std::fill(section.begin(), section.end(), 0);
      return;
    }
    for (py::ssize_t y = 0; y < shape_[1]; ++y) {
      uint32_t* to = section.data() + low_[0] + size_[0] * (y + low_[1]);
      const char* row = data_ + y * step_[1] + from * step_[2];
      for (py::ssize_t x = 0; x < shape_[0]; ++x) {
        Label label;
        std::memcpy(&label, row + x * step_[0], sizeof(Label));
        to[x] = numbers_.of(label);
      }
      if (from < own_[2] && y < own_[1]) count(to);
    }
  }

  void count(const uint32_t* row) {
    for (py::ssize_t x = 0; x < own_[0];) {
      const py::ssize_t start = x;
      while (x < own_[0] && row[x] == row[start]) ++x;
      numbers_.found[row[start]].voxels += x - start;
    }
  }

  void layer(py::ssize_t z) {
    const py::ssize_t nx = size_[0], cubes = nx - 1;
    for (py::ssize_t y = 0; y + 1 < size_[1]; ++y) {
      const uint32_t* rows[4];
      for (int i = 0; i < 4; ++i) rows[i] = sections_[i >> 1].data() + nx * (y + (i & 1));
      uint64_t number = cubes * (y + static_cast<uint64_t>(size_[1] - 1) * z);
      mark(rows);
      for (py::ssize_t x = 0; x < cubes; ++x)
        if (!plain_[x]) cube(rows, {x, y, z}, number + x);
    }
  }

  // Most cubes hold one label: a simple loop says which, many at a time.
  void mark(const uint32_t* const (&rows)[4]) {
    uint8_t* plain = plain_.data();
    for (py::ssize_t x = 0; x + 1 < size_[0]; ++x) {
      const uint32_t first = rows[0][x];
      uint32_t differs = first ^ rows[0][x + 1];
      for (int i = 1; i < 4; ++i) differs |= (first ^ rows[i][x]) | (first ^ rows[i][x + 1]);
      plain[x] = differs == 0;
    }
  }

  void cube(const uint32_t* const (&rows)[4], const Vec3& at, uint64_t number) {
    uint32_t corners[8];
    for (int i = 0; i < 8; ++i) corners[i] = rows[i >> 1][at[0] + (i & 1)];
    for (unsigned left = 255; left;) {
      const uint32_t one = corners[__builtin_ctz(left)];
      unsigned inside = 0;
      for (int i = 0; i < 8; ++i) inside |= static_cast<unsigned>(corners[i] == one) << i;
      left &= ~inside;
      if (one) numbers_.found[one].add(number, static_cast<uint8_t>(inside), count_[inside], at);
    }
  }

  const char* data_;
  Vec3 own_, shape_, step_, size_;
  Flags low_;
  Numbers numbers_;
  std::array<std::vector<uint32_t>, 2> sections_;
  std::vector<uint8_t> plain_;
  std::array<size_t, 256> count_;
};

std::vector<Found> run(const py::buffer_info& info, const Vec3& own, const Flags& low, const Flags& high) {
  switch (info.itemsize) {
    case 1: return March<uint8_t>(info, own, low, high).run();
    case 2: return March<uint16_t>(info, own, low, high).run();
    case 4: return March<uint32_t>(info, own, low, high).run();
    case 8: return March<uint64_t>(info, own, low, high).run();
    default: throw std::invalid_argument("labels are unsigned integers of 1, 2, 4 or 8 bytes");
  }
}

using Row = std::tuple<uint64_t, uint64_t, uint64_t, Vec3, Vec3, py::bytes>;

std::vector<Row> march(const py::buffer& labels, const Vec3& own, const Flags& low, const Flags& high) {
  const py::buffer_info info = labels.request();
  if (info.ndim != 3 || info.size == 0) throw std::invalid_argument("give labels [x, y, z], at least one");
  for (int i = 0; i < 3; ++i)
    if (own[i] < 0 || own[i] > info.shape[i]) throw std::invalid_argument("a box owns no more voxels than it has");
  std::vector<Found> found;
  {
    py::gil_scoped_release release;
    found = run(info, own, low, high);
  }
  std::vector<Row> rows;
  rows.reserve(found.size());
  for (auto& one : found) {
    rows.emplace_back(one.label, one.voxels, one.triangles, one.low, one.high, py::bytes(one.code));
    std::string().swap(one.code);
  }
  return rows;
}

}  // namespace

PYBIND11_MODULE(march, m) {
  m.doc() = "Marching cubes of all labels of a box in one pass.";
  m.def("march", &march, py::arg("labels"), py::arg("own"), py::arg("low"), py::arg("high"));
}
