// Captures of the GPU's work, to be looked at in Xcode.
#pragma once

#include "device/metal/api/foundation.h"

namespace krserve::metal {

class MTLCaptureDescriptor : public NSObject {
 public:
  static constexpr const char* kClassName = "MTLCaptureDescriptor";
  // A device or a queue.
  void set_capture_object(const NSObject* object) { send<msg::CaptureSetObject>(this, object); }
  void set_destination(MTLCaptureDestination where) {
    send<msg::CaptureSetDestination>(this, where);
  }
  // A file that does not exist, ".gputrace".
  void set_output_url(const NSURL* url) { send<msg::CaptureSetUrl>(this, url); }
};

class MTLCaptureManager : public NSObject {
 public:
  static MTLCaptureManager* shared() { return send_class<msg::CaptureManager>(); }
  // Trace documents: only with MTL_CAPTURE_ENABLED=1 in the environment.
  bool supports(MTLCaptureDestination where) const {
    return send<msg::CaptureSupports>(this, where);
  }
  // False, and an error that tells why.
  bool start(const MTLCaptureDescriptor* descriptor, NSError** error) {
    return send<msg::CaptureStart>(this, descriptor, error);
  }
  void stop() { send<msg::CaptureStop>(this); }
  bool is_capturing() const { return send<msg::CaptureIsRunning>(this); }
};

}  // namespace krserve::metal
