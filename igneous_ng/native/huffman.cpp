// Deflate without matches: each block is literals under its own Huffman code (RFC 1951, blocks of type 2).
//
// The grain of microscope images holds next to no repeats, so to look for them is most of what deflate costs and
// gains nothing there; what there is to gain is in how often each value occurs.

#include <pybind11/pybind11.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>
#include <stdexcept>
#include <vector>

namespace py = pybind11;

namespace {

constexpr int kLiterals = 257;  // bytes and the end of a block
constexpr int kLongest = 15;    // bits of a code of literals
constexpr int kLongestOfLengths = 7;
constexpr size_t kBlock = 1 << 16;
constexpr std::array<uint8_t, 19> kOrder{16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15};

// Lengths of a Huffman code, none above most: where the best one is deeper, counts are flattened (as bzip2 does).
std::vector<uint8_t> lengths_of(std::vector<uint32_t> counts, int most) {
  std::vector<uint8_t> lengths(counts.size());
  for (;;) {
    struct Node {
      uint64_t count;
      int left, right;
    };
    std::vector<Node> nodes;
    std::vector<int> leaves, symbols;
    for (size_t i = 0; i < counts.size(); ++i)
      if (counts[i]) symbols.push_back(static_cast<int>(i));
    std::sort(symbols.begin(), symbols.end(), [&](int a, int b) { return counts[a] != counts[b] ? counts[a] < counts[b] : a < b; });
    if (symbols.size() == 1) {
      lengths[symbols[0]] = 1;
      return lengths;
    }
    for (int symbol : symbols) nodes.push_back({counts[symbol], -1, -1});
    const size_t alone = nodes.size();
    size_t leaf = 0, inner = alone;  // both rows ascend, so the two smallest are at their heads
    const auto smallest = [&] {
      return static_cast<int>(leaf < alone && (inner >= nodes.size() || nodes[leaf].count <= nodes[inner].count) ? leaf++ : inner++);
    };
    while (nodes.size() < 2 * alone - 1) {
      const int a = smallest(), b = smallest();
      nodes.push_back({nodes[a].count + nodes[b].count, a, b});
    }
    std::vector<uint8_t> depth(nodes.size());
    int deepest = 0;
    for (size_t i = nodes.size(); i-- > alone;)
      for (int child : {nodes[i].left, nodes[i].right}) {
        depth[child] = static_cast<uint8_t>(depth[i] + 1);
        deepest = std::max<int>(deepest, depth[child]);
      }
    if (deepest <= most) {
      for (size_t i = 0; i < alone; ++i) lengths[symbols[i]] = depth[i];
      return lengths;
    }
    for (auto& count : counts) count = (count + 1) / 2;
  }
}

struct Code {
  uint32_t bits = 0;
  uint32_t length = 0;
};

// The canonical code of these lengths, each word with its first bit lowest, as the stream has it.
std::vector<Code> codes_of(const std::vector<uint8_t>& lengths) {
  std::array<uint32_t, 16> count{}, next{};
  for (auto length : lengths) ++count[length];
  count[0] = 0;
  for (int i = 1; i < 16; ++i) next[i] = (next[i - 1] + count[i - 1]) << 1;
  std::vector<Code> codes(lengths.size());
  for (size_t i = 0; i < lengths.size(); ++i) {
    if (!lengths[i]) continue;
    uint32_t word = next[lengths[i]]++, turned = 0;
    for (int bit = 0; bit < lengths[i]; ++bit) turned |= (word >> bit & 1) << (lengths[i] - 1 - bit);
    codes[i] = {turned, lengths[i]};
  }
  return codes;
}

// Writes words of bits, the first lowest, into room that is large enough.
class Writer {
 public:
  explicit Writer(uint8_t* out) : out_(out) {}

  // At most 57 bits may be added before they are stored.
  void add(uint64_t bits, uint32_t count) {
    held_ |= bits << used_;
    used_ += count;
  }

