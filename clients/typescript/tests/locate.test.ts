import { chmodSync, mkdirSync, writeFileSync } from "node:fs";
import path from "node:path";

import { describe, expect, test } from "vitest";

import { RuntimeNotFoundError } from "../src/errors.js";
import { locateRuntime } from "../src/locate.js";
import { failure, temporaryFolder } from "./support.js";

function executable(...parts: string[]): string {
  const file = path.join(...parts);
  mkdirSync(path.dirname(file), { recursive: true });
  writeFileSync(file, "#!/bin/sh\nexit 0\n");
  chmodSync(file, 0o755);
  return file;
}

// A repository with a build, and the package's folder in it.
function repository(root: string): { binary: string; packageFolder: string } {
  mkdirSync(path.join(root, "config"), { recursive: true });
  writeFileSync(path.join(root, "config", "runtime.yaml"), "");
  const packageFolder = path.join(root, "clients", "typescript", "dist");
  mkdirSync(packageFolder, { recursive: true });
  return { binary: executable(root, "build", "release", "bin", "krserve"), packageFolder };
}

describe("locateRuntime", () => {
  test("takes the option before everything else", async () => {
    const folder = temporaryFolder();
    const program = executable(folder, "mine");
    const environment = { KRSERVE_BINARY: executable(folder, "other"), PATH: folder };
    const found = await locateRuntime({ command: program, environment });
    expect(found).toEqual({ program, args: ["rpc"], origin: "option command" });
  });

  test("takes a list as a whole command line", async () => {
    const found = await locateRuntime({ command: ["python3", "-m", "other"], environment: {} });
    expect(found).toMatchObject({ program: "python3", args: ["-m", "other"] });
  });

  test("looks a bare name up on PATH", async () => {
    const folder = temporaryFolder();
    const program = executable(folder, "krserve-next");
    const found = await locateRuntime({ command: "krserve-next", environment: { PATH: folder } });
    expect(found.program).toBe(program);
  });

  test("refuses a program that was named and is not there, and tries nothing else", async () => {
    const folder = temporaryFolder();
    executable(folder, "krserve");
    const missing = path.join(folder, "missing");
    const byOption = locateRuntime({ command: missing, environment: { PATH: folder } });
    expect(await failure(byOption)).toMatchObject({ tried: [`option command: ${missing} (not there)`] });
    const byVariable = locateRuntime({ environment: { KRSERVE_BINARY: folder, PATH: folder } });
    expect(await failure(byVariable)).toMatchObject({ tried: [`KRSERVE_BINARY: ${folder} (not a file)`] });
  });

  test("takes KRSERVE_BINARY before the build folder", async () => {
    const folder = temporaryFolder();
    const { packageFolder } = repository(path.join(folder, "repository"));
    const program = executable(folder, "named");
    const found = await locateRuntime({ environment: { KRSERVE_BINARY: program }, packageFolder });
    expect(found).toMatchObject({ program, origin: "KRSERVE_BINARY" });
  });

  test("takes the build folder of its repository before PATH", async () => {
    const folder = temporaryFolder();
    const { binary, packageFolder } = repository(path.join(folder, "repository"));
    executable(folder, "bin", "krserve");
    const environment = { PATH: path.join(folder, "bin") };
    const found = await locateRuntime({ environment, packageFolder });
    expect(found).toEqual({ program: binary, args: ["rpc"], origin: "build folder" });
  });

  test("does not take a build folder that is no repository's of ours", async () => {
    const folder = temporaryFolder();
    executable(folder, "build", "release", "bin", "krserve");
    const program = executable(folder, "bin", "krserve");
    const environment = { PATH: path.join(folder, "bin") };
    expect(await locateRuntime({ environment, packageFolder: folder })).toMatchObject({ program });
  });

  test("takes krserve on PATH, past folders without it and files that cannot be run", async () => {
    const folder = temporaryFolder();
    chmodSync(executable(folder, "first", "krserve"), 0o644);
    const program = executable(folder, "second", "krserve");
    const PATH = ["nowhere", "first", "second"].map((name) => path.join(folder, name)).join(":");
    const found = await locateRuntime({ environment: { PATH }, packageFolder: folder });
    expect(found).toEqual({ program, args: ["rpc"], origin: "PATH" });
  });

  test("takes the Python module last", async () => {
    const folder = temporaryFolder();
    executable(folder, "python3");
    const found = await locateRuntime({ environment: { PATH: folder }, packageFolder: folder });
    expect(found).toEqual({ program: "python3", args: ["-m", "krserve.runtime"], origin: "Python" });
  });

  test("lists what it tried when there is nothing", async () => {
    const folder = temporaryFolder();
    writeFileSync(executable(folder, "python3"), "#!/bin/sh\nexit 1\n");
    const search = locateRuntime({ environment: { PATH: folder }, packageFolder: folder });
    const error = await failure(search);
    expect(error).toBeInstanceOf(RuntimeNotFoundError);
    expect(error.message).toContain("KRSERVE_BINARY (not set)");
    expect(error.message).toContain("build/release/bin/krserve in");
    expect(error.message).toContain("krserve on PATH (not there)");
    expect(error.message).toContain("python3 -m krserve.runtime (no module krserve.runtime)");
    const bare = locateRuntime({ environment: { PATH: "" }, packageFolder: folder });
    expect((await failure(bare)).message).toContain("python3 is not on PATH");
  });
});
