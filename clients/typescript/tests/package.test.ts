// The package as it is published: what is in it, and a program that uses it with types.
import { execFileSync } from "node:child_process";
import { mkdirSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import path from "node:path";

import { expect, test } from "vitest";

import { BINARY, FAKE, FOLDER, temporaryFolder } from "./support.js";

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

// Builds and packs into `folder`; the names of what is in the package.
function pack(folder: string): { files: string[]; tarball: string } {
  execFileSync(TSC, ["-p", "tsconfig.build.json"], { cwd: FOLDER, stdio: "inherit" });
  const options = ["--json", "--ignore-scripts", "--pack-destination", folder];
  const output = execFileSync("npm", ["pack", ...options], { cwd: FOLDER, encoding: "utf8" });
  const [packed] = JSON.parse(output) as [{ files: { path: string }[]; filename: string }];
  const files = packed.files.map((file) => file.path).sort();
  return { files, tarball: path.join(folder, packed.filename) };
}

// A project in `folder` that has the package, its dependencies, and `programs` to compile.
function install(folder: string, tarball: string, programs: Record<string, string>): void {
  const modules = path.join(folder, "node_modules");
  mkdirSync(path.join(modules, "krserve"), { recursive: true });
  const into = ["--strip-components=1", "-C", path.join(modules, "krserve")];
  execFileSync("tar", ["-xzf", tarball, ...into]);
  for (const name of ["zod", "@types", "undici-types"]) {
    symlinkSync(path.join(FOLDER, "node_modules", name), path.join(modules, name));
  }
  const project = { compilerOptions: OPTIONS, files: Object.keys(programs) };
  const texts = { "package.json": '{"type": "module"}', "tsconfig.json": JSON.stringify(project) };
  for (const [name, text] of Object.entries({ ...texts, ...programs })) {
    writeFileSync(path.join(folder, name), text);
  }
  execFileSync(TSC, ["-p", folder], { cwd: folder, stdio: "inherit" });
}

const run = (program: string, arguments_: string[], cwd: string): string =>
  execFileSync(process.execPath, [program, ...arguments_], { cwd, encoding: "utf8" });

// The blocks of TypeScript in the README; those after the first need an engine.
function readmePrograms(): Record<string, string> {
  const readme = readFileSync(path.join(FOLDER, "README.md"), "utf8");
  const blocks = [...readme.matchAll(/^```ts\n(.*?)^```$/gms)].map((match) => match[1] ?? "");
  expect(blocks.length).toBeGreaterThan(1);
  const [quickStart = "", ...others] = blocks;
  const engine = 'import { Engine } from "krserve";\ndeclare const engine: Engine;\n';
  return { "quick-start.ts": quickStart, "others.ts": engine + others.join("\n") };
}

test("npm pack has dist alone, and typed consumers of it run, the README's among them", () => {
  const folder = temporaryFolder();
  const { files, tarball } = pack(folder);
  const sources = readdirSync(path.join(FOLDER, "src")).map((name) => name.replace(/\.ts$/, ""));
  const built = sources.flatMap((name) => [`dist/${name}.d.ts`, `dist/${name}.js`]);
  expect(files).toEqual([...built, "LICENSE", "README.md", "package.json"].sort());

  install(folder, tarball, { "consumer.ts": CONSUMER, ...readmePrograms() });
  expect(JSON.parse(run(path.join(folder, "consumer.js"), [FAKE], folder))).toEqual([
    "one two three",
    "stop",
    { server: { port: 1 } },
  ]);
  // The runtime is looked for as a user's program would, except that a build can be named.
  const environment = { ...process.env, KRSERVE_BINARY: BINARY };
  const quickStart = [path.join(folder, "quick-start.js")];
  const output = execFileSync(process.execPath, quickStart, { env: environment, encoding: "utf8" });
  expect(output).toContain("42");
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
