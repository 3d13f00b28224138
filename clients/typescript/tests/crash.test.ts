import { describe, expect, test } from "vitest";

import {
  type CrashedEvent,
  EngineStateError,
  type GenerateChunk,
  KrserveError,
  ModelLoadError,
  ProtocolError,
  RuntimeCrashedError,
} from "../src/index.js";
import { fake, failure, FAKE, nextEvent, started, temporaryFolder } from "./support.js";

// How the engine took the crash that `prompt` brings.
async function crashBy(prompt: string): Promise<RuntimeCrashedError> {
  const { engine } = await started();
  const restarted = nextEvent(engine, "restarted");
  const error = await failure(engine.generate({ prompt }).result);
  expect(error).toBeInstanceOf(RuntimeCrashedError);
  await restarted;
  expect((await engine.generate({ prompt: "three chunks" }).result).text).toBe("one two three");
  return error as RuntimeCrashedError;
}

describe("a crash", () => {
  test("in the middle of a generation gives its chunks, then the exit code and the log", async () => {
    const { engine } = await started();
    const seen: GenerateChunk[] = [];
    const loop = async (): Promise<void> => {
      for await (const chunk of engine.generate({ prompt: "crash after two chunks" })) seen.push(chunk);
    };
    const error = await failure(loop());
    expect(seen.map(({ text }) => text)).toEqual(["one ", "two "]);
    expect(error).toBeInstanceOf(RuntimeCrashedError);
    expect(error).toMatchObject({ reason: "exit", exitCode: 3, signal: null });
    expect((error as RuntimeCrashedError).stderr.slice(-2)).toEqual([
      "2026-01-01T00:00:00.000 [ERROR] [device.wait] the device is lost",
      "last words",
    ]);
    expect(error.message).toContain("exited with code 3");
    expect(error.message).toContain("last words");
  });

  test("inside a frame is an exit, not a bad frame", async () => {
    expect(await crashBy("crash inside a frame")).toMatchObject({ reason: "exit", exitCode: 4 });
  });

  test("by a signal has its name", async () => {
    const expected = { reason: "signal", exitCode: null, signal: "SIGABRT" };
    expect(await crashBy("die by a signal")).toMatchObject(expected);
  });

  test("is a closed pipe too", async () => {
    const expected = { reason: "closed_pipe", detail: "stdout", signal: "SIGKILL" };
    expect(await crashBy("close stdout")).toMatchObject(expected);
  });

  test("is a closed input", async () => {
    const { engine } = await started();
    await engine.complete({ prompt: "close stdin" });
    const expected = { reason: "closed_pipe", detail: "stdin" };
    expect(await failure(engine.health())).toMatchObject(expected);
  });

  test("is seen though a child of the runtime holds its pipes open", async () => {
    expect(await crashBy("leave a child with the pipes")).toMatchObject({ exitCode: 7 });
  });

  test("is a line that is not JSON", async () => {
    const error = await crashBy("garbage");
    expect(error.reason).toBe("bad_frame");
    expect(error.message).toContain("Traceback");
  });

  test("is a line that is not UTF-8", async () => {
    expect(await crashBy("not utf-8")).toMatchObject({ reason: "bad_frame" });
  });

  test("is JSON that is no frame", async () => {
    expect(await crashBy("valid json, no frame")).toMatchObject({ reason: "bad_frame", detail: '"42"' });
  });

  test("fails every call that is under way", async () => {
    const { engine } = await started();
    const waiting = [1, 2].map(() => engine.generate({ prompt: "wait for cancel" }).result);
    const silent = engine.generate({ prompt: "say nothing" }).next();
    engine.generate({ prompt: "die by a signal" });
    for (const promise of [...waiting, silent]) {
      expect(await failure(promise)).toBeInstanceOf(RuntimeCrashedError);
    }
  });
});

