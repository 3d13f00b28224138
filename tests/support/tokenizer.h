// A tokenizer for tests that do not look at text.
#pragma once

#include <filesystem>
#include <memory>

#include "text/text_error.h"
#include "text/tokenizer.h"

namespace krserve::test {

// Null in a build without one, where a sequence needs none.
inline std::shared_ptr<const Tokenizer> tokenizer_if_any(const std::filesystem::path& model_dir) {
  try {
    return Tokenizer::load(model_dir);
  } catch (const NoTokenizerError&) {
    return nullptr;
  }
}

}  // namespace krserve::test
