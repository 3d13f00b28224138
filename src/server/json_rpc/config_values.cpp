#include "server/json_rpc/config_values.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <utility>

#include "config/nearest.h"
#include "config/schema.h"
#include "config/value.h"

namespace krserve::server::rpc {
namespace {

// What Engine::create reads.
constexpr std::array<std::string_view, 6> kOfModels = {"metal_optimizations.", "engine.",
                                                       "metal_device.",        "memory.",
                                                       "logging.signposts",    "server.model_name"};

std::string item_text(const Json& value) {
  return value.is_string() ? value.get<std::string>() : value.dump();
}

RawValue raw_from_json(const Json& value) {
  RawValue raw;
  if (value.is_null()) {
    raw.shape = RawValue::Shape::kNull;
  } else if (value.is_object()) {
    raw.shape = RawValue::Shape::kSection;
  } else if (value.is_array()) {
    raw.shape = RawValue::Shape::kList;
    for (const Json& item : value) {
      raw.items.push_back(item_text(item));
      raw.quoted = raw.quoted || item.is_string();
    }
  } else {
    raw.items.push_back(item_text(value));
    raw.quoted = value.is_string();
  }
  return raw;
}

class Values {
 public:
  Values(LoadedConfig& config, std::string_view origin) : config_(config), origin_(origin) {}

  void apply(const std::string& path, const Json& value) {
    if (const Field* field = find_field(path)) return set(*field, value);
    if (find_section(path) == nullptr) {
      problems_.push_back(fmt::format("unknown key {}; {}", path, key_hint(path)));
    } else if (!value.is_object()) {
      problems_.push_back(fmt::format("{} is a section; give an object of its keys: {}", path,
                                      fmt::join(keys_of(path), ", ")));
    } else {
      for (const auto& [key, member] : value.items()) {
        apply(fmt::format("{}.{}", path, key), member);
      }
    }
  }

  void throw_if_any() const {
    if (problems_.empty()) return;
    throw RpcError(ErrorCode::kConfig, fmt::format("{}", fmt::join(problems_, "\n")),
                   {{"problems", problems_}});
  }

 private:
  void set(const Field& field, const Json& value) {
    if (const auto wrong = assign(field, config_.values, raw_from_json(value))) {
      problems_.push_back(fmt::format("{} = {}", field.path, *wrong));
      return;
    }
    config_.origins[std::string(field.path)] = origin_;
  }

  LoadedConfig& config_;
  std::string_view origin_;
  std::vector<std::string> problems_;
};

OrderedJson value_json(const Field& field, const RuntimeConfig& config) {
  auto& from = const_cast<RuntimeConfig&>(config);  // the accessors change nothing
  return std::visit([&](auto ref) { return OrderedJson(ref(from)); }, field.ref);
}

std::vector<const Field*> fields_below(std::string_view path) {
  std::vector<const Field*> fields;
  const std::string prefix = std::string(path) + ".";
  for (const Field& field : config_fields()) {
    const bool wanted = path.empty() || field.path == path || field.path.starts_with(prefix);
    if (wanted && !field.secret) fields.push_back(&field);
  }
  if (fields.empty() && find_field(path) == nullptr) {
    throw invalid_param("path", fmt::format("unknown key {}; {}", path, key_hint(path)));
  }
  return fields;
}

OrderedJson& place_of(OrderedJson& root, std::string_view path) {
  OrderedJson* place = &root;
  while (!path.empty()) {
    const size_t dot = path.find('.');
    place = &(*place)[std::string(path.substr(0, dot))];
    path = dot == std::string_view::npos ? std::string_view() : path.substr(dot + 1);
  }
  return *place;
}

}  // namespace

void apply_values(LoadedConfig& config, const Json& given, std::string_view origin) {
  LoadedConfig changed = config;
  Values values(changed, origin);
  for (const auto& [path, value] : given.items()) values.apply(path, value);
  values.throw_if_any();
  config = std::move(changed);
}

OrderedJson nested_values(const LoadedConfig& config, std::string_view path) {
  OrderedJson root = OrderedJson::object();
  for (const Field* field : fields_below(path)) {
    place_of(root, field->path) = value_json(*field, config.values);
  }
  return root;
}

OrderedJson value_origins(const LoadedConfig& config, std::string_view path) {
  OrderedJson origins = OrderedJson::object();
  for (const Field* field : fields_below(path)) {
    const auto origin = config.origins.find(field->path);
    origins[std::string(field->path)] = origin == config.origins.end() ? "default" : origin->second;
  }
  return origins;
}

std::vector<std::string> changed_paths(const RuntimeConfig& before, const RuntimeConfig& after) {
  std::vector<std::string> paths;
  for (const Field& field : config_fields()) {
    if (value_text(field, before) != value_text(field, after)) paths.emplace_back(field.path);
  }
  return paths;
}

std::string_view effective_when(std::string_view path) {
  const bool of_models = std::ranges::any_of(
      kOfModels, [&](std::string_view prefix) { return path.starts_with(prefix); });
  return of_models ? "next load_model" : "now";
}

}  // namespace krserve::server::rpc
