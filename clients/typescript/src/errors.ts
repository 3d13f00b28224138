// Every error that this package throws; `instanceof KrserveError` catches them all.

/** What all errors of this package have in common. */
export class KrserveError extends Error {
  constructor(message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = new.target.name;
  }
}

/** The engine is not in a state for the call: not started, stopping, or crashed for good. */
export class EngineStateError extends KrserveError {}

/** The runtime answered with something this client does not know; the versions may not fit. */
export class ProtocolError extends KrserveError {}

/**
 * A call was ended by its `AbortSignal`. `name` is "AbortError", as in the web's interfaces;
 * `cause` is the signal's reason.
 */
export class AbortError extends KrserveError {
  constructor(what: string, reason: unknown) {
    super(`${what} was aborted`, { cause: reason });
    this.name = "AbortError";
  }
}

/** One setting that was refused before it reached the runtime. */
export interface SettingProblem {
  /** Dotted path as in config/runtime.yaml: "server.port". */
  readonly path: string;
  /** Such as "expected an integer in 0..65535". */
  readonly message: string;
}

/** Settings that the schema of config/runtime.yaml does not allow; `problems` has all of them. */
export class ConfigValidationError extends KrserveError {
  readonly problems: readonly SettingProblem[];

  constructor(problems: readonly SettingProblem[]) {
    super(problems.map(({ path, message }) => `${path || "settings"}: ${message}`).join("\n"));
    this.problems = problems;
  }
}

/** No runtime was found to start. */
export class RuntimeNotFoundError extends KrserveError {
  /** Each place that was looked at, with what was wrong there. */
  readonly tried: readonly string[];

  constructor(tried: readonly string[]) {
    const places = tried.map((place) => `\n  - ${place}`).join("");
    super(
      `no krserve runtime was found; tried:${places}\n` +
        "Build it (make build), put krserve on PATH, pip install krserve, or name it with the " +
        "option `command` or with KRSERVE_BINARY.",
    );
    this.tried = tried;
  }
}

/**
 * Why a runtime counts as crashed. `exit`: ended by itself; `signal`: killed; `closed_pipe`: alive
 * without its pipes; `bad_frame`: wrote what is no frame of the protocol; `spawn`: could not be
 * started; `start_timeout`: was not ready within `startTimeoutMs`.
 */
export type CrashReason =
  | "exit"
  | "signal"
  | "closed_pipe"
  | "bad_frame"
  | "spawn"
  | "start_timeout";

/** How a runtime ended. */
export interface Crash {
  readonly reason: CrashReason;
  /** `null` when a signal ended it or it never ran. */
  readonly exitCode: number | null;
  /** SIGKILL also for a runtime that this client ended for a closed pipe or a bad frame. */
  readonly signal: NodeJS.Signals | null;
  /** Such as the first bytes of a bad frame; may be empty. */
  readonly detail: string;
  /** The last lines of its log (stderr), oldest first, at most 40. */
  readonly stderr: readonly string[];
}

function crashMessage(crash: Crash): string {
  const how = {
    exit: `exited with code ${crash.exitCode}`,
    signal: `was ended by ${crash.signal}`,
    closed_pipe: "closed its pipes",
    bad_frame: "wrote what is no frame of the protocol",
    spawn: "could not be started",
    start_timeout: "was not ready in time",
  }[crash.reason];
  const detail = crash.detail && `: ${crash.detail}`;
  const log = crash.stderr.slice(-5).map((line) => `\n  ${line}`);
  return `the runtime ${how}${detail}${log.join("")}`;
}

/** The runtime ended, or had to be ended, while the call was under way. */
export class RuntimeCrashedError extends KrserveError implements Crash {
  readonly reason: CrashReason;
  readonly exitCode: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly detail: string;
  readonly stderr: readonly string[];

  constructor(crash: Crash) {
    super(crashMessage(crash));
    this.reason = crash.reason;
    this.exitCode = crash.exitCode;
    this.signal = crash.signal;
    this.detail = crash.detail;
    this.stderr = crash.stderr;
  }
}

/** The `error` member of a JSON-RPC answer. */
export interface RpcErrorObject {
  readonly code: number;
  readonly message: string;
  readonly data?: unknown;
}

/** An error that the runtime answered with. Codes without a class of their own stay an RpcError. */
export class RpcError extends KrserveError {
  /** JSON-RPC code, such as -32001. */
  readonly code: number;
  /** A word for the cause, such as "model_not_loaded"; empty when the runtime gave none. */
  readonly kind: string;
  readonly data: Readonly<Record<string, unknown>>;
  /** The method that was called. */
  readonly method: string;

  constructor(method: string, error: RpcErrorObject) {
    super(error.message);
    this.method = method;
    this.code = error.code;
    this.data = isRecord(error.data) ? error.data : {};
    this.kind = textOf(this.data["kind"]);
  }
}

/** -32700: the runtime could not read a frame of ours. */
export class RpcParseError extends RpcError {}
/** -32600: not a request, or larger than `rpc.max_frame_mb`. */
export class InvalidRequestError extends RpcError {}
/** -32601: an older runtime may lack the method. */
export class MethodNotFoundError extends RpcError {
  /** The methods that the runtime has. */
  get methods(): readonly string[] {
    return textsOf(this.data["methods"]);
  }
}
/** -32602: a parameter is missing, unknown, of the wrong type or out of range. */
export class InvalidParamsError extends RpcError {
  /** The parameter; empty when the error is not about one. */
  get param(): string {
    return textOf(this.data["param"]);
  }
}
/** -32603: a defect of the runtime. */
export class InternalError extends RpcError {}
/** -32001: no model is loaded, or none of that name. */
export class ModelNotLoadedError extends RpcError {
  /** Names of the loaded models. */
  get loaded(): readonly string[] {
    return textsOf(this.data["loaded"]);
  }
}
/** -32002: the model's files are missing, damaged or of an unknown kind. */
export class ModelLoadError extends RpcError {}
/** -32003: the device or `memory.limit_mb` has no room. */
export class OutOfMemoryError extends RpcError {}
/** -32004: the queue is full or the runtime is draining; later it may go well. */
export class OverloadedError extends RpcError {}
/** -32005: the device failed. */
export class DeviceError extends RpcError {}
/** -32006: the request failed alone, such as by `server.request_timeout_s`. */
export class RequestFailedError extends RpcError {}
/** -32007: the runtime refused a setting. */
export class ConfigRefusedError extends RpcError {}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function textOf(value: unknown): string {
  return typeof value === "string" ? value : "";
}

function textsOf(value: unknown): string[] {
  return Array.isArray(value) ? value.filter((item) => typeof item === "string") : [];
}
