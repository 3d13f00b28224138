#include "text/detokenizer.h"

#include <utility>

#include "text/krtext_handle.h"
#include "text/tokenizer.h"

namespace krserve {

Detokenizer::Detokenizer(std::shared_ptr<const Tokenizer> tokenizer, bool skip_special_tokens)
    : tokenizer_(std::move(tokenizer)) {
  KrtextText error;
  if (krtext_detokenizer_new(tokenizer_->handle(), skip_special_tokens, &handle_, error.out()) !=
      KRTEXT_OK) {
    throw_error<TextError>("detokenizer.create", "{}", error.view());
  }
}

Detokenizer::~Detokenizer() {
  krtext_detokenizer_free(handle_);
}

Detokenizer::Detokenizer(Detokenizer&& other) noexcept
    : tokenizer_(std::move(other.tokenizer_)), handle_(std::exchange(other.handle_, nullptr)) {}

Detokenizer& Detokenizer::operator=(Detokenizer&& other) noexcept {
  std::swap(tokenizer_, other.tokenizer_);
  std::swap(handle_, other.handle_);
  return *this;
}

std::string Detokenizer::push(int32_t id) {
  KrtextText text;
  KrtextText error;
  if (krtext_detokenizer_push(handle_, static_cast<uint32_t>(id), text.out(), error.out()) !=
      KRTEXT_OK) {
    throw_error<TextError>("detokenizer.push", "token id {} was refused: {}", id, error.view());
  }
  return text.str();
}

std::string Detokenizer::finish() {
  KrtextText text;
  KrtextText error;
  if (krtext_detokenizer_finish(handle_, text.out(), error.out()) != KRTEXT_OK) {
    throw_error<TextError>("detokenizer.finish", "{}", error.view());
  }
  return text.str();
}

}  // namespace krserve
