#include "native/buffer.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include "base/error.h"
#include "native/device.h"

namespace krserve::python {
namespace {

namespace nb = nanobind;

nb::builtin_exception out_of_reach() {
  return nb::buffer_error(
      "this device's memory is out of the host's reach; copy it with BlitQueue.download()");
}

// Behind a Py_buffer: what it points to.
struct Export {
  MemoryPtr memory;
  std::vector<Py_ssize_t> shape;
  std::vector<Py_ssize_t> strides;
};

std::vector<Py_ssize_t> strides_of(const std::vector<int64_t>& shape, uint32_t item_bytes) {
  std::vector<Py_ssize_t> strides(shape.size());
  auto step = static_cast<Py_ssize_t>(item_bytes);
  for (size_t i = shape.size(); i > 0; --i) {
    strides[i - 1] = step;
    step *= static_cast<Py_ssize_t>(shape[i - 1]);
  }
  return strides;
}

void fill_view(const ArrayBuffer& buffer, Py_buffer& view, int flags) {
  const Dtype& dtype = buffer.dtype();
  const bool read_only = buffer.memory()->read_only();
  if (read_only && (flags & PyBUF_WRITABLE) != 0) throw nb::buffer_error("the buffer is read-only");
  if (dtype.format == nullptr && (flags & PyBUF_FORMAT) != 0) {
    throw nb::buffer_error("the buffer protocol has no bfloat16; use DLPack, or a uint16 view");
  }
  auto made = std::make_unique<Export>();
  made->memory = buffer.memory();
  made->shape.assign(buffer.shape().begin(), buffer.shape().end());
  made->strides = strides_of(buffer.shape(), dtype.bytes);
  view.buf = buffer.host_address();
  view.len = static_cast<Py_ssize_t>(buffer.bytes());
  view.readonly = read_only ? 1 : 0;
  view.itemsize = dtype.bytes;
  view.format = (flags & PyBUF_FORMAT) != 0 ? const_cast<char*>(dtype.format) : nullptr;
  view.ndim = static_cast<int>(made->shape.size());
  view.shape = (flags & PyBUF_ND) != 0 ? made->shape.data() : nullptr;
  view.strides = (flags & PyBUF_STRIDES) == PyBUF_STRIDES ? made->strides.data() : nullptr;
  view.suboffsets = nullptr;
  view.internal = made.release();
}

int get_buffer(PyObject* self, Py_buffer* view, int flags) {
  view->obj = nullptr;
  try {
    fill_view(*nb::inst_ptr<ArrayBuffer>(self), *view, flags);
  } catch (const std::exception& error) {
    PyErr_SetString(PyExc_BufferError, error.what());
    return -1;
  }
  Py_INCREF(self);
  view->obj = self;
  return 0;
}

void release_buffer(PyObject*, Py_buffer* view) {
  delete static_cast<Export*>(view->internal);
}

const PyType_Slot kSlots[] = {{Py_bf_getbuffer, reinterpret_cast<void*>(get_buffer)},
                              {Py_bf_releasebuffer, reinterpret_cast<void*>(release_buffer)},
                              {0, nullptr}};

nb::object keep_alive(const MemoryPtr& memory) {
  return nb::capsule(new MemoryPtr(memory),
                     [](void* kept) noexcept { delete static_cast<MemoryPtr*>(kept); });
}

// DLPack's device type. An address that the host cannot use is CUDA's, of its first device.
int device_type_of(const ArrayBuffer& buffer) {
  return buffer.is_host_accessible() ? nb::device::cpu::value : nb::device::cuda::value;
}

// nanobind's own array object, which has the protocol's arguments and versions.
template <class... Flags>
nb::object exporter(const ArrayBuffer& buffer) {
  const std::vector<size_t> shape(buffer.shape().begin(), buffer.shape().end());
  return nb::cast(nb::ndarray<nb::array_api, Flags...>(
      buffer.address(), shape.size(), shape.data(), keep_alive(buffer.memory()), nullptr,
      buffer.dtype().code, device_type_of(buffer)));
}

nb::object array_object(const ArrayBuffer& buffer) {
  return buffer.memory()->read_only() ? exporter<nb::ro>(buffer) : exporter<>(buffer);
}

// numpy asks for this only when the buffer protocol refused, and would else make an array of one
// Python object.
nb::object numpy_array(nb::handle self, const nb::args& args, const nb::kwargs& options) {
  PyObject* view = PyMemoryView_FromObject(self.ptr());
  if (view == nullptr) throw nb::python_error();
  return nb::module_::import_("numpy").attr("asarray")(nb::steal(view), *args, **options);
}

std::vector<int64_t> shape_from(const std::optional<std::vector<int64_t>>& given,
                                const Dtype& dtype, uint64_t bytes) {
  if (given) return *given;
  if (bytes % dtype.bytes != 0) {
    throw_error<ConfigError>("buffer.view", "{} bytes are no whole number of {} ({} bytes each)",
                             bytes, dtype.name, dtype.bytes);
  }
  return {static_cast<int64_t>(bytes / dtype.bytes)};
}

ArrayBuffer view_as(const ArrayBuffer& self, nb::handle dtype_given,
                    const std::optional<std::vector<int64_t>>& shape, uint64_t offset) {
  const Dtype& dtype = dtype_given.is_none() ? self.dtype() : dtype_from(dtype_given);
  const uint64_t all = self.view().bytes;
  if (offset > all) {
    throw_error<ConfigError>("buffer.view", "offset {} is past the end; the buffer has {} bytes",
                             offset, all);
  }
  return self.with(dtype, shape_from(shape, dtype, all - offset), offset);
}

std::string to_text(const ArrayBuffer& self) {
  if (self.is_freed()) return "Buffer(freed)";
  return fmt::format("Buffer({} bytes, {}[{}], {})", self.bytes(), self.dtype().name,
                     fmt::join(self.shape(), ", "), self.memory()->device->info().backend);
}

// Laid over the array itself.
ArrayBuffer wrap(const HostArray& array, nb::handle device) {
  auto memory = std::make_shared<Memory>();
  memory->device = device_from(device);
  memory->wrapped = memory->device->wrap_host_memory(array.data(), array.nbytes());
  if (!memory->wrapped) {
    throw_error<DeviceError>("buffer.wrap",
                             "{} does not read the host's memory; upload() the array instead",
                             memory->device->info().name);
  }
  memory->source = array;
  const BufferView view = whole(*memory->wrapped);
  std::vector<int64_t> shape;
  for (size_t i = 0; i < array.ndim(); ++i) shape.push_back(static_cast<int64_t>(array.shape(i)));
  return {std::move(memory), view, dtype_from(array.dtype()), std::move(shape)};
}

}  // namespace

uint64_t bytes_of(const std::vector<int64_t>& shape, const Dtype& dtype) {
  constexpr uint64_t kMost = uint64_t{1} << 62;
  uint64_t bytes = dtype.bytes;
  for (const int64_t extent : shape) {
    const bool fits =
        extent >= 0 && (extent == 0 || bytes <= kMost / static_cast<uint64_t>(extent));
    if (!fits) {
      throw_error<ConfigError>("buffer.shape", "[{}]: extents are >= 0 and bytes at most 2^62",
                               fmt::join(shape, ", "));
    }
    bytes *= static_cast<uint64_t>(extent);
  }
  return bytes;
}

ArrayBuffer::ArrayBuffer(MemoryPtr memory, const BufferView& view, const Dtype& dtype,
                         std::vector<int64_t> shape)
    : memory_(std::move(memory)), view_(view), dtype_(&dtype), shape_(std::move(shape)) {}

const MemoryPtr& ArrayBuffer::memory() const {
  if (!memory_) throw ConfigError("buffer.use", "the buffer was freed");
  return memory_;
}

const BufferView& ArrayBuffer::view() const {
  memory();
  return view_;
}

bool ArrayBuffer::is_host_accessible() const {
  return view().contents() != nullptr;
}

std::byte* ArrayBuffer::host_address() const {
  if (!is_host_accessible()) throw out_of_reach();
  return view().contents();
}

std::byte* ArrayBuffer::address() const {
  std::byte* address = view().address();
  if (address == nullptr) throw out_of_reach();
  return address;
}

void ArrayBuffer::free() {
  memory();
  memory_.reset();
}

ArrayBuffer ArrayBuffer::with(const Dtype& dtype, const std::vector<int64_t>& shape,
                              uint64_t offset) const {
  const uint64_t bytes = bytes_of(shape, dtype);
  if (offset > view().bytes || bytes > view_.bytes - offset) {
    throw_error<ConfigError>("buffer.view", "{}[{}] from byte {} is {} bytes; the buffer has {}",
                             dtype.name, fmt::join(shape, ", "), offset, bytes, view_.bytes);
  }
  if ((view_.offset + offset) % dtype.bytes != 0) {
    throw_error<ConfigError>("buffer.view", "offset {} is no multiple of {}'s {} bytes", offset,
                             dtype.name, dtype.bytes);
  }
  return {memory_, view_.sub(offset, bytes), dtype, shape};
}

void bind_buffer(nb::module_& module) {
  nb::class_<ArrayBuffer>(
      module, "Buffer", nb::type_slots(kSlots),
      "Device memory. numpy.asarray(buffer), torch.from_dlpack(buffer) and memoryview(buffer) "
      "share it without a copy where the host can reach it; CUDA's memory is shared through DLPack "
      "with what uses that GPU. An array keeps the memory alive, also after free(): the pool gets "
      "it back when the last one is gone.")
      .def_prop_ro("nbytes", &ArrayBuffer::bytes)
      .def_prop_ro(
          "shape", [](const ArrayBuffer& self) { return nb::tuple(nb::cast(self.shape())); },
          nb::sig("def shape(self) -> tuple[int, ...]"))
      .def_prop_ro("dtype", [](const ArrayBuffer& self) { return std::string(self.dtype().name); })
      .def_prop_ro("device",
                   [](const ArrayBuffer& self) { return DeviceHandle{self.memory()->device}; })
      .def_prop_ro("read_only", [](const ArrayBuffer& self) { return self.memory()->read_only(); })
      .def_prop_ro("host_accessible", &ArrayBuffer::is_host_accessible,
                   "Whether numpy and memoryview can be laid over it.")
      .def_prop_ro(
          "address",
          [](const ArrayBuffer& self) { return reinterpret_cast<uintptr_t>(self.address()); },
          "Of the first byte: the host's, or CUDA's where the host cannot reach it. Raises "
          "BufferError where the device gives none.")
      .def_prop_ro("freed", &ArrayBuffer::is_freed)
      .def("free", &ArrayBuffer::free,
           "Gives the memory back. Deferred, not refused, while arrays over it or device work on "
           "it are left. Raises ValueError the second time.")
      .def("view", &view_as, nb::arg("dtype") = nb::none(), nb::arg("shape") = nb::none(),
           nb::arg("offset") = 0,
           nb::sig("def view(self, dtype: object = None, shape: collections.abc.Sequence[int] | "
                   "None = None, offset: int = 0) -> Buffer"),
           "The same memory from byte `offset` on as another element type and shape. `dtype`: a "
           "name or an object of numpy, torch or mlx.")
      .def("__len__",
           [](const ArrayBuffer& self) {
             if (self.shape().empty())
               throw nb::type_error("a buffer of no dimension has no len()");
             return self.shape().front();
           })
      .def("__repr__", &to_text)
      .def("__array__", &numpy_array, nb::arg("args"), nb::arg("options"),
           nb::sig("def __array__(self, dtype: object = None, *, copy: bool | None = None) -> "
                   "object"))
      .def(
          "__dlpack__",
          [](const ArrayBuffer& self, const nb::kwargs& options) {
            return array_object(self).attr("__dlpack__")(**options);
          },
          nb::arg("options"),
          nb::sig("def __dlpack__(self, *, stream: object = None, max_version: tuple[int, int] | "
                  "None = None, dl_device: tuple[int, int] | None = None, copy: bool | None = "
                  "None) -> object"),
          "`stream` is not waited for: wait() for the steps and copies that write the buffer "
          "first.")
      .def(
          "__dlpack_device__",
          [](const ArrayBuffer& self) { return array_object(self).attr("__dlpack_device__")(); },
          nb::sig("def __dlpack_device__(self) -> tuple[int, int]"));
  module.def(
      "wrap", &wrap, nb::arg("array").noconvert(), nb::kw_only(), nb::arg("device") = "auto",
      nb::sig("def wrap(array: object, *, device: Device | str = 'auto') -> Buffer"),
      "A read-only Buffer over an array's own memory (numpy, torch, mlx; contiguous), which "
      "it keeps alive. Raises DeviceError where the device does not read the host's memory.");
}

}  // namespace krserve::python
