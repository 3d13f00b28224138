// Against the real program and the embedded model. KRSERVE_BINARY names another build than
// build/release; a missing one is a failure.
import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import path from "node:path";

import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";

import {
  AbortError,
  Engine,
  type GenerateOptions,
  type Generation,
  InvalidParamsError,
  InvalidRequestError,
  type LogEvent,
  ModelLoadError,
  ModelNotLoadedError,
  OutOfMemoryError,
  RuntimeCrashedError,
} from "../src/index.js";
import { BINARY, failure, newEngine, nextEvent, ROOT } from "./support.js";

const MODEL = path.join(ROOT, "models", "tiny");
const QUESTION: GenerateOptions = {
  messages: [{ role: "user", content: "What is 17 + 25?" }],
  temperature: 0,
  maxTokens: 32,
};
// To the end of the context.
const LONG: GenerateOptions = { prompt: "Once upon a time", temperature: 0, ignoreEos: true };
const OPTIONS = { command: BINARY, cwd: ROOT } as const;

// Eight at once, so that none is near its end when the first has begun.
const longOnes = (engine: Engine, more: GenerateOptions = {}): [Generation, ...Generation[]] => [
  engine.generate({ ...LONG, ...more }),
  ...Array.from({ length: 7 }, () => engine.generate({ ...LONG, ...more })),
];

test("krserve config --schema is what config/schema.json has", () => {
  const printed = execFileSync(BINARY, ["config", "--schema"], { encoding: "utf8" });
  expect(printed).toBe(readFileSync(path.join(ROOT, "config", "schema.json"), "utf8"));
});

describe("one runtime", () => {
  const engine = new Engine({ ...OPTIONS, preset: "all-on", config: { engine: { threads: 2 } } });

  const logged: LogEvent[] = [];

  beforeAll(async () => {
    engine.on("log", (event) => logged.push(event));
    await engine.start();
    await engine.loadModel(MODEL, { name: "tiny" });
  });
  afterAll(() => engine.stop());

  test("tells what it logs, with the level", async () => {
    const line = expect.stringContaining("[INFO] [engine.create] tiny:") as string;
    await vi.waitFor(() => expect(logged).toContainEqual({ line, level: "info" }));
  });

  test("answers, in chunks that add up to the result", async () => {
    const generation = engine.generate(QUESTION);
    let text = "";
    const tokens: number[] = [];
    for await (const chunk of generation) {
      text += chunk.text;
      tokens.push(...chunk.tokens);
    }
    const result = await generation.result;
    expect(result.text).toContain("42");
    expect({ text, tokens }).toEqual({ text: result.text, tokens: result.tokens });
    expect(result.finish_reason).toBe("stop");
    expect(result.usage.total_tokens).toBe(result.usage.prompt_tokens + result.usage.completion_tokens);
    expect(result.timings.total_ms).toBeGreaterThan(0);
  });

  test("gives the same without streaming, and when several run at once", async () => {
    const alone = await engine.complete(QUESTION);
    const together = await Promise.all([1, 2, 3, 4].map(() => engine.generate(QUESTION).collect()));
    expect(together.map(({ tokens }) => tokens)).toEqual(Array(4).fill(alone.tokens));
  });

  test("stops at max_tokens", async () => {
    const result = await engine.complete({ ...LONG, maxTokens: 5 });
    expect(result.finish_reason).toBe("length");
    expect(result.usage.completion_tokens).toBe(5);
  });

  test("is cancelled by leaving the loop", async () => {
    const [generation, ...others] = longOnes(engine);
    for await (const chunk of generation) if (chunk.index >= 0) break;
    for (const other of others) other.cancel();
    const result = await generation.result;
    expect(result.finish_reason).toBe("cancelled");
    expect(result.usage.completion_tokens).toBe(result.tokens.length);
    expect(result.tokens.length).toBeGreaterThan(0);
    for (const other of others) await other.collect();
  });

  test("is cancelled by a signal, and free again after it", async () => {
    const abort = new AbortController();
    const generations = longOnes(engine, { signal: abort.signal });
    await generations[0].next();
    abort.abort();
    for (const { result } of generations) expect(await failure(result)).toBeInstanceOf(AbortError);
    expect((await engine.complete(QUESTION)).text).toContain("42");
    const running = async () => (await engine.statistics()).engine.requests_running;
    await expect.poll(running).toBe(0);
  });

  test("gives tokens for text and text for tokens, any line end in it", async () => {
    const text = "What is 17 + 25?\u2028 žü";
    const { tokens, count } = await engine.tokenize(text);
    expect(tokens).toHaveLength(count);
    expect(await engine.detokenize(tokens)).toBe(text);
    const messages = [{ role: "user", content: "hi" }] as const;
    expect((await engine.tokenize({ messages })).count).toBeGreaterThan(2);
  });

  test("has statistics with the six grades", async () => {
    await engine.complete(QUESTION);
    const statistics = await engine.statistics({ model: "tiny" });
    expect(statistics.model).toBe("tiny");
    expect(statistics.memory_pool.enabled).toBe(true);
    expect(statistics.command_buffer_ring.total_acquisitions).toBeGreaterThan(0);
    expect(statistics.engine.generation_tokens_total).toBeGreaterThan(0);
    expect(statistics.status).toHaveLength(6);
    await engine.statistics({ reset: true });
    expect((await engine.statistics()).command_buffer_ring.total_acquisitions).toBe(0);
  });

  test("has health and a list of models", async () => {
    const health = await engine.health();
    expect(health).toMatchObject({ status: "ok", pid: engine.pid });
    expect(health.models.map(({ name, status }) => [name, status])).toEqual([["tiny", "ok"]]);
    const [model] = await engine.listModels();
    expect(model).toMatchObject({ name: "tiny", device: expect.stringContaining("cpu") });
    expect(model?.vocab_size).toBeGreaterThan(100);
  });

  test("has settings with their origins, and changes them all or none", async () => {
    const { config, origins } = await engine.getConfig();
    expect(config.engine?.threads).toBe(2);
    expect(config.metal_optimizations?.enabled).toBe(true);
    expect(config.server).not.toHaveProperty("api_key");
    expect(origins["engine.threads"]).toBe("--set");
    const { changed, effective } = await engine.setConfig({ logging: { level: "warn" } });
    expect(changed).toEqual(["logging.level"]);
    expect(effective).toEqual({ "logging.level": "now" });
    expect((await engine.getConfig("logging.level")).config.logging?.level).toBe("warn");
  });

  test("answers mistakes with typed errors", async () => {
    const unknown = engine.complete({ ...QUESTION, temperatur: 1 } as GenerateOptions);
    expect(await failure(unknown)).toMatchObject({ param: "temperatur" });
    expect(await failure(engine.complete({ ...QUESTION, topP: 7 }))).toBeInstanceOf(InvalidParamsError);
    const other = engine.complete({ ...QUESTION, model: "other" });
    expect(await failure(other)).toMatchObject({ loaded: ["tiny"] });
    expect(await failure(engine.loadModel(path.join(ROOT, "docs")))).toBeInstanceOf(ModelLoadError);
    const twice = engine.loadModel(MODEL, { name: "tiny" });
    expect(await failure(twice)).toBeInstanceOf(InvalidParamsError);
  });

  test("loads and unloads a second model with settings of its own", async () => {
    const fractions: number[] = [];
    const second = await engine.loadModel(MODEL, {
      name: "second",
      config: { engine: { ctxSize: 256 } },
      onProgress: ({ fraction }) => fractions.push(fraction),
    });
    expect(second.context_length).toBe(256);
    expect(fractions.at(-1)).toBe(1);
    const missing = failure(engine.complete(QUESTION));
    expect((await engine.complete({ ...QUESTION, model: "second" })).text).toContain("42");
    expect(await missing).not.toBeInstanceOf(InvalidRequestError);
    await engine.unloadModel("second");
    expect((await engine.listModels()).map(({ name }) => name)).toEqual(["tiny"]);
  });
});

