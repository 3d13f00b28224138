#include "metal/fake/kernels.h"

#include <fstream>
#include <sstream>

namespace krserve::fake_metal {
namespace {

constexpr const char* kLibraryDomain = "MTLLibraryErrorDomain";
constexpr const char* kLibraryMagic = "MTLB";

std::map<std::string, HostKernel>& kernels() {
  static auto* const map = new std::map<std::string, HostKernel>;
  return *map;
}

long code(metal::MTLLibraryError error) {
  return static_cast<long>(error);
}

}  // namespace

void register_kernel(HostKernel kernel) {
  const std::lock_guard lock(Runtime::get().mutex);
  std::string name = kernel.name;
  kernels().insert_or_assign(std::move(name), std::move(kernel));
}

Library* Library::compile(const std::string& source, Error** error) {
  const auto fail = [error](const std::string& text) {
    set_error(error, kLibraryDomain, code(metal::MTLLibraryError::kCompileFailure), text);
    return nullptr;
  };
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
  const auto it = kernels().find(name->text());
  if (it == kernels().end() || source_.find(name->text()) == std::string::npos) return nullptr;
  return new Function(it->second);
}

Array* Library::function_names() {
  std::vector<Ref<Object>> names;
  for (const auto& [name, kernel] : kernels()) {
    if (source_.find(name) != std::string::npos) names.emplace_back(make_string(name));
  }
  auto* const array = new Array(std::move(names));
  array->autorelease();
  return array;
}

}  // namespace krserve::fake_metal
