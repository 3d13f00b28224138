// The engine: the runtime's calls as methods, its notifications as events.
import { EventEmitter } from "node:events";
import type { z } from "zod";

import type { CallHooks, Connection, Params } from "./connection.js";
import { AbortError, RpcError, RuntimeCrashedError } from "./errors.js";
import type { EngineEvents, RestartedEvent, RestoreFailure, RuntimeInfo } from "./events.js";
import { Generation, type GenerationSink } from "./generation.js";
import { Journal, type JournalEntry } from "./journal.js";
import type {
  CallOptions,
  DetokenizeOptions,
  GenerateOptions,
  LoadModelOptions,
  StatisticsOptions,
  TokenizeOptions,
  UnloadModelOptions,
} from "./params.js";
import * as protocol from "./protocol.js";
import { flatSettings, parseSettings, type Settings, type SettingsInput } from "./settings.js";
import { snakeParams } from "./spelling.js";
import { type EngineOptions, type EngineState, type StopOptions, Supervisor } from "./supervisor.js";

/** Settings in effect, and where each was set. */
export interface EffectiveConfig {
  /** Nested as in config/runtime.yaml; secrets are left out. */
  readonly config: Settings;
  /** Dotted path to "default", "config/runtime.yaml:12", "--set" and the like. */
  readonly origins: Readonly<Record<string, string>>;
}

/**
 * A krserve runtime as a child process.
 *
 * Every call rejects with a {@link KrserveError}: {@link RpcError} and its classes for what the
 * runtime answers, {@link RuntimeCrashedError} when it ends meanwhile, {@link EngineStateError}
 * before `start` and after `stop`, {@link AbortError} by the call's signal. A runtime that crashes
 * is started again once, with its models and settings; calls made meanwhile wait for it. What was
 * running is not repeated. A second crash within `restartWindowMs` is final.
 *
 * Methods of more than one word have their name in the protocol's spelling too: `loadModel` and
 * `load_model` are the same.
 *
 * The child keeps this process alive until `stop`; it ends by itself when this process ends.
 *
 * @example
 * ```ts
 * const engine = new Engine({ preset: "all-on" });
 * await engine.start();
 * await engine.loadModel("tiny");
 * for await (const chunk of engine.generate({ prompt: "Once", maxTokens: 32 })) {
 *   process.stdout.write(chunk.text);
 * }
 * await engine.stop();
 * ```
 */
export class Engine extends EventEmitter<EngineEvents> {
  readonly #supervisor: Supervisor;
  readonly #journal = new Journal();

