#include "pool/peers.h"

#include <dlfcn.h>

#include <cstdlib>

#include "device/cpu/cpu_device.h"
#include "runtime/memory_pool/memory_pool.h"

namespace krserve::bench {
namespace {

std::shared_ptr<Device> make_device() {
  return make_cpu_device({.threads = 1, .simd_level = {}, .spin_us = 0});
}

// Loaded at run time, so that building needs none of them.
void add_library(const std::string& name, const std::vector<std::string>& files,
                 const char* malloc_name, const char* free_name, const char* package,
                 std::vector<std::unique_ptr<Peer>>& out, std::vector<std::string>& missing) {
  std::string why;
  for (const std::string& file : files) {
    void* library = dlopen(file.c_str(), RTLD_NOW | RTLD_LOCAL);
    if (library == nullptr) {
      const char* error = dlerror();
      if (why.empty()) why = error;
      continue;
    }
    const auto take = reinterpret_cast<MallocPeer::Malloc>(dlsym(library, malloc_name));
    const auto give_back = reinterpret_cast<MallocPeer::Free>(dlsym(library, free_name));
    if (take != nullptr && give_back != nullptr) {
      out.push_back(std::make_unique<MallocPeer>(name, take, give_back));
      return;
    }
    why = std::string(malloc_name) + " is not in " + file;
  }
  missing.push_back(name + ": " + why + "; apt install " + package);
}

}  // namespace

std::unique_ptr<AllocatorPeer> make_pool(int64_t heap_mb, int64_t heaps) {
  MemoryPoolConfig config;
  config.enabled = true;
  config.heap_size_mb = heap_mb;
  config.num_heaps = heaps;
  config.warmup_sizes = {};
  return std::make_unique<AllocatorPeer>(
      "pool", std::make_unique<runtime::MemoryPool>(make_device(), config), false);
}

std::unique_ptr<AllocatorPeer> make_direct() {
  return std::make_unique<AllocatorPeer>(
      "device", std::make_unique<runtime::DirectAllocator>(make_device()), true);
}

std::vector<std::unique_ptr<Peer>> make_mallocs(std::vector<std::string>& missing) {
  std::vector<std::unique_ptr<Peer>> out;
  out.push_back(std::make_unique<MallocPeer>("malloc", &std::malloc, &std::free));
  add_library("mimalloc", {"libmimalloc.so.2", "libmimalloc.so.2.0", "libmimalloc.so"}, "mi_malloc",
              "mi_free", "libmimalloc2.0", out, missing);
  add_library("jemalloc", {"libjemalloc.so.2", "libjemalloc.so"}, "malloc", "free", "libjemalloc2",
              out, missing);
  return out;
}

}  // namespace krserve::bench
