#include "model/convert/text_files.h"

#include <algorithm>
#include <array>
#include <string_view>

#include "base/error.h"
#include "model/formats/json_file.h"

namespace krserve::convert {
namespace {

namespace fs = std::filesystem;

constexpr const char* kWhere = "model.convert";
constexpr int kIndent = 4;

std::string to_text(const Json& json) {
  return json.dump(kIndent, ' ', true);
}

// mlx-lm's reader lets generation_config.json decide what ends a text, and its writer keeps that.
void take_eos(const fs::path& source, Json& config) {
  const fs::path path = source / "generation_config.json";
  std::error_code ignored;
  if (!fs::exists(path, ignored)) return;
  const Json generation = read_json_file(path, kWhere);
  const auto eos = generation.find("eos_token_id");
  if (eos == generation.end() || eos->is_null() || *eos == 0 || *eos == Json::array()) return;
  config["eos_token_id"] = *eos;
}

bool is_wanted(const std::string& name) {
  constexpr std::array<std::string_view, 7> kEndings = {
      ".json", ".jsonl", ".txt", ".jinja", ".py", ".tiktoken", "tokenizer.model"};
  if (name == "config.json" || name.ends_with(".index.json") || name.starts_with(".")) return false;
  const auto ends = [&](std::string_view ending) { return name.ends_with(ending); };
  return name.starts_with("LICENSE") || name.starts_with("NOTICE") ||
         std::any_of(kEndings.begin(), kEndings.end(), ends);
}

}  // namespace

std::optional<Dtype> declared_dtype(const fs::path& source) {
  const Json config = read_json_file(source / "config.json", kWhere);
  const auto dtype = config.find("torch_dtype");
  if (dtype == config.end()) return std::nullopt;
  if (*dtype == "float32") return Dtype::kF32;
  if (*dtype == "float16") return Dtype::kF16;
  if (*dtype == "bfloat16") return Dtype::kBF16;
  return std::nullopt;
}

std::string config_text(const fs::path& source, const Quantization& quantization, bool tied) {
  Json config = read_json_file(source / "config.json", kWhere);
  take_eos(source, config);
  config.erase("_name_or_path");
  config.erase("vision_config");
  if (!config.contains("tie_word_embeddings")) config["tie_word_embeddings"] = tied;
  config["quantization"] = {
      {"group_size", quantization.group_size}, {"bits", quantization.bits}, {"mode", "affine"}};
  config["quantization_config"] = config["quantization"];
  return to_text(config);
}

std::string index_text(const Plan& plan) {
  Json index;
  index["metadata"] = {{"total_size", plan.report.bytes},
                       {"total_parameters", plan.report.parameters}};
  for (size_t i = 0; i < plan.shards.size(); ++i) {
    for (const TensorSpec& spec : plan.shards[i]) {
      index["weight_map"][spec.name] = plan.shard_name(i);
    }
  }
  return to_text(index);
}

std::vector<fs::path> files_to_copy(const fs::path& source) {
  std::vector<fs::path> files;
  for (const auto& entry : fs::directory_iterator(source)) {
    if (entry.is_regular_file() && is_wanted(entry.path().filename().string())) {
      files.push_back(entry.path());
    }
  }
  std::sort(files.begin(), files.end());
  return files;
}

}  // namespace krserve::convert
