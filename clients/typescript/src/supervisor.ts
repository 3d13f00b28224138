// Keeps one runtime running: start, stop, and one restart after a crash.
import { setTimeout } from "node:timers/promises";

import type { Connection, Params } from "./connection.js";
import {
  AbortError,
  EngineStateError,
  type KrserveError,
  RpcError,
  RuntimeCrashedError,
} from "./errors.js";
import { type EngineEvents, logLevelOf, type RestartedEvent, type RuntimeInfo } from "./events.js";
import { locateRuntime, type RuntimeCommand } from "./locate.js";
import { healthSchema, parseAnswer, shutdownResultSchema } from "./protocol.js";
import { RuntimeProcess } from "./runtime-process.js";
import { parseSettings, settingArguments, type SettingsInput } from "./settings.js";

const DEFAULT_RESTART_WINDOW_MS = 60_000;
const DEFAULT_START_TIMEOUT_MS = 120_000;
const DEFAULT_DRAIN_TIMEOUT_S = 30;
const DEFAULT_EXIT_GRACE_MS = 5000;
const LOADING_POLL_MS = 50;
const DEFAULT_MAX_FRAME_MB = 16;
const BYTES_PER_MB = 1024 * 1024;

/** How an {@link Engine} finds, starts and keeps its runtime. */
export interface EngineOptions {
  /**
   * The runtime. A string is the krserve program (`rpc` is added); a list is a whole command line
   * that speaks the protocol, such as `["python3", "-m", "krserve.runtime"]`. Left out, the first
   * of these is taken: `$KRSERVE_BINARY`, build/release/bin/krserve of the repository that this
   * package lies in, `krserve` on PATH, `python3 -m krserve.runtime`.
   */
  readonly command?: string | readonly string[] | undefined;
  /**
   * Settings, checked by the schema of config/runtime.yaml in the constructor. They win over
   * environment, preset and file; secrets travel by environment variable.
   */
  readonly config?: SettingsInput | undefined;
  /** A YAML file like config/runtime.yaml. */
  readonly configFile?: string | undefined;
  /** "all-on", "realtime", "batch" or "debug". */
  readonly preset?: string | undefined;
  /** The runtime's working directory; model paths are relative to it. Default: this process's. */
  readonly cwd?: string | undefined;
  /** Environment variables on top of this process's. */
  readonly env?: Readonly<Record<string, string>> | undefined;
  /** Restarts the runtime after a crash. Default: true. */
  readonly restart?: boolean | undefined;
  /** A second crash within so many milliseconds of the first is final. Default: 60,000. */
  readonly restartWindowMs?: number | undefined;
  /**
   * Milliseconds until the runtime must answer; loading the model of the setting model.path does
   * not count. Default: 120,000.
   */
  readonly startTimeoutMs?: number | undefined;
  /**
   * Milliseconds that a stopped runtime gets, after its drain time-out and again after its answer,
   * before it is sent SIGTERM, and SIGKILL two seconds later. Default: 5,000.
   */
  readonly exitGraceMs?: number | undefined;
}

/** How {@link Engine.stop} goes about it. */
export interface StopOptions {
  /** Seconds that running requests get to finish; 0 cuts them off. Default: 30. */
  readonly drainTimeoutS?: number | undefined;
}

/** `failed`: crashed for good; `start` tries anew. */
export type EngineState =
  | "stopped"
  | "starting"
  | "running"
  | "restarting"
  | "stopping"
  | "failed";

/** What the supervisor needs of the engine. */
export interface Supervised {
  emit<Name extends keyof EngineEvents>(name: Name, ...data: EngineEvents[Name]): void;
  notification(method: string, params: Params): void;
  /** Tells a new runtime what the one before knew. Throws when the runtime ends meanwhile. */
  restore(connection: Connection): Promise<Pick<RestartedEvent, "models" | "failures">>;
}

interface Launched {
  readonly connection: Connection;
  readonly info: RuntimeInfo;
}

export class Supervisor {
  readonly #options: EngineOptions;
  readonly #engine: Supervised;
  readonly #arguments: { readonly flags: string[]; readonly environment: Record<string, string> };
  #state: EngineState = "stopped";
  #process: RuntimeProcess | undefined;
  // While starting or restarting: what calls wait for.
  #ready: Promise<Connection> | undefined;
  #starting: Promise<RuntimeInfo> | undefined;
  #stopping: Promise<void> | undefined;
  #lastCrashAt = Number.NEGATIVE_INFINITY;
  #error: KrserveError | undefined;
  // Counts starts and stops, so that what one began does not go on in the next.
  #epoch = 0;

