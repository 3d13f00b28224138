// Typed exceptions for everything that can go wrong outside our own bugs.
#pragma once

#include <fmt/format.h>

#include <stdexcept>
#include <string>
#include <string_view>

namespace krserve {

// Message form: "[component.operation] what, the numbers, the remedy".
class Error : public std::runtime_error {
 public:
  Error(std::string_view where, std::string_view what);
  // The "component.operation" part.
  const std::string& where() const noexcept { return where_; }

 private:
  std::string where_;
};

// Unknown key, wrong type, value out of range. The program exits with 78.
class ConfigError : public Error {
  using Error::Error;
};

// Wrong command line. The program exits with 2.
class UsageError : public Error {
  using Error::Error;
};

// A model directory that is missing, truncated, mis-shaped or of an unknown kind.
class ModelError : public Error {
  using Error::Error;
};

// Tokenizer or chat template trouble.
class TextError : public Error {
  using Error::Error;
};

// A memory request that was refused; nothing else is affected.
class OutOfMemoryError : public Error {
  using Error::Error;
};

// A command buffer failed, hung or the device was lost.
class DeviceError : public Error {
  using Error::Error;
};

// A wait ran past its time limit.
class TimeoutError : public Error {
  using Error::Error;
};

// A request whose parameters are invalid (HTTP 400).
class RequestError : public Error {
  using Error::Error;
};

// No room now; the same request may succeed later (HTTP 429 or 503).
class OverloadError : public Error {
  using Error::Error;
};

// throw_error<ModelError>("safetensors.open", "{} has {} bytes; ...", path, n)
template <class E, class... A>
[[noreturn]] void throw_error(std::string_view where, fmt::format_string<A...> text, A&&... args) {
  throw E(where, fmt::format(text, std::forward<A>(args)...));
}

}  // namespace krserve
