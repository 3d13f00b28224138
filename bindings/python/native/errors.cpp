#include "native/errors.h"

#include <initializer_list>
#include <string>

#include "base/error.h"
#include "server/json_rpc/rpc_error.h"
#include "server/openai/api_error.h"

namespace krserve::python {
namespace {

namespace nb = nanobind;

// Never freed: translated errors may outlive the module.
struct Classes {
  PyObject* error;
  PyObject* config;
  PyObject* model;
  PyObject* text;
  PyObject* memory;
  PyObject* device;
  PyObject* timeout;
  PyObject* request;
  PyObject* overload;
};
Classes classes;

// With class attributes for the texts that an instance may have, so that types are known.
PyObject* new_class(nb::module_& module, const char* name, const char* doc, PyObject* base,
                    PyObject* second = nullptr, std::initializer_list<const char*> texts = {}) {
  nb::dict attributes;
  for (const char* text : texts) attributes[text] = "";
  const nb::tuple bases = second ? nb::make_tuple(nb::handle(base), nb::handle(second))
                                 : nb::make_tuple(nb::handle(base));
  const std::string full = nb::cast<std::string>(module.attr("__name__")) + "." + name;
  PyObject* made = PyErr_NewExceptionWithDoc(full.c_str(), doc, bases.ptr(), attributes.ptr());
  if (made == nullptr) throw nb::python_error();
  module.attr(name) = nb::handle(made);
  return made;
}

nb::object text_of(std::string_view text) {
  return nb::steal(
      PyUnicode_DecodeUTF8(text.data(), static_cast<Py_ssize_t>(text.size()), "replace"));
}

void raise(PyObject* type, const Error& error) {
  const nb::object value = nb::borrow(type)(text_of(error.what()));
  value.attr("where") = text_of(error.where());
  PyErr_SetObject(type, value.ptr());
}

// With the words of the HTTP API, and the field that it is about.
void raise_request(const server::rpc::RpcError& error) {
  const nb::object value = nb::borrow(classes.request)(text_of(error.message()));
  const auto text = [&](const char* name) {
    const auto it = error.data().find(name);
    return it == error.data().end() ? nb::object(nb::none()) : text_of(it->get<std::string>());
  };
  value.attr("where") = "engine.request";
  value.attr("param") = text("param");
  value.attr("code") = text("reason");
  PyErr_SetObject(classes.request, value.ptr());
}

// JSON-RPC's way of telling refusals of a request from failures.
void translate_refusal() {
  const auto error = server::rpc::current_exception_as_rpc_error();
  if (error.code() == server::rpc::ErrorCode::kInvalidParams) return raise_request(error);
  raise(classes.error, error);
}

void translate(const std::exception_ptr& pointer, void*) {
  try {
    std::rethrow_exception(pointer);
  } catch (const server::ApiError&) {
    translate_refusal();
  } catch (const server::rpc::RpcError&) {
    translate_refusal();
  } catch (const RequestError&) {
    translate_refusal();
  } catch (const ConfigError& error) {
    raise(classes.config, error);
  } catch (const UsageError& error) {
    raise(classes.config, error);
  } catch (const ModelError& error) {
    raise(classes.model, error);
  } catch (const TextError& error) {
    raise(classes.text, error);
  } catch (const OutOfMemoryError& error) {
    raise(classes.memory, error);
  } catch (const DeviceError& error) {
    raise(classes.device, error);
  } catch (const TimeoutError& error) {
    raise(classes.timeout, error);
  } catch (const OverloadError& error) {
    raise(classes.overload, error);
  } catch (const Error& error) {
    raise(classes.error, error);
  }
}

}  // namespace

void bind_errors(nb::module_& module) {
  classes.error = new_class(module, "Error",
                            "Base of krserve's errors. `where` is the \"component.operation\".",
                            PyExc_RuntimeError, nullptr, {"where"});
  classes.config = new_class(module, "ConfigError", "A setting that is unknown or out of range.",
                             classes.error, PyExc_ValueError);
  classes.model =
      new_class(module, "ModelError",
                "A model directory that is missing, damaged or of an unknown kind.", classes.error);
  classes.text =
      new_class(module, "TextError", "Tokenizer or chat template trouble.", classes.error);
  classes.memory = new_class(module, "OutOfMemoryError",
                             "A memory request that was refused; nothing else is affected.",
                             classes.error, PyExc_MemoryError);
  classes.device =
      new_class(module, "DeviceError",
                "A device that is not there, was lost, or whose work failed.", classes.error);
  classes.timeout = new_class(module, "WaitTimeoutError", "A wait ran past its limit.",
                              classes.error, PyExc_TimeoutError);
  classes.request = new_class(module, "RequestError",
                              "A request whose fields are invalid. `param` names the field.",
                              classes.error, PyExc_ValueError, {"param", "code"});
  classes.overload = new_class(module, "OverloadError",
                               "No room now; the same request may succeed later.", classes.error);
  nb::register_exception_translator(translate, nullptr);
}

}  // namespace krserve::python
