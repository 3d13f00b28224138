#include "model/convert/row_converter.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <span>

#include "base/error.h"
#include "base/units.h"
#include "model/formats/affine.h"
#include "model/formats/float_bits.h"

namespace krserve::convert {
namespace {

constexpr const char* kWhere = "model.convert";
constexpr uint64_t kTaskBytes = 4 * kMiB;

uint64_t elements(const TensorView& view) {
  return view.bytes / bytes_of(view.dtype);
}

// Elements of one unit of a task.
uint64_t unit_elements(const Item& item) {
  return item.quantization ? static_cast<uint64_t>(item.source->shape[1]) : 1;
}

// `data` lies at any address.
void to_floats(const std::byte* data, Dtype dtype, std::span<float> out) {
  if (dtype == Dtype::kF32) {
    std::memcpy(out.data(), data, out.size_bytes());
    return;
  }
  for (size_t i = 0; i < out.size(); ++i) {
    uint16_t bits = 0;
    std::memcpy(&bits, data + i * sizeof(bits), sizeof(bits));
    out[i] = dtype == Dtype::kBF16 ? bf16_to_f32(bits) : f16_to_f32(bits);
  }
}

uint16_t narrow(float value, Dtype dtype) {
  return dtype == Dtype::kBF16 ? f32_to_bf16(value) : f32_to_f16(value);
}

void round_to(Dtype dtype, std::span<float> values) {
  if (dtype == Dtype::kF32) return;
  for (float& value : values) {
    const uint16_t bits = narrow(value, dtype);
    value = dtype == Dtype::kBF16 ? bf16_to_f32(bits) : f16_to_f32(bits);
  }
}

void check_finite(std::span<const float> values, const Item& item, uint64_t begin,
                  const char* remedy) {
  const auto bad =
      std::find_if(values.begin(), values.end(), [](float v) { return !std::isfinite(v); });
  if (bad == values.end()) return;
  throw_error<ModelError>(kWhere, "{}: element {} of {} is {} in {}; {}", item.source->name,
                          begin + static_cast<uint64_t>(bad - values.begin()),
                          elements(*item.source), *bad, to_string(item.dtype), remedy);
}

}  // namespace

uint64_t Task::first_element() const {
  return begin * unit_elements(*item);
}

uint64_t Task::source_bytes() const {
  return (end - begin) * unit_elements(*item) * bytes_of(item->source->dtype);
}

std::vector<Task> split(const Plan& plan) {
  std::vector<Task> tasks;
  for (const Item& item : plan.items) {
    const uint64_t unit = unit_elements(item);
    const uint64_t units = elements(*item.source) / unit;
    const uint64_t step = std::max<uint64_t>(1, kTaskBytes / (unit * bytes_of(item.source->dtype)));
    for (uint64_t begin = 0; begin < units; begin += step) {
      tasks.push_back({&item, begin, std::min(begin + step, units)});
    }
  }
  return tasks;
}

Sources::Sources(const Checkpoint& checkpoint) : checkpoint_(checkpoint) {
  for (const SafetensorsFile& file : checkpoint.files()) readers_.emplace_back(file.path());
}

void Sources::read(const TensorView& view, uint64_t offset, std::vector<std::byte>& out) const {
  for (size_t i = 0; i < readers_.size(); ++i) {
    const MappedFile& file = checkpoint_.files()[i].file();
    if (view.data < file.data() || view.data >= file.data() + file.size()) continue;
    const auto start = static_cast<uint64_t>(view.data - file.data());
    return readers_[i].read(out.data(), start + offset, out.size());
  }
}

void RowConverter::run(const Task& task) {
  const TensorView& source = *task.item->source;
  source_.resize(task.source_bytes());
  sources_.read(source, task.first_element() * bytes_of(source.dtype), source_);
  if (task.item->quantization) {
    quantize(task);
  } else {
    round(task);
  }
}

void RowConverter::quantize(const Task& task) {
  const Item& item = *task.item;
  const uint64_t columns = unit_elements(item);
  const uint64_t rows = task.end - task.begin;
  const auto words = static_cast<uint64_t>(item.outputs[0].spec.shape[1]);
  const auto groups = static_cast<uint64_t>(item.outputs[1].spec.shape[1]);
  words_.resize(rows * words);
  scales_.resize(rows * groups);
  biases_.resize(rows * groups);
  for (uint64_t row = 0; row < rows; ++row) {
    widen(task, row * columns, columns);
    quantize_row(values_, *item.quantization, std::span(words_).subspan(row * words, words),
                 std::span(scales_).subspan(row * groups, groups),
                 std::span(biases_).subspan(row * groups, groups));
  }
  const Output& weight = item.outputs[0];
  writers_[weight.shard]->write_at(weight.offset + task.begin * words * sizeof(uint32_t),
                                   words_.data(), words_.size() * sizeof(uint32_t));
  write(item.outputs[1], task.begin * groups, scales_);
  write(item.outputs[2], task.begin * groups, biases_);
}

void RowConverter::round(const Task& task) {
  widen(task, 0, task.end - task.begin);
  write(task.item->outputs[0], task.begin, values_);
}

void RowConverter::widen(const Task& task, uint64_t begin, uint64_t count) {
  const Item& item = *task.item;
  const Dtype dtype = item.source->dtype;
  values_.resize(count);
  to_floats(source_.data() + begin * bytes_of(dtype), dtype, values_);
  const uint64_t first = task.first_element() + begin;
  check_finite(values_, item, first, "re-download the model");
  if (dtype == item.dtype) return;
  round_to(item.dtype, values_);
  check_finite(values_, item, first, "choose another --dtype");
}

void RowConverter::write(const Output& output, uint64_t begin, const std::vector<float>& values) {
  SafetensorsWriter& writer = *writers_[output.shard];
  const Dtype dtype = output.spec.dtype;
  const uint64_t at = output.offset + begin * bytes_of(dtype);
  if (dtype == Dtype::kF32) {
    writer.write_at(at, values.data(), values.size() * sizeof(float));
    return;
  }
  halves_.resize(values.size());
  std::transform(values.begin(), values.end(), halves_.begin(),
                 [dtype](float value) { return narrow(value, dtype); });
  writer.write_at(at, halves_.data(), halves_.size() * sizeof(uint16_t));
}

}  // namespace krserve::convert
