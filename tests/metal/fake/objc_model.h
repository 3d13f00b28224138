// An Objective-C runtime in C++: reference counts, autorelease pools, classes as tables of methods.
// It tells apart what lives and what has been released, and refuses selectors by name.
#pragma once

#include <condition_variable>
#include <deque>
#include <map>
#include <mutex>
#include <string>
#include <string_view>
#include <type_traits>
#include <unordered_set>
#include <utility>
#include <vector>

#include "device/metal/api/objc_encoding.h"
#include "metal/fake/rules.h"

namespace krserve::fake_metal {

using metal::Selector;
using Imp = void (*)();

struct Violation {
  Rule rule;
  std::string text;
};

class Object {
 public:
  Object();
  Object(const Object&) = delete;
  Object& operator=(const Object&) = delete;
  virtual ~Object();
  virtual const char* class_name() const = 0;

  Object* retain();
  void release();
  Object* autorelease();
  bool responds_to(Selector selector);

  // Freed memory is not given out again at once, so that a stale pointer is seen as one.
  static void* operator new(size_t bytes);
  static void operator delete(void* memory);

 protected:
  // The last reference is gone.
  virtual void end() {}

 private:
  long references_ = 1;
};

// A reference that the model itself holds.
template <class T>
class Ref {
 public:
  Ref() = default;
  explicit Ref(T* object) : object_(object) {
    if (object_) object_->retain();
  }
  Ref(const Ref& other) : Ref(other.object_) {}
  Ref(Ref&& other) noexcept : object_(std::exchange(other.object_, nullptr)) {}
  Ref& operator=(Ref other) noexcept {
    std::swap(object_, other.object_);
    return *this;
  }
  ~Ref() {
    if (object_) object_->release();
  }
  T* get() const { return object_; }
  T* operator->() const { return object_; }
  explicit operator bool() const { return object_ != nullptr; }

 private:
  T* object_ = nullptr;
};

struct Method {
  Imp imp;
  std::string encoding;
  int since = 0;  // macOS that has it
};

class ClassObject : public Object {
 public:
  ClassObject(std::string name, const ClassObject* super) : name_(std::move(name)), super_(super) {}
  const char* class_name() const override { return "Class"; }
  const std::string& name() const { return name_; }
  const Method* find(Selector selector, bool of_class) const;
  std::map<Selector, Method>& methods(bool of_class) { return of_class ? class_ : instance_; }

  int since = 0;

 private:
  std::string name_;
  const ClassObject* super_;
  std::map<Selector, Method> class_;
  std::map<Selector, Method> instance_;
};

// Of the process. Every method runs under its mutex; what waits or runs handlers lets go of it.
class Runtime {
 public:
  static Runtime& get();

  Selector intern(std::string_view name);
  ClassObject* find_class(const std::string& name);
  ClassObject& add_class(const std::string& name, const std::string& super);
  const Method* find_method(Object* object, Selector selector);
  bool lives(const void* object);
  // By class, without classes themselves.
  std::map<std::string, int> live_objects();

  // Told on stderr too where `verbose` is set.
  void violate(Rule rule, const std::string& text);
  std::vector<Violation> violations();
  void clear_violations();

  std::recursive_mutex mutex;
  std::condition_variable_any changed;
  // The system's major version: selectors and classes of later ones are unknown.
  int macos = 26;
  bool verbose = false;

 private:
  friend class Object;

  std::unordered_set<const void*> live_;
  std::deque<void*> graves_;
  std::unordered_set<std::string> selectors_;
  std::map<std::string, ClassObject*> classes_;
  std::vector<Violation> violations_;
};

void violate(Rule rule, const std::string& text);

class AutoreleasePool : public Object {
 public:
  AutoreleasePool();
  const char* class_name() const override { return "NSAutoreleasePool"; }
  void drain();
  void add(Object* object) { objects_.push_back(object); }

 private:
  std::vector<Object*> objects_;
};

class String : public Object {
 public:
  explicit String(std::string text) : text_(std::move(text)) {}
  const char* class_name() const override { return "NSString"; }
  const std::string& text() const { return text_; }
  const char* utf8() { return text_.c_str(); }

 private:
  std::string text_;
};

// Autoreleased.
String* make_string(const std::string& text);

class Dictionary : public Object {
 public:
  explicit Dictionary(std::map<std::string, Ref<Object>> objects) : objects_(std::move(objects)) {}
  const char* class_name() const override { return "NSDictionary"; }
  Object* at(Object* key);

