#include "metal/fake/objc_model.h"

#include <algorithm>
#include <cstdio>
#include <new>

namespace krserve::fake_metal {
namespace {

constexpr size_t kGraves = 4096;

std::vector<AutoreleasePool*>& pools() {
  thread_local std::vector<AutoreleasePool*> stack;
  return stack;
}

const char* text_of(Selector selector) {
  return reinterpret_cast<const char*>(selector);
}

}  // namespace

Object::Object() {
  Runtime& runtime = Runtime::get();
  const std::lock_guard lock(runtime.mutex);
  runtime.live_.insert(this);
}

Object::~Object() {
  Runtime& runtime = Runtime::get();
  const std::lock_guard lock(runtime.mutex);
  runtime.live_.erase(this);
}

void* Object::operator new(size_t bytes) {
  return ::operator new(bytes);
}

void Object::operator delete(void* memory) {
  Runtime& runtime = Runtime::get();
  const std::lock_guard lock(runtime.mutex);
  runtime.graves_.push_back(memory);
  if (runtime.graves_.size() <= kGraves) return;
  ::operator delete(runtime.graves_.front());
  runtime.graves_.pop_front();
}

Object* Object::retain() {
  const std::lock_guard lock(Runtime::get().mutex);
  ++references_;
  return this;
}

void Object::release() {
  const std::lock_guard lock(Runtime::get().mutex);
  if (--references_ > 0) return;
  end();
  delete this;
}

Object* Object::autorelease() {
  if (pools().empty()) {
    violate(Rule::kNoAutoreleasePool, std::string(class_name()) + " leaks: the thread has no pool");
  } else {
    pools().back()->add(this);
  }
  return this;
}

bool Object::responds_to(Selector selector) {
  return Runtime::get().find_method(this, selector) != nullptr;
}

const Method* ClassObject::find(Selector selector, bool of_class) const {
  for (const ClassObject* one = this; one; one = one->super_) {
    const auto& methods = of_class ? one->class_ : one->instance_;
    const auto it = methods.find(selector);
    if (it != methods.end() && it->second.since <= Runtime::get().macos) return &it->second;
  }
  return nullptr;
}

Runtime& Runtime::get() {
  static auto* const runtime = new Runtime;  // objects may outlive every static one
  return *runtime;
}

Selector Runtime::intern(std::string_view name) {
  const std::lock_guard lock(mutex);
  return reinterpret_cast<Selector>(selectors_.emplace(name).first->c_str());
}

ClassObject* Runtime::find_class(const std::string& name) {
  static const bool registered = (register_foundation(), register_metal(), true);
  static_cast<void>(registered);
  const std::lock_guard lock(mutex);
  const auto it = classes_.find(name);
  return it == classes_.end() ? nullptr : it->second;
}

ClassObject& Runtime::add_class(const std::string& name, const std::string& super) {
  const std::lock_guard lock(mutex);
  const auto parent = classes_.find(super);
  ClassObject*& one = classes_[name];
  one = new ClassObject(name, parent == classes_.end() ? nullptr : parent->second);
  return *one;
}

const Method* Runtime::find_method(Object* object, Selector selector) {
  const std::lock_guard lock(mutex);
  if (const auto* of_class = dynamic_cast<ClassObject*>(object)) {
    return of_class->find(selector, true);
  }
  const ClassObject* const found = find_class(object->class_name());
  return found ? found->find(selector, false) : nullptr;
}

bool Runtime::lives(const void* object) {
  const std::lock_guard lock(mutex);
  return live_.contains(object);
}

std::map<std::string, int> Runtime::live_objects() {
  const std::lock_guard lock(mutex);
  std::map<std::string, int> counts;
  for (const void* one : live_) ++counts[static_cast<const Object*>(one)->class_name()];
  counts.erase("Class");
  return counts;
}

void Runtime::violate(Rule rule, const std::string& text) {
  const std::lock_guard lock(mutex);
  violations_.push_back({rule, text});
  if (verbose) std::fprintf(stderr, "fake Metal: %s: %s\n", rule_name(rule), text.c_str());
}

std::vector<Violation> Runtime::violations() {
  const std::lock_guard lock(mutex);
  return violations_;
}

void Runtime::clear_violations() {
  const std::lock_guard lock(mutex);
  violations_.clear();
}

void violate(Rule rule, const std::string& text) {
  Runtime::get().violate(rule, text);
}

AutoreleasePool::AutoreleasePool() {
  pools().push_back(this);
}

// Pools made after it end with it.
void AutoreleasePool::drain() {
  auto& stack = pools();
  const auto it = std::find(stack.begin(), stack.end(), this);
  if (it == stack.end()) {
    violate(Rule::kPoolOrder, "a pool drained by a thread that did not make it");
    return;
  }
  if (it + 1 != stack.end()) violate(Rule::kPoolOrder, "a pool drained before a younger one");
  while (stack.back() != this) stack.back()->drain();
  // What is released here may autorelease into the pool that it is in.
  while (!objects_.empty()) {
    Object* const last = objects_.back();
    objects_.pop_back();
    if (Runtime::get().lives(last)) {
      last->release();
    } else {
      violate(Rule::kDeadObject, "an object in a pool was released before the pool");
    }
  }
  stack.pop_back();
  release();
}

String* make_string(const std::string& text) {
  auto* const string = new String(text);
  string->autorelease();
  return string;
}

Object* Array::at(unsigned long index) {
  if (index < objects_.size()) return objects_[index].get();
  violate(Rule::kRange, "objectAtIndex: past the end");
  return nullptr;
}

Object* Dictionary::at(Object* key) {
  const auto* const text = dynamic_cast<const String*>(key);
  const auto it = text ? objects_.find(text->text()) : objects_.end();
  return it == objects_.end() ? nullptr : it->second.get();
}

Dictionary* Error::user_info() {
  std::map<std::string, Ref<Object>> objects;
  if (underlying_) objects.emplace("NSUnderlyingError", underlying_.get());
  auto* const info = new Dictionary(std::move(objects));
  info->autorelease();
  return info;
}

void set_error(Error** out, const char* domain, long code, const std::string& text) {
  if (!out) return;
  *out = new Error(domain, code, text);
  (*out)->autorelease();
}

namespace {

class ProcessInfo : public Object {
 public:
  const char* class_name() const override { return "NSProcessInfo"; }
  String* version_text() {
    return make_string("Version " + std::to_string(Runtime::get().macos) + ".0 (Build fake)");
  }
  bool is_at_least(metal::NSOperatingSystemVersion version) {
    const int macos = Runtime::get().macos;
    if (version.major != macos) return version.major < macos;
    return version.minor <= 0 && version.patch <= 0;
  }
};

ProcessInfo* process_info() {
  static auto* const one = new ProcessInfo;
  return one;
}

Object* new_plain() {
  violate(Rule::kUnknownSelector, "+new of a class that cannot be made so");
  return nullptr;
}
Object* new_pool() {
  return new AutoreleasePool;
}
String* string_from(const char* text) {
  return make_string(text);
}
Url* file_url(String* path) {
  auto* const url = new Url(path->text());
  url->autorelease();
  return url;
}

}  // namespace

void register_foundation() {
  ClassBuilder("NSObject", "")
      .on_class<&new_plain>("new")
      .on<&Object::retain>("retain")
      .on<&Object::release>("release")
      .on<&Object::responds_to>("respondsToSelector:");
  ClassBuilder("NSAutoreleasePool").on_class<&new_pool>("new").on<&AutoreleasePool::drain>("drain");
  ClassBuilder("NSString")
      .on_class<&string_from>("stringWithUTF8String:")
      .on<&String::utf8>("UTF8String");
  ClassBuilder("NSError")
      .on<&Error::code>("code")
      .on<&Error::domain>("domain")
      .on<&Error::description>("localizedDescription")
      .on<&Error::user_info>("userInfo");
  ClassBuilder("NSDictionary").on<&Dictionary::at>("objectForKey:");
  ClassBuilder("NSArray").on<&Array::count>("count").on<&Array::at>("objectAtIndex:");
  ClassBuilder("NSURL").on_class<&file_url>("fileURLWithPath:");
  ClassBuilder("NSProcessInfo")
      .on_class<&process_info>("processInfo")
      .on<&ProcessInfo::version_text>("operatingSystemVersionString")
      .on<&ProcessInfo::is_at_least>("isOperatingSystemAtLeastVersion:");
}

}  // namespace krserve::fake_metal

