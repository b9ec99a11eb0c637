// compressed_segmentation: blocks of voxels as indices, of few bits, into tables of labels.
//
// Layout: Neuroglancer, "compressed segmentation" format. A chunk begins with the word offset of each channel; a
// channel with two words for each block, x fastest: the offset of its table and the bits of an index, and the offset
// of its indices. Equal tables are stored once. Tables are sorted, so the bytes depend on the voxels alone.

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>
#include <stdexcept>
#include <string>
#include <vector>

namespace py = pybind11;

namespace {

using Vec3 = std::array<py::ssize_t, 3>;
constexpr uint32_t kOffsetBits = 24;

// A strided view of one channel.
template <class Label>
struct View {
  Label* data;
  Vec3 shape;
  Vec3 step;  // in labels

  Label* row(py::ssize_t y, py::ssize_t z) const { return data + y * step[1] + z * step[2]; }
};

Vec3 blocks_of(const Vec3& shape, const Vec3& block) {
  Vec3 count;
  for (int i = 0; i < 3; ++i) count[i] = (shape[i] + block[i] - 1) / block[i];
  return count;
}

uint64_t mixed(uint64_t value) { return (value ^ (value >> 29)) * 0x9E3779B97F4A7C15ull; }

// The distinct labels of one block, numbered as they are met; open addressing, cleared by counting epochs.
template <class Label>
class Seen {
 public:
  explicit Seen(size_t most) {
    while (mask_ < 2 * most) mask_ = 2 * mask_ + 1;
    slots_.resize(mask_ + 1);
  }

  void clear() {
    labels.clear();
    ++epoch_;
  }

  uint32_t number(Label label) {
    for (size_t at = (mixed(label) >> 32) & mask_;; at = (at + 1) & mask_) {
      Slot& slot = slots_[at];
      if (slot.epoch != epoch_) {
        slot = {label, static_cast<uint32_t>(labels.size()), epoch_};
        labels.push_back(label);
        return slot.number;
      }
      if (slot.label == label) return slot.number;
    }
  }

  std::vector<Label> labels;

 private:
  struct Slot {
    Label label;
    uint32_t number;
    uint32_t epoch;
  };
  std::vector<Slot> slots_;
  size_t mask_ = 15;
  uint32_t epoch_ = 0;
};

// Where tables that were written begin, so that equal ones are written once.
template <class Label>
class Tables {
 public:
  Tables() : slots_(64, 0) {}

  // The word offset, from base, of such a table in out; appended where it is new.
  size_t place(const std::vector<Label>& labels, std::vector<uint32_t>& out, size_t base) {
    uint64_t hash = labels.size();
    for (Label label : labels) hash = mixed(hash ^ label);
    for (size_t at = (hash >> 32) & (slots_.size() - 1);; at = (at + 1) & (slots_.size() - 1)) {
      const size_t found = slots_[at];
      if (!found) return append(labels, hash, at, out, base);
      const Entry& entry = entries_[found - 1];
      const size_t bytes = labels.size() * sizeof(Label);
      if (entry.hash == hash && entry.count == labels.size() &&
          !std::memcmp(out.data() + base + entry.offset, labels.data(), bytes))
        return entry.offset;
    }
  }

 private:
  struct Entry {
    uint64_t hash;
    size_t offset;
    size_t count;
  };

  size_t append(const std::vector<Label>& labels, uint64_t hash, size_t at, std::vector<uint32_t>& out, size_t base) {
    const size_t offset = out.size() - base;
    const auto* words = reinterpret_cast<const uint32_t*>(labels.data());
    out.insert(out.end(), words, words + labels.size() * sizeof(Label) / 4);
    entries_.push_back({hash, offset, labels.size()});
    slots_[at] = entries_.size();
    if (2 * entries_.size() > slots_.size()) grow();
    return offset;
  }

  void grow() {
    slots_.assign(4 * slots_.size(), 0);
    for (size_t i = 0; i < entries_.size(); ++i) {
      size_t at = (entries_[i].hash >> 32) & (slots_.size() - 1);
      while (slots_[at]) at = (at + 1) & (slots_.size() - 1);
      slots_[at] = i + 1;
    }
  }

