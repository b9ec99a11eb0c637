// Which segments lie near each object of a box, and how: exact squared distances in integers, from one object at a time,
// within its own box and the radius. Squared distances along z, then y, then x, as lower envelopes of parabolas: Meijster
// et al. 2000, A general algorithm for computing distance transforms in linear time.

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <iterator>
#include <limits>
#include <stdexcept>
#include <tuple>
#include <unordered_map>
#include <utility>
#include <vector>

namespace py = pybind11;

namespace {

using Vec3 = std::array<int64_t, 3>;
constexpr int64_t kFar = std::numeric_limits<int64_t>::max();

struct Box {
  Vec3 lo{}, hi{};

  bool empty() const { return lo[0] >= hi[0] || lo[1] >= hi[1] || lo[2] >= hi[2]; }
  int64_t side(size_t axis) const { return hi[axis] - lo[axis]; }
  bool holds(const Vec3& at) const {
    for (size_t axis = 0; axis < 3; ++axis)
      if (at[axis] < lo[axis] || at[axis] >= hi[axis]) return false;
    return true;
  }
  void meet(const Vec3& from, const Vec3& to) {
    for (size_t axis = 0; axis < 3; ++axis) {
      lo[axis] = std::min(lo[axis], from[axis]);
      hi[axis] = std::max(hi[axis], to[axis]);
    }
  }
  Box grown(const Vec3& by) const {
    Box all = *this;
    for (size_t axis = 0; axis < 3; ++axis) all.lo[axis] -= by[axis], all.hi[axis] += by[axis];
    return all;
  }
  Box within(const Box& other) const {
    Box common;
    for (size_t axis = 0; axis < 3; ++axis) {
      common.lo[axis] = std::max(lo[axis], other.lo[axis]);
      common.hi[axis] = std::min(hi[axis], other.hi[axis]);
    }
    return common;
  }
};

// An array [x, y, z] of any strides, whose first voxel is at a place.
template <class T>
struct Field {
  const char* data = nullptr;
  Vec3 step{}, from{};
  Box box;

  Field() = default;
  Field(const py::buffer_info& info, const Vec3& at) : data(static_cast<const char*>(info.ptr)), from(at) {
    box.lo = at;
    for (size_t axis = 0; axis < 3; ++axis) {
      step[axis] = info.strides[axis];
      box.hi[axis] = at[axis] + info.shape[axis];
    }
  }
  const T& at(int64_t x, int64_t y, int64_t z) const {
    const int64_t where = (x - from[0]) * step[0] + (y - from[1]) * step[1] + (z - from[2]) * step[2];
    return *reinterpret_cast<const T*>(data + where);
  }
};

// What is known of one segment near one object.
struct Contact {
  uint64_t object = 0, segment = 0, voxels = 0, left = 0, met = 0;
  int64_t distance = kFar;
  uint64_t place = std::numeric_limits<uint64_t>::max();
  std::vector<uint64_t> sums;

  void anchor(int64_t far, uint64_t where) {
    if (std::tie(far, where) < std::tie(distance, place)) distance = far, place = where;
  }
};

// Squared distances along a line to the least of parabolas, of those that lie within a limit.
class Envelope {
 public:
  Envelope(int64_t pitch, int64_t limit) : square_(pitch * pitch), limit_(limit) {}

  void clear() { top_.clear(); }

  // A parabola at a place further on than those before, of this height.
  void add(int64_t place, int64_t height, int64_t first, int64_t end) {
    if (height > limit_) return;
    while (!top_.empty() && top_.back().of(top_.back().from, square_) > Arc{place, height, 0}.of(top_.back().from, square_))
      top_.pop_back();
    if (top_.empty()) {
      top_.push_back({place, height, first});
      return;
    }
    const Arc& last = top_.back();
    const int64_t a = last.place - first, b = place - first;
    const int64_t cross = ((b * b - a * a) * square_ + height - last.height) / (2 * square_ * (b - a)) + 1 + first;
    if (cross < end) top_.push_back({place, height, cross});
  }

