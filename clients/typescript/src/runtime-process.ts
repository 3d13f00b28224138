// One runtime, from its start to its end: its pipes, the last lines of its log, and how it ended.
import { type ChildProcessWithoutNullStreams, spawn } from "node:child_process";

import { Connection, type Params } from "./connection.js";
import type { Crash, CrashReason } from "./errors.js";

const KEPT_LOG_LINES = 40;
const MAX_LOG_LINE_BYTES = 1024 * 1024;
/** After its pipes closed, a runtime gets so long to end by itself. */
const CLOSED_PIPE_GRACE_MS = 500;
/** After its end, what is left in the pipes is read for so long: a grandchild may hold them open. */
const PIPE_DRAIN_MS = 500;
const TERMINATE_GRACE_MS = 2000;

export interface ProcessOptions {
  readonly program: string;
  readonly args: readonly string[];
  readonly cwd: string | undefined;
  readonly env: NodeJS.ProcessEnv;
}

export interface ProcessEvents {
  notification(method: string, params: Params): void;
  log(line: string): void;
}

export class RuntimeProcess {
  readonly connection: Connection;
  /** Settles once nothing more will come from it; never rejects. */
  readonly ended: Promise<Crash>;

  readonly #child: ChildProcessWithoutNullStreams;
  readonly #events: ProcessEvents;
  readonly #log: string[] = [];
  #cause: { reason: CrashReason; detail: string } | undefined;
  #graceTimer: NodeJS.Timeout | undefined;

  constructor(options: ProcessOptions, events: ProcessEvents) {
    this.#events = events;
    this.#child = spawn(options.program, options.args, { cwd: options.cwd, env: options.env });
    this.connection = new Connection(this.#child.stdout, this.#child.stdin, {
      notification: (method, params) => events.notification(method, params),
      badFrame: (detail) => this.kill("bad_frame", detail),
      orphanError: (message) => this.#addLog(`[ERROR] ${message}`),
    });
    this.ended = this.#watch();
    this.#readLog();
  }

  /** 0 when it could not be started. */
  get pid(): number {
    return this.#child.pid ?? 0;
  }

  /** Ends it at once; `ended` then has `reason`, unless it had ended before. */
  kill(reason: CrashReason, detail: string): void {
    if (this.#hasExited()) return;
    this.#cause ??= { reason, detail };
    this.#child.kill("SIGKILL");
  }

  /** Asks it to end, and makes it after two seconds. */
  terminate(): void {
    if (this.#hasExited()) return;
    this.#child.kill("SIGTERM");
    setTimeout(() => this.kill("signal", ""), TERMINATE_GRACE_MS).unref();
  }

  #hasExited(): boolean {
    return this.#child.exitCode !== null || this.#child.signalCode !== null;
  }

  #watch(): Promise<Crash> {
    const child = this.#child;
    return new Promise((resolve) => {
      const settle = (): void => {
        clearTimeout(this.#graceTimer);
        for (const pipe of [child.stdin, child.stdout, child.stderr]) pipe.destroy();
        resolve(this.#crash());
      };
      child.once("error", (error) => {
        // Also emitted when a signal could not be sent; then the process is still there.
        if (child.pid !== undefined) return;
        this.#cause = { reason: "spawn", detail: error.message };
        settle();
      });
      child.once("exit", () => setTimeout(settle, PIPE_DRAIN_MS).unref());
      child.once("close", settle);
      child.stdout.once("end", () => this.#pipeClosed("stdout"));
      child.stdin.once("error", () => this.#pipeClosed("stdin"));
      for (const pipe of [child.stdin, child.stdout, child.stderr]) pipe.on("error", () => {});
    });
  }

  // The pipes of a runtime that ends close a little before it does.
  #pipeClosed(name: string): void {
    if (this.#graceTimer !== undefined || this.#hasExited()) return;
    this.#graceTimer = setTimeout(() => this.kill("closed_pipe", name), CLOSED_PIPE_GRACE_MS);
  }

  #crash(): Crash {
    const { pid, signalCode: signal } = this.#child;
    // Without a process, Node has the errno there.
    const exitCode = pid === undefined ? null : this.#child.exitCode;
    const own: CrashReason = signal === null ? "exit" : "signal";
    const { reason, detail } = this.#cause ?? { reason: own, detail: "" };
    return { reason, exitCode, signal, detail, stderr: [...this.#log] };
  }

  #readLog(): void {
    const decoder = new TextDecoder();
    let rest = "";
    this.#child.stderr.on("data", (chunk: Buffer) => {
      const lines = (rest + decoder.decode(chunk, { stream: true })).split("\n");
      rest = (lines.pop() ?? "").slice(-MAX_LOG_LINE_BYTES);
      for (const line of lines) this.#addLog(line);
    });
    this.#child.stderr.on("end", () => {
      if (rest) this.#addLog(rest);
    });
  }

  #addLog(line: string): void {
    if (this.#log.push(line) > KEPT_LOG_LINES) this.#log.shift();
    this.#events.log(line);
  }
}