  /** @throws {@link ConfigValidationError} for settings that the schema does not allow. */
  constructor(options: EngineOptions = {}) {
    super();
    this.#supervisor = new Supervisor(options, {
      emit: (name, ...data) => void (this.emit as EmitAny).call(this, name, ...data),
      notification: (method, params) => this.#notified(method, params),
      restore: (connection) => this.#restore(connection),
    });
  }

  get state(): EngineState {
    return this.#supervisor.state;
  }

  /** Of the runtime, while there is one. */
  get pid(): number | undefined {
    return this.#supervisor.pid;
  }

  /**
   * Starts the runtime and, where the setting model.path names one, waits for its model. While it
   * runs, does nothing.
   *
   * @throws {@link RuntimeNotFoundError}, or {@link RuntimeCrashedError} when it does not come up:
   *   a first start is not repeated.
   */
  start(): Promise<RuntimeInfo> {
    return this.#supervisor.start();
  }

  /**
   * Ends the runtime after what runs has finished, at most `drainTimeoutS` seconds later. Models
   * and settings are gone with it. Does nothing when there is no runtime.
   */
  async stop(options: StopOptions = {}): Promise<void> {
    await this.#supervisor.stop(options);
    this.#journal.clear();
  }

  /** `stop`, for `await using`. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }

  /**
   * Loads a model; several may be loaded under different names. An abort ends the waiting alone:
   * the runtime goes on loading.
   *
   * @param model - A directory, "tiny" or a Hugging Face id.
   * @throws {@link ModelLoadError}, {@link OutOfMemoryError}, {@link ConfigRefusedError},
   *   {@link InvalidParamsError} for a name in use, {@link ConfigValidationError}.
   */
  loadModel(model: string, options?: LoadModelOptions): Promise<protocol.Model>;
  loadModel(options: LoadModelOptions & { readonly model: string }): Promise<protocol.Model>;
  async loadModel(
    model: string | (LoadModelOptions & { readonly model: string }),
    more: LoadModelOptions = {},
  ): Promise<protocol.Model> {
    const options = typeof model === "string" ? { ...more, model } : model;
    const { signal, config, onProgress, ...rest } = options;
    const params = { ...rest, ...(config && { config: parseSettings(config) }) };
    const notified = (method: string, progress: Params): void => {
      if (method !== "load_progress") return;
      onProgress?.(protocol.parseAnswer(method, protocol.loadProgressSchema, progress));
    };
    const hooks = { signal, notified };
    const answer = await this.#call("load_model", protocol.loadResultSchema, params, hooks);
    this.#journal.loaded(answer.model.name, params);
    return answer.model;
  }

  /**
   * Gives a model's memory back, by default after what it runs has finished.
   *
   * @param model - Its name; may be left out when exactly one is loaded.
   * @throws {@link ModelNotLoadedError}
   */
  async unloadModel(model?: string | UnloadModelOptions): Promise<void> {
    const { signal, ...params } = typeof model === "object" ? model : { model };
    const connection = await this.#supervisor.connection();
    try {
      await connection.call("unload_model", params, { signal });
    } catch (error) {
      // Asked for before the crash, so not to be loaded again.
      if (error instanceof RuntimeCrashedError) this.#journal.unloaded(params.model);
      throw error;
    }
    this.#journal.unloaded(params.model);
  }

  /** The loaded models. */
  async listModels(options: CallOptions = {}): Promise<protocol.Model[]> {
    return (await this.#call("list_models", protocol.listResultSchema, {}, options)).models;
  }

  /**
   * Generates text. The request goes out at once; iterate over what comes back for chunks, or
   * await its `result`. An abort makes both reject with {@link AbortError}; `cancel()` and leaving
   * the loop early end it with `finish_reason` "cancelled" instead.
   *
   * @throws TypeError for a parameter that is given in both spellings. All else comes through the
   *   iterator and `result`: {@link InvalidParamsError}, {@link ModelNotLoadedError},
   *   {@link OverloadedError}, {@link RequestFailedError}, {@link DeviceError}.
   */
  generate(options: GenerateOptions): Generation {
    const { signal, maxBufferedChunks, ...rest } = options;
    const params = snakeParams(rest);
    let connection: Connection | undefined;
    const backend = {
      run: async (sink: GenerationSink): Promise<protocol.GenerateResult> => {
        connection = await this.#supervisor.connection();
        if (!sink.wanted()) throw new AbortError("generate", "cancelled before it was sent");
        const answer = await connection.call("generate", params, {
          sending: (id) => sink.sending(id),
          notified: (method, chunk) => void (method === "generate_chunk" && sink.add(chunk)),
        });
        return protocol.parseAnswer("generate", protocol.generateResultSchema, answer);
      },
      // Its answer says nothing that the generation's own does not.
      cancel: (request: number): void => void connection?.call("cancel", { request }).catch(() => {}),
    };
    return new Generation(backend, signal, maxBufferedChunks);
  }

  /** Generates without streaming and gives the whole result. Errors are those of `generate`. */
  complete(options: GenerateOptions): Promise<protocol.GenerateResult> {
    return this.generate({ ...options, stream: false }).collect();
  }

  /** Token ids of a text, or of messages through the chat template. */
  tokenize(input: string | TokenizeOptions): Promise<protocol.TokenizeResult> {
    const { signal, ...params } = typeof input === "string" ? { text: input } : input;
    return this.#call("tokenize", protocol.tokenizeResultSchema, snakeParams(params), { signal });
  }

  /** The text of token ids. */
  async detokenize(input: readonly number[] | DetokenizeOptions): Promise<string> {
    const options: DetokenizeOptions = isTokens(input) ? { tokens: input } : input;
    const { signal, ...rest } = options;
    const params = snakeParams(rest);
    const schema = protocol.detokenizeResultSchema;
    return (await this.#call("detokenize", schema, params, { signal })).text;
  }

  /** Counters of a model's engine, memory pool, blit queue and command ring, and their grades. */
  statistics(options: StatisticsOptions = {}): Promise<protocol.Statistics> {
    const { signal, ...params } = options;
    return this.#call("get_statistics", protocol.statisticsSchema, params, { signal });
  }

  /** State of the runtime and of each model. */
  health(options: CallOptions = {}): Promise<protocol.Health> {
    return this.#call("health", protocol.healthSchema, {}, options);
  }

  /** Settings in effect; of one section or setting when `path` ("engine.device") is given. */
  async getConfig(path?: string, options: CallOptions = {}): Promise<EffectiveConfig> {
    const schema = protocol.configResultSchema;
    const answer = await this.#call("get_config", schema, path === undefined ? {} : { path }, options);
    return { config: answer.config as Settings, origins: answer.origins };
  }

  /**
   * Changes settings, all or none; a restarted runtime gets them again.
   *
   * @returns What changed, and for each whether it holds now or from the next `loadModel` on.
   * @throws {@link ConfigValidationError} before anything is sent, {@link ConfigRefusedError}.
   */
  async setConfig(
    values: SettingsInput,
    options: CallOptions = {},
  ): Promise<protocol.SetConfigResult> {
    const flat = flatSettings(parseSettings(values));
    const schema = protocol.setConfigResultSchema;
    const answer = await this.#call("set_config", schema, { values: flat }, options);
    this.#journal.set(flat);
    return answer;
  }

  /** {@link loadModel} */
  load_model(
    model: string | (LoadModelOptions & { readonly model: string }),
    options?: LoadModelOptions,
  ): Promise<protocol.Model> {
    return typeof model === "string" ? this.loadModel(model, options) : this.loadModel(model);
  }

  /** {@link unloadModel} */
  unload_model(model?: string | UnloadModelOptions): Promise<void> {
    return this.unloadModel(model);
  }

  /** {@link listModels} */
  list_models(options?: CallOptions): Promise<protocol.Model[]> {
    return this.listModels(options);
  }

  /** {@link statistics} */
  getStatistics(options?: StatisticsOptions): Promise<protocol.Statistics> {
    return this.statistics(options);
  }

  /** {@link statistics} */
  get_statistics(options?: StatisticsOptions): Promise<protocol.Statistics> {
    return this.statistics(options);
  }

  /** {@link getConfig} */
  get_config(path?: string, options?: CallOptions): Promise<EffectiveConfig> {
    return this.getConfig(path, options);
  }

  /** {@link setConfig} */
  set_config(values: SettingsInput, options?: CallOptions): Promise<protocol.SetConfigResult> {
    return this.setConfig(values, options);
  }

  async #call<Schema extends z.ZodType>(
    method: string,
    schema: Schema,
    params: object,
    hooks: CallHooks,
  ): Promise<z.infer<Schema>> {
    const connection = await this.#supervisor.connection();
    return protocol.parseAnswer(method, schema, await connection.call(method, params, hooks));
  }

  #notified(method: string, params: Params): void {
    if (method === "generate_chunk") return;
    const progress = method === "load_progress" && protocol.loadProgressSchema.safeParse(params);
    if (progress && progress.success) this.emit("load_progress", progress.data);
    else this.emit("notification", { method, params });
  }

  async #restore(connection: Connection): Promise<Pick<RestartedEvent, "models" | "failures">> {
    const models: protocol.Model[] = [];
    const failures: RestoreFailure[] = [];
    for (const entry of this.#journal.entries) {
      try {
        const model = await restoreEntry(connection, entry);
        if (model) models.push(model);
      } catch (error) {
        if (!(error instanceof RpcError)) throw error;
        const name = entry.method === "load_model" ? entry.name : "";
        failures.push({ method: entry.method, name, error });
        if (name) this.#journal.unloaded(name);
      }
    }
    return { models, failures };
  }
}

type EmitAny = (name: string, ...data: unknown[]) => boolean;

const isTokens = (input: readonly number[] | DetokenizeOptions): input is readonly number[] =>
  Array.isArray(input);

async function restoreEntry(
  connection: Connection,
  entry: JournalEntry,
): Promise<protocol.Model | undefined> {
  if (entry.method === "set_config") {
    await connection.call("set_config", { values: entry.values });
    return undefined;
  }
  const answer = await connection.call("load_model", entry.params);
  return protocol.parseAnswer("load_model", protocol.loadResultSchema, answer).model;
}
