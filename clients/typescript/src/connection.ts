// JSON-RPC 2.0 over two pipes, one JSON value a line: gives calls their answers.
import type { Readable, Writable } from "node:stream";

import {
  AbortError,
  InvalidRequestError,
  type KrserveError,
  type RpcErrorObject,
} from "./errors.js";
import { LineSplitter } from "./line-splitter.js";
import { makeRpcError } from "./rpc-error-classes.js";

/** Lines of the runtime above this are taken for a defect of it. */
const MAX_INCOMING_BYTES = 256 * 1024 * 1024;
const SHOWN_CHARACTERS = 200;

/** A notification's parameters. */
export type Params = Readonly<Record<string, unknown>>;

/** What a call has besides its parameters. */
export interface CallHooks {
  readonly signal?: AbortSignal | undefined;
  /** Called right before the request goes out, with its id. */
  sending?(id: number): void;
  /** Gets the notifications whose `request` is this call. */
  notified?(method: string, params: Params): void;
}

interface PendingCall {
  readonly method: string;
  readonly hooks: CallHooks;
  resolve(result: unknown): void;
  reject(error: Error): void;
}

export interface ConnectionEvents {
  notification(method: string, params: Params): void;
  /** The runtime wrote what is no frame; nothing after it is read. */
  badFrame(detail: string): void;
  /** An error answer without an id: the runtime could not read a frame of ours. */
  orphanError(message: string): void;
}

export class Connection {
  /** Requests above it are refused here: the runtime's own error could not name the request. */
  maxOutgoingBytes = Number.POSITIVE_INFINITY;

  readonly #output: Writable;
  readonly #events: ConnectionEvents;
  readonly #pending = new Map<number, PendingCall>();
  #nextId = 1;
  #closed: KrserveError | undefined;
  #broken = false;

  constructor(input: Readable, output: Writable, events: ConnectionEvents) {
    this.#output = output;
    this.#events = events;
    const lines = new LineSplitter(MAX_INCOMING_BYTES);
    input.on("data", (chunk: Buffer) => this.#read(lines, chunk));
  }

  /** The error that it was closed with. */
  get closedBy(): KrserveError | undefined {
    return this.#closed;
  }

  /**
   * Rejects with the RpcError of an error answer, with AbortError, or with the error of `close`.
   * After an abort the answer is ignored; that the runtime ends the work too is the caller's part.
   */
  call(method: string, params: object, hooks: CallHooks = {}): Promise<unknown> {
    const { signal } = hooks;
    if (this.#closed) return Promise.reject(this.#closed);
    if (signal?.aborted) return Promise.reject(new AbortError(method, signal.reason));
    const id = this.#nextId++;
    const frame = JSON.stringify({ jsonrpc: "2.0", id, method, params });
    const bytes = Buffer.byteLength(frame);
    if (bytes > this.maxOutgoingBytes) return Promise.reject(this.#tooLarge(method, bytes));
    return new Promise((resolve, reject) => {
      const abort = (): void => {
        this.#pending.delete(id);
        reject(new AbortError(method, signal?.reason));
      };
      const settled = (): void => signal?.removeEventListener("abort", abort);
      this.#pending.set(id, {
        method,
        hooks,
        resolve: (result) => (settled(), resolve(result)),
        reject: (error) => (settled(), reject(error)),
      });
      signal?.addEventListener("abort", abort, { once: true });
      hooks.sending?.(id);
      this.#output.write(`${frame}\n`);
    });
  }

  /** Rejects all calls, now and later, with `error`. */
  close(error: KrserveError): void {
    if (this.#closed) return;
    this.#closed = error;
    const pending = [...this.#pending.values()];
    this.#pending.clear();
    for (const call of pending) call.reject(error);
  }

  #tooLarge(method: string, bytes: number): InvalidRequestError {
    const message =
      `a request of ${bytes} bytes is larger than the ${this.maxOutgoingBytes} that the runtime ` +
      "takes; raise rpc.max_frame_mb";
    return new InvalidRequestError(method, {
      code: -32600,
      message,
      data: { kind: "frame_too_large", bytes, limit_bytes: this.maxOutgoingBytes },
    });
  }

  #read(lines: LineSplitter, chunk: Buffer): void {
    const found = lines.push(chunk);
    while (!this.#broken) {
      let next: IteratorResult<string>;
      // Around the splitter alone: what a listener throws is not the runtime's fault.
      try {
        next = found.next();
      } catch (error) {
        return this.#fail(error instanceof Error ? error.message : String(error));
      }
      if (next.done) return;
      this.#dispatchLine(next.value);
    }
  }

  #fail(detail: string): void {
    this.#broken = true;
    this.#events.badFrame(detail);
  }

  #dispatchLine(line: string): void {
    let value: unknown;
    try {
      value = JSON.parse(line);
    } catch {
      return this.#fail(JSON.stringify(line.slice(0, SHOWN_CHARACTERS)));
    }
    for (const frame of Array.isArray(value) ? value : [value]) {
      if (!this.#dispatch(frame)) {
        return this.#fail(JSON.stringify(line.slice(0, SHOWN_CHARACTERS)));
      }
    }
  }

  // False for what is no frame.
  #dispatch(frame: unknown): boolean {
    if (!isObject(frame) || frame["jsonrpc"] !== "2.0") return false;
    const { id, method, params, result, error } = frame;
    if (typeof method === "string") {
      if (id === undefined) this.#notify(method, isObject(params) ? params : {});
      else this.#refuse(id, method);
      return true;
    }
    if (error !== undefined) return isErrorObject(error) && this.#answerError(id, error);
    if (!("result" in frame) || typeof id !== "number") return false;
    this.#take(id)?.resolve(result);
    return true;
  }

  #notify(method: string, params: Params): void {
    const request = params["request"];
    if (typeof request === "number") this.#pending.get(request)?.hooks.notified?.(method, params);
    this.#events.notification(method, params);
  }

  #answerError(id: unknown, error: RpcErrorObject): boolean {
    if (id === null) {
      this.#events.orphanError(error.message);
      return true;
    }
    if (typeof id !== "number") return false;
    const call = this.#take(id);
    call?.reject(makeRpcError(call.method, error));
    return true;
  }

  // Undefined for a call that was aborted.
  #take(id: number): PendingCall | undefined {
    const call = this.#pending.get(id);
    this.#pending.delete(id);
    return call;
  }

  // This client serves no methods.
  #refuse(id: unknown, method: string): void {
    const error = { code: -32601, message: `the client has no method ${method}` };
    this.#output.write(`${JSON.stringify({ jsonrpc: "2.0", id, error })}\n`);
  }
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function isErrorObject(value: unknown): value is RpcErrorObject {
  return (
    isObject(value) && typeof value["code"] === "number" && typeof value["message"] === "string"
  );
}