 private:
  std::map<std::string, Ref<Object>> objects_;
};

class Error : public Object {
 public:
  Error(std::string domain, long code, std::string text, Error* underlying = nullptr)
      : domain_(std::move(domain)), code_(code), text_(std::move(text)), underlying_(underlying) {}
  const char* class_name() const override { return "NSError"; }
  long code() { return code_; }
  String* domain() { return make_string(domain_); }
  String* description() { return make_string(text_); }
  Dictionary* user_info();

 private:
  std::string domain_;
  long code_;
  std::string text_;
  Ref<Error> underlying_;
};
class Array : public Object {
 public:
  explicit Array(std::vector<Ref<Object>> objects) : objects_(std::move(objects)) {}
  const char* class_name() const override { return "NSArray"; }
  unsigned long count() { return objects_.size(); }
  Object* at(unsigned long index);

 private:
  std::vector<Ref<Object>> objects_;
};

class Url : public Object {
 public:
  explicit Url(std::string path) : path_(std::move(path)) {}
  const char* class_name() const override { return "NSURL"; }
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

// Null, and an error where the caller wants one.
void set_error(Error** out, const char* domain, long code, const std::string& text);

// False, and a violation, for an argument that does not live or is of another class.
template <class T>
bool is_valid_argument(T argument, Selector selector, bool nil_allowed) {
  if constexpr (std::is_pointer_v<T> && !std::is_same_v<T, Selector>) {
    using Target = std::remove_cv_t<std::remove_pointer_t<T>>;
    if constexpr (std::is_base_of_v<Object, Target>) {
      const auto* const text = reinterpret_cast<const char*>(selector);
      if (!argument) {
        if (!nil_allowed) violate(Rule::kNilArgument, std::string("nil for ") + text);
        return nil_allowed;
      }
      if (!Runtime::get().lives(argument)) {
        violate(Rule::kDeadObject, std::string("a released argument of ") + text);
        return false;
      }
      const auto* const object = static_cast<const Object*>(argument);
      if (dynamic_cast<const Target*>(object)) return true;
      violate(Rule::kWrongClass, std::string(object->class_name()) + " for " + text);
      return false;
    }
  }
  return true;
}

enum class Nil { kRefused, kAllowed };

// A member function as the function that a message calls, and its encoding.
template <auto kMember, Nil kNil>
struct Bound;
template <class C, class R, class... A, R (C::*kMember)(A...), Nil kNil>
struct Bound<kMember, kNil> {
  static R call(Object* self, [[maybe_unused]] Selector selector, A... args) {
    const std::lock_guard lock(Runtime::get().mutex);
    if (!(is_valid_argument(args, selector, kNil == Nil::kAllowed) && ...)) return R();
    return (static_cast<C*>(self)->*kMember)(args...);
  }
  static Method method() {
    return {reinterpret_cast<Imp>(&call), metal::SignatureEncoding<R(A...)>::text()};
  }
};

// A free function as a class's method.
template <auto kFunction>
struct BoundFunction;
template <class R, class... A, R (*kFunction)(A...)>
struct BoundFunction<kFunction> {
  static R call(Object*, [[maybe_unused]] Selector selector, A... args) {
    const std::lock_guard lock(Runtime::get().mutex);
    if (!(is_valid_argument(args, selector, false) && ...)) return R();
    return kFunction(args...);
  }
  static Method method() {
    return {reinterpret_cast<Imp>(&call), metal::SignatureEncoding<R(A...)>::text()};
  }
};

class ClassBuilder {
 public:
  ClassBuilder(const std::string& name, const std::string& super = "NSObject")
      : class_(Runtime::get().add_class(name, super)) {}

  // What follows.
  ClassBuilder& since(int macos) {
    since_ = macos;
    return *this;
  }
  // A class made by name.
  ClassBuilder& of(int macos) {
    class_.since = macos;
    return since(macos);
  }

  template <auto kMember, Nil kNil = Nil::kRefused>
  ClassBuilder& on(const char* selector) {
    return add(selector, Bound<kMember, kNil>::method(), false);
  }
  template <auto kFunction>
  ClassBuilder& on_class(const char* selector) {
    return add(selector, BoundFunction<kFunction>::method(), true);
  }

 private:
  ClassBuilder& add(const char* selector, Method method, bool of_class) {
    method.since = since_;
    class_.methods(of_class)[Runtime::get().intern(selector)] = std::move(method);
    return *this;
  }

  ClassObject& class_;
  int since_ = 0;
};

// Fills the table of classes; runs once, before the first look-up.
void register_foundation();
void register_metal();
void register_capture();

}  // namespace krserve::fake_metal