namespace {

long answer_nothing() {
  return 0;
}

}  // namespace

// What objc_msgSend jumps to. Wrong messages are told on stderr too: what follows may crash.
extern "C" krserve::fake_metal::Imp kr_fake_objc_lookup(krserve::fake_metal::Object* object,
                                                        krserve::fake_metal::Selector selector) {
  using namespace krserve::fake_metal;
  const auto nothing = reinterpret_cast<Imp>(&answer_nothing);
  if (!object) return nothing;
  Runtime& runtime = Runtime::get();
  const std::lock_guard lock(runtime.mutex);
  const auto refuse = [&](Rule rule, const std::string& text) {
    std::fprintf(stderr, "fake Metal: %s\n", text.c_str());
    runtime.violate(rule, text);
    return nothing;
  };
  if (!runtime.lives(object)) {
    return refuse(Rule::kDeadObject, std::string("-[released object ") + text_of(selector) + "]");
  }
  if (const Method* const method = runtime.find_method(object, selector)) return method->imp;
  const auto* const of_class = dynamic_cast<ClassObject*>(object);
  const std::string name =
      of_class ? "+[" + of_class->name() : std::string("-[") + object->class_name();
  return refuse(Rule::kUnknownSelector,
                name + " " + text_of(selector) + "]: unrecognized selector");
}