  // Calls put(place, squared distance) where that is within the limit.
  template <class Put>
  void walk(int64_t end, const Put& put) const {
    for (size_t i = 0; i < top_.size(); ++i) {
      const int64_t stop = i + 1 < top_.size() ? top_[i + 1].from : end;
      for (int64_t at = top_[i].from; at < stop; ++at) {
        const int64_t far = top_[i].of(at, square_);
        if (far <= limit_) put(at, far);
      }
    }
  }

 private:
  struct Arc {
    int64_t place, height, from;
    int64_t of(int64_t at, int64_t square) const { return height + (at - place) * (at - place) * square; }
  };

  int64_t square_, limit_;
  std::vector<Arc> top_;
};

struct Frame {
  Box cell;        // the voxels that count
  Vec3 pitch{};    // size of a voxel
  int64_t limit = 0;
  Vec3 margin{};   // voxels within the limit along each axis
  Vec3 first{};    // of the whole volume: its first voxel
  Vec3 sides{};

  uint64_t place(int64_t x, int64_t y, int64_t z) const {
    return static_cast<uint64_t>((x - first[0]) + sides[0] * ((y - first[1]) + sides[1] * (z - first[2])));
  }
};

template <class Segment>
struct Given {
  Field<uint64_t> objects;
  Field<Segment> segments;
  std::vector<Field<uint8_t>> weights;
  std::array<Field<int16_t>, 3> shifts;
  bool shifted = false;
};

// The contacts of one object.
template <class Segment>
class Around {
 public:
  Around(const Given<Segment>& given, const Frame& frame) : given_(given), frame_(frame) {}

  void of(uint64_t object, const Box& box, std::vector<Contact>& found) {
    const Box window = box.grown(frame_.margin).within(frame_.cell);
    if (window.empty()) return;
    const Box source = box.within(window.grown(frame_.margin));
    object_ = object;
    at_.clear();
    mine_.clear();
    upwards(source, window);
    across(source, window);
    along(source, window);
    std::sort(mine_.begin(), mine_.end(), [](const Contact& a, const Contact& b) { return a.segment < b.segment; });
    std::move(mine_.begin(), mine_.end(), std::back_inserter(found));
  }

 private:
  // Voxels of distance along z, for x, y of the source and z of the window.
  void upwards(const Box& source, const Box& window) {
    const int64_t nx = source.side(0), ny = source.side(1), plane = nx * ny, nz = window.side(2);
    high_.assign(static_cast<size_t>(plane * nz), kNone);
    std::vector<int32_t> last(static_cast<size_t>(plane), kNone);
    const auto sweep = [&](int64_t z) {
      const bool inside = z >= source.lo[2] && z < source.hi[2];
      for (int64_t y = 0, i = 0; y < ny; ++y)
        for (int64_t x = 0; x < nx; ++x, ++i) {
          const bool here = inside && given_.objects.at(source.lo[0] + x, source.lo[1] + y, z) == object_;
          last[i] = here ? 0 : std::min(last[i] + 1, kNone);
        }
      if (z < window.lo[2] || z >= window.hi[2]) return;
      int32_t* to = high_.data() + plane * (z - window.lo[2]);
      for (int64_t i = 0; i < plane; ++i) to[i] = std::min(to[i], last[i]);
    };
    for (int64_t z = std::min(source.lo[2], window.lo[2]); z < window.hi[2]; ++z) sweep(z);
    std::fill(last.begin(), last.end(), kNone);
    for (int64_t z = std::max(source.hi[2], window.hi[2]) - 1; z >= window.lo[2]; --z) sweep(z);
  }

  // Squared distances within planes across x, for x of the source and y, z of the window.
  void across(const Box& source, const Box& window) {
    const int64_t nx = source.side(0), ny = source.side(1), wy = window.side(1), nz = window.side(2);
    flat_.assign(static_cast<size_t>(nx * wy * nz), kFar);
    Envelope envelope(frame_.pitch[1], frame_.limit);
    const int64_t square = frame_.pitch[2] * frame_.pitch[2];
    for (int64_t z = 0; z < nz; ++z)
      for (int64_t x = 0; x < nx; ++x) {
        envelope.clear();
        for (int64_t y = 0; y < ny; ++y) {
          const int64_t high = high_[x + nx * (y + ny * z)];
          if (high <= frame_.margin[2]) envelope.add(source.lo[1] + y, high * high * square, window.lo[1], window.hi[1]);
        }
        int64_t* to = flat_.data() + x + nx * wy * z;
        envelope.walk(window.hi[1], [&](int64_t y, int64_t far) { to[nx * (y - window.lo[1])] = far; });
      }
  }

