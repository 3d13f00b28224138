// A generation under way: an iterator over its chunks, and the promise of its result.
import { AbortError, type KrserveError, ProtocolError } from "./errors.js";
import { chunkSchema, type GenerateChunk, type GenerateResult } from "./protocol.js";

const DEFAULT_MAX_BUFFERED = 256;

/** Where the engine tells a generation of its request. */
export interface GenerationSink {
  /** Called right before the request goes out, with its id. */
  sending(request: number): void;
  /** Takes the parameters of a generate_chunk. */
  add(params: unknown): void;
  /** False once the request need not go out any more. */
  wanted(): boolean;
}

/** How the engine serves a generation. */
export interface GenerationBackend {
  /** Sends the request and gives its answer. */
  run(sink: GenerationSink): Promise<GenerateResult>;
  /** Asks the runtime to cancel the request. */
  cancel(request: number): void;
}

type Chunk = { index: number; text: string; tokens: number[] };
type Waiter = {
  resolve(result: IteratorResult<GenerateChunk, undefined>): void;
  reject(error: unknown): void;
};

/**
 * Chunks of text as they are generated; see {@link Engine.generate}.
 *
 * The request goes out at once, whether or not anything reads. Nothing is lost to a slow reader:
 * above `maxBufferedChunks`, chunks that wait are joined, so what is kept is bounded by the text
 * itself. Leaving the loop early (`break`, `return`, an exception) cancels the generation.
 */
export class Generation implements AsyncIterableIterator<GenerateChunk, undefined> {
  /**
   * Resolves when the generation has ended, with all of its text, whether the chunks were read or
   * not. After {@link cancel} or an early end of the loop it has what was made until then and
   * `finish_reason` "cancelled".
   *
   * Rejects with {@link AbortError}, {@link RuntimeCrashedError} or the {@link RpcError} that the
   * runtime answered with. It may be left alone: a rejection is then not "unhandled".
   */
  readonly result: Promise<GenerateResult>;

  readonly #backend: GenerationBackend;
  readonly #maxBuffered: number;
  readonly #waiting: Waiter[] = [];
  #chunks: Chunk[] = [];
  #reject: (error: KrserveError) => void = () => {};
  #request: number | undefined;
  #cancelled = false;
  #unread = false;
  #ended = false;
  #error: unknown;

  /** @internal */
  constructor(backend: GenerationBackend, signal?: AbortSignal, maxBuffered?: number) {
    this.#backend = backend;
    this.#maxBuffered = Math.max(maxBuffered ?? DEFAULT_MAX_BUFFERED, 1);
    this.result = this.#run(signal);
    this.result.then(
      () => this.#end(),
      (error: unknown) => this.#end(error),
    );
  }

  /** The next chunk; `done` after the last. Rejects like {@link result}, once. */
  next(): Promise<IteratorResult<GenerateChunk, undefined>> {
    const chunk = this.#chunks.shift();
    if (chunk) return Promise.resolve({ done: false, value: chunk });
    if (this.#error !== undefined) {
      const error = this.#error;
      this.#error = undefined;
      return Promise.reject(error);
    }
    if (this.#ended || this.#unread) return Promise.resolve({ done: true, value: undefined });
    return new Promise((resolve, reject) => this.#waiting.push({ resolve, reject }));
  }

  /** Ends the iteration and cancels; what `for await` calls when a loop is left early. */
  return(): Promise<IteratorResult<GenerateChunk, undefined>> {
    this.cancel();
    this.#stopReading();
    return Promise.resolve({ done: true, value: undefined });
  }

  /** Asks the runtime to stop here; chunks that came before are still read. Never throws. */
  cancel(): void {
    if (this.#cancelled || this.#ended) return;
    this.#cancelled = true;
    if (this.#request !== undefined) this.#backend.cancel(this.#request);
    else this.#reject(new AbortError("generate", "cancelled before it was sent"));
  }

  /** Lets the chunks go and waits for {@link result}. */
  collect(): Promise<GenerateResult> {
    this.#stopReading();
    return this.result;
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.return();
  }

  // Races the answer against the abort, which does not wait for the runtime.
  #run(signal: AbortSignal | undefined): Promise<GenerateResult> {
    return new Promise((resolve, reject) => {
      this.#reject = reject;
      const abort = (): void => {
        reject(new AbortError("generate", signal?.reason));
        this.#chunks = [];
        this.cancel();
      };
      if (signal?.aborted) return abort();
      signal?.addEventListener("abort", abort, { once: true });
      const sink: GenerationSink = {
        sending: (request) => void (this.#request = request),
        add: (params) => this.#add(params),
        wanted: () => !this.#cancelled,
      };
      const settled = (): void => signal?.removeEventListener("abort", abort);
      void this.#backend.run(sink).then(resolve, reject).finally(settled);
    });
  }

  #add(params: unknown): void {
    if (this.#unread || this.#ended) return;
    const parsed = chunkSchema.safeParse(params);
    if (!parsed.success) {
      this.#reject(new ProtocolError(`generate_chunk has an unknown form: ${parsed.error.message}`));
      return this.cancel();
    }
    const { index, text, tokens } = parsed.data;
    const waiter = this.#waiting.shift();
    if (waiter) return waiter.resolve({ done: false, value: { index, text, tokens } });
    const last = this.#chunks.at(-1);
    if (!last || this.#chunks.length < this.#maxBuffered) {
      this.#chunks.push({ index, text, tokens });
      return;
    }
    last.text += text;
    last.tokens.push(...tokens);
  }

  #stopReading(): void {
    this.#unread = true;
    this.#chunks = [];
    for (const waiter of this.#waiting.splice(0)) waiter.resolve({ done: true, value: undefined });
  }

  #end(error?: unknown): void {
    this.#ended = true;
    const [first, ...others] = this.#waiting.splice(0);
    if (first && error !== undefined) first.reject(error);
    else first?.resolve({ done: true, value: undefined });
    for (const waiter of others) waiter.resolve({ done: true, value: undefined });
    if (!first && !this.#unread) this.#error = error;
  }
}
