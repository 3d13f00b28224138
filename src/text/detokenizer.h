// Turns one sequence's token ids into text as they come, with constant work per token.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

struct krtext_detokenizer;

namespace krserve {

class Tokenizer;

// One per sequence; not for concurrent use. What push() and finish() return adds up to what
// Tokenizer::decode makes of all the ids. One exception: in a run of <0xNN> tokens that is only
// partly valid UTF-8, U+FFFD stands for the invalid bytes, not for the whole run. Throws TextError.
class Detokenizer {
 public:
  explicit Detokenizer(std::shared_ptr<const Tokenizer> tokenizer, bool skip_special_tokens = true);
  ~Detokenizer();
  Detokenizer(Detokenizer&& other) noexcept;
  Detokenizer& operator=(Detokenizer&& other) noexcept;

  // The text that becomes printable with this token: whole UTF-8 characters, often empty.
  std::string push(int32_t id);
  // The rest, an incomplete character as U+FFFD. The next push() starts a new sequence.
  std::string finish();

 private:
  std::shared_ptr<const Tokenizer> tokenizer_;
  krtext_detokenizer* handle_ = nullptr;
};

}  // namespace krserve
