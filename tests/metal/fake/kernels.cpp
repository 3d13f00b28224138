#include "metal/fake/kernels.h"

#include <fstream>
#include <sstream>

#include "kernels/entry/simt_kernels.h"
#include "kernels/metal_kernels.h"

namespace krserve::fake_metal {
namespace {

constexpr const char* kLibraryDomain = "MTLLibraryErrorDomain";
constexpr const char* kLibraryMagic = "MTLB";

std::map<std::string, HostKernel> dialect_kernels() {
  std::map<std::string, HostKernel> all;
  const auto names = kernels::metal::kernel_names();
  for (size_t i = 0; i < names.size(); ++i) {
    HostKernel kernel;
    kernel.name = names[i];
    kernel.arguments = {{0, false, [](const Launch&) { return sizeof(kernels::DialectParams); }}};
    kernel.id = static_cast<kernels::single_source::KernelId>(i);
    kernel.simt = static_cast<const kernels::SimtKernel*>(kernels::simt_metal_kernel(uint32_t(i)));
    all.emplace(kernel.name, kernel);
  }
  return all;
}

std::map<std::string, HostKernel>& host_kernels() {
  static auto* const map = new std::map<std::string, HostKernel>(dialect_kernels());
  return *map;
}

// Of the dialect only the text's macros know the names.
bool names_kernel(const std::string& source, const HostKernel& kernel) {
  return source.find(kernel.simt ? "DialectParams" : kernel.name) != std::string::npos;
}

long code(metal::MTLLibraryError error) {
  return static_cast<long>(error);
}

}  // namespace

void register_kernel(HostKernel kernel) {
  const std::lock_guard lock(Runtime::get().mutex);
  std::string name = kernel.name;
  host_kernels().insert_or_assign(std::move(name), std::move(kernel));
}

Library* Library::compile(const std::string& source, Error** error) {
  const auto fail = [error](const std::string& text) {
    set_error(error, kLibraryDomain, code(metal::MTLLibraryError::kCompileFailure), text);
    return nullptr;
  };
  std::string error_text;
  if (Gpu::get().take_compile_error(error_text)) return fail(error_text);
  if (const size_t at = source.find("#error"); at != std::string::npos) {
    return fail("program_source: error: " + source.substr(at, source.find('\n', at) - at));
  }
  if (source.find("kernel") == std::string::npos) return fail("program_source: no kernel");
  return new Library(source);
}

Library* Library::load(const std::string& path, Error** error) {
  std::ifstream file(path, std::ios::binary);
  std::stringstream text;
  text << file.rdbuf();
  if (!file || text.str().rfind(kLibraryMagic, 0) != 0) {
    set_error(error, kLibraryDomain, code(metal::MTLLibraryError::kFileNotFound),
              "no library at " + path);
    return nullptr;
  }
  return new Library(text.str());
}

Function* Library::new_function(String* name) {
  const auto it = host_kernels().find(name->text());
  if (it == host_kernels().end() || !names_kernel(source_, it->second)) return nullptr;
  return new Function(it->second);
}

NSUInteger Pipeline::max_threads() {
  const NSUInteger most = Gpu::get().options().max_threads;
  return kernel_.simt ? std::min<NSUInteger>(most, kernel_.simt->max_threads) : most;
}

Array* Library::function_names() {
  std::vector<Ref<Object>> names;
  for (const auto& [name, kernel] : host_kernels()) {
    if (names_kernel(source_, kernel)) names.emplace_back(make_string(name));
  }
  auto* const array = new Array(std::move(names));
  array->autorelease();
  return array;
}

}  // namespace krserve::fake_metal
