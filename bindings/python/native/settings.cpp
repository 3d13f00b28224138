#include "native/settings.h"

#include <fmt/format.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <deque>
#include <string>

#include "base/error.h"
#include "config/nearest.h"
#include "config/schema.h"
#include "config/value.h"

namespace krserve::python {
namespace {

namespace nb = nanobind;

template <class Section>
struct About;
template <>
struct About<MemoryPoolConfig> {
  static constexpr const char* kClass = "MetalMemoryPoolConfig";
  static constexpr std::string_view kPath = "metal_optimizations.memory_pool";
};
template <>
struct About<BlitQueueConfig> {
  static constexpr const char* kClass = "BlitQueueConfig";
  static constexpr std::string_view kPath = "metal_optimizations.blit_queue";
};
template <>
struct About<CommandBufferRingConfig> {
  static constexpr const char* kClass = "CommandBufferRingConfig";
  static constexpr std::string_view kPath = "metal_optimizations.command_buffer_ring";
};

const MemoryPoolConfig& section_of(const RuntimeConfig& all, const MemoryPoolConfig*) {
  return all.metal_optimizations.memory_pool;
}
const BlitQueueConfig& section_of(const RuntimeConfig& all, const BlitQueueConfig*) {
  return all.metal_optimizations.blit_queue;
}
const CommandBufferRingConfig& section_of(const RuntimeConfig& all,
                                          const CommandBufferRingConfig*) {
  return all.metal_optimizations.command_buffer_ring;
}

// Signatures live as long as the module.
const char* kept(std::string text) {
  static std::deque<std::string> texts;
  return texts.emplace_back(std::move(text)).c_str();
}

std::vector<const Field*> fields_of(std::string_view section) {
  std::vector<const Field*> fields;
  for (const Field& field : config_fields()) {
    if (parent_path(field.path) == section) fields.push_back(&field);
  }
  return fields;
}

std::string text_of(nb::handle value) {
  return nb::cast<std::string>(nb::str(value));
}

// A number or a truth value as YAML writes it; text is "quoted", so that it is never a number.
RawValue raw_from_python(nb::handle value) {
  RawValue raw;
  if (PyUnicode_Check(value.ptr())) {
    raw.items.push_back(nb::cast<std::string>(value));
    raw.quoted = true;
  } else if (PyList_Check(value.ptr()) || PyTuple_Check(value.ptr())) {
    raw.shape = RawValue::Shape::kList;
    for (const nb::handle item : value) raw.items.push_back(text_of(item));
  } else if (PyIndex_Check(value.ptr()) && !PyBool_Check(value.ptr())) {
    raw.items.push_back(text_of(nb::steal(PyNumber_Index(value.ptr()))));
  } else {
    raw.items.push_back(text_of(value));
  }
  return raw;
}

void set_field(const Field& field, RuntimeConfig& all, nb::handle value, const char* type) {
  if (const auto wrong = assign(field, all, raw_from_python(value))) {
    throw_error<ConfigError>("config.set", "{}.{} = {}", type, leaf_name(field.path), *wrong);
  }
}

template <class Section>
void update(Settings<Section>& settings, nb::handle values) {
  using A = About<Section>;
  for (const nb::handle key : values) {
    const auto name = nb::cast<std::string>(key);
    const std::string path = fmt::format("{}.{}", A::kPath, name);
    const Field* field = find_field(path);
    if (field == nullptr) {
      throw_error<ConfigError>("config.set", "{} has no '{}'; {}", A::kClass, name, key_hint(path));
    }
    set_field(*field, settings.all, values[key], A::kClass);
  }
}

std::string type_of(const Field& field) {
  if (std::holds_alternative<BoolRef>(field.ref)) return "bool";
  if (std::holds_alternative<IntRef>(field.ref)) return "int";
  return std::holds_alternative<TextRef>(field.ref) ? "str" : "list[int]";
}

// As Python writes it.
std::string default_of(const Field& field) {
  const std::string text = value_text(field, RuntimeConfig{});
  if (std::holds_alternative<BoolRef>(field.ref)) return text == "true" ? "True" : "False";
  return text;
}

template <class Section>
const char* init_signature() {
  std::string text =
      "def __init__(self, values: collections.abc.Mapping[str, typing.Any] | None = "
      "None, /, *";
  for (const Field* field : fields_of(About<Section>::kPath)) {
    text +=
        fmt::format(", {}: {} = {}", leaf_name(field->path), type_of(*field), default_of(*field));
  }
  return kept(text + ") -> None");
}

template <class Class, class Section>
void add_field(Class& cls, const Field& field) {
  const std::string name(leaf_name(field.path));
  const std::string type = type_of(field);
  const Field* at = &field;
  cls.def_prop_rw(
      name.c_str(),
      [at](const Settings<Section>& self) -> nb::object {
        auto& all = const_cast<RuntimeConfig&>(self.all);  // only read
        return std::visit([&](auto ref) { return nb::cast(ref(all)); }, at->ref);
      },
      [at](Settings<Section>& self, nb::handle value) {
        set_field(*at, self.all, value, About<Section>::kClass);
      },
      nb::for_getter(nb::sig(kept(fmt::format("def {}(self) -> {}", name, type)))),
      nb::for_setter(nb::sig(kept(fmt::format("def {}(self, value: {}, /) -> None", name, type)))),
      kept(fmt::format("{} ({})", field.doc, expected_value(field))));
}

template <class Section>
nb::dict to_dict(const Settings<Section>& settings) {
  const nb::object self = nb::cast(settings);
  nb::dict out;
  for (const Field* field : fields_of(About<Section>::kPath)) {
    const std::string name(leaf_name(field->path));
    out[name.c_str()] = self.attr(name.c_str());
  }
  return out;
}

template <class Section>
std::string to_text(const Settings<Section>& settings) {
  std::string text;
  for (const auto& [name, value] : to_dict(settings)) {
    text += fmt::format("{}{}={}", text.empty() ? "" : ", ", text_of(name),
                        nb::cast<std::string>(nb::repr(value)));
  }
  return fmt::format("{}({})", About<Section>::kClass, text);
}

template <class Section>
void bind_section(nb::module_& module, const char* doc) {
  using S = Settings<Section>;
  nb::class_<S> cls(module, About<Section>::kClass, doc);
  cls.def(
      "__init__",
      [](S* self, nb::handle values, const nb::kwargs& keywords) {
        new (self) S(read_settings<Section>(values, keywords));
      },
      nb::arg("values") = nb::none(), nb::arg("keywords"), nb::sig(init_signature<Section>()));
  for (const Field* field : fields_of(About<Section>::kPath)) {
    add_field<decltype(cls), Section>(cls, *field);
  }
  cls.def("as_dict", &to_dict<Section>, "The settings by name.",
          nb::sig("def as_dict(self) -> dict[str, typing.Any]"));
  cls.def("__repr__", &to_text<Section>);
  cls.def(
      "__eq__",
      [](const S& self, nb::handle other) {
        S right;
        return nb::try_cast<S>(other, right) && to_dict(self).equal(to_dict(right));
      },
      nb::arg("other"), nb::sig("def __eq__(self, other: object, /) -> bool"));
}

}  // namespace

template <class Section>
const Section& Settings<Section>::get() const {
  return section_of(all, static_cast<const Section*>(nullptr));
}

template <class Section>
Settings<Section> read_settings(nb::handle given, nb::handle keywords) {
  Settings<Section> settings;
  if (!given.is_none() && !nb::try_cast<Settings<Section>>(given, settings)) {
    if (!nb::isinstance<nb::dict>(given)) {
      const std::string text =
          fmt::format("expected {}, a dict or None, not {}", About<Section>::kClass,
                      nb::cast<std::string>(nb::repr(given.type())));
      throw nb::type_error(text.c_str());
    }
    update(settings, given);
  }
  update(settings, keywords);
  return settings;
}

template struct Settings<MemoryPoolConfig>;
template struct Settings<BlitQueueConfig>;
template struct Settings<CommandBufferRingConfig>;
template PoolSettings read_settings<MemoryPoolConfig>(nb::handle, nb::handle);
template BlitSettings read_settings<BlitQueueConfig>(nb::handle, nb::handle);
template RingSettings read_settings<CommandBufferRingConfig>(nb::handle, nb::handle);

void bind_settings(nb::module_& module) {
  bind_section<MemoryPoolConfig>(module,
                                 "Settings of a MetalMemoryPool. Sizes in MB are MiB. `enabled` is "
                                 "for engines; a pool of its own is there when it is made.");
  bind_section<BlitQueueConfig>(module, "Settings of a BlitQueue.");
  bind_section<CommandBufferRingConfig>(module, "Settings of a CommandBufferRing.");
}

}  // namespace krserve::python
