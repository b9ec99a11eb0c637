// Voxels of each label. Neighbours along x mostly have one label, so runs are counted and not voxels.

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <stdexcept>
#include <utility>
#include <vector>

namespace py = pybind11;

namespace {

// Counts by label: open addressing, a free slot counts nothing.
template <class Label>
class Counts {
 public:
  Counts() : slots_(1024) {}

  void add(Label label, uint64_t count) {
    Slot& slot = find(slots_, label);
    if (!slot.count && 2 * ++used_ > slots_.size()) return grow(label, count);
    slot.label = label;
    slot.count += count;
  }

  std::vector<std::pair<Label, uint64_t>> sorted() const {
    std::vector<std::pair<Label, uint64_t>> found;
    found.reserve(used_);
    for (const Slot& slot : slots_)
      if (slot.count) found.emplace_back(slot.label, slot.count);
    std::sort(found.begin(), found.end());
    return found;
  }

 private:
  struct Slot {
    Label label = 0;
    uint64_t count = 0;
  };

  static Slot& find(std::vector<Slot>& slots, Label label) {
    uint64_t hash = static_cast<uint64_t>(label) * 0x9E3779B97F4A7C15ull;
    size_t at = (hash ^ hash >> 32) & (slots.size() - 1);
    while (slots[at].count && slots[at].label != label) at = (at + 1) & (slots.size() - 1);
    return slots[at];
  }

  void grow(Label label, uint64_t count) {
    std::vector<Slot> wider(2 * slots_.size());
    for (const Slot& slot : slots_)
      if (slot.count) find(wider, slot.label) = slot;
    slots_.swap(wider);
    --used_;
    add(label, count);
  }

  std::vector<Slot> slots_;
  size_t used_ = 0;
};

template <class Label>
py::tuple counted(const py::buffer_info& info) {
  std::vector<std::pair<Label, uint64_t>> found;
  {
    py::gil_scoped_release release;
    Counts<Label> counts;
    const auto* data = static_cast<const char*>(info.ptr);
    for (py::ssize_t z = 0; z < info.shape[2]; ++z)
      for (py::ssize_t y = 0; y < info.shape[1]; ++y) {
        const char* row = data + y * info.strides[1] + z * info.strides[2];
        const auto voxel = [&](py::ssize_t x) { return *reinterpret_cast<const Label*>(row + x * info.strides[0]); };
        for (py::ssize_t x = 0, start = 0; x < info.shape[0]; start = x) {
          const Label label = voxel(x);
          do ++x;
          while (x < info.shape[0] && voxel(x) == label);
          counts.add(label, static_cast<uint64_t>(x - start));
        }
      }
    found = counts.sorted();
  }
  py::array_t<Label> labels(static_cast<py::ssize_t>(found.size()));
  py::array_t<uint64_t> numbers(static_cast<py::ssize_t>(found.size()));
  for (size_t i = 0; i < found.size(); ++i) {
    labels.mutable_data()[i] = found[i].first;
    numbers.mutable_data()[i] = found[i].second;
  }
  return py::make_tuple(labels, numbers);
}

py::tuple count(const py::buffer& labels) {
  const py::buffer_info info = labels.request();
  if (info.ndim != 3) throw std::invalid_argument("give labels [x, y, z]");
  switch (info.itemsize) {
    case 1: return counted<uint8_t>(info);
    case 2: return counted<uint16_t>(info);
    case 4: return counted<uint32_t>(info);
    case 8: return counted<uint64_t>(info);
    default: throw std::invalid_argument("labels are integers of 1, 2, 4 or 8 bytes");
  }
}

}  // namespace

PYBIND11_MODULE(labels, m) {
  m.doc() = "Voxels of each label.";
  m.def("count", &count, py::arg("labels"));
}