  // Squared distances, and what they mean.
  void along(const Box& source, const Box& window) {
    const int64_t nx = source.side(0);
    Envelope envelope(frame_.pitch[0], frame_.limit);
    const int64_t* from = flat_.data();
    for (int64_t z = window.lo[2]; z < window.hi[2]; ++z)
      for (int64_t y = window.lo[1]; y < window.hi[1]; ++y, from += nx) {
        envelope.clear();
        for (int64_t x = 0; x < nx; ++x) envelope.add(source.lo[0] + x, from[x], window.lo[0], window.hi[0]);
        envelope.walk(window.hi[0], [&](int64_t x, int64_t far) { count(x, y, z, far); });
      }
  }

  void count(int64_t x, int64_t y, int64_t z, int64_t far) {
    Contact& one = mine(given_.segments.at(x, y, z));
    ++one.voxels;
    one.anchor(far, frame_.place(x, y, z));
    for (size_t k = 0; k < given_.weights.size(); ++k) one.sums[k] += given_.weights[k].at(x, y, z);
    if (given_.shifted) follow(x, y, z, one);
  }

  // A voxel whose vector leads to another one: it counts for its own segment and for that where it leads.
  void follow(int64_t x, int64_t y, int64_t z, Contact& one) {
    const auto& by = given_.shifts;
    const Vec3 there{x + by[0].at(x, y, z), y + by[1].at(x, y, z), z + by[2].at(x, y, z)};
    if ((there[0] == x && there[1] == y && there[2] == z) || !given_.segments.box.holds(there)) return;
    ++one.left;
    Contact& other = mine(given_.segments.at(there[0], there[1], there[2]));
    ++other.met;
    other.anchor(kFar, frame_.place(there[0], there[1], there[2]));
  }

  Contact& mine(uint64_t segment) {
    if (last_ < mine_.size() && mine_[last_].segment == segment) return mine_[last_];
    const auto [found, fresh] = at_.try_emplace(segment, mine_.size());
    if (fresh) {
      mine_.emplace_back();
      mine_.back().object = object_;
      mine_.back().segment = segment;
      mine_.back().sums.assign(given_.weights.size(), 0);
    }
    last_ = found->second;
    return mine_[last_];
  }

