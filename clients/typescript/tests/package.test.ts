// The package as it is published: what is in it, and a program that uses it with types.
import { execFileSync } from "node:child_process";
import { mkdirSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import path from "node:path";

import { expect, test } from "vitest";

import { FAKE, FOLDER, temporaryFolder } from "./support.js";

const TSC = path.join(FOLDER, "node_modules", ".bin", "tsc");

const CONSUMER = `
import { Engine, type GenerateResult, OverloadedError, settingsSchema } from "krserve";

const fake = process.argv[2] ?? "";
const engine = new Engine({ command: [process.execPath, fake], config: { engine: { kvType: "f16" } } });
engine.on("crashed", ({ error, final }) => console.error(error.exitCode, final satisfies boolean));
await engine.start();
let text = "";
for await (const chunk of engine.generate({ prompt: "three chunks", maxTokens: 8 })) {
  text += chunk.text satisfies string;
}
const result: GenerateResult = await engine.complete({ prompt: "three chunks", max_tokens: 8 });
const reason: "stop" | "length" | "cancelled" = result.finish_reason;
await engine.complete({ prompt: "error -32004" }).catch((error: unknown) => {
  if (!(error instanceof OverloadedError)) throw error;
});
await engine.stop();
console.log(JSON.stringify([text, reason, settingsSchema.parse({ server: { port: 1 } })]));

// @ts-expect-error -- a setting of the wrong type
void (() => new Engine({ config: { server: { port: "80" } } }));
// @ts-expect-error -- an option that does not exist
void (() => engine.generate({ promt: "x" }));
// @ts-expect-error -- an event that does not exist
void (() => engine.on("crash", () => {}));
`;

const OPTIONS = {
  target: "es2022",
  module: "nodenext",
  types: ["node"],
  strict: true,
  exactOptionalPropertyTypes: true,
};

test("npm pack has dist and what npm adds, and a typed consumer of it runs", () => {
  const folder = temporaryFolder();
  execFileSync(TSC, ["-p", "tsconfig.build.json", "--outDir", path.join(FOLDER, "dist")], { cwd: FOLDER });
  const arguments_ = ["pack", "--json", "--ignore-scripts", "--pack-destination", folder];
  const packed = JSON.parse(execFileSync("npm", arguments_, { cwd: FOLDER, encoding: "utf8" }));
  const { files, filename } = packed[0] as { files: { path: string }[]; filename: string };
  const sources = readdirSync(path.join(FOLDER, "src")).map((name) => name.replace(/\.ts$/, ""));
  const expected = sources.flatMap((name) => [`dist/${name}.d.ts`, `dist/${name}.js`]);
  expect(files.map((file) => file.path).sort()).toEqual(
    [...expected, "LICENSE", "README.md", "package.json"].sort(),
  );

  const modules = path.join(folder, "node_modules");
  mkdirSync(path.join(modules, "krserve"), { recursive: true });
  const tarball = path.join(folder, filename);
  execFileSync("tar", ["-xzf", tarball, "--strip-components=1", "-C", path.join(modules, "krserve")]);
  for (const name of ["zod", "@types", "undici-types"]) {
    symlinkSync(path.join(FOLDER, "node_modules", name), path.join(modules, name));
  }
  writeFileSync(path.join(folder, "package.json"), '{"type": "module"}');
  writeFileSync(path.join(folder, "tsconfig.json"), JSON.stringify({ compilerOptions: OPTIONS, files: ["consumer.ts"] }));
  writeFileSync(path.join(folder, "consumer.ts"), CONSUMER);
  execFileSync(TSC, ["-p", folder], { cwd: folder, stdio: "inherit" });
  const output = execFileSync(process.execPath, ["consumer.js", FAKE], { cwd: folder, encoding: "utf8" });
  expect(JSON.parse(output)).toEqual(["one two three", "stop", { server: { port: 1 } }]);
});

test("the whole package passes the strict compiler", () => {
  execFileSync(TSC, ["--noEmit"], { cwd: FOLDER, stdio: "inherit" });
});

test("the package has krserve's licence, its version and no pinned download address", () => {
  const cmake = readFileSync(path.join(FOLDER, "..", "..", "CMakeLists.txt"), "utf8");
  const version = /project\(krserve VERSION (\S+)/.exec(cmake)?.[1];
  const own = JSON.parse(readFileSync(path.join(FOLDER, "package.json"), "utf8"));
  expect(own.version).toBe(version);
  const licence = (folder: string) => readFileSync(path.join(folder, "LICENSE"), "utf8");
  expect(licence(FOLDER)).toBe(licence(path.join(FOLDER, "..", "..")));
  const lock = readFileSync(path.join(FOLDER, "package-lock.json"), "utf8");
  expect(JSON.parse(lock).packages[""].version).toBe(version);
  expect(lock).not.toContain('"resolved"');
});
