// Captures: one at a time, of a device or queue, into a file that did not exist.
#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "device/metal/api/types.h"
#include "metal/fake/queues.h"

namespace krserve::fake_metal {
namespace {

class CaptureDescriptor : public Object {
 public:
  const char* class_name() const override { return "MTLCaptureDescriptor"; }
  void set_object(Object* value) { object = Ref<Object>(value); }
  void set_destination(metal::MTLCaptureDestination value) { destination = value; }
  void set_url(Url* value) { path = value->path(); }

  Ref<Object> object;
  metal::MTLCaptureDestination destination = metal::MTLCaptureDestination::kDeveloperTools;
  std::string path;
};

class CaptureManager : public Object {
 public:
  const char* class_name() const override { return "MTLCaptureManager"; }

  // There is no Xcode; files are written only where the environment asks for it.
  bool supports(metal::MTLCaptureDestination destination) {
    const char* const enabled = std::getenv("MTL_CAPTURE_ENABLED");
    return destination == metal::MTLCaptureDestination::kTraceDocument && enabled &&
           std::string(enabled) == "1";
  }
  bool is_capturing() { return !path_.empty(); }
  bool start(CaptureDescriptor* descriptor, Error** error) {
    using metal::MTLCaptureError;
    const auto refuse = [error](MTLCaptureError code, const char* text) {
      set_error(error, "MTLCaptureErrorDomain", static_cast<long>(code), text);
      return false;
    };
    if (is_capturing()) return refuse(MTLCaptureError::kAlreadyCapturing, "already capturing");
    if (!supports(descriptor->destination)) {
      return refuse(MTLCaptureError::kNotSupported, "capturing is not enabled");
    }
    if (!descriptor->object || descriptor->path.empty() ||
        std::filesystem::exists(descriptor->path)) {
      return refuse(MTLCaptureError::kInvalidDescriptor, "no object, or no new file");
    }
    path_ = descriptor->path;
    return true;
  }
  void stop() {
    if (is_capturing()) std::ofstream(path_) << "a capture of the model of Metal\n";
    path_.clear();
  }

 private:
  std::string path_;
};

CaptureManager* shared_manager() {
  static auto* const one = new CaptureManager;
  return one;
}

Object* new_descriptor() {
  return new CaptureDescriptor;
}

}  // namespace

void register_capture() {
  ClassBuilder("MTLCaptureManager")
      .on_class<&shared_manager>("sharedCaptureManager")
      .on<&CaptureManager::supports>("supportsDestination:")
      .on<&CaptureManager::is_capturing>("isCapturing")
      .on<&CaptureManager::start>("startCaptureWithDescriptor:error:")
      .on<&CaptureManager::stop>("stopCapture");
  ClassBuilder("MTLCaptureDescriptor")
      .on_class<&new_descriptor>("new")
      .on<&CaptureDescriptor::set_object>("setCaptureObject:")
      .on<&CaptureDescriptor::set_destination>("setDestination:")
      .on<&CaptureDescriptor::set_url>("setOutputURL:");
}

}  // namespace krserve::fake_metal