describe("the restart", () => {
  test("loads the models again under their names and tells of it", async () => {
    const { engine, recorded } = await started();
    await engine.loadModel("a", { name: "first", config: { engine: { threads: 1 } } });
    await engine.loadModel({ model: "b" });
    await engine.load_model("c");
    await engine.unloadModel("c");
    const events: string[] = [];
    for (const name of ["crashed", "restarted", "started", "stopped"] as const) {
      engine.on(name, () => void events.push(name));
    }
    const crashed = nextEvent(engine, "crashed");
    const restarted = nextEvent(engine, "restarted");
    const before = engine.pid;
    await failure(engine.complete({ prompt: "crash after two chunks" }));

    expect(await crashed).toMatchObject({ final: false, error: { exitCode: 3 } });
    const { models, failures, pid, version } = await restarted;
    expect(models.map(({ name, path }) => [name, path])).toEqual([["first", "a"], ["b", "b"]]);
    expect({ failures, version }).toEqual({ failures: [], version: "start 2" });
    expect(pid).toBe(engine.pid);
    expect(pid).not.toBe(before);
    expect((await engine.listModels()).map(({ name }) => name)).toEqual(["first", "b"]);
    expect(events).toEqual(["crashed", "restarted"]);
    const loads = recorded().filter(({ method }) => method === "load_model");
    expect(loads.slice(3).map(({ params }) => params)).toEqual([
      { model: "a", name: "first", config: { engine: { threads: 1 } } },
      { model: "b", name: "b" },
    ]);
  });

  test("sets what was set before, in its place among the loads", async () => {
    const { engine, recorded } = await started();
    await engine.setConfig({ engine: { parallel: 2 } });
    await engine.setConfig({ logging: { level: "debug" }, "engine.parallel": 4 });
    await engine.loadModel("a");
    await engine.setConfig({ logging: { level: "info" } });
    const restarted = nextEvent(engine, "restarted");
    await failure(engine.complete({ prompt: "crash after two chunks" }));
    await restarted;
    const all = recorded();
    const second = all.slice(all.findLastIndex((entry) => "argv" in entry));
    const told = second.filter(({ method }) => method === "set_config" || method === "load_model");
    expect(told.map(({ params }) => params)).toEqual([
      { values: { "engine.parallel": 4, "logging.level": "debug" } },
      { model: "a", name: "a" },
      { values: { "logging.level": "info" } },
    ]);
  });

  test("lets calls wait for it", async () => {
    const { engine } = await started();
    const states: string[] = [];
    const after = new Promise<string>((resolve) => {
      engine.once("crashed", () => {
        states.push(engine.state);
        resolve(engine.complete({ prompt: "three chunks" }).then(({ text }) => text));
      });
    });
    await failure(engine.complete({ prompt: "die by a signal" }));
    expect(await after).toBe("one two three");
    expect([...states, engine.state]).toEqual(["restarting", "running"]);
  });

  test("goes on without a model that cannot be loaded any more, and says so", async () => {
    const { engine } = await started();
    await engine.loadModel("works once");
    await engine.loadModel("a");
    const restarted = nextEvent(engine, "restarted");
    await failure(engine.complete({ prompt: "die by a signal" }));
    const { models, failures } = await restarted;
    expect(models.map(({ name }) => name)).toEqual(["a"]);
    expect(failures).toMatchObject([{ method: "load_model", name: "works once" }]);
    expect(failures[0]?.error).toBeInstanceOf(ModelLoadError);
  });

  test("does not load a model again whose unloading brought the crash", async () => {
    const { engine } = await started();
    await engine.loadModel("a", { name: "crash" });
    const restarted = nextEvent(engine, "restarted");
    expect(await failure(engine.unloadModel("crash"))).toMatchObject({ exitCode: 8 });
    expect((await restarted).models).toEqual([]);
  });

  test("happens once: a second crash within the window is final", async () => {
    const { engine } = await started();
    const crashes: CrashedEvent[] = [];
    engine.on("crashed", (event) => void crashes.push(event));
    const restarted = nextEvent(engine, "restarted");
    await failure(engine.complete({ prompt: "crash after two chunks" }));
    await restarted;
    expect(await failure(engine.complete({ prompt: "crash inside a frame" }))).toMatchObject({ exitCode: 4 });
    expect(crashes.map(({ final }) => final)).toEqual([false, true]);
    expect(engine.state).toBe("failed");
    expect(await failure(engine.health())).toMatchObject({ reason: "exit", exitCode: 4 });
  });

  test("is due again once the window has passed", async () => {
    const { engine } = await started({}, { restartWindowMs: 0 });
    for (const _ of [1, 2, 3]) {
      const restarted = nextEvent(engine, "restarted");
      await failure(engine.complete({ prompt: "die by a signal" }));
      await restarted;
    }
    expect(engine.state).toBe("running");
  });

  test("is final when the new runtime crashes before it answers", async () => {
    const { engine } = await started({ FAKE_AT_RESTART: "crash" });
    const final = new Promise<CrashedEvent>((resolve) => {
      engine.on("crashed", (event) => event.final && resolve(event));
    });
    await failure(engine.complete({ prompt: "die by a signal" }));
    expect(await failure(engine.health())).toMatchObject({ exitCode: 5 });
    expect((await final).error).toMatchObject({ exitCode: 5, stderr: ["again"] });
  });

  test("is final when the new runtime crashes at a model", async () => {
    const { engine } = await started();
    await engine.loadModel("crash at reload");
    await failure(engine.complete({ prompt: "die by a signal" }));
    expect(await failure(engine.listModels())).toMatchObject({ exitCode: 6 });
    expect(engine.state).toBe("failed");
  });

  test("is left out when it is switched off", async () => {
    const { engine } = await started({}, { restart: false });
    const crashed = nextEvent(engine, "crashed");
    await failure(engine.complete({ prompt: "die by a signal" }));
    expect((await crashed).final).toBe(true);
    expect(await failure(engine.health())).toBeInstanceOf(RuntimeCrashedError);
  });

  test("can be asked for by start() after the final crash", async () => {
    const { engine } = await started({}, { restart: false });
    await engine.loadModel("a");
    await failure(engine.complete({ prompt: "die by a signal" }));
    await engine.start();
    expect(engine.state).toBe("running");
    expect(await engine.listModels()).toEqual([]);
  });
});

