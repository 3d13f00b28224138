// Fuzzes the configuration loader: any bytes are a legal YAML file, which always gives the same
// settings, or a ConfigError with a message. Stops the program otherwise.
#include <cstdio>
#include <cstdlib>
#include <string>

#include "base/error.h"
#include "config/document.h"
#include "config/yaml_reader.h"

namespace krserve {
namespace {

LoadedConfig load(const std::string& yaml) {
  LoadedConfig config;
  Problems problems;
  apply_yaml(config, yaml, "fuzz.yaml", problems);
  problems.throw_if_any();
  return config;
}

void require(bool condition, const char* what) {
  if (condition) return;
  std::fprintf(stderr, "not true: %s\n", what);
  std::abort();
}

std::string values_of(const LoadedConfig& config) {
  std::string all;
  for (const EffectiveValue& value : effective_values(config)) {
    all += value.path + "=" + value.value + "\n";
  }
  return all;
}

}  // namespace
}  // namespace krserve

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string yaml(reinterpret_cast<const char*>(data), size);
  try {
    const krserve::LoadedConfig once = krserve::load(yaml);
    krserve::require(krserve::values_of(once) == krserve::values_of(krserve::load(yaml)),
                     "the same file gives the same settings");
  } catch (const krserve::ConfigError& error) {
    krserve::require(error.what()[0] != '\0', "a refusal says why");
  }
  return 0;
}
