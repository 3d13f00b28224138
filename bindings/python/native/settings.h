// The components' settings as Python classes: fields, ranges and defaults of config/schema.h.
#pragma once

#include <nanobind/nanobind.h>

#include "config/runtime_config.h"

namespace krserve::python {

// One section of the settings; `all` has the others' defaults.
template <class Section>
struct Settings {
  RuntimeConfig all;
  const Section& get() const;
};

using PoolSettings = Settings<MemoryPoolConfig>;
using BlitSettings = Settings<BlitQueueConfig>;
using RingSettings = Settings<CommandBufferRingConfig>;

// From what a component's constructor was given: settings, a dict or None, and keyword arguments on
// top. Throws ConfigError that names the setting and its range, TypeError for other things.
template <class Section>
Settings<Section> read_settings(nanobind::handle given, nanobind::handle keywords);

// MetalMemoryPoolConfig, BlitQueueConfig and CommandBufferRingConfig.
void bind_settings(nanobind::module_& module);

}  // namespace krserve::python