describe("start", () => {
  test("does not repeat a first start that fails", async () => {
    const { engine, recorded } = fake({ FAKE_AT_START: "crash" });
    const error = await failure(engine.start());
    expect(error).toMatchObject({ reason: "exit", exitCode: 9, stderr: ["no such device"] });
    expect(recorded()).toHaveLength(1);
    expect(engine.state).toBe("stopped");
  });

  test("ends a runtime that does not answer in time", async () => {
    const { engine } = fake({ FAKE_AT_START: "hang" }, { startTimeoutMs: 200 });
    expect(await failure(engine.start())).toMatchObject({ reason: "start_timeout", detail: "200 ms" });
  });

  test("says that a program cannot be started", async () => {
    const { engine } = fake({}, { command: [temporaryFolder()] });
    expect(await failure(engine.start())).toMatchObject({ reason: "spawn", exitCode: null });
  });

  test("refuses a program that is not a runtime", async () => {
    const { engine } = fake({}, { command: ["/bin/sh", "-c", "echo hello; cat"] });
    expect(await failure(engine.start())).toMatchObject({ reason: "bad_frame", detail: '"hello"' });
    const echo = fake({}, { command: ["/bin/cat"] });
    expect(await failure(echo.engine.start())).toBeInstanceOf(KrserveError);
    expect([engine.state, echo.engine.state]).toEqual(["stopped", "stopped"]);
  });

  test("refuses a runtime whose health has another form", async () => {
    const answer = `read line; echo '{"jsonrpc":"2.0","id":1,"result":{}}'; cat >/dev/null`;
    const { engine } = fake({}, { command: ["/bin/sh", "-c", answer] });
    expect(await failure(engine.start())).toBeInstanceOf(ProtocolError);
    expect(engine.state).toBe("stopped");
  });

  test("waits while the runtime loads the model it was started with", async () => {
    const { engine, recorded } = await started({ FAKE_LOADING: "3" });
    expect(recorded().filter(({ method }) => method === "health")).toHaveLength(4);
    expect((await engine.health()).status).toBe("idle");
  });

  test("can be repeated, and starts one runtime", async () => {
    const { engine, recorded } = fake();
    const [first, second] = await Promise.all([engine.start(), engine.start()]);
    expect(second).toBe(first);
    expect(await engine.start()).toBe(first);
    expect(first).toMatchObject({ pid: engine.pid, command: [process.execPath, FAKE] });
    expect(recorded().filter((entry) => "argv" in entry)).toHaveLength(1);
  });

  test("hands over settings, secrets by the environment", async () => {
    const cwd = temporaryFolder();
    const { recorded } = await started({}, {
      cwd,
      preset: "all-on",
      configFile: "my.yaml",
      config: { server: { apiKey: "hush" }, engine: { threads: 1 } },
    });
    const argv = ["--preset", "all-on", "--config", "my.yaml", "--set", "engine.threads=1"];
    expect(recorded()[0]).toMatchObject({ argv, key: "hush", cwd });
  });
});

