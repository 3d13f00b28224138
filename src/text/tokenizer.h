// A model's tokenizer: text to token ids and back, from Hugging Face's tokenizer.json.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

struct krtext_tokenizer;

namespace krserve {

// Immutable after load and safe from any thread. Throws TextError.
class Tokenizer {
 public:
  // Reads tokenizer.json, and the bos and eos token from tokenizer_config.json if there is one.
  static std::shared_ptr<const Tokenizer> load(const std::filesystem::path& model_dir);
  // The same from memory; `config_json` may be empty. `name` stands for the path in errors.
  static std::shared_ptr<const Tokenizer> from_json(std::string_view tokenizer_json,
                                                    std::string_view config_json,
                                                    std::string_view name);
  ~Tokenizer();
  Tokenizer(const Tokenizer&) = delete;
  Tokenizer& operator=(const Tokenizer&) = delete;

  // `text` must be UTF-8. A special token that is written out in the text, such as <|im_start|>,
  // becomes its id as in transformers, whoever wrote it: the caller decides whether to let it in.
  // add_special_tokens adds what the model's post-processor puts around a text (a bos token, say);
  // pass false for a rendered chat template, which contains them already.
  std::vector<int32_t> encode(std::string_view text, bool add_special_tokens) const;

  // Ids without a token decode to nothing; bytes that are not UTF-8 to U+FFFD.
  std::string decode(std::span<const int32_t> ids, bool skip_special_tokens) const;

  std::optional<int32_t> token_id(std::string_view token) const;
  // As it stands in the vocabulary ("Ġthe"), empty for an id without a token.
  std::string token(int32_t id) const;
  // Tokens, added ones included. Embeddings may have more rows, for padding.
  size_t vocab_size() const;

  // Absent if tokenizer_config.json has none or names one that is not in the vocabulary.
  const std::optional<int32_t>& bos_id() const noexcept { return bos_id_; }
  const std::optional<int32_t>& eos_id() const noexcept { return eos_id_; }
  // The texts of the two; empty if absent.
  const std::string& bos_token() const noexcept { return bos_token_; }
  const std::string& eos_token() const noexcept { return eos_token_; }

  const krtext_tokenizer* handle() const noexcept { return handle_; }

 private:
  explicit Tokenizer(krtext_tokenizer* handle) noexcept : handle_(handle) {}

  krtext_tokenizer* handle_;
  std::string bos_token_;
  std::string eos_token_;
  std::optional<int32_t> bos_id_;
  std::optional<int32_t> eos_id_;
};

}  // namespace krserve
