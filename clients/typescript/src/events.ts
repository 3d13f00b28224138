// What an engine tells of besides answers.
import type { RpcError, RuntimeCrashedError } from "./errors.js";
import type { LoadProgress, Model } from "./protocol.js";

/** A runtime that answers. */
export interface RuntimeInfo {
  readonly pid: number;
  readonly version: string;
  /** The command line, without flags of settings. */
  readonly command: readonly string[];
}

export interface CrashedEvent {
  readonly error: RuntimeCrashedError;
  /** true: it is not restarted; calls reject with `error` until {@link Engine.start}. */
  readonly final: boolean;
}

/** What could not be done again after a restart. */
export interface RestoreFailure {
  readonly method: "load_model" | "set_config";
  /** The model's name; empty for settings. */
  readonly name: string;
  readonly error: RpcError;
}

export interface RestartedEvent extends RuntimeInfo {
  /** Loaded again, under the names they had. */
  readonly models: readonly Model[];
  readonly failures: readonly RestoreFailure[];
}

export interface StoppedEvent {
  readonly exitCode: number | null;
  readonly signal: NodeJS.Signals | null;
  /** false when running requests were cut off. */
  readonly drained: boolean;
}

export type LogLevel = "error" | "warn" | "info" | "debug";

export interface LogEvent {
  /** One line of the runtime's stderr. */
  readonly line: string;
  /** undefined for a line that is not the runtime's logger's. */
  readonly level: LogLevel | undefined;
}

export interface NotificationEvent {
  readonly method: string;
  readonly params: Readonly<Record<string, unknown>>;
}

/** Events of {@link Engine} and what their listeners get. */
export interface EngineEvents {
  /** A runtime answers, after `start`. */
  started: [RuntimeInfo];
  /** The runtime has ended after `stop`. */
  stopped: [StoppedEvent];
  /** The runtime ended by itself, or had to be ended. */
  crashed: [CrashedEvent];
  /** A new runtime answers after a crash, with the models and settings of the one before. */
  restarted: [RestartedEvent];
  log: [LogEvent];
  load_progress: [LoadProgress];
  /** A notification that this client has no event for; newer runtimes may send some. */
  notification: [NotificationEvent];
}

// "2026-01-31T12:00:00.000 [WARN] ..."
const LINE = /^(?:\S+ )?\[(ERROR|WARN|INFO|DEBUG)\] /;

/** @internal */
export function logLevelOf(line: string): LogLevel | undefined {
  return LINE.exec(line)?.[1]?.toLowerCase() as LogLevel | undefined;
}
