// The kinds of TextError that callers treat differently.
#pragma once

#include "base/error.h"

namespace krserve {

// This build has no tokenizer (KRSERVE_CRATES=OFF); token ids still work.
class NoTokenizerError : public TextError {
  using TextError::TextError;
};

// The model directory has no chat template; completions still work.
class MissingTemplateError : public TextError {
  using TextError::TextError;
};

// The messages, tools or template variables do not suit the template (HTTP 400).
class ChatInputError : public TextError {
  using TextError::TextError;
};

}  // namespace krserve