extern "C" void* objc_getClass(const char* name) {
  using krserve::fake_metal::Runtime;
  auto* const found = Runtime::get().find_class(name);
  return found && found->since <= Runtime::get().macos ? found : nullptr;
}

extern "C" const objc_selector* sel_registerName(const char* name) {
  return krserve::fake_metal::Runtime::get().intern(name);
}

namespace {

// With offsets in the caller's frame, as Apple's runtime has them: "v16@0:8".
std::string with_offsets(const std::string& encoding) {
  std::string out;
  size_t at = 0, types = 0;
  while (at < encoding.size()) {
    const size_t begin = at;
    while (encoding[at] == '^') ++at;
    if (encoding[at] == '{') at = encoding.find('}', at);
    if (encoding.compare(at, 2, "@?") == 0) ++at;
    ++at;
    out.append(encoding, begin, at - begin);
    // The first is the result, beside the size of the frame.
    out += std::to_string(types == 0 ? 64 : (types - 1) * sizeof(void*));
    ++types;
  }
  return out;
}

void* method_of(const void* of, const objc_selector* selector, bool of_class) {
  using krserve::fake_metal::ClassObject;
  return const_cast<krserve::fake_metal::Method*>(
      static_cast<const ClassObject*>(of)->find(selector, of_class));
}

}  // namespace

extern "C" void* object_getClass(const void* object) {
  using namespace krserve::fake_metal;
  return Runtime::get().find_class(static_cast<const Object*>(object)->class_name());
}

extern "C" const char* class_getName(const void* of) {
  return static_cast<const krserve::fake_metal::ClassObject*>(of)->name().c_str();
}

extern "C" void* class_getInstanceMethod(const void* of, const objc_selector* selector) {
  return method_of(of, selector, false);
}

extern "C" void* class_getClassMethod(const void* of, const objc_selector* selector) {
  return method_of(of, selector, true);
}

extern "C" const char* method_getTypeEncoding(const void* method) {
  using namespace krserve::fake_metal;
  const auto* const found = static_cast<const Method*>(method);
  return reinterpret_cast<const char*>(Runtime::get().intern(with_offsets(found->encoding)));
}