  void store() {
    std::memcpy(out_, &held_, sizeof held_);  // more than is complete, which is written again
    out_ += used_ / 8;
    held_ >>= used_ & ~7u;
    used_ &= 7;
  }

  uint8_t* finish() {
    store();
    return used_ ? out_ + 1 : out_;
  }

 private:
  uint8_t* out_;
  uint64_t held_ = 0;
  uint32_t used_ = 0;
};

std::vector<uint32_t> counted(const uint8_t* data, size_t size) {
  std::array<std::array<uint32_t, 256>, 4> apart{};  // equal neighbours would wait for each other in one table
  size_t i = 0;
  for (; i + 4 <= size; i += 4)
    for (int lane = 0; lane < 4; ++lane) ++apart[lane][data[i + lane]];
  for (; i < size; ++i) ++apart[0][data[i]];
  std::vector<uint32_t> counts(kLiterals);
  for (int value = 0; value < 256; ++value)
    for (const auto& lane : apart) counts[value] += lane[value];
  counts[256] = 1;
  return counts;
}

void put(Writer& writer, uint64_t bits, uint32_t count) {
  writer.add(bits, count);
  writer.store();
}

// What decoders need before a block: the lengths of both codes, themselves coded. The code of distances has one word.
void put_header(Writer& writer, const std::vector<uint8_t>& lengths, bool last) {
  std::vector<uint32_t> counts(kOrder.size());
  for (auto length : lengths) ++counts[length];
  ++counts[1];  // of the distance that nobody uses
  const auto own = lengths_of(counts, kLongestOfLengths);
  const auto codes = codes_of(own);
  put(writer, last, 1);
  put(writer, 2, 2);
  put(writer, kLiterals - 257, 5);
  put(writer, 0, 5);
  put(writer, kOrder.size() - 4, 4);
  for (auto i : kOrder) put(writer, own[i], 3);
  for (auto length : lengths) put(writer, codes[length].bits, codes[length].length);
  put(writer, codes[1].bits, codes[1].length);
}

void put_block(Writer& writer, const uint8_t* data, size_t size, bool last) {
  const auto lengths = lengths_of(counted(data, size), kLongest);
  put_header(writer, lengths, last);
  const auto codes = codes_of(lengths);
  size_t i = 0;
  for (; i + 3 <= size; i += 3) {
    for (int k = 0; k < 3; ++k) writer.add(codes[data[i + k]].bits, codes[data[i + k]].length);
    writer.store();
  }
  for (; i < size; ++i) put(writer, codes[data[i]].bits, codes[data[i]].length);
  put(writer, codes[256].bits, codes[256].length);
}

// A word has 15 bits at most, and what comes before a block 400 bytes; a store reaches 8 bytes further.
size_t room_for(size_t size) { return 2 * size + 512 * (size / kBlock + 1) + 8; }

py::bytes deflate(const py::buffer& data) {
  static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "deflate is written a word at a time");
  const py::buffer_info info = data.request();
  if (info.ndim != 1 || info.itemsize != 1 || info.strides[0] != 1) throw std::invalid_argument("give bytes");
  const auto* from = static_cast<const uint8_t*>(info.ptr);
  const auto size = static_cast<size_t>(info.size);
  std::vector<uint8_t> out;
  size_t length = 0;
  {
    py::gil_scoped_release release;
    out.resize(room_for(size));
    Writer writer(out.data());
    for (size_t at = 0; at == 0 || at < size; at += kBlock)
      put_block(writer, from + at, std::min(kBlock, size - at), at + kBlock >= size);
    length = static_cast<size_t>(writer.finish() - out.data());
  }
  return py::bytes(reinterpret_cast<const char*>(out.data()), length);
}

}  // namespace

PYBIND11_MODULE(huffman, m) {
  m.doc() = "Deflate without matches: for what has grain and no repeats.";
  m.def("deflate", &deflate, py::arg("data"));
}