  constructor(options: EngineOptions, engine: Supervised) {
    this.#options = options;
    this.#engine = engine;
    const { flags, environment } = settingArguments(parseSettings(options.config ?? {}));
    if (options.configFile !== undefined) flags.unshift("--config", options.configFile);
    if (options.preset !== undefined) flags.unshift("--preset", options.preset);
    this.#arguments = { flags, environment };
  }

  get state(): EngineState {
    return this.#state;
  }

  get pid(): number | undefined {
    return this.#process?.pid;
  }

  /** Of the running runtime; waits while one starts. */
  async connection(): Promise<Connection> {
    if (this.#state === "running" && this.#process) return this.#process.connection;
    if (this.#state === "starting" || this.#state === "restarting") {
      if (this.#ready) return this.#ready;
    }
    if (this.#state === "failed" && this.#error) throw this.#error;
    throw new EngineStateError(`the engine is ${this.#state}; call start() first`);
  }

  start(): Promise<RuntimeInfo> {
    if (this.#state === "stopping") {
      return Promise.reject(new EngineStateError("the engine is stopping; await stop() first"));
    }
    if (this.#state === "stopped" || this.#state === "failed") {
      this.#state = "starting";
      this.#epoch++;
      this.#lastCrashAt = Number.NEGATIVE_INFINITY;
      const launched = this.#launch();
      this.#starting = this.#startUp(launched);
      this.#ready = this.#starting.then(async () => (await launched).connection);
      this.#ready.catch(() => {});
    }
    return this.#starting as Promise<RuntimeInfo>;
  }

  async stop(options: StopOptions = {}): Promise<void> {
    if (this.#state === "failed") this.#state = "stopped";
    if (this.#state === "stopped") return;
    this.#stopping ??= this.#stopNow(options.drainTimeoutS ?? DEFAULT_DRAIN_TIMEOUT_S).finally(
      () => (this.#stopping = undefined),
    );
    return this.#stopping;
  }

  async #startUp(launched: Promise<Launched>): Promise<RuntimeInfo> {
    const epoch = this.#epoch;
    let info: RuntimeInfo;
    try {
      ({ info } = await launched);
    } catch (error) {
      // A stop() meanwhile has ended the runtime; what that looked like is no news.
      this.#mustBeIn(epoch);
      this.#state = "stopped";
      throw error;
    }
    this.#mustBeIn(epoch);
    this.#state = "running";
    this.#engine.emit("started", info);
    return info;
  }

  #mustBeIn(epoch: number): void {
    if (this.#epoch !== epoch) throw new EngineStateError("the engine was stopped meanwhile");
  }

  async #launch(): Promise<Launched> {
    const epoch = this.#epoch;
    const environment = { ...process.env, ...this.#options.env };
    const command = await locateRuntime({ command: this.#options.command, environment });
    this.#mustBeIn(epoch);
    const runtime = this.#spawn(command, environment);
    const info = await this.#greet(runtime, command);
    if (runtime.connection.closedBy) throw runtime.connection.closedBy;
    return { connection: runtime.connection, info };
  }

  #spawn(command: RuntimeCommand, environment: NodeJS.ProcessEnv): RuntimeProcess {
    const runtime = new RuntimeProcess(
      {
        program: command.program,
        args: [...command.args, ...this.#arguments.flags],
        cwd: this.#options.cwd,
        env: { ...environment, ...this.#arguments.environment },
      },
      {
        notification: (method, params) => this.#engine.notification(method, params),
        log: (line) => this.#engine.emit("log", { line, level: logLevelOf(line) }),
      },
    );
    this.#process = runtime;
    void runtime.ended.then((crash) => this.#onEnd(runtime, new RuntimeCrashedError(crash)));
    return runtime;
  }

  async #greet(runtime: RuntimeProcess, command: RuntimeCommand): Promise<RuntimeInfo> {
    const limitMs = this.#options.startTimeoutMs ?? DEFAULT_START_TIMEOUT_MS;
    const signal = AbortSignal.timeout(limitMs);
    try {
      const answer = await runtime.connection.call("health", {}, { signal });
      const { pid, version } = parseAnswer("health", healthSchema, answer);
      runtime.connection.maxOutgoingBytes = await frameLimit(runtime.connection, signal);
      await whileLoading(runtime.connection);
      return { pid, version, command: [command.program, ...command.args] };
    } catch (error) {
      const late = error instanceof AbortError;
      runtime.kill(late ? "start_timeout" : "bad_frame", late ? `${limitMs} ms` : String(error));
      throw late ? new RuntimeCrashedError(await runtime.ended) : error;
    }
  }

  #onEnd(runtime: RuntimeProcess, error: RuntimeCrashedError): void {
    if (this.#state !== "running" || this.#process !== runtime) {
      const asked = this.#state === "stopping" && error.exitCode === 0;
      runtime.connection.close(asked ? new EngineStateError("the engine was stopped") : error);
      return;
    }
    const windowMs = this.#options.restartWindowMs ?? DEFAULT_RESTART_WINDOW_MS;
    const soon = performance.now() - this.#lastCrashAt < windowMs;
    const final = soon || this.#options.restart === false;
    this.#lastCrashAt = performance.now();
    this.#error = error;
    this.#state = final ? "failed" : "restarting";
    runtime.connection.close(error);
    if (!final) this.#restart(error);
    this.#engine.emit("crashed", { error, final });
  }

  // Calls wait for `#ready` meanwhile; a crash in it is final.
  #restart(first: RuntimeCrashedError): void {
    const epoch = this.#epoch;
    const restored = this.#launch().then(async ({ connection, info }) => {
      const event = { ...info, ...(await this.#engine.restore(connection)) };
      this.#mustBeIn(epoch);
      if (connection.closedBy) throw connection.closedBy;
      this.#state = "running";
      return { connection, event };
    });
    this.#starting = restored.then(({ event }) => event);
    this.#ready = restored.then(({ connection }) => connection);
    for (const promise of [this.#starting, this.#ready]) promise.catch(() => {});
    restored.then(
      ({ event }) => this.#engine.emit("restarted", event),
      (error: unknown) => {
        if (this.#epoch !== epoch) return;
        this.#giveUp(error instanceof RuntimeCrashedError ? error : first);
      },
    );
  }

  #giveUp(error: RuntimeCrashedError): void {
    this.#process?.kill(error.reason, error.detail);
    this.#error = error;
    this.#state = "failed";
    this.#engine.emit("crashed", { error, final: true });
  }

  async #stopNow(drainTimeoutS: number): Promise<void> {
    const wasRunning = this.#state === "running";
    const runtime = this.#process;
    this.#state = "stopping";
    this.#epoch++;
    const graceMs = this.#options.exitGraceMs ?? DEFAULT_EXIT_GRACE_MS;
    const drained = wasRunning && runtime ? await shutDown(runtime, drainTimeoutS, graceMs) : false;
    if (!wasRunning) runtime?.kill("signal", "");
    const crash = await runtime?.ended;
    this.#process = undefined;
    this.#state = "stopped";
    const { exitCode = null, signal = null } = crash ?? {};
    this.#engine.emit("stopped", { exitCode, signal, drained });
  }
}

// Whether running requests could finish.
async function shutDown(
  runtime: RuntimeProcess,
  drainTimeoutS: number,
  graceMs: number,
): Promise<boolean> {
  const limitMs = drainTimeoutS * 1000 + graceMs;
  let drained = false;
  try {
    const params = { drain_timeout_s: drainTimeoutS };
    const signal = AbortSignal.timeout(limitMs);
    const answer = await runtime.connection.call("shutdown", params, { signal });
    drained = parseAnswer("shutdown", shutdownResultSchema, answer).drained;
  } catch {
    runtime.terminate();
  }
  const done = new AbortController();
  setTimeout(graceMs, undefined, { signal: done.signal }).then(
    () => runtime.terminate(),
    () => {},
  );
  await runtime.ended;
  done.abort();
  return drained;
}

// The model of model.path may take its time: it may come from the hub.
async function whileLoading(connection: Connection): Promise<void> {
  const status = async () =>
    parseAnswer("health", healthSchema, await connection.call("health", {})).status;
  while ((await status()) === "loading") await setTimeout(LOADING_POLL_MS);
}

// What the runtime takes at most; a runtime that does not say has the default.
async function frameLimit(connection: Connection, signal: AbortSignal): Promise<number> {
  let limitMb = DEFAULT_MAX_FRAME_MB;
  try {
    const answer = await connection.call("get_config", { path: "rpc.max_frame_mb" }, { signal });
    const config = (answer as { config?: { rpc?: { max_frame_mb?: unknown } } }).config;
    const value = config?.rpc?.max_frame_mb;
    if (typeof value === "number") limitMb = value;
  } catch (error) {
    if (!(error instanceof RpcError)) throw error;
  }
  return limitMb * BYTES_PER_MB;
}
