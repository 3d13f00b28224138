#include "text/tokenizer.h"

#include <nlohmann/json.hpp>

#include "text/files.h"
#include "text/krtext_handle.h"

namespace krserve {
namespace {

// A C array of ids, freed with this.
struct Ids {
  Ids() = default;
  Ids(const Ids&) = delete;
  Ids& operator=(const Ids&) = delete;
  ~Ids() { krtext_ids_free(raw); }
  krtext_ids raw{nullptr, 0};
};

nlohmann::json parse_config(std::string_view config_json, std::string_view name) {
  if (config_json.empty()) {
    return nlohmann::json::object();
  }
  auto config = nlohmann::json::parse(config_json, nullptr, false);
  if (!config.is_object()) {
    throw_error<TextError>("tokenizer.load",
                           "{}: tokenizer_config.json is not a JSON object ({} bytes); fetch the "
                           "file again",
                           name, config_json.size());
  }
  return config;
}

std::string special_token(const nlohmann::json& config, const char* key) {
  const auto entry = config.find(key);
  if (entry == config.end()) {
    return {};
  }
  return text_files::token_text(*entry).value_or("");
}

}  // namespace

std::shared_ptr<const Tokenizer> Tokenizer::load(const std::filesystem::path& model_dir) {
  const auto path = model_dir / "tokenizer.json";
  const auto json = text_files::read("tokenizer.load", path);
  if (!json) {
    throw_error<TextError>("tokenizer.load",
                           "{} does not exist; a model directory needs Hugging Face's "
                           "tokenizer.json (transformers' save_pretrained writes it)",
                           path.string());
  }
  const auto config = text_files::read("tokenizer.load", model_dir / "tokenizer_config.json");
  return from_json(*json, config.value_or(""), path.string());
}

std::shared_ptr<const Tokenizer> Tokenizer::from_json(std::string_view tokenizer_json,
                                                      std::string_view config_json,
                                                      std::string_view name) {
  const auto config = parse_config(config_json, name);
  krtext_tokenizer* handle = nullptr;
  KrtextText error;
  if (krtext_tokenizer_load_memory(tokenizer_json.data(), tokenizer_json.size(), &handle,
                                   error.out()) != KRTEXT_OK) {
    throw_error<TextError>("tokenizer.load",
                           "{} ({} bytes) is not a usable tokenizer.json: {}; fetch the file again",
                           name, tokenizer_json.size(), error.view());
  }
  KrtextTokenizerPtr owned(handle);
  std::shared_ptr<Tokenizer> tokenizer(new Tokenizer(handle));
  static_cast<void>(owned.release());
  tokenizer->bos_token_ = special_token(config, "bos_token");
  tokenizer->eos_token_ = special_token(config, "eos_token");
  tokenizer->bos_id_ = tokenizer->token_id(tokenizer->bos_token_);
  tokenizer->eos_id_ = tokenizer->token_id(tokenizer->eos_token_);
  return tokenizer;
}

Tokenizer::~Tokenizer() {
  krtext_tokenizer_free(handle_);
}

std::vector<int32_t> Tokenizer::encode(std::string_view text, bool add_special_tokens) const {
  Ids ids;
  KrtextText error;
  if (krtext_tokenizer_encode(handle_, text.data(), text.size(), add_special_tokens, &ids.raw,
                              error.out()) != KRTEXT_OK) {
    throw_error<TextError>("tokenizer.encode", "a text of {} bytes was refused: {}", text.size(),
                           error.view());
  }
  return {ids.raw.data, ids.raw.data + ids.raw.count};
}

std::string Tokenizer::decode(std::span<const int32_t> ids, bool skip_special_tokens) const {
  // Signed and unsigned variants of a type may alias; a negative id is one without a token.
  const auto* raw = reinterpret_cast<const uint32_t*>(ids.data());
  KrtextText text;
  KrtextText error;
  if (krtext_tokenizer_decode(handle_, raw, ids.size(), skip_special_tokens, text.out(),
                              error.out()) != KRTEXT_OK) {
    throw_error<TextError>("tokenizer.decode", "{} ids were refused: {}", ids.size(), error.view());
  }
  return text.str();
}

std::optional<int32_t> Tokenizer::token_id(std::string_view token) const {
  bool found = false;
  uint32_t id = 0;
  KrtextText error;
  if (krtext_tokenizer_token_to_id(handle_, token.data(), token.size(), &found, &id, error.out()) !=
      KRTEXT_OK) {
    throw_error<TextError>("tokenizer.token_id", "a token of {} bytes was refused: {}",
                           token.size(), error.view());
  }
  return found ? std::optional(static_cast<int32_t>(id)) : std::nullopt;
}

std::string Tokenizer::token(int32_t id) const {
  bool found = false;
  KrtextText text;
  KrtextText error;
  if (krtext_tokenizer_id_to_token(handle_, static_cast<uint32_t>(id), &found, text.out(),
                                   error.out()) != KRTEXT_OK) {
    throw_error<TextError>("tokenizer.token", "id {} was refused: {}", id, error.view());
  }
  return text.str();
}

size_t Tokenizer::vocab_size() const {
  return krtext_tokenizer_vocab_size(handle_);
}

}  // namespace krserve
