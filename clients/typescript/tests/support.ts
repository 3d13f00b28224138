// Engines over the fake runtime that end with their test, and what is recorded of them.
import { once } from "node:events";
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";

import { afterAll, beforeAll, onTestFinished } from "vitest";

import { Engine, type EngineEvents, type EngineOptions } from "../src/index.js";

export const FOLDER = fileURLToPath(new URL("..", import.meta.url));
export const FAKE = path.join(FOLDER, "tests", "fake-runtime.mjs");
export const ROOT = path.join(FOLDER, "..", "..");
/** The real program: a test that needs it fails without it. */
export const BINARY = process.env["KRSERVE_BINARY"] ?? path.join(ROOT, "build/release/bin/krserve");
export const FAKE_COMMAND = [process.execPath, FAKE] as const;

/** A folder that goes with the test. */
export function temporaryFolder(): string {
  const folder = mkdtempSync(path.join(tmpdir(), "krserve-test-"));
  onTestFinished(() => rmSync(folder, { recursive: true }));
  return folder;
}

export function newEngine(options: EngineOptions): Engine {
  const engine = new Engine(options);
  onTestFinished(() => engine.stop({ drainTimeoutS: 0 }));
  return engine;
}

export interface Fake {
  readonly engine: Engine;
  /** What the fake runtimes got: argv first, then each request. */
  recorded(): Record<string, unknown>[];
}

function recording(folder: string, env: Record<string, string>, options: EngineOptions): Fake {
  const record = path.join(folder, "record");
  const files = { FAKE_RECORD: record, FAKE_STATE: path.join(folder, "state") };
  const all = { ...files, ...env, ...options.env };
  const engine = new Engine({ command: FAKE_COMMAND, ...options, env: all });
  const lines = (): string[] => readFileSync(record, "utf8").trimEnd().split("\n");
  return {
    engine,
    recorded: () => (existsSync(record) ? lines().map((line) => JSON.parse(line)) : []),
  };
}

/** Not started yet; ends with the test. */
export function fake(env: Record<string, string> = {}, options: EngineOptions = {}): Fake {
  const made = recording(temporaryFolder(), env, options);
  onTestFinished(() => made.engine.stop({ drainTimeoutS: 0 }));
  return made;
}

export async function started(
  env: Record<string, string> = {},
  options: EngineOptions = {},
): Promise<Fake> {
  const made = fake(env, options);
  await made.engine.start();
  return made;
}

/** One running engine for the tests of a file that leave it as they found it. */
export function shared(): () => Fake {
  const folder = mkdtempSync(path.join(tmpdir(), "krserve-test-"));
  const { engine, recorded } = recording(folder, {}, {});
  beforeAll(() => engine.start());
  afterAll(async () => {
    await engine.stop();
    rmSync(folder, { recursive: true });
  });
  return () => {
    const before = recorded().length;
    return { engine, recorded: () => recorded().slice(before) };
  };
}

/** The next event of a name. */
export async function nextEvent<Name extends keyof EngineEvents>(
  engine: Engine,
  name: Name,
): Promise<EngineEvents[Name][0]> {
  const [data] = (await once(engine, name)) as EngineEvents[Name];
  return data;
}

/** What a promise rejects with; fails when it resolves. */
export async function failure(promise: Promise<unknown>): Promise<Error> {
  try {
    await promise;
  } catch (error) {
    if (error instanceof Error) return error;
    throw new TypeError(`rejected with ${String(error)}`);
  }
  throw new TypeError("did not reject");
}
