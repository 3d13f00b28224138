#include "device/metal/api/messages.h"

#include <vector>

#include "device/metal/api/objc_encoding.h"

namespace krserve::metal {
namespace {

template <class M>
MessageInfo info() {
  return {M::kKind, M::kReceiver, M::kSelector, SignatureEncoding<typename M::Signature>::text()};
}

}  // namespace

std::span<const MessageInfo> all_messages() {
#define KR_MESSAGE_INFO(name, ...) info<msg::name>(),
  static const std::vector<MessageInfo> all = {
      KR_FOUNDATION_MESSAGES(KR_MESSAGE_INFO) KR_METAL_DEVICE_MESSAGES(KR_MESSAGE_INFO)
          KR_METAL_RESOURCE_MESSAGES(KR_MESSAGE_INFO) KR_METAL_LIBRARY_MESSAGES(KR_MESSAGE_INFO)
              KR_METAL3_MESSAGES(KR_MESSAGE_INFO) KR_METAL4_MESSAGES(KR_MESSAGE_INFO)
                  KR_METAL_CAPTURE_MESSAGES(KR_MESSAGE_INFO)};
#undef KR_MESSAGE_INFO
  return all;
}

}  // namespace krserve::metal
