import { describe, expect, expectTypeOf, test } from "vitest";

import {
  AbortError,
  EngineStateError,
  type GenerateChunk,
  type Generation,
  InvalidParamsError,
  ProtocolError,
} from "../src/index.js";
import { fake, failure, nextEvent, shared } from "./support.js";

const running = shared();

async function texts(generation: Generation): Promise<string[]> {
  const found: string[] = [];
  for await (const chunk of generation) found.push(chunk.text);
  return found;
}

describe("generate", () => {
  test("iterates over typed chunks and resolves to the whole", async () => {
    const { engine } = running();
    const generation = engine.generate({ prompt: "three chunks" });
    const chunks: GenerateChunk[] = [];
    for await (const chunk of generation) {
      expectTypeOf(chunk).toEqualTypeOf<GenerateChunk>();
      chunks.push(chunk);
    }
    expect(chunks).toEqual([
      { index: 0, text: "one ", tokens: [0] },
      { index: 1, text: "two ", tokens: [1] },
      { index: 2, text: "three", tokens: [2] },
    ]);
    const { text, finish_reason, usage, timings } = await generation.result;
    expect({ text, finish_reason }).toEqual({ text: "one two three", finish_reason: "stop" });
    expect(usage.completion_tokens).toBe(13);
    expect(timings.tokens_per_second).toBe(1000);
    expect(await generation.next()).toEqual({ done: true, value: undefined });
  });

  test("sends both spellings under the protocol's names and leaves inner names alone", async () => {
    const { engine, recorded } = running();
    await engine.generate({
      prompt: "three chunks",
      maxTokens: 5,
      top_p: 0.5,
      logitBias: { 7: -100 },
      chatTemplateKwargs: { enableThinking: false },
    }).result;
    expect(recorded().at(-1)?.["params"]).toEqual({
      prompt: "three chunks",
      max_tokens: 5,
      top_p: 0.5,
      logit_bias: { 7: -100 },
      chat_template_kwargs: { enableThinking: false },
    });
    expect(() => engine.generate({ maxTokens: 1, max_tokens: 2 })).toThrow(/max_tokens is given twice/);
  });

  test("keeps generations that run at once apart", async () => {
    const { engine } = running();
    const waiting = engine.generate({ prompt: "wait for cancel" });
    const others = await Promise.all(
      [1, 2, 3].map(() => texts(engine.generate({ prompt: "three chunks" }))),
    );
    expect(others).toEqual(Array(3).fill(["one ", "two ", "three"]));
    expect((await waiting.next()).value?.text).toBe("begun");
    waiting.cancel();
    expect((await waiting.result).finish_reason).toBe("cancelled");
  });

  test("complete asks for no chunks and gives the result", async () => {
    const { engine, recorded } = running();
    expect((await engine.complete({ prompt: "three chunks" })).text).toBe("one two three");
    expect(recorded().at(-1)?.["params"]).toEqual({ prompt: "three chunks", stream: false });
  });

  test("collect lets the chunks go", async () => {
    const { engine } = running();
    const generation = engine.generate({ prompt: "three chunks" });
    expect((await generation.collect()).text).toBe("one two three");
    expect(await texts(generation)).toEqual([]);
  });

  test("reads frames that come a byte at a time, U+2028 in them", async () => {
    const { engine } = running();
    const generation = engine.generate({ prompt: "trickle" });
    expect(await texts(generation)).toEqual(["žü日🙂\u2028x"]);
    expect((await generation.result).text).toBe("žü日🙂\u2028x");
  });

  test("reads frames that come in an array", async () => {
    const { engine } = running();
    expect(await texts(engine.generate({ prompt: "batch of answers" }))).toEqual(["hi"]);
  });

  test("passes a notification it does not know on as an event", async () => {
    const { engine } = running();
    const weather = nextEvent(engine, "notification");
    expect(await texts(engine.generate({ prompt: "unknown notification" }))).toEqual(["still here"]);
    expect(await weather).toEqual({ method: "weather", params: { degrees: 21 } });
  });

  test("refuses a request of the runtime, for it has no methods", async () => {
    const { engine, recorded } = running();
    expect(await texts(engine.generate({ prompt: "ask the client" }))).toEqual(["asked"]);
    await engine.health();
    expect(recorded()).toContainEqual({ error: expect.objectContaining({ code: -32601 }) });
  });

  test("ignores a second answer", async () => {
    const { engine } = running();
    expect((await engine.generate({ prompt: "answer twice" }).result).text).toBe("first");
    expect((await engine.health()).status).toBe("idle");
  });

  test("fails with what the runtime answers, in the loop and in the result, each once", async () => {
    const { engine } = running();
    const generation = engine.generate({ prompt: "unheard of" });
    expect(await failure(generation.next())).toBeInstanceOf(InvalidParamsError);
    expect(await generation.next()).toEqual({ done: true, value: undefined });
    expect(await failure(generation.result)).toBeInstanceOf(InvalidParamsError);
  });

  test("a failed generation that nobody waits for is no unhandled rejection", async () => {
    const { engine } = running();
    engine.generate({ prompt: "unheard of" });
    await engine.health();
    await new Promise(setImmediate);
  });

  test("answers of another form are a ProtocolError that names the member", async () => {
    const { engine } = running();
    const generation = engine.generate({ prompt: "wrong result" });
    const error = await failure(generation.result);
    expect(error).toBeInstanceOf(ProtocolError);
    expect(error.message).toContain("tokens");
  });

  test("a chunk of another form is a ProtocolError and cancels", async () => {
    const { engine, recorded } = running();
    const generation = engine.generate({ prompt: "wrong chunk" });
    expect(await failure(texts(generation))).toBeInstanceOf(ProtocolError);
    await engine.health();
    expect(recorded().map(({ method }) => method)).toContain("cancel");
  });

  test("is refused before start and after stop", async () => {
    const { engine } = fake();
    expect(await failure(engine.generate({ prompt: "x" }).result)).toBeInstanceOf(EngineStateError);
    await engine.start();
    await engine.stop();
    expect(await failure(engine.generate({ prompt: "x" }).result)).toBeInstanceOf(EngineStateError);
  });

  test("waits for a start that is under way", async () => {
    const { engine } = fake();
    const start = engine.start();
    expect(await texts(engine.generate({ prompt: "three chunks" }))).toHaveLength(3);
    await start;
  });
});

