// The C++ face of crates/krhub.
#include "hub/fetch.h"

#include <krhub.h>

#include <exception>
#include <string_view>

#include "base/log.h"

namespace krserve::hub {
namespace {

// An owned string of the crate, freed with it.
class Text {
 public:
  Text() = default;
  Text(const Text&) = delete;
  Text& operator=(const Text&) = delete;
  ~Text() { krhub_string_free(text_); }

  krhub_string* out() { return &text_; }
  std::string str() const { return text_.data ? std::string(text_.data, text_.bytes) : ""; }

 private:
  krhub_string text_{nullptr, 0};
};

// What the progress function threw may not pass through Rust: it is kept, and stops the download.
struct Watcher {
  const Progress& progress;
  std::exception_ptr thrown;

  static bool tell(void* self, double fraction, const char* what, size_t bytes) noexcept {
    auto& watcher = *static_cast<Watcher*>(self);
    if (!watcher.progress) return true;
    try {
      watcher.progress(fraction, std::string(what, bytes));
      return true;
    } catch (...) {
      watcher.thrown = std::current_exception();
      return false;
    }
  }
};

}  // namespace

std::filesystem::path fetch_model(const ModelId& id, const Progress& progress) {
  Watcher watcher{progress, nullptr};
  Text path;
  Text note;
  Text error;
  const krhub_status status = krhub_fetch(id.repository.data(), id.repository.size(),
                                          id.revision.data(), id.revision.size(), &Watcher::tell,
                                          &watcher, path.out(), note.out(), error.out());
  if (watcher.thrown) std::rethrow_exception(watcher.thrown);
  if (status != KRHUB_OK) {
    throw_error<HubError>("hub.fetch", "{}{}", status == KRHUB_PANIC ? "internal: " : "",
                          error.str());
  }
  if (const std::string text = note.str(); !text.empty()) log().warn("[hub.fetch] {}", text);
  return path.str();
}

}  // namespace krserve::hub