  std::vector<Entry> entries_;
  std::vector<size_t> slots_;
};

template <class Label>
class Encoder {
 public:
  Encoder(View<const Label> view, Vec3 block, std::vector<uint32_t>& out)
      : view_(view), block_(block), out_(out), base_(out.size()), seen_(block[0] * block[1] * block[2]) {
    indices_.resize(block[0] * block[1] * block[2]);
  }

  void run() {
    const Vec3 count = blocks_of(view_.shape, block_);
    out_.resize(base_ + 2 * count[0] * count[1] * count[2]);
    size_t header = base_;
    for (py::ssize_t z = 0; z < count[2]; ++z)
      for (py::ssize_t y = 0; y < count[1]; ++y)
        for (py::ssize_t x = 0; x < count[0]; ++x, header += 2) encode(inside({x, y, z}), header);
  }

 private:
  View<const Label> inside(const Vec3& index) const {
    View<const Label> part = view_;
    for (int i = 0; i < 3; ++i) {
      part.data += index[i] * block_[i] * view_.step[i];
      part.shape[i] = std::min(block_[i], view_.shape[i] - index[i] * block_[i]);
    }
    return part;
  }

  static bool one_label(const View<const Label>& part) {
    const Label first = *part.data;
    for (py::ssize_t z = 0; z < part.shape[2]; ++z)
      for (py::ssize_t y = 0; y < part.shape[1]; ++y) {
        const Label* row = part.row(y, z);
        Label differs = 0;
        if (part.step[0] == 1)
          for (py::ssize_t x = 0; x < part.shape[0]; ++x) differs |= row[x] ^ first;
        else
          for (py::ssize_t x = 0; x < part.shape[0]; ++x) differs |= row[x * part.step[0]] ^ first;
        if (differs) return false;
      }
    return true;
  }

  void encode(const View<const Label>& part, size_t header) {
    seen_.clear();
    if (one_label(part))
      seen_.labels.push_back(*part.data);
    else
      number(part);
    const uint32_t bits = bits_of(seen_.labels.size());
    const size_t values = out_.size() - base_;
    if (bits) pack(part.shape, bits);
    const size_t table = tables_.place(seen_.labels, out_, base_);
    if (table >> kOffsetBits) throw std::invalid_argument("the labels of a chunk need more room than its offsets reach; use smaller chunks");
    out_[header] = static_cast<uint32_t>(table) | bits << kOffsetBits;
    out_[header + 1] = static_cast<uint32_t>(values);
  }

  // The labels of a block, sorted, and of each voxel the place of its label among them.
  void number(const View<const Label>& part) {
    uint32_t* to = indices_.data();
    Label last = *part.data;
    uint32_t index = seen_.number(last);
    for (py::ssize_t z = 0; z < part.shape[2]; ++z)
      for (py::ssize_t y = 0; y < part.shape[1]; ++y) {
        const Label* row = part.row(y, z);
        for (py::ssize_t x = 0; x < part.shape[0]; ++x) {
          const Label label = row[x * part.step[0]];
          if (label != last) {
            last = label;
            index = seen_.number(label);
          }
          *to++ = index;
        }
      }
    sorted_ = seen_.labels;
    std::sort(sorted_.begin(), sorted_.end());
    ranks_.resize(sorted_.size());
    for (size_t i = 0; i < sorted_.size(); ++i)
      ranks_[i] = std::lower_bound(sorted_.begin(), sorted_.end(), seen_.labels[i]) - sorted_.begin();
    seen_.labels.swap(sorted_);
  }

  static uint32_t bits_of(size_t labels) {
    if (labels == 1) return 0;
    uint32_t bits = 1;
    while (bits < 32 && (size_t{1} << bits) < labels) bits *= 2;
    return bits;
  }

  void pack(const Vec3& shape, uint32_t bits) {
    const size_t base = out_.size();
    out_.resize(base + (bits * block_[0] * block_[1] * block_[2] + 31) / 32);
    const uint32_t* from = indices_.data();
    for (py::ssize_t z = 0; z < shape[2]; ++z)
      for (py::ssize_t y = 0; y < shape[1]; ++y) {
        size_t bit = bits * (block_[0] * (y + block_[1] * z));
        for (py::ssize_t x = 0; x < shape[0]; ++x, bit += bits) out_[base + bit / 32] |= ranks_[*from++] << bit % 32;
      }
  }