describe("cancelling", () => {
  test("by leaving the loop ends the generation in the runtime", async () => {
    const { engine } = running();
    const generation = engine.generate({ prompt: "wait for cancel" });
    for await (const chunk of generation) {
      expect(chunk.text).toBe("begun");
      break;
    }
    expect(await generation.result).toMatchObject({ text: "begun", finish_reason: "cancelled" });
    expect(await generation.next()).toEqual({ done: true, value: undefined });
  });

  test("by an exception in the loop does too", async () => {
    const { engine } = running();
    const generation = engine.generate({ prompt: "wait for cancel" });
    const loop = async (): Promise<void> => {
      for await (const chunk of generation) throw new RangeError(chunk.text);
    };
    expect(await failure(loop())).toBeInstanceOf(RangeError);
    expect((await generation.result).finish_reason).toBe("cancelled");
  });

  test("by cancel() lets the loop end after the chunks that came", async () => {
    const { engine } = running();
    const generation = engine.generate({ prompt: "wait for cancel" });
    const seen: string[] = [];
    for await (const chunk of generation) {
      seen.push(chunk.text);
      generation.cancel();
    }
    expect(seen).toEqual(["begun"]);
    expect((await generation.result).finish_reason).toBe("cancelled");
  });

  test("by a signal rejects at once with an AbortError that has the reason", async () => {
    const { engine, recorded } = running();
    const abort = new AbortController();
    const generation = engine.generate({ prompt: "wait for cancel", signal: abort.signal });
    await generation.next();
    const next = generation.next();
    abort.abort(new RangeError("enough"));
    const error = await failure(next);
    expect(error).toBeInstanceOf(AbortError);
    expect(error.name).toBe("AbortError");
    expect(error.cause).toBeInstanceOf(RangeError);
    expect(await failure(generation.result)).toBe(error);
    await engine.health();
    expect(recorded().map(({ method }) => method)).toContain("cancel");
  });

  test("by a signal that is aborted already sends nothing", async () => {
    const { engine, recorded } = running();
    const generation = engine.generate({ prompt: "three chunks", signal: AbortSignal.abort() });
    expect(await failure(generation.next())).toBeInstanceOf(AbortError);
    await engine.health();
    expect(recorded().map(({ method }) => method)).not.toContain("generate");
  });

  test("before the request was sent sends nothing", async () => {
    const { engine, recorded } = fake();
    const start = engine.start();
    const generation = engine.generate({ prompt: "three chunks" });
    generation.cancel();
    expect(await failure(generation.result)).toBeInstanceOf(AbortError);
    await start;
    await engine.health();
    expect(recorded().map(({ method }) => method)).not.toContain("generate");
  });

  test("after the end does nothing", async () => {
    const { engine, recorded } = running();
    const abort = new AbortController();
    const generation = engine.generate({ prompt: "three chunks", signal: abort.signal });
    await generation.collect();
    generation.cancel();
    abort.abort();
    expect((await generation.result).finish_reason).toBe("stop");
    await engine.health();
    expect(recorded().map(({ method }) => method)).not.toContain("cancel");
  });

  test("of other calls by a signal ends the waiting", async () => {
    const { engine } = running();
    const silent = engine.generate({ prompt: "say nothing", signal: AbortSignal.timeout(20) });
    expect(await failure(silent.result)).toMatchObject({ name: "AbortError" });
    const call = engine.health({ signal: AbortSignal.abort() });
    expect(await failure(call)).toBeInstanceOf(AbortError);
  });
});

describe("a slow reader", () => {
  test("gets everything, in at most maxBufferedChunks pieces", async () => {
    const { engine } = running();
    const generation = engine.generate({ prompt: "thousand chunks", maxBufferedChunks: 10 });
    const { text } = await generation.result;
    const chunks: GenerateChunk[] = [];
    for await (const chunk of generation) chunks.push(chunk);
    expect(chunks).toHaveLength(10);
    expect(chunks.map((chunk) => chunk.index)).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
    expect(chunks.map((chunk) => chunk.text).join("")).toBe(text);
    const tokens = chunks.flatMap((chunk) => chunk.tokens);
    expect(tokens).toEqual(Array.from({ length: 1000 }, (_, index) => index));
  });

  test("that asks ahead gets the chunks in order", async () => {
    const { engine } = running();
    const generation = engine.generate({ prompt: "three chunks" });
    const ahead = await Promise.all([1, 2, 3, 4, 5].map(() => generation.next()));
    expect(ahead.map(({ value }) => value?.text)).toEqual([
      "one ", "two ", "three", undefined, undefined,
    ]);
  });
});
