#include "device/metal/api/objc_encoding.h"

#include <string_view>

namespace krserve::metal {
namespace {

class Reader {
 public:
  explicit Reader(std::string_view text) : text_(text) {}

  std::string all() {
    std::string out;
    while (at_ < text_.size()) one(out);
    return out;
  }

 private:
  // A type, a pointer's star, or what is left out.
  void one(std::string& out) {
    const char c = text_[at_++];
    constexpr std::string_view kLeftOut = "rnNoORVA0123456789+-";
    if (kLeftOut.find(c) != std::string_view::npos) return;
    if (c == '{') {
      structure(out);
    } else if (c == '"') {
      skip_past('"');
    } else if (c == '<') {
      skip_past('>');
    } else if (c == 'q') {
      out += 'Q';
    } else if (c == 'c') {  // BOOL, before Apple silicon
      out += 'B';
    } else {
      out += c;
    }
  }

  // "{name=fields}".
  void structure(std::string& out) {
    out += "{?=";
    while (at_ < text_.size() && text_[at_] != '=' && text_[at_] != '}') ++at_;
    if (at_ < text_.size() && text_[at_] == '=') ++at_;
    while (at_ < text_.size() && text_[at_] != '}') one(out);
    if (at_ < text_.size()) ++at_;
    out += '}';
  }

  void skip_past(char end) {
    while (at_ < text_.size() && text_[at_] != end) ++at_;
    if (at_ < text_.size()) ++at_;
  }

  std::string_view text_;
  size_t at_ = 0;
};

}  // namespace

std::string plain_encoding(std::string_view text) {
  return Reader(text).all();
}

}  // namespace krserve::metal
