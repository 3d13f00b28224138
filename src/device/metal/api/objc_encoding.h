// A message's C++ signature in Objective-C's type encoding, to compare with what a runtime has.
#pragma once

#include <string>
#include <string_view>
#include <type_traits>

#include "device/metal/api/types.h"

namespace krserve::metal {

template <class Signature>
class Block;

template <class T>
struct IsBlock : std::false_type {};
template <class Signature>
struct IsBlock<Block<Signature>> : std::true_type {};

// Of one type, without qualifiers (r, n, o ...): "Q" for NSUInteger, "@" for objects.
template <class T>
std::string objc_encoding() {
  if constexpr (std::is_void_v<T>) {
    return "v";
  } else if constexpr (std::is_enum_v<T>) {
    return objc_encoding<std::underlying_type_t<T>>();
  } else if constexpr (std::is_same_v<T, bool>) {
    return "B";
  } else if constexpr (std::is_same_v<T, double>) {
    return "d";
  } else if constexpr (std::is_same_v<T, uint8_t>) {
    return "C";
  } else if constexpr (std::is_same_v<T, Selector>) {
    return ":";
  } else if constexpr (std::is_integral_v<T>) {
    static_assert(sizeof(T) == 8, "no message sends integers of this size");
    return std::is_signed_v<T> ? "q" : "Q";
  } else if constexpr (std::is_same_v<T, NSRange>) {
    return "{_NSRange=QQ}";
  } else if constexpr (std::is_same_v<T, NSOperatingSystemVersion>) {
    return "{?=qqq}";
  } else if constexpr (std::is_same_v<T, MTLSize>) {
    return "{?=QQQ}";
  } else if constexpr (std::is_same_v<T, MTLSizeAndAlign>) {
    return "{?=QQ}";
  } else {
    static_assert(std::is_pointer_v<T>, "a type that no message sends");
    using Target = std::remove_cv_t<std::remove_pointer_t<T>>;
    if constexpr (IsBlock<Target>::value) {
      return "@?";
    } else if constexpr (std::is_class_v<Target>) {
      return "@";
    } else if constexpr (std::is_same_v<Target, char>) {
      return "*";
    } else {
      return std::string("^").append(objc_encoding<Target>());
    }
  }
}

// Return type, self, selector, arguments; without the frame offsets that some runtimes add.
template <class Signature>
struct SignatureEncoding;
template <class R, class... A>
struct SignatureEncoding<R(A...)> {
  static std::string text() {
    std::string out = objc_encoding<R>();
    out.append("@:");
    (out.append(objc_encoding<A>()), ...);
    return out;
  }
};

// Of what a runtime tells, or of the above: without frame offsets, qualifiers, names of structs and
// classes, and signs of integers, none of which change how a message is sent. "Vv16@0:8" and "v@:"
// are one.
std::string plain_encoding(std::string_view text);

}  // namespace krserve::metal
