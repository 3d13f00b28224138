// RAII over what the krtext C interface returns; included by the .cpp files of text/ alone.
#pragma once

#include <krtext.h>

#include <memory>
#include <string>
#include <string_view>

#include "text/text_error.h"

namespace krserve {

// An owned string of the crate, freed with it.
class KrtextText {
 public:
  KrtextText() = default;
  KrtextText(const KrtextText&) = delete;
  KrtextText& operator=(const KrtextText&) = delete;
  ~KrtextText() { krtext_string_free(text_); }

  krtext_string* out() { return &text_; }
  std::string_view view() const { return {text_.data == nullptr ? "" : text_.data, text_.bytes}; }
  std::string str() const { return std::string(view()); }

 private:
  krtext_string text_{nullptr, 0};
};

template <class T, void (*free_handle)(T*)>
struct KrtextDeleter {
  void operator()(T* handle) const noexcept { free_handle(handle); }
};

using KrtextTokenizerPtr =
    std::unique_ptr<krtext_tokenizer, KrtextDeleter<krtext_tokenizer, krtext_tokenizer_free>>;
using KrtextDetokenizerPtr =
    std::unique_ptr<krtext_detokenizer, KrtextDeleter<krtext_detokenizer, krtext_detokenizer_free>>;
using KrtextTemplatePtr =
    std::unique_ptr<krtext_template, KrtextDeleter<krtext_template, krtext_template_free>>;

}  // namespace krserve
