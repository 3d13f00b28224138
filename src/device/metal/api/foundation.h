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

class NSDictionary : public NSObject {
 public:
  // Null if there is none.
  NSObject* object_for(const NSObject* key) const { return send<msg::DictionaryObject>(this, key); }
};

class NSError : public NSObject {
 public:
  NSInteger code() const { return send<msg::ErrorCode>(this); }
  NSString* domain() const { return send<msg::ErrorDomain>(this); }
  NSString* localized_description() const { return send<msg::ErrorDescription>(this); }
  // What caused it, or null. Metal 4 tells the driver's words there alone.
  NSError* underlying() const {
    const NSDictionary* const info = send<msg::ErrorUserInfo>(this);
    const NSString* const key = NSString::from("NSUnderlyingError");
    return info ? reinterpret_cast<NSError*>(info->object_for(key)) : nullptr;
  }
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

class NSProcessInfo : public NSObject {
 public:
  static NSProcessInfo* get() { return send_class<msg::ProcessInfo>(); }
  // "Version 26.1 (Build 25B78)", in the user's language.
  NSString* system_version_text() const { return send<msg::SystemVersionText>(this); }
  bool system_is_at_least(NSOperatingSystemVersion version) const {
    return send<msg::SystemIsAtLeast>(this, version);
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
