import { describe, expect, expectTypeOf, test } from "vitest";

import { ConfigValidationError } from "../src/errors.js";
import {
  flatSettings,
  parseSettings,
  settingArguments,
  type SettingsInput,
  type SettingValue,
} from "../src/settings.js";

function problems(input: Record<string, unknown>): readonly { path: string; message: string }[] {
  try {
    parseSettings(input);
  } catch (error) {
    if (error instanceof ConfigValidationError) return error.problems;
    throw error;
  }
  throw new Error("was accepted");
}

describe("parseSettings", () => {
  test("takes the YAML's names, camelCase and dotted paths for the same", () => {
    const nested = { metal_optimizations: { memory_pool: { heap_size_mb: 512 } } };
    expect(parseSettings(nested)).toEqual(nested);
    expect(parseSettings({ metalOptimizations: { memoryPool: { heapSizeMb: 512 } } })).toEqual(nested);
    expect(parseSettings({ "metal_optimizations.memory_pool.heap_size_mb": 512 })).toEqual(nested);
  });

  test("merges sections that are given in parts", () => {
    const input = { engine: { threads: 2 }, "engine.kv_type": "bf16" } as const;
    expect(parseSettings(input)).toEqual({ engine: { threads: 2, kv_type: "bf16" } });
  });

  test("leaves out what is undefined", () => {
    expect(parseSettings({ engine: { threads: undefined } })).toEqual({ engine: {} });
  });

  test("names every problem with its path", () => {
    const found = problems({
      engine: { device: "tpu" },
      logging: { level: 3 },
      server: { port: 70000 },
    });
    expect(new Set(found)).toEqual(
      new Set([
        { path: "engine.device", message: '"tpu": expected one of auto, cpu, cuda, metal' },
        { path: "logging.level", message: "3: expected one of error, warn, info, debug" },
        { path: "server.port", message: "70000: expected an integer in 0..65535" },
      ]),
    );
  });

  test("says what a section has when a key is unknown", () => {
    const [problem] = problems({ memory: { limit: 1 } });
    expect(problem).toEqual({ path: "memory.limit", message: "unknown setting; memory has limit_mb" });
    expect(problems({ sever: {} })[0]?.message).toContain("the top level has metal_optimizations, server");
  });

  test("gives the seed document's message for a ring that is too small", () => {
    const ring = { metal_optimizations: { command_buffer_ring: { ring_size: 1 } } };
    expect(problems(ring)[0]?.message).toBe(
      "CommandBufferRing: Invalid ring_size (must be >= 2); 1: expected an integer in 2..8",
    );
  });

  test("refuses wrong types, fractions, lists that are too long and text of two lines", () => {
    const pool = (sizes: unknown) => ({ metal_optimizations: { memory_pool: { warmup_sizes: sizes } } });
    expect(problems({ server: { port: "80" } })[0]?.message).toContain("expected an integer");
    expect(problems({ server: { port: 80.5 } })[0]?.message).toContain("expected an integer");
    expect(problems({ engine: { kv_page_tokens: 12 } })[0]?.message).toContain("one of 8, 16, 32, 64");
    expect(problems(pool([1, 0]))[0]?.message).toContain("a list of integers in 1..1048576");
    expect(problems(pool(Array(65).fill(1)))[0]?.message).toBe("more than 64 items");
    expect(problems({ model: { path: "a\nb" } })[0]?.message).toContain("line break");
    expect(problems({ model: { path: "é".repeat(2049) } })[0]?.message).toBe("more than 4096 bytes");
    expect(problems({ metal_optimizations: { enabled: "true" } })[0]?.message).toContain("true or false");
  });

  test("refuses a setting that comes twice", () => {
    expect(problems({ engine: { kvType: "f16", kv_type: "f32" } })).toContainEqual({
      path: "engine.kv_type",
      message: "is given twice",
    });
  });

  test("treats __proto__ as any unknown key", () => {
    const input = JSON.parse('{"__proto__": {"polluted": true}}');
    expect(problems(input)[0]?.message).toContain("unknown setting");
    expect(({} as { polluted?: boolean }).polluted).toBeUndefined();
  });
});

test("settings become flags, and secrets environment variables", () => {
  const settings = parseSettings({
    server: { api_key: "hush", port: 0 },
    "metal_optimizations.memory_pool.warmup_sizes": [1, 2],
    logging: { signposts: false },
    model: { path: "a b=c" },
  });
  expect(settingArguments(settings)).toEqual({
    flags: [
      ...["--set", "metal_optimizations.memory_pool.warmup_sizes=[1, 2]"],
      ...["--set", "server.port=0"],
      ...["--set", "model.path=a b=c"],
      ...["--set", "logging.signposts=false"],
    ],
    environment: { KRSERVE_SERVER_API_KEY: "hush" },
  });
});

test("flatSettings gives dotted paths", () => {
  expect(flatSettings({ engine: { threads: 0 } })).toEqual({ "engine.threads": 0 });
});

test("types know names, paths and values", () => {
  expectTypeOf<{ engine: { kvType: "f16" } }>().toExtend<SettingsInput>();
  expectTypeOf<{ "engine.kv_type": "f16" }>().toExtend<SettingsInput>();
  expectTypeOf<{ engine: { kv_type: "f64" } }>().not.toExtend<SettingsInput>();
  expectTypeOf<{ "engine.threads": "two" }>().not.toExtend<SettingsInput>();
  expectTypeOf<SettingValue<"engine.device">>().toEqualTypeOf<"auto" | "cpu" | "cuda" | "metal">();
  expectTypeOf<SettingValue<"metal_optimizations.memory_pool.warmup_sizes">>().toEqualTypeOf<number[]>();
});
