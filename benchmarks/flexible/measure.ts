// Asks the questions and takes the times.
import type { Engine, GenerateOptions, Statistics } from "../../clients/typescript/src/index.js";
import type { Options } from "./options.js";
import type { Question } from "./questions.js";
import type { Answer, Failure, Measured, Run } from "./result.js";

/** Told of each question that ended. */
export type Progress = (done: number, all: number) => void;

const MS = 1e-6;

function busyNs(statistics: Statistics): number | null {
  const value = statistics.engine["device_busy_ns"];
  return typeof value === "number" ? value : null;
}

// Busy time may reach past the request: a step that was already under way when it ended.
function ratio(busy: number | null, wallMs: number): number | null {
  return busy === null || wallMs <= 0 ? null : Math.min((busy * MS) / wallMs, 1);
}

export class Measurement {
  readonly measured: Measured = { results: [], runs: [], complete: false };
  readonly #engine: Engine;
  readonly #options: Options;
  readonly #template: boolean;
  readonly #stop: AbortSignal;

  constructor(engine: Engine, options: Options, template: boolean, stop: AbortSignal) {
    this.#engine = engine;
    this.#options = options;
    this.#template = template;
    this.#stop = stop;
  }

  /** Not recorded; a failure is thrown. Begins at the end, so that no cache knows the first ones. */
  async warmUp(questions: readonly Question[]): Promise<void> {
    for (const question of questions.slice().reverse().slice(0, this.#options.warmup)) {
      if (this.#stop.aborted) return;
      await this.#engine.generate(this.#request(question)).result;
    }
  }

  async run(questions: readonly Question[], progress: Progress): Promise<void> {
    const all = questions.length * this.#options.repeat;
    for (let run = 0; run < this.#options.repeat && !this.#stop.aborted; run++) {
      const first = this.measured.results.length;
      const before = await this.#busy();
      const start = performance.now();
      await this.#ask(questions, run, () => progress(this.measured.results.length, all));
      const wallMs = performance.now() - start;
      if (this.#stop.aborted) return;
      const after = await this.#busy();
      const busy = before === null || after === null ? null : after - before;
      this.measured.runs.push(this.#summed(run, first, wallMs, busy));
    }
    this.measured.complete = !this.#stop.aborted;
  }

  #request(question: Question): GenerateOptions {
    const asked = this.#template
      ? { messages: [{ role: "user" as const, content: question.text }] }
      : { prompt: question.text };
    return {
      ...asked,
      max_tokens: this.#options.maxTokens,
      temperature: this.#options.temperature,
      seed: this.#options.seed,
      ignore_eos: this.#options.ignoreEos,
      signal: this.#stop,
    };
  }

  // As many at once as asked for, each taking the next question.
  async #ask(questions: readonly Question[], run: number, done: () => void): Promise<void> {
    let next = 0;
    const worker = async (): Promise<void> => {
      while (next < questions.length && !this.#stop.aborted) {
        const entry = await this.#answer(questions[next++] as Question, run);
        if (!entry) return;
        this.measured.results.push(entry);
        done();
      }
    };
    await Promise.all(Array.from({ length: this.#options.concurrency }, worker));
  }

  /** undefined: interrupted. */
  async #answer(question: Question, run: number): Promise<Answer | Failure | undefined> {
    const { id, category } = question;
    const alone = this.#options.concurrency === 1;
    try {
      const before = alone ? await this.#busy() : null;
      const start = performance.now();
      const result = await this.#engine.generate(this.#request(question)).result;
      const latencyMs = performance.now() - start;
      const after = alone ? await this.#busy() : null;
      if (this.#stop.aborted) return undefined;
      const { usage, timings } = result;
      const busy = before === null || after === null ? null : after - before;
      return {
        id,
        category,
        run,
        prompt_tokens: usage.prompt_tokens,
        cached_tokens: usage.cached_tokens,
        completion_tokens: usage.completion_tokens,
        finish_reason: result.finish_reason,
        queue_ms: timings.queue_ms,
        prefill_ms: timings.prefill_ms,
        decode_ms: timings.decode_ms,
        ttft_ms: timings.ttft_ms,
        tokens_per_second: usage.completion_tokens > 1 ? timings.tokens_per_second : null,
        latency_ms: latencyMs,
        device_utilization: ratio(busy, timings.total_ms),
      };
    } catch (error) {
      if (this.#stop.aborted) return undefined;
      if (this.#engine.state === "failed") throw error;
      return { id, category, run, error: (error as Error).message };
    }
  }

  async #busy(): Promise<number | null> {
    try {
      return busyNs(await this.#engine.statistics());
    } catch {
      return null; // the answers tell what is wrong
    }
  }

  #summed(run: number, first: number, wallMs: number, busy: number | null): Run {
    const answers = this.measured.results.slice(first);
    const tokens = answers.map((entry) => ("error" in entry ? 0 : entry.completion_tokens));
    const sum = tokens.reduce((total, count) => total + count, 0);
    return {
      run,
      wall_s: wallMs / 1e3,
      completion_tokens: sum,
      tokens_per_second: sum / (wallMs / 1e3),
      device_utilization: ratio(busy, wallMs),
    };
  }
}
