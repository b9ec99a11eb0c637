// What can be said of each label of a box: its voxels, the faces of the volume that it touches, and the least and the
// greatest label beside it. Neighbours along x mostly have one label, so labels are looked up by runs and not voxels.

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <limits>
#include <stdexcept>
#include <vector>

namespace py = pybind11;

namespace {

using Vec3 = std::array<py::ssize_t, 3>;

struct Measures {
  uint64_t label = 0, voxels = 0, faces = 0, low = std::numeric_limits<uint64_t>::max(), high = 0;

  void meet(uint64_t other) {
    low = std::min(low, other);
    high = std::max(high, other);
  }
};

// Measures by label: open addressing over places in a list.
class Book {
 public:
  Book() : slots_(1024, kFree) {}

  size_t find(uint64_t label) {
    size_t at = slot(label);
    if (slots_[at] == kFree) {
      if (2 * (pages_.size() + 1) > slots_.size()) {
        grow();
        at = slot(label);
      }
      slots_[at] = pages_.size();
      pages_.emplace_back();
      pages_.back().label = label;
    }
    return slots_[at];
  }

  Measures& operator[](size_t page) { return pages_[page]; }

  std::vector<Measures> sorted() {
    std::sort(pages_.begin(), pages_.end(), [](const Measures& a, const Measures& b) { return a.label < b.label; });
    return pages_;
  }

 private:
  static constexpr size_t kFree = std::numeric_limits<size_t>::max();

  size_t slot(uint64_t label) const {
    const uint64_t hash = label * 0x9E3779B97F4A7C15ull;
    size_t at = (hash ^ hash >> 32) & (slots_.size() - 1);
    while (slots_[at] != kFree && pages_[slots_[at]].label != label) at = (at + 1) & (slots_.size() - 1);
    return at;
  }

  void grow() {
    slots_.assign(2 * slots_.size(), kFree);
    for (size_t page = 0; page < pages_.size(); ++page) slots_[slot(pages_[page].label)] = page;
  }

  std::vector<size_t> slots_;
  std::vector<Measures> pages_;
};

template <class Label>
class Walk {
 public:
  Walk(const py::buffer_info& info, const Vec3& from, uint64_t border)
      : data_(static_cast<const char*>(info.ptr)), from_(from), border_(border) {
    for (size_t axis = 0; axis < 3; ++axis) {
      end_[axis] = info.shape[axis];
      step_[axis] = info.strides[axis];
    }
  }

  std::vector<Measures> all() {
    for (py::ssize_t z = from_[2]; z < end_[2]; ++z)
      for (py::ssize_t y = from_[1]; y < end_[1]; ++y) row(y, z);
    return book_.sorted();
  }

 private:
  Label at(py::ssize_t x, py::ssize_t y, py::ssize_t z) const {
    return *reinterpret_cast<const Label*>(data_ + x * step_[0] + y * step_[1] + z * step_[2]);
  }

  void row(py::ssize_t y, py::ssize_t z) {
    const uint64_t across = touched(1, y) | touched(2, z);
    for (py::ssize_t x = from_[0], start = x; x < end_[0]; start = x) {
      const Label label = at(x, y, z);
      do ++x;
      while (x < end_[0] && at(x, y, z) == label);
      const size_t page = book_.find(label);
      book_[page].voxels += static_cast<uint64_t>(x - start);
      book_[page].faces |= across | touched(0, start) | touched(0, x - 1);
      if (start > 0) meet(page, label, at(start - 1, y, z));
      if (y > 0) beside(page, label, start, x, y - 1, z);
      if (z > 0) beside(page, label, start, x, y, z - 1);
    }
  }

  // The faces of the volume, of the two across an axis, at a place along it.
  uint64_t touched(size_t axis, py::ssize_t place) const {
    const uint64_t low = place == from_[axis], high = place == end_[axis] - 1;
    return border_ & (low << 2 * axis | high << (2 * axis + 1));
  }

  // The labels beside a run, in the row before it.
  void beside(size_t page, Label label, py::ssize_t start, py::ssize_t end, py::ssize_t y, py::ssize_t z) {
    Label last = label;
    for (py::ssize_t x = start; x < end; ++x) {
      const Label other = at(x, y, z);
      if (other == last) continue;
      meet(page, label, other);
      last = other;
    }
  }

  void meet(size_t page, Label label, Label other) {
    if (other == label) return;
    book_[page].meet(other);
    const size_t beyond = book_.find(other);
    book_[beyond].meet(label);
  }

  const char* data_;
  Vec3 from_, end_{}, step_{};
  uint64_t border_;
  Book book_;
};

std::vector<Measures> measured(const py::buffer_info& info, const Vec3& from, uint64_t border) {
  switch (info.itemsize) {
    case 1: return Walk<uint8_t>(info, from, border).all();
    case 2: return Walk<uint16_t>(info, from, border).all();
    case 4: return Walk<uint32_t>(info, from, border).all();
    case 8: return Walk<uint64_t>(info, from, border).all();
    default: throw std::invalid_argument("labels are integers of 1, 2, 4 or 8 bytes");
  }
}

py::array_t<uint64_t> measure(const py::buffer& labels, py::ssize_t x, py::ssize_t y, py::ssize_t z, uint64_t border) {
  const py::buffer_info info = labels.request();
  if (info.ndim != 3 || std::min({x, y, z}) < 0) throw std::invalid_argument("give labels [x, y, z], and from where on");
  std::vector<Measures> found;
  {
    py::gil_scoped_release release;
    found = measured(info, {x, y, z}, border);
  }
  py::array_t<uint64_t> table({static_cast<py::ssize_t>(found.size()), py::ssize_t{5}});
  uint64_t* to = table.mutable_data();
  for (const Measures& one : found)
    for (uint64_t value : {one.label, one.voxels, one.faces, one.low, one.high}) *to++ = value;
  return table;
}

}  // namespace

PYBIND11_MODULE(measures, m) {
  m.doc() = "Sizes, borders and neighbours of labels.";
  m.def("measure", &measure, py::arg("labels"), py::arg("x"), py::arg("y"), py::arg("z"), py::arg("border"));
}
