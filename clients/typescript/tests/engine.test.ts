import { describe, expect, test } from "vitest";

import * as krserve from "../src/index.js";
import { fake, failure, nextEvent, shared, started } from "./support.js";

const running = shared();

describe("errors", () => {
  const classes = {
    "-32700": krserve.RpcParseError,
    "-32600": krserve.InvalidRequestError,
    "-32601": krserve.MethodNotFoundError,
    "-32602": krserve.InvalidParamsError,
    "-32603": krserve.InternalError,
    "-32001": krserve.ModelNotLoadedError,
    "-32002": krserve.ModelLoadError,
    "-32003": krserve.OutOfMemoryError,
    "-32004": krserve.OverloadedError,
    "-32005": krserve.DeviceError,
    "-32006": krserve.RequestFailedError,
    "-32007": krserve.ConfigRefusedError,
    "-32099": krserve.RpcError,
  };

  test("of each code have a class, the runtime's message and its data", async () => {
    const { engine } = running();
    for (const [code, expected] of Object.entries(classes)) {
      const error = await failure(engine.complete({ prompt: `error ${code}` }));
      expect(error.constructor, code).toBe(expected);
      expect(error).toBeInstanceOf(krserve.KrserveError);
      expect(error).toMatchObject({
        name: expected.name,
        message: `[test.error] ${code}`,
        code: Number(code),
        kind: "of the test",
        method: "generate",
      });
    }
  });

  test("have their data by name", async () => {
    const { engine } = running();
    const error = (code: number) => failure(engine.complete({ prompt: `error ${code}` }));
    expect(await error(-32602)).toMatchObject({ param: "top_p" });
    expect(await error(-32601)).toMatchObject({ methods: ["health"] });
    expect(await error(-32001)).toMatchObject({ loaded: ["m"] });
  });
});

describe("models", () => {
  test("are loaded with progress as events and to the caller", async () => {
    const { engine } = running();
    const events: krserve.LoadProgress[] = [];
    engine.on("load_progress", (progress) => void events.push(progress));
    const own: number[] = [];
    const model = await engine.loadModel("a", { onProgress: ({ fraction }) => own.push(fraction) });
    expect(model).toMatchObject({ name: "a", context_length: 64, device: "fake" });
    expect(own).toEqual([0, 1]);
    expect(events.map(({ model, fraction, what }) => [model, fraction, what])).toEqual([
      ["a", 0, "weights"],
      ["a", 1, "weights"],
    ]);
  });

  test("take settings of their own in both spellings, checked here", async () => {
    const { engine, recorded } = running();
    await engine.loadModel({ model: "a", config: { engine: { kvType: "bf16" } } });
    expect(recorded().at(-1)?.["params"]).toEqual({ model: "a", config: { engine: { kv_type: "bf16" } } });
    const wrong = engine.loadModel("a", { config: { engine: { threads: -1 } } });
    expect(await failure(wrong)).toBeInstanceOf(krserve.ConfigValidationError);
  });

  test("that cannot be loaded or are not there are typed errors", async () => {
    const { engine } = running();
    expect(await failure(engine.loadModel("damaged"))).toBeInstanceOf(krserve.ModelLoadError);
    expect(await failure(engine.unloadModel("x"))).toBeInstanceOf(krserve.ModelNotLoadedError);
  });

  test("are unloaded by name, by force, or the only one", async () => {
    const { engine, recorded } = running();
    await engine.loadModel("a");
    await engine.loadModel("b");
    await engine.unload_model({ model: "a", force: true });
    expect(recorded().at(-1)?.["params"]).toEqual({ model: "a", force: true });
    await engine.unloadModel();
    expect(await engine.list_models()).toEqual([]);
  });
});

test("text and tokens go both ways", async () => {
  const { engine, recorded } = running();
  expect(await engine.tokenize("hi")).toEqual({ tokens: [104, 105], count: 2 });
  await engine.tokenize({ text: "hi", addSpecialTokens: false });
  expect(recorded().at(-1)?.["params"]).toEqual({ text: "hi", add_special_tokens: false });
  expect(await engine.detokenize([104, 105])).toBe("hi");
  expect(await engine.detokenize({ tokens: [104], skipSpecialTokens: true })).toBe("h");
});

test("settings are checked before they are sent", async () => {
  const { engine, recorded } = running();
  const changed = await engine.set_config({ logging: { level: "debug" } });
  expect(changed).toEqual({ changed: ["logging.level"], effective: { "logging.level": "now" } });
  const before = recorded().length;
  const wrong = engine.setConfig({ logging: { level: "loud" as "debug" } });
  expect(await failure(wrong)).toBeInstanceOf(krserve.ConfigValidationError);
  expect(recorded()).toHaveLength(before);
  expect(() => fake({}, { config: { server: { port: -1 } } })).toThrow(krserve.ConfigValidationError);
});

test("a request above the runtime's frame limit is refused here", async () => {
  const { engine } = await started({ FAKE_FRAME_MB: "1" });
  expect((await engine.tokenize("x".repeat(1000))).count).toBe(1000);
  const error = await failure(engine.tokenize("x".repeat(1024 * 1024)));
  expect(error).toBeInstanceOf(krserve.InvalidRequestError);
  expect(error.message).toContain("rpc.max_frame_mb");
  expect((await engine.health()).status).toBe("idle");
});

test("log lines are events with their level", async () => {
  const { engine } = fake();
  const log = nextEvent(engine, "log");
  await engine.start();
  expect(await log).toEqual({
    line: "2026-01-01T00:00:00.000 [INFO] fake runtime is up",
    level: "info",
  });
});

test("started tells what runs", async () => {
  const { engine } = fake();
  const event = nextEvent(engine, "started");
  const info = await engine.start();
  expect(await event).toBe(info);
  expect(info).toMatchObject({ pid: engine.pid, version: "start 1" });
});

test("two engines are independent", async () => {
  const [one, two] = [running(), await started()];
  await one.engine.loadModel("a");
  expect(await two.engine.listModels()).toEqual([]);
  expect(one.engine.pid).not.toBe(two.engine.pid);
});
