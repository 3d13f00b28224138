// Is each message that the back end sends understood, and of the types that it is sent with?
#include <fmt/format.h>

#include <algorithm>
#include <string_view>

#include "device/metal/api/objc_encoding.h"
#include "device/metal/selftest/common.h"
#include "device/metal/selftest/probes.h"
#include "device/metal_checks.h"

namespace krserve {
namespace {

// What the oldest system that the back end runs on does not have.
struct Later {
  std::string_view receiver;  // its beginning
  std::string_view selector;  // empty: all
  int macos;
};
constexpr Later kLater[] = {
    {"MTL4", "", 26},
    {"MTLDevice", "newMTL4CommandQueue", 26},
    {"MTLDevice", "newCommandAllocator", 26},
    {"MTLDevice", "newCommandBuffer", 26},
    {"MTLDevice", "newArgumentTableWithDescriptor:error:", 26},
    {"MTLResidencySet", "", 15},
    {"MTLDevice", "newResidencySetWithDescriptor:error:", 15},
    {"MTLCommandQueue", "addResidencySet:", 15},
    {"MTLCommandQueue", "removeResidencySet:", 15},
    {"MTLCommandBuffer", "useResidencySet:", 15},
    {"MTLCompileOptions", "setMathMode:", 15},
    {"MTLCompileOptions", "setMathFloatingPointFunctions:", 15},
};

int needed_macos(const metal::MessageInfo& message) {
  for (const Later& later : kLater) {
    if (!std::string_view(message.receiver).starts_with(later.receiver)) continue;
    if (later.selector.empty() || later.selector == message.selector) return later.macos;
  }
  return kOldestMacos;
}

std::string name_of(const metal::MessageInfo& message) {
  const char sign = message.kind == metal::MessageKind::kClass ? '+' : '-';
  return fmt::format("{}[{} {}]", sign, message.receiver, message.selector);
}

struct Answer {
  bool is_understood = false;
  std::string of;        // the object's class
  std::string encoding;  // empty: no method to look at, as where it is forwarded
};

Answer ask_class(const metal::MessageInfo& message) {
  void* const of = objc_getClass(message.receiver);
  if (!of) return {};
  void* const method = class_getClassMethod(of, sel_registerName(message.selector));
  return {method != nullptr, message.receiver, method ? method_getTypeEncoding(method) : ""};
}

Answer ask_object(const metal::MessageInfo& message, const metal::NSObject& object) {
  void* const of = object_getClass(&object);
  const metal::Selector selector = sel_registerName(message.selector);
  void* const method = class_getInstanceMethod(of, selector);
  return {metal::send<metal::msg::RespondsToSelector>(&object, selector), class_getName(of),
          method ? method_getTypeEncoding(method) : ""};
}

void check_message(CheckLog& log, const metal::MessageInfo& message, const Answer& answer) {
  if (!answer.is_understood) {
    log.failed(name_of(message), fmt::format("{} does not respond to it", answer.of));
    return;
  }
  if (!answer.encoding.empty() &&
      metal::plain_encoding(answer.encoding) != metal::plain_encoding(message.encoding)) {
    log.failed(name_of(message), fmt::format("types {} of {}, sent as {}", answer.encoding,
                                             answer.of, message.encoding));
    return;
  }
  log.passed(name_of(message));
}

}  // namespace

void check_metal_messages(CheckLog& log) {
  require_metal();
  const metal::AutoreleaseScope scope;
  log.doing("an object of each class");
  metal::Owned<metal::MTLDevice> device = system_metal_device();
  const int macos = macos_version();
  const bool metal4 = device->has_metal4();
  MetalProbes probes(std::move(device), metal4);
  for (const metal::MessageInfo& message : metal::all_messages()) {
    log.doing(name_of(message));
    const int needed = needed_macos(message);
    if (needed > macos || (needed == 26 && !metal4)) {
      log.not_run(name_of(message), needed > macos ? fmt::format("it came with macOS {}", needed)
                                                   : "the device has no Metal 4");
      continue;
    }
    if (message.kind == metal::MessageKind::kClass) {
      check_message(log, message, ask_class(message));
      continue;
    }
    const metal::NSObject* const object =
        std::string_view(message.receiver) == metal::NSAutoreleasePool::kClassName
            ? scope.pool()
            : probes.find(message.receiver);
    if (object) {
      check_message(log, message, ask_object(message, *object));
    } else {
      log.failed(name_of(message), "no object of the class could be made");
    }
  }
}

}  // namespace krserve
