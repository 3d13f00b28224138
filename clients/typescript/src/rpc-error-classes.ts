// Which class an error answer becomes.
import {
  ConfigRefusedError,
  DeviceError,
  InternalError,
  InvalidParamsError,
  InvalidRequestError,
  MethodNotFoundError,
  ModelLoadError,
  ModelNotLoadedError,
  OutOfMemoryError,
  OverloadedError,
  RequestFailedError,
  RpcError,
  type RpcErrorObject,
  RpcParseError,
} from "./errors.js";

const classes: ReadonlyMap<number, typeof RpcError> = new Map<number, typeof RpcError>([
  [-32700, RpcParseError],
  [-32600, InvalidRequestError],
  [-32601, MethodNotFoundError],
  [-32602, InvalidParamsError],
  [-32603, InternalError],
  [-32001, ModelNotLoadedError],
  [-32002, ModelLoadError],
  [-32003, OutOfMemoryError],
  [-32004, OverloadedError],
  [-32005, DeviceError],
  [-32006, RequestFailedError],
  [-32007, ConfigRefusedError],
]);

/** The error of the class that belongs to `error.code`. */
export function makeRpcError(method: string, error: RpcErrorObject): RpcError {
  return new (classes.get(error.code) ?? RpcError)(method, error);
}
