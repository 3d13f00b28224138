// One live object of each of Metal's classes, to ask what it responds to.
#pragma once

#include <functional>
#include <map>
#include <string>

#include "device/metal/api/device.h"

namespace krserve {

class MetalProbes {
 public:
  // Makes what the system has. `metal4`: Metal 4's too. Needs an autorelease pool, also at its end.
  MetalProbes(metal::Owned<metal::MTLDevice> device, bool metal4);
  ~MetalProbes();
  MetalProbes(const MetalProbes&) = delete;
  MetalProbes& operator=(const MetalProbes&) = delete;

  metal::MTLDevice& device() { return *device_.get(); }
  // Of the class or protocol; null if there is none.
  const metal::NSObject* find(const std::string& receiver) const;

 private:
  template <class T>
  T* keep(const std::string& receiver, metal::Owned<T> object);
  // Retains it.
  template <class T>
  T* keep_retained(const std::string& receiver, T* object);
  void make_foundation();
  void make_resources();
  void make_library();
  void make_metal3();
  void make_metal4();
  void make_feedback(metal::MTL4CommandQueue& queue);

  metal::Owned<metal::MTLDevice> device_;
  std::map<std::string, metal::Owned<metal::NSObject>> objects_;
};

}  // namespace krserve
