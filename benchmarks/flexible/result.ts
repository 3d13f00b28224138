// The result file and the summary on the terminal; docs/BENCHMARKS.md describes both.
import { mkdir, rename, writeFile } from "node:fs/promises";
import os from "node:os";
import path from "node:path";

import type { Model, Statistics } from "../../clients/typescript/src/index.js";
import type { Options } from "./options.js";

/** One answered question. Times as the runtime measured them, but for latency_ms. */
export interface Answer {
  readonly id: string;
  readonly category: string;
  readonly run: number;
  readonly prompt_tokens: number;
  readonly cached_tokens: number;
  readonly completion_tokens: number;
  readonly finish_reason: string;
  readonly queue_ms: number;
  readonly prefill_ms: number;
  readonly decode_ms: number;
  readonly ttft_ms: number;
  /** Of decoding; null for an answer of one token. */
  readonly tokens_per_second: number | null;
  /** From asking until the last chunk was here. */
  readonly latency_ms: number;
  /** Device busy time by the request's time; null where questions run beside each other. */
  readonly device_utilization: number | null;
}

export interface Failure {
  readonly id: string;
  readonly category: string;
  readonly run: number;
  readonly error: string;
}

/** All questions once. */
export interface Run {
  readonly run: number;
  readonly wall_s: number;
  readonly completion_tokens: number;
  readonly tokens_per_second: number;
  readonly device_utilization: number | null;
}

export interface Measured {
  readonly results: (Answer | Failure)[];
  readonly runs: Run[];
  complete: boolean;
}

export interface Setting {
  readonly options: Options;
  readonly questions: number;
  readonly template: boolean;
  readonly version: string;
  readonly command: readonly string[];
  readonly model: Model;
  readonly config: unknown;
  readonly before: Statistics | null;
  readonly after: Statistics | null;
}

interface Spread {
  readonly median: number;
  readonly p10: number;
  readonly p90: number;
  readonly count: number;
}

// Linear between the two nearest.
function quantile(sorted: readonly number[], at: number): number {
  const place = (sorted.length - 1) * at;
  const low = sorted[Math.floor(place)] as number;
  const high = sorted[Math.ceil(place)] as number;
  return low + (high - low) * (place - Math.floor(place));
}

export function spread(values: readonly (number | null)[]): Spread | null {
  const sorted = values.filter((value) => value !== null).sort((a, b) => a - b);
  if (sorted.length === 0) return null;
  const [p10, median, p90] = [0.1, 0.5, 0.9].map((at) => quantile(sorted, at));
  return { median: median as number, p10: p10 as number, p90: p90 as number, count: sorted.length };
}

export const isAnswer = (entry: Answer | Failure): entry is Answer => !("error" in entry);

function summaryOf({ results, runs }: Measured): Record<string, Spread | null> {
  const answers = results.filter(isAnswer);
  return {
    tokens_per_second: spread(answers.map((a) => a.tokens_per_second)),
    ttft_ms: spread(answers.map((a) => a.ttft_ms)),
    latency_ms: spread(answers.map((a) => a.latency_ms)),
    device_utilization: spread(answers.map((a) => a.device_utilization)),
    run_tokens_per_second: spread(runs.map((r) => r.tokens_per_second)),
    run_device_utilization: spread(runs.map((r) => r.device_utilization)),
  };
}

function machine(): Record<string, unknown> {
  return {
    os: `${os.type()} ${os.release()}`,
    architecture: os.arch(),
    cpu: os.cpus()[0]?.model ?? "unknown",
    cores: os.availableParallelism(),
    memory_gib: Math.round((os.totalmem() / 2 ** 30) * 10) / 10,
    node: process.version,
  };
}

export function resultOf(setting: Setting, measured: Measured): Record<string, unknown> {
  const { options, model } = setting;
  return {
    format: "krserve.benchmark/1",
    date: new Date().toISOString(),
    command: ["npx", "tsx", "benchmarks/flexible-benchmark.ts", ...process.argv.slice(2)].join(" "),
    complete: measured.complete,
    machine: machine(),
    krserve: { version: setting.version, command: setting.command },
    device: { name: model.device },
    model,
    options: {
      question_set: options.questionSet,
      questions: setting.questions,
      chat_template: setting.template,
      max_tokens: options.maxTokens,
      ignore_eos: options.ignoreEos,
      temperature: options.temperature,
      seed: options.seed,
      concurrency: options.concurrency,
      warmup: options.warmup,
      repeat: options.repeat,
    },
    config: setting.config,
    summary: summaryOf(measured),
    runs: measured.runs,
    statistics: { before: setting.before, after: setting.after },
    results: measured.results,
  };
}

/** Whole or not at all: written beside and moved. */
export async function writeResult(file: string, result: unknown): Promise<void> {
  await mkdir(path.dirname(path.resolve(file)), { recursive: true });
  const fresh = `${file}.${process.pid}.part`;
  await writeFile(fresh, `${JSON.stringify(result, null, 2)}\n`);
  await rename(fresh, file);
}

function line(name: string, found: Spread | null, unit: string, digits: number, scale = 1): string {
  if (!found) return `${name.padEnd(14)}not measured`;
  const [median, p10, p90] = [found.median, found.p10, found.p90].map((value) =>
    (value * scale).toFixed(digits),
  );
  return `${name.padEnd(14)}${median}${unit}  (10% to 90%: ${p10} to ${p90}, ${found.count} values)`;
}

export function summaryText(setting: Setting, measured: Measured): string {
  const summary = summaryOf(measured);
  const alone = setting.options.concurrency === 1;
  const failed = measured.results.filter((entry) => !isAnswer(entry)).length;
  const answered = measured.results.length - failed;
  const lines = [
    `${setting.model.name} on ${setting.model.device}: ${answered} answers` +
      (failed > 0 ? `, ${failed} failed` : "") +
      (measured.complete ? "" : ", interrupted"),
    alone
      ? line("Throughput:", summary["tokens_per_second"] ?? null, " tok/s", 2)
      : line("Throughput:", summary["run_tokens_per_second"] ?? null, " tok/s of all together", 2),
    line("TTFT:", summary["ttft_ms"] ?? null, " ms", 1),
    line("Latency:", summary["latency_ms"] ?? null, " ms", 1),
    line(
      "GPU Util:",
      summary[alone ? "device_utilization" : "run_device_utilization"] ?? null,
      "%",
      0,
      100,
    ),
  ];
  for (const graded of setting.after?.status ?? []) {
    const value = graded.value === null ? "no data" : String(Math.round(graded.value * 1000) / 1000);
    lines.push(`  ${graded.component} ${graded.metric}: ${value} (${graded.grade})`);
  }
  return lines.join("\n");
}