test("a killed runtime is restarted with its model, under the same name", async () => {
  const engine = newEngine(OPTIONS);
  await engine.start();
  expect(await failure(engine.complete(QUESTION))).toBeInstanceOf(ModelNotLoadedError);
  await engine.loadModel("tiny", { name: "mine" });
  const restarted = nextEvent(engine, "restarted");
  const [generation] = longOnes(engine, { model: "mine" });
  await generation.next();
  process.kill(engine.pid ?? 0, "SIGKILL");
  const error = await failure(generation.result);
  expect(error).toBeInstanceOf(RuntimeCrashedError);
  expect(error).toMatchObject({ reason: "signal", signal: "SIGKILL", exitCode: null });
  expect((await restarted).models.map(({ name }) => name)).toEqual(["mine"]);
  expect((await engine.complete({ ...QUESTION, model: "mine" })).text).toContain("42");
});

test("stop lets a running generation finish and the program end with 0", async () => {
  const engine = newEngine(OPTIONS);
  await engine.start();
  await engine.loadModel("tiny");
  const generation = engine.generate({ ...LONG, maxTokens: 50 });
  await generation.next();
  const stopped = nextEvent(engine, "stopped");
  await engine.stop();
  expect((await generation.result).finish_reason).toBe("length");
  expect(await stopped).toEqual({ exitCode: 0, signal: null, drained: true });
});

test("a program that does not come up leaves its exit code and its message", async () => {
  const engine = newEngine({ ...OPTIONS, configFile: "no/such/file.yaml" });
  const error = await failure(engine.start());
  expect(error).toMatchObject({ reason: "exit", exitCode: 78 });
  expect((error as RuntimeCrashedError).stderr.join("\n")).toContain("no/such/file.yaml");
});

test("memory that there is no room for is an OutOfMemoryError, and the runtime goes on", async () => {
  const engine = newEngine(OPTIONS);
  await engine.start();
  const config = {
    metal_optimizations: {
      enabled: true,
      graceful_fallback: false,
      memory_pool: { enabled: true, heap_size_mb: 1024 },
    },
    "memory.limit_mb": 64,
  };
  const error = await failure(engine.loadModel("tiny", { config }));
  expect(error).toBeInstanceOf(OutOfMemoryError);
  expect(error.message).toContain("memory.limit_mb");
  expect((await engine.health()).status).toBe("idle");
});
