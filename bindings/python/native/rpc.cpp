#include "native/rpc.h"

#include <nanobind/stl/string.h>
#include <nanobind/stl/tuple.h>
#include <nanobind/stl/vector.h>

#include "native/gil.h"
#include "native/load_settings.h"
#include "server/json_rpc/stdio_server.h"

namespace krserve::python {

void bind_rpc(nb::module_& module) {
  using server::rpc::StdioServer;
  nb::class_<StdioServer>(module, "RpcServer",
                          "The dispatcher of `krserve rpc` over two file descriptors.")
      .def(
          "__init__",
          [](StdioServer* self, int in_fd, int out_fd, const std::string& config_file,
             const std::string& preset, const SettingTexts& values) {
            new (self) StdioServer(load_settings(config_file, preset, values), in_fd, out_fd);
          },
          nb::arg("in_fd"), nb::arg("out_fd"), nb::kw_only(), nb::arg("config_file") = "",
          nb::arg("preset") = "", nb::arg("values") = SettingTexts(),
          nb::sig("def __init__(self, in_fd: int, out_fd: int, *, config_file: str = '', preset: "
                  "str = '', values: collections.abc.Sequence[tuple[str, str, str]] = []) -> None"))
      .def(
          "run", [](StdioServer& self) { return without_gil([&] { return self.run(); }); },
          "Until the input ends, the client has gone, shutdown or stop(); the exit code.")
      .def("stop", &StdioServer::stop, "Any thread: run() finishes what is in flight and returns.");
}

}  // namespace krserve::python
