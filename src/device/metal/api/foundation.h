// The few classes of Foundation that Metal's messages need.
#pragma once

#include <string>

#include "device/metal/api/objc.h"

namespace krserve::metal {

class NSString : public NSObject {
 public:
  // Autoreleased.
  static NSString* from(const std::string& text) {
    return send_class<msg::StringWithUtf8>(text.c_str());
  }
  std::string text() const {
    const char* const bytes = send<msg::StringUtf8>(this);
    return bytes ? bytes : "";
  }
};

class NSError : public NSObject {
 public:
  NSInteger code() const { return send<msg::ErrorCode>(this); }
  NSString* domain() const { return send<msg::ErrorDomain>(this); }
  NSString* localized_description() const { return send<msg::ErrorDescription>(this); }
};

class NSArray : public NSObject {
 public:
  NSUInteger count() const { return send<msg::ArrayCount>(this); }
  NSObject* object_at(NSUInteger index) const { return send<msg::ArrayObject>(this, index); }
};

class NSURL : public NSObject {
 public:
  // Autoreleased.
  static NSURL* file(const std::string& path) {
    return send_class<msg::FileUrl>(NSString::from(path));
  }
};

class NSAutoreleasePool : public NSObject {
 public:
  static constexpr const char* kClassName = "NSAutoreleasePool";
  // Releases the pool too.
  void drain() noexcept { send<msg::PoolDrain>(this); }
};

// Takes what the thread autoreleases in its scope. Pools of a thread end in reverse order.
class AutoreleaseScope {
 public:
  AutoreleaseScope()
      : pool_(reinterpret_cast<NSAutoreleasePool*>(
            send<msg::New>(objc_getClass(NSAutoreleasePool::kClassName)))) {}
  AutoreleaseScope(const AutoreleaseScope&) = delete;
  AutoreleaseScope& operator=(const AutoreleaseScope&) = delete;
  ~AutoreleaseScope() { pool_->drain(); }

  NSAutoreleasePool* pool() const { return pool_; }

 private:
  NSAutoreleasePool* pool_;
};

}  // namespace krserve::metal
