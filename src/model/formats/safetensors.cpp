#include "model/formats/safetensors.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <limits>
#include <new>
#include <utility>

#include "base/error.h"
#include "model/formats/json_file.h"

namespace krserve {
namespace {

static_assert(std::endian::native == std::endian::little, "safetensors data is little endian");

constexpr const char* kWhere = "safetensors.open";
constexpr uint64_t kLengthBytes = 8;
constexpr uint64_t kMaxHeaderBytes = 100'000'000;  // the limit of the reference implementation
constexpr std::string_view kLfsMagic = "version https://git-lfs";

struct DtypeInfo {
  Dtype dtype;
  std::string_view name;
  uint64_t bytes;
};

constexpr std::array<DtypeInfo, 15> kDtypes = {{{Dtype::kBool, "BOOL", 1},
                                                {Dtype::kU8, "U8", 1},
                                                {Dtype::kI8, "I8", 1},
                                                {Dtype::kF8E4M3, "F8_E4M3", 1},
                                                {Dtype::kF8E5M2, "F8_E5M2", 1},
                                                {Dtype::kU16, "U16", 2},
                                                {Dtype::kI16, "I16", 2},
                                                {Dtype::kF16, "F16", 2},
                                                {Dtype::kBF16, "BF16", 2},
                                                {Dtype::kU32, "U32", 4},
                                                {Dtype::kI32, "I32", 4},
                                                {Dtype::kF32, "F32", 4},
                                                {Dtype::kU64, "U64", 8},
                                                {Dtype::kI64, "I64", 8},
                                                {Dtype::kF64, "F64", 8}}};

const DtypeInfo& info_of(Dtype dtype) {
  return kDtypes[static_cast<size_t>(dtype)];
}

// One entry of the header; knows file and tensor for its messages.
class EntryReader {
 public:
  EntryReader(const std::string& path, const std::string& name, const Json& entry)
      : path_(path), name_(name), entry_(entry) {
    if (!entry.is_object()) refuse("its header entry is not an object");
  }

  TensorView read(const std::byte* data, uint64_t data_bytes) const {
    TensorView view;
    view.name = name_;
    view.dtype = read_dtype();
    uint64_t expected = bytes_of(view.dtype);
    for (const Json& dim : list("shape")) {
      if (!dim.is_number_unsigned() ||
          dim.get<uint64_t>() > uint64_t{std::numeric_limits<int64_t>::max()}) {
        refuse(fmt::format("shape holds {}, not a size", dim.dump()));
      }
      view.shape.push_back(static_cast<int64_t>(dim.get<uint64_t>()));
      if (__builtin_mul_overflow(expected, dim.get<uint64_t>(), &expected)) {
        refuse("the product of its shape overflows 64 bits");
      }
    }
    const auto [begin, end] = read_offsets(data_bytes);
    view.bytes = end - begin;
    if (view.bytes != expected) {
      refuse(fmt::format("data_offsets [{}, {}] span {} bytes, but {} {} takes {}", begin, end,
                         view.bytes, to_string(view.dtype), format_shape(view.shape), expected));
    }
    view.data = data + begin;
    return view;
  }

 private:
  Dtype read_dtype() const {
    const auto it = entry_.find("dtype");
    if (it == entry_.end() || !it->is_string()) refuse("it has no dtype");
    const auto name = it->get<std::string>();
    for (const DtypeInfo& info : kDtypes) {
      if (info.name == name) return info.dtype;
    }
    refuse(fmt::format("unknown dtype '{}'", name));
  }

  std::pair<uint64_t, uint64_t> read_offsets(uint64_t data_bytes) const {
    const Json& offsets = list("data_offsets");
    if (offsets.size() != 2 || !offsets[0].is_number_unsigned() ||
        !offsets[1].is_number_unsigned()) {
      refuse("data_offsets is not a pair of offsets");
    }
    const auto begin = offsets[0].get<uint64_t>();
    const auto end = offsets[1].get<uint64_t>();
    if (begin > end || end > data_bytes) {
      refuse(fmt::format("data_offsets [{}, {}] lie outside the {} bytes of data; is it truncated?",
                         begin, end, data_bytes));
    }
    return {begin, end};
  }

  const Json& list(const char* key) const {
    const auto it = entry_.find(key);
    if (it == entry_.end() || !it->is_array()) refuse(fmt::format("it has no list '{}'", key));
    return *it;
  }

  [[noreturn]] void refuse(const std::string& what) const {
    throw_error<ModelError>(kWhere, "{}: tensor '{}': {}; re-download the file", path_, name_,
                            what);
  }

  const std::string& path_;
  const std::string& name_;
  const Json& entry_;
};

}  // namespace

uint64_t bytes_of(Dtype dtype) {
  return info_of(dtype).bytes;
}

std::string_view to_string(Dtype dtype) {
  return info_of(dtype).name;
}

std::string format_shape(std::span<const int64_t> shape) {
  return fmt::format("[{}]", fmt::join(shape, ", "));
}

SafetensorsFile::SafetensorsFile(const std::filesystem::path& path) : file_(path) {
  read_header();
  check_overlaps();
}

void SafetensorsFile::read_header() {
  const std::string path = file_.path().string();
  const std::string_view text(reinterpret_cast<const char*>(file_.data()), file_.size());
  if (text.starts_with(kLfsMagic)) {
    throw_error<ModelError>(kWhere, "{} is a Git LFS pointer of {} bytes; run `git lfs pull`", path,
                            text.size());
  }
  if (text.size() < kLengthBytes) {
    throw_error<ModelError>(kWhere,
                            "{}: {} bytes, less than the 8 of the header's length; "
                            "re-download the file",
                            path, text.size());
  }
  uint64_t header_bytes = 0;
  std::memcpy(&header_bytes, text.data(), kLengthBytes);
  const uint64_t limit = std::min(kMaxHeaderBytes, text.size() - kLengthBytes);
  if (header_bytes > limit) {
    throw_error<ModelError>(kWhere,
                            "{}: a header of {} bytes in a file of {} (most possible: {}); "
                            "re-download the file",
                            path, header_bytes, text.size(), limit);
  }
  const uint64_t data_start = kLengthBytes + header_bytes;
  const Json header = parse_json_object(text.substr(kLengthBytes, header_bytes), kWhere, path);
  for (const auto& [name, entry] : header.items()) {
    if (name == "__metadata__") continue;
    const EntryReader reader(path, name, entry);
    tensors_.emplace(name, reader.read(file_.data() + data_start, text.size() - data_start));
  }
}

void SafetensorsFile::check_overlaps() const {
  std::vector<const TensorView*> order;
  for (const auto& [name, view] : tensors_) {
    if (view.bytes > 0) order.push_back(&view);
  }
  std::sort(order.begin(), order.end(),
            [](const TensorView* a, const TensorView* b) { return a->data < b->data; });
  for (size_t i = 1; i < order.size(); ++i) {
    const TensorView& before = *order[i - 1];
    if (before.data + before.bytes > order[i]->data) {
      throw_error<ModelError>(kWhere,
                              "{}: tensors '{}' and '{}' overlap by {} bytes; re-download "
                              "the file",
                              file_.path().string(), before.name, order[i]->name,
                              before.data + before.bytes - order[i]->data);
    }
  }
}

const TensorView* SafetensorsFile::find(std::string_view name) const {
  const auto it = tensors_.find(name);
  return it == tensors_.end() ? nullptr : &it->second;
}

}  // namespace krserve