describe("stop", () => {
  test("asks for a drain and tells how it went", async () => {
    const { engine, recorded } = await started();
    const stopped = nextEvent(engine, "stopped");
    await engine.stop({ drainTimeoutS: 3 });
    expect(await stopped).toEqual({ exitCode: 0, signal: null, drained: true });
    expect(recorded().at(-1)).toEqual({ method: "shutdown", params: { drain_timeout_s: 3 } });
    expect([engine.state, engine.pid]).toEqual(["stopped", undefined]);
    await engine.stop();
  });

  test("ends a runtime that does not end", async () => {
    const { engine } = await started({ FAKE_AT_STOP: "hang" }, { exitGraceMs: 50 });
    const stopped = nextEvent(engine, "stopped");
    await engine.stop();
    expect(await stopped).toEqual({ exitCode: null, signal: "SIGTERM", drained: true });
  });

  test("ends a runtime that does not answer", async () => {
    const { engine } = await started({ FAKE_AT_STOP: "silence" }, { exitGraceMs: 50 });
    const stopped = nextEvent(engine, "stopped");
    await engine.stop({ drainTimeoutS: 0 });
    expect(await stopped).toEqual({ exitCode: null, signal: "SIGTERM", drained: false });
  });

  test("fails what was cut off", async () => {
    const { engine } = await started();
    const waiting = engine.generate({ prompt: "wait for cancel" });
    await waiting.next();
    const stopped = nextEvent(engine, "stopped");
    await engine.stop();
    expect(await failure(waiting.result)).toBeInstanceOf(EngineStateError);
    expect((await stopped).drained).toBe(false);
  });

  test("ends a start that is under way", async () => {
    const { engine } = fake({ FAKE_AT_START: "hang" });
    const start = failure(engine.start());
    const waiting = failure(engine.health());
    await engine.stop();
    expect(await start).toBeInstanceOf(EngineStateError);
    expect(await waiting).toBeInstanceOf(EngineStateError);
    expect(engine.state).toBe("stopped");
  });

  test("ends a restart that is under way, without an event of it", async () => {
    const { engine } = await started();
    const events: string[] = [];
    engine.on("restarted", () => void events.push("restarted"));
    engine.on("crashed", ({ final }) => void events.push(`crashed ${final}`));
    const crashed = nextEvent(engine, "crashed");
    engine.generate({ prompt: "die by a signal" });
    await crashed;
    await engine.stop();
    expect(events).toEqual(["crashed false"]);
    expect(engine.state).toBe("stopped");
  });

  test("can be followed by a start, even at once", async () => {
    const { engine } = await started();
    const stop = engine.stop();
    expect(await failure(engine.start())).toBeInstanceOf(EngineStateError);
    await stop;
    await engine.start();
    expect((await engine.health()).version).toBe("start 2");
  });

  test("comes with the end of an await using block", async () => {
    const { engine } = await started();
    {
      await using scoped = engine;
      expect(scoped.state).toBe("running");
    }
    expect(engine.state).toBe("stopped");
  });
});