  static constexpr int32_t kNone = 1 << 30;
  const Given<Segment>& given_;
  const Frame& frame_;
  uint64_t object_ = 0;
  size_t last_ = 0;
  std::unordered_map<uint64_t, size_t> at_;
  std::vector<Contact> mine_;
  std::vector<int32_t> high_;
  std::vector<int64_t> flat_;
};

// The box of each object, ascending.
std::vector<std::pair<uint64_t, Box>> boxes(const Field<uint64_t>& objects) {
  std::unordered_map<uint64_t, Box> found;
  const Box& all = objects.box;
  for (int64_t z = all.lo[2]; z < all.hi[2]; ++z)
    for (int64_t y = all.lo[1]; y < all.hi[1]; ++y)
      for (int64_t x = all.lo[0]; x < all.hi[0];) {
        const int64_t start = x;
        const uint64_t object = objects.at(x, y, z);
        do ++x;
        while (x < all.hi[0] && objects.at(x, y, z) == object);
        if (!object) continue;
        const Vec3 from{start, y, z}, to{x, y + 1, z + 1};
        found.try_emplace(object, Box{from, to}).first->second.meet(from, to);
      }
  std::vector<std::pair<uint64_t, Box>> sorted(found.begin(), found.end());
  std::sort(sorted.begin(), sorted.end(), [](const auto& a, const auto& b) { return a.first < b.first; });
  return sorted;
}

template <class Segment>
std::vector<Contact> contacts(const Given<Segment>& given, const Frame& frame) {
  std::vector<Contact> found;
  Around<Segment> around(given, frame);
  for (const auto& [object, box] : boxes(given.objects)) around.of(object, box, found);
  return found;
}

py::dict table(const std::vector<Contact>& found, size_t channels) {
  const auto rows = static_cast<py::ssize_t>(found.size());
  py::array_t<uint64_t> object(rows), segment(rows), voxels(rows), left(rows), met(rows), place(rows);
  py::array_t<int64_t> distance(rows);
  py::array_t<uint64_t> sums({rows, static_cast<py::ssize_t>(channels)});
  uint64_t* sum = sums.mutable_data();
  for (py::ssize_t i = 0; i < rows; ++i) {
    const Contact& one = found[static_cast<size_t>(i)];
    object.mutable_data()[i] = one.object;
    segment.mutable_data()[i] = one.segment;
    voxels.mutable_data()[i] = one.voxels;
    left.mutable_data()[i] = one.left;
    met.mutable_data()[i] = one.met;
    distance.mutable_data()[i] = one.distance;
    place.mutable_data()[i] = one.place;
    sum = std::copy(one.sums.begin(), one.sums.end(), sum);
  }
  py::dict columns;
  columns["object"] = object, columns["segment"] = segment, columns["voxels"] = voxels;
  columns["sums"] = sums, columns["left"] = left, columns["met"] = met;
  columns["distance"] = distance, columns["place"] = place;
  return columns;
}

py::buffer_info checked(const py::handle& given, py::ssize_t bytes) {
  py::buffer_info info = py::cast<py::buffer>(given).request();
  if (info.ndim != 3 || info.itemsize != bytes) throw std::invalid_argument("an array of other axes or another type");
  return info;
}

template <class Segment>
py::dict of(const py::buffer& objects, const py::buffer& segments, const std::array<Vec3, 2>& starts,
            const py::list& weights, const py::list& shifts, const Frame& frame) {
  const py::buffer_info ids = checked(objects, 8), labels = checked(segments, sizeof(Segment));
  Given<Segment> given;
  given.objects = Field<uint64_t>(ids, starts[0]);
  given.segments = Field<Segment>(labels, starts[1]);
  std::vector<py::buffer_info> kept;
  for (const py::handle& one : weights) {
    kept.push_back(checked(one, 1));
    given.weights.emplace_back(kept.back(), frame.cell.lo);
  }
  given.shifted = shifts.size() == 3;
  for (size_t axis = 0; axis < shifts.size(); ++axis) {
    kept.push_back(checked(shifts[axis], 2));
    given.shifts[axis] = Field<int16_t>(kept.back(), frame.cell.lo);
  }
  std::vector<Contact> found;
  {
    py::gil_scoped_release release;
    found = contacts(given, frame);
  }
  return table(found, given.weights.size());
}

py::dict find(const py::buffer& objects, const py::buffer& segments, const std::array<Vec3, 2>& starts,
              const std::array<Vec3, 2>& cell, const std::array<Vec3, 2>& whole, const py::list& weights,
              const py::list& shifts, const Vec3& pitch, int64_t limit) {
  Frame frame;
  frame.cell.lo = cell[0], frame.cell.hi = cell[1];
  frame.pitch = pitch, frame.limit = limit;
  frame.first = whole[0], frame.sides = whole[1];
  for (size_t axis = 0; axis < 3; ++axis)
    while ((frame.margin[axis] + 1) * (frame.margin[axis] + 1) * pitch[axis] * pitch[axis] <= limit) ++frame.margin[axis];
  if (segments.request().itemsize == 4) return of<uint32_t>(objects, segments, starts, weights, shifts, frame);
  return of<uint64_t>(objects, segments, starts, weights, shifts, frame);
}

}  // namespace

PYBIND11_MODULE(contacts, m) {
  m.doc() = "Which segments lie near each object of a box.";
  m.def("find", &find, py::arg("objects"), py::arg("segments"), py::arg("starts"), py::arg("cell"), py::arg("whole"),
        py::arg("weights"), py::arg("shifts"), py::arg("pitch"), py::arg("limit"));
}
