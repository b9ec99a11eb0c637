// Pooling of blocks: modes of labels; sums of numbers, and their means to the nearest integer, ties to even.
//
// The rules are told in igneous_ng/kernels/pooling.py and averaging.py. Arrays are [x, y, z] of any strides.

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <array>
#include <cstdint>
#include <stdexcept>
#include <type_traits>
#include <utility>
#include <vector>

namespace py = pybind11;

namespace {

using Vec3 = std::array<py::ssize_t, 3>;

template <class T>
struct View {
  T* data;
  Vec3 shape, step;  // step in elements

  View(const py::buffer_info& info)
      : data(static_cast<T*>(info.ptr)), shape{info.shape[0], info.shape[1], info.shape[2]} {
    for (int i = 0; i < 3; ++i) step[i] = info.strides[i] / static_cast<py::ssize_t>(sizeof(T));
  }

  T* at(py::ssize_t x, py::ssize_t y, py::ssize_t z) const { return data + x * step[0] + y * step[1] + z * step[2]; }
};

py::buffer_info checked(const py::buffer& buffer, bool written) {
  py::buffer_info info = buffer.request(written);
  if (info.ndim != 3) throw std::invalid_argument("give arrays [x, y, z]");
  return info;
}

// ---- modes

// The most frequent label of a block; of equals the one met first.
template <class T>
class Poll {
 public:
  explicit Poll(bool sparse) : sparse_(sparse) {}

  void begin() { used_ = 0; }

  void add(T label) {
    if (sparse_ && !label) return;
    for (size_t i = used_; i-- > 0;)
      if (labels_[i] == label) {
        ++counts_[i];
        return;
      }
    if (used_ == labels_.size()) {
      labels_.resize(2 * used_ + 8);
      counts_.resize(labels_.size());
    }
    labels_[used_] = label;
    counts_[used_++] = 1;
  }

  T winner() const {
    T best = 0;
    uint32_t most = 0;
    for (size_t i = 0; i < used_; ++i)
      if (counts_[i] > most) {
        most = counts_[i];
        best = labels_[i];
      }
    return best;
  }

