// The text classes of a build without the tokenizer crate (KRSERVE_CRATES=OFF): nothing can be
// loaded, and a sequence's ids make no text.
#include <utility>

#include "text/chat_template.h"
#include "text/detokenizer.h"
#include "text/text_error.h"
#include "text/tokenizer.h"

namespace krserve {
namespace {

[[noreturn]] void refuse(std::string_view where) {
  throw_error<NoTokenizerError>(where,
                                "this build has no tokenizer and works on token ids alone; build "
                                "with -DKRSERVE_CRATES=ON for text");
}

}  // namespace

std::shared_ptr<const Tokenizer> Tokenizer::load(const std::filesystem::path&) {
  refuse("tokenizer.load");
}

std::shared_ptr<const Tokenizer> Tokenizer::from_json(std::string_view, std::string_view,
                                                      std::string_view) {
  refuse("tokenizer.load");
}

Tokenizer::~Tokenizer() = default;

std::vector<int32_t> Tokenizer::encode(std::string_view, bool) const {
  refuse("tokenizer.encode");
}

std::string Tokenizer::decode(std::span<const int32_t>, bool) const {
  refuse("tokenizer.decode");
}

std::optional<int32_t> Tokenizer::token_id(std::string_view) const {
  refuse("tokenizer.token_id");
}

std::string Tokenizer::token(int32_t) const {
  refuse("tokenizer.token");
}

size_t Tokenizer::vocab_size() const {
  refuse("tokenizer.vocab_size");
}

std::shared_ptr<const ChatTemplate> ChatTemplate::load(const std::filesystem::path&) {
  refuse("chat_template.load");
}

std::shared_ptr<const ChatTemplate> ChatTemplate::from_source(std::string_view, std::string_view,
                                                              std::string_view) {
  refuse("chat_template.load");
}

ChatTemplate::~ChatTemplate() = default;

std::string ChatTemplate::render(std::string_view, const RenderOptions&) const {
  refuse("chat_template.render");
}

Detokenizer::Detokenizer(std::shared_ptr<const Tokenizer> tokenizer, bool)
    : tokenizer_(std::move(tokenizer)) {}

Detokenizer::~Detokenizer() = default;

Detokenizer::Detokenizer(Detokenizer&& other) noexcept
    : tokenizer_(std::move(other.tokenizer_)), handle_(std::exchange(other.handle_, nullptr)) {}

Detokenizer& Detokenizer::operator=(Detokenizer&& other) noexcept {
  std::swap(tokenizer_, other.tokenizer_);
  std::swap(handle_, other.handle_);
  return *this;
}

std::string Detokenizer::push(int32_t) {
  return {};
}

std::string Detokenizer::finish() {
  return {};
}

}  // namespace krserve