  View<const Label> view_;
  Vec3 block_;
  std::vector<uint32_t>& out_;
  size_t base_;
  Seen<Label> seen_;
  Tables<Label> tables_;
  std::vector<uint32_t> indices_, ranks_;
  std::vector<Label> sorted_;
};

template <class Label>
class Decoder {
 public:
  Decoder(const uint32_t* words, size_t length, Vec3 shape, Vec3 block, Vec3 start, View<Label> out)
      : words_(words), length_(length), block_(block), start_(start), out_(out), count_(blocks_of(shape, block)) {}

  void run() {
    if (2 * static_cast<size_t>(count_[0] * count_[1] * count_[2]) > length_)
      throw std::invalid_argument("it ends before its block headers do");
    Vec3 first, last;
    for (int i = 0; i < 3; ++i) {
      first[i] = start_[i] / block_[i];
      last[i] = (start_[i] + out_.shape[i] + block_[i] - 1) / block_[i];
    }
    for (py::ssize_t z = first[2]; z < last[2]; ++z)
      for (py::ssize_t y = first[1]; y < last[1]; ++y)
        for (py::ssize_t x = first[0]; x < last[0]; ++x) decode({x, y, z});
  }

 private:
  void decode(const Vec3& index) {
    const uint32_t* header = words_ + 2 * (index[0] + count_[0] * (index[1] + count_[1] * index[2]));
    const uint32_t bits = header[0] >> kOffsetBits;
    const size_t table = header[0] & ((1u << kOffsetBits) - 1), values = header[1];
    if (bits > 32 || (bits & (bits - 1))) throw std::invalid_argument("it has blocks of " + std::to_string(bits) + " bits");
    const size_t used = (static_cast<size_t>(bits) * block_[0] * block_[1] * block_[2] + 31) / 32;
    if (values > length_ || used > length_ - values) throw std::invalid_argument("it ends before its voxels do");
    const size_t labels = table < length_ ? (length_ - table) * 4 / sizeof(Label) : 0;
    if (!labels) throw std::invalid_argument("it ends before its labels do");
    Vec3 lo, hi;  // of the part of this block that is asked for, in voxels of the chunk
    View<Label> part = out_;
    for (int i = 0; i < 3; ++i) {
      lo[i] = std::max(index[i] * block_[i], start_[i]);
      hi[i] = std::min((index[i] + 1) * block_[i], start_[i] + out_.shape[i]);
      part.data += (lo[i] - start_[i]) * part.step[i];
      part.shape[i] = hi[i] - lo[i];
      lo[i] -= index[i] * block_[i];
    }
    const auto* from = reinterpret_cast<const char*>(words_ + table);
    if (!bits)
      fill(part, from);
    else
      unpack(part, from, labels, words_ + values, bits, lo);
  }

  static Label label_at(const char* table, size_t index) {
    Label label;
    std::memcpy(&label, table + index * sizeof(Label), sizeof(Label));
    return label;
  }

  static void fill(const View<Label>& part, const char* table) {
    const Label label = label_at(table, 0);
    for (py::ssize_t z = 0; z < part.shape[2]; ++z)
      for (py::ssize_t y = 0; y < part.shape[1]; ++y) {
        Label* row = part.row(y, z);
        if (part.step[0] == 1)
          std::fill(row, row + part.shape[0], label);
        else
          for (py::ssize_t x = 0; x < part.shape[0]; ++x) row[x * part.step[0]] = label;
      }
  }

