// Messages to Objective-C objects from plain C++: the runtime's symbols, a typed send, ownership.
#pragma once

#include <type_traits>
#include <utility>

#include "device/metal/api/messages.h"

extern "C" {
// Never called as declared: always through a pointer of the message's own type (arm64 passes
// variadic arguments elsewhere).
void objc_msgSend(void);
void* objc_getClass(const char* name);
const objc_selector* sel_registerName(const char* name);
// For the self-test. Methods are null where the class has none of the selector.
void* object_getClass(const void* object);
const char* class_getName(const void* of);
void* class_getInstanceMethod(const void* of, const objc_selector* selector);
void* class_getClassMethod(const void* of, const objc_selector* selector);
const char* method_getTypeEncoding(const void* method);
}

namespace krserve::metal {

namespace detail {

template <class M, class R, class... A>
R send(const void* receiver, R (*)(A...), A... args) {
  // On x86-64 larger ones would need objc_msgSend_stret.
  if constexpr (!std::is_void_v<R>) static_assert(sizeof(R) <= 16);
  static const Selector selector = sel_registerName(M::kSelector);
  using Function = R (*)(const void*, Selector, A...);
  return reinterpret_cast<Function>(&objc_msgSend)(receiver, selector, args...);
}

template <class Signature>
struct Sender;
template <class R, class... A>
struct Sender<R(A...)> {
  template <class M>
  static R send(const void* receiver, A... args) {
    return detail::send<M>(receiver, static_cast<R (*)(A...)>(nullptr), args...);
  }
};

}  // namespace detail

// Sends message M; the arguments convert as in a call. A null receiver answers zero.
template <class M, class... A>
auto send(const void* receiver, A&&... args) {
  return detail::Sender<typename M::Signature>::template send<M>(receiver,
                                                                 std::forward<A>(args)...);
}

template <class M, class... A>
auto send_class(A&&... args) {
  static_assert(M::kKind == MessageKind::kClass);
  return send<M>(objc_getClass(M::kReceiver), std::forward<A>(args)...);
}

// Base of all classes here: never made or deleted, only pointed to.
class NSObject {
 public:
  NSObject() = delete;
  NSObject(const NSObject&) = delete;
  NSObject& operator=(const NSObject&) = delete;

  void retain() { send<msg::Retain>(this); }
  void release() noexcept { send<msg::Release>(this); }
  bool responds_to(const char* selector) {
    return send<msg::RespondsToSelector>(this, sel_registerName(selector));
  }
};

// One reference to an object. From a "new" or "make" method it takes the one that is due to the
// caller; others must be retained.
template <class T>
class Owned {
 public:
  Owned() = default;
  explicit Owned(T* object) : object_(object) {}
  static Owned retained(T* object) {
    if (object) object->retain();
    return Owned(object);
  }
  Owned(Owned&& other) noexcept : object_(std::exchange(other.object_, nullptr)) {}
  Owned& operator=(Owned&& other) noexcept {
    std::swap(object_, other.object_);
    return *this;
  }
  ~Owned() {
    if (object_) object_->release();
  }

  T* get() const { return object_; }
  T* operator->() const { return object_; }
  explicit operator bool() const { return object_ != nullptr; }

 private:
  T* object_ = nullptr;
};

// A new object of a class with a plain init.
template <class T>
Owned<T> make_object() {
  return Owned<T>(reinterpret_cast<T*>(send<msg::New>(objc_getClass(T::kClassName))));
}

}  // namespace krserve::metal