 private:
  bool sparse_;
  size_t used_ = 0;
  std::vector<T> labels_;
  std::vector<uint32_t> counts_;
};

template <class T>
bool one_label(const View<const T>& in, const T* corner, const Vec3& factor) {
  for (py::ssize_t z = 0; z < factor[2]; ++z)
    for (py::ssize_t y = 0; y < factor[1]; ++y)
      for (py::ssize_t x = 0; x < factor[0]; ++x)
        if (corner[x * in.step[0] + y * in.step[1] + z * in.step[2]] != *corner) return false;
  return true;
}

template <class T>
void mode_of_any(const View<const T>& in, const View<T>& out, const Vec3& factor, bool sparse) {
  Poll<T> poll(sparse);
  for (py::ssize_t z = 0; z < out.shape[2]; ++z)
    for (py::ssize_t y = 0; y < out.shape[1]; ++y)
      for (py::ssize_t x = 0; x < out.shape[0]; ++x) {
        const T* corner = in.at(x * factor[0], y * factor[1], z * factor[2]);
        if (one_label(in, corner, factor)) {
          *out.at(x, y, z) = *corner;
          continue;
        }
        poll.begin();
        for (py::ssize_t k = 0; k < factor[2]; ++k)
          for (py::ssize_t j = 0; j < factor[1]; ++j)
            for (py::ssize_t i = 0; i < factor[0]; ++i) poll.add(corner[i * in.step[0] + j * in.step[1] + k * in.step[2]]);
        *out.at(x, y, z) = poll.winner();
      }
}

template <class T>
inline T of_four(T a, T b, T c, T d) {
  return (a == b) | (a == c) ? a : b == c ? b : d;
}

template <class T>
inline T of_four_sparse(T a, T b, T c, T d) {
  const T twice = (a == b) | (a == c) ? a : b == c ? b : T{0};
  return twice ? twice : d ? d : a ? a : b ? b : c;
}

// Blocks of 2 x 2 x 1 in any plane; next[0] and next[1] lead to the neighbours along its lower and higher axis.
template <class T, bool sparse>
void mode_of_four(const View<const T>& in, const View<T>& out, const Vec3& factor, std::array<py::ssize_t, 2> next) {
  for (py::ssize_t z = 0; z < out.shape[2]; ++z)
    for (py::ssize_t y = 0; y < out.shape[1]; ++y) {
      const T* a = in.at(0, y * factor[1], z * factor[2]);
      T* to = out.at(0, y, z);
      const py::ssize_t step = factor[0] * in.step[0];
      for (py::ssize_t x = 0; x < out.shape[0]; ++x, a += step) {
        const T b = a[next[1]], c = a[next[0]], d = a[next[0] + next[1]];
        to[x * out.step[0]] = sparse ? of_four_sparse<T>(*a, b, c, d) : of_four<T>(*a, b, c, d);
      }
    }
}

template <class T>
void mode_of(const py::buffer_info& from, const py::buffer_info& to, const Vec3& factor, bool sparse) {
  const View<const T> in(from);
  const View<T> out(to);
  const bool pair = factor[0] + factor[1] + factor[2] == 5 && factor[0] <= 2 && factor[1] <= 2 && factor[2] <= 2;
  if (!pair) return mode_of_any(in, out, factor, sparse);
  const int low = factor[0] == 2 ? 0 : 1, high = factor[2] == 2 ? 2 : 1;
  const std::array<py::ssize_t, 2> next{in.step[low], in.step[high]};
  if (sparse)
    mode_of_four<T, true>(in, out, factor, next);
  else
    mode_of_four<T, false>(in, out, factor, next);
}

void mode(const py::buffer& image, const Vec3& factor, bool sparse, const py::buffer& out) {
  const py::buffer_info from = checked(image, false), to = checked(out, true);
  for (int i = 0; i < 3; ++i)
    if (factor[i] < 1 || from.shape[i] != to.shape[i] * factor[i]) throw std::invalid_argument("the factor times the result is not the image");
  if (from.itemsize != to.itemsize) throw std::invalid_argument("image and result have one type");
  py::gil_scoped_release release;
  switch (from.itemsize) {
    case 1: return mode_of<uint8_t>(from, to, factor, sparse);
    case 2: return mode_of<uint16_t>(from, to, factor, sparse);
    case 4: return mode_of<uint32_t>(from, to, factor, sparse);
    case 8: return mode_of<uint64_t>(from, to, factor, sparse);
    default: throw std::invalid_argument("labels are integers of 1, 2, 4 or 8 bytes");
  }
}

// ---- sums and means

// Calls call(T{}) with the number type of a buffer.
template <class Call>
void with_type(const py::buffer_info& info, Call call) {
  const auto is = [&info](auto one) { return info.item_type_is_equivalent_to<decltype(one)>(); };
  if (is(uint8_t{})) return call(uint8_t{});
  if (is(uint16_t{})) return call(uint16_t{});
  if (is(uint32_t{})) return call(uint32_t{});
  if (is(uint64_t{})) return call(uint64_t{});
  if (is(int8_t{})) return call(int8_t{});
  if (is(int16_t{})) return call(int16_t{});
  if (is(int32_t{})) return call(int32_t{});
  if (is(int64_t{})) return call(int64_t{});
  if (is(float{})) return call(float{});
  if (is(double{})) return call(double{});
  throw std::invalid_argument("numbers of a type that cannot be added");
}

template <class T, class Sum>
constexpr bool holds = sizeof(Sum) >= sizeof(T) && std::is_signed_v<T> == std::is_signed_v<Sum> &&
                       std::is_floating_point_v<T> == std::is_floating_point_v<Sum> && !std::is_same_v<Sum, float>;

// The rows of fine voxels that lie under each row of coarse ones are added, the lowest first, x fastest.
template <class T, class Sum>
void add_of(const View<const T>& in, const Vec3& origin, const Vec3& factor, const View<Sum>& out) {
  const py::ssize_t shift = origin[0];
  for (py::ssize_t z = 0; z < in.shape[2]; ++z)
    for (py::ssize_t y = 0; y < in.shape[1]; ++y) {
      const T* from = in.at(0, y, z);
      Sum* to = out.at(0, (y + origin[1]) / factor[1], (z + origin[2]) / factor[2]);
      const bool pairs = factor[0] == 2 && shift == 0 && in.step[0] == 1 && out.step[0] == 1 && std::is_integral_v<T>;
      py::ssize_t x = 0;
      if (pairs) {
        const py::ssize_t half = in.shape[0] / 2;
        for (py::ssize_t i = 0; i < half; ++i) to[i] += static_cast<Sum>(static_cast<Sum>(from[2 * i]) + from[2 * i + 1]);
        x = 2 * half;
      }
      for (py::ssize_t left = factor[0] - (x + shift) % factor[0], i = (x + shift) / factor[0]; x < in.shape[0]; ++i, left = factor[0])
        for (; left-- > 0 && x < in.shape[0]; ++x) to[i * out.step[0]] += static_cast<Sum>(from[x * in.step[0]]);
    }
}

void add(const py::buffer& image, const Vec3& origin, const Vec3& factor, const py::buffer& out) {
  const py::buffer_info from = checked(image, false), to = checked(out, true);
  for (int i = 0; i < 3; ++i)
    if (factor[i] < 1 || origin[i] < 0 || origin[i] >= factor[i] || (origin[i] + from.shape[i] + factor[i] - 1) / factor[i] > to.shape[i])
      throw std::invalid_argument("the blocks of the image do not fit the result");
  with_type(from, [&](auto one) {
    with_type(to, [&](auto many) {
      using T = decltype(one);
      using Sum = decltype(many);
      if constexpr (holds<T, Sum>) {
        py::gil_scoped_release release;
        add_of<T, Sum>(View<const T>(from), origin, factor, View<Sum>(to));
      } else {
        throw std::invalid_argument("sums are of a wider type of the same kind");
      }
    });
  });
}

template <class Sum>
inline Sum nearest(Sum total, Sum count) {
  Sum whole = total / count, rest = total % count;
  if (std::is_signed_v<Sum> && rest < 0) {
    rest += count;
    --whole;
  }
  return whole + (rest > (count - (whole & 1)) / 2);
}

template <class Sum, class T>
void mean_of(const View<const Sum>& in, const std::array<std::vector<int64_t>, 3>& counts, const View<T>& out) {
  for (py::ssize_t z = 0; z < in.shape[2]; ++z)
    for (py::ssize_t y = 0; y < in.shape[1]; ++y) {
      const int64_t outer = counts[1][y] * counts[2][z];
      const Sum* from = in.at(0, y, z);
      T* to = out.at(0, y, z);
      for (py::ssize_t x = 0; x < in.shape[0];) {
        const int64_t along = counts[0][x];
        py::ssize_t end = x + 1;
        while (end < in.shape[0] && counts[0][end] == along) ++end;
        const Sum count = static_cast<Sum>(outer * along);
        if (count & (count - 1)) {
          for (; x < end; ++x) to[x * out.step[0]] = static_cast<T>(nearest<Sum>(from[x * in.step[0]], count));
        } else {  // a shift, which several voxels at once can take
          int bits = 0;
          while ((Sum{1} << bits) < count) ++bits;
          for (; x < end; ++x) {
            const Sum total = from[x * in.step[0]], whole = total >> bits, rest = total & (count - 1);
            to[x * out.step[0]] = static_cast<T>(whole + (rest > (count - (whole & 1)) / 2));
          }
        }
      }
    }
}

void mean(const py::buffer& sums, const std::array<std::vector<int64_t>, 3>& counts, const py::buffer& out) {
  const py::buffer_info from = checked(sums, false), to = checked(out, true);
  for (int i = 0; i < 3; ++i) {
    if (from.shape[i] != to.shape[i] || static_cast<py::ssize_t>(counts[i].size()) != to.shape[i])
      throw std::invalid_argument("sums, counts and means have one shape");
    for (auto count : counts[i])
      if (count < 1) throw std::invalid_argument("a mean is of one number at least");
  }
  with_type(from, [&](auto many) {
    with_type(to, [&](auto one) {
      using T = decltype(one);
      using Sum = decltype(many);
      if constexpr (holds<T, Sum> && std::is_integral_v<T>) {
        py::gil_scoped_release release;
        mean_of<Sum, T>(View<const Sum>(from), counts, View<T>(to));
      } else {
        throw std::invalid_argument("means are of integers, in a type that is not wider than their sums");
      }
    });
  });
}

}  // namespace

PYBIND11_MODULE(pooling, m) {
  m.doc() = "Pooling of blocks: modes of labels, sums of numbers and their means.";
  m.def("mode", &mode, py::arg("image"), py::arg("factor"), py::arg("sparse"), py::arg("out"));
  m.def("add", &add, py::arg("image"), py::arg("origin"), py::arg("factor"), py::arg("out"));
  m.def("mean", &mean, py::arg("sums"), py::arg("counts"), py::arg("out"));
}