  void unpack(const View<Label>& part, const char* table, size_t labels, const uint32_t* values, uint32_t bits,
              const Vec3& lo) const {
    const uint32_t mask = bits == 32 ? ~0u : (1u << bits) - 1;
    for (py::ssize_t z = 0; z < part.shape[2]; ++z)
      for (py::ssize_t y = 0; y < part.shape[1]; ++y) {
        Label* row = part.row(y, z);
        size_t bit = bits * (lo[0] + block_[0] * (lo[1] + y + block_[1] * (lo[2] + z)));
        for (py::ssize_t x = 0; x < part.shape[0]; ++x, bit += bits) {
          const size_t index = values[bit / 32] >> bit % 32 & mask;
          if (index >= labels) throw std::invalid_argument("it ends before its labels do");
          row[x * part.step[0]] = label_at(table, index);
        }
      }
  }

  const uint32_t* words_;
  size_t length_;
  Vec3 block_, start_;
  View<Label> out_;
  Vec3 count_;
};

template <class Label>
View<Label> channel(const py::buffer_info& info, py::ssize_t c) {
  const auto size = static_cast<py::ssize_t>(sizeof(Label));
  auto* data = reinterpret_cast<Label*>(static_cast<char*>(info.ptr) + c * info.strides[3]);
  return {data, {info.shape[0], info.shape[1], info.shape[2]}, {info.strides[0] / size, info.strides[1] / size, info.strides[2] / size}};
}

void check_block(const Vec3& block) {
  for (auto side : block)
    if (side < 1 || side > 1024) throw std::invalid_argument("a block has sides of 1 to 1024 voxels");
}

py::bytes encode(const py::buffer& voxels, const Vec3& block) {
  const py::buffer_info info = voxels.request();
  if (info.ndim != 4 || info.size == 0) throw std::invalid_argument("give voxels [x, y, z, c], at least one");
  if (info.itemsize != 4 && info.itemsize != 8) throw std::invalid_argument("labels are uint32 or uint64");
  check_block(block);
  std::vector<uint32_t> out(info.shape[3]);
  {
    py::gil_scoped_release release;
    for (py::ssize_t c = 0; c < info.shape[3]; ++c) {
      out[c] = static_cast<uint32_t>(out.size());
      if (info.itemsize == 4)
        Encoder<uint32_t>(channel<const uint32_t>(info, c), block, out).run();
      else
        Encoder<uint64_t>(channel<const uint64_t>(info, c), block, out).run();
    }
  }
  return py::bytes(reinterpret_cast<const char*>(out.data()), out.size() * 4);
}

template <class Label>
void decode_all(const std::vector<uint32_t>& words, const Vec3& shape, const Vec3& block, const Vec3& start,
                const py::buffer_info& info) {
  const auto channels = static_cast<size_t>(info.shape[3]);
  if (words.size() < channels) throw std::invalid_argument("it ends before its channel offsets do");
  for (size_t c = 0; c < channels; ++c) {
    if (words[c] > words.size()) throw std::invalid_argument("it ends before its channels do");
    Decoder<Label>(words.data() + words[c], words.size() - words[c], shape, block, start, channel<Label>(info, c)).run();
  }
}

void decode(const py::buffer& data, const Vec3& shape, const Vec3& block, const Vec3& start, const py::buffer& out) {
  const py::buffer_info coded = data.request(), info = out.request(true);
  if (info.ndim != 4 || (info.itemsize != 4 && info.itemsize != 8))
    throw std::invalid_argument("the voxels to write are uint32 or uint64, [x, y, z, c]");
  check_block(block);
  for (int i = 0; i < 3; ++i)
    if (start[i] < 0 || start[i] + info.shape[i] > shape[i]) throw std::invalid_argument("the part lies outside of the chunk");
  py::gil_scoped_release release;
  std::vector<uint32_t> words(coded.size * coded.itemsize / 4);
  std::memcpy(words.data(), coded.ptr, words.size() * 4);
  if (info.itemsize == 4)
    decode_all<uint32_t>(words, shape, block, start, info);
  else
    decode_all<uint64_t>(words, shape, block, start, info);
}

}  // namespace

PYBIND11_MODULE(cseg, m) {
  m.doc() = "compressed_segmentation, the chunk encoding of labels.";
  m.def("encode", &encode, py::arg("voxels"), py::arg("block"));
  m.def("decode", &decode, py::arg("data"), py::arg("shape"), py::arg("block"), py::arg("start"), py::arg("out"));
}
