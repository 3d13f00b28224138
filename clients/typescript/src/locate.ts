// Finds the runtime to start.
import { execFile } from "node:child_process";
import { constants } from "node:fs";
import { access, stat } from "node:fs/promises";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

import { RuntimeNotFoundError } from "./errors.js";

/** A program that speaks the protocol on stdin and stdout; flags of settings are added to it. */
export interface RuntimeCommand {
  readonly program: string;
  readonly args: readonly string[];
  /** Where it was found, for people. */
  readonly origin: string;
}

export interface LocateOptions {
  /** See `EngineOptions.command`. */
  readonly command?: string | readonly string[] | undefined;
  readonly environment: NodeJS.ProcessEnv;
  /** Folder that the search for a repository's build starts at; this package's own by default. */
  readonly packageFolder?: string;
}

const BUILT = path.join("build", "release", "bin", "krserve");
const PYTHON_TIMEOUT_MS = 20_000;
const MODULE = "krserve.runtime";
// Importing krserve may load native code; asking for the spec of a submodule imports the package.
const HAS_MODULE = `import importlib.util, sys; sys.exit(importlib.util.find_spec("${MODULE}") is None)`;

// Undefined when `file` can be run, else what is wrong with it.
async function problemWith(file: string): Promise<string | undefined> {
  try {
    if (!(await stat(file)).isFile()) return "not a file";
    await access(file, constants.X_OK);
    return undefined;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === "EACCES" ? "not executable" : "not there";
  }
}

const krserve = (program: string, origin: string): RuntimeCommand => ({
  program,
  args: ["rpc"],
  origin,
});

async function onPath(name: string, search: string | undefined): Promise<string | undefined> {
  for (const folder of (search ?? "").split(path.delimiter)) {
    const file = path.join(folder, name);
    if (folder && !(await problemWith(file))) return file;
  }
  return undefined;
}

// A name without a slash is looked up on PATH, as a shell does.
async function given(
  name: string,
  origin: string,
  environment: NodeJS.ProcessEnv,
): Promise<RuntimeCommand> {
  if (!name.includes("/") && !name.includes(path.sep)) {
    const found = await onPath(name, environment["PATH"]);
    if (found) return krserve(found, origin);
    throw new RuntimeNotFoundError([`${origin}: ${name} (not on PATH)`]);
  }
  const problem = await problemWith(name);
  if (problem) throw new RuntimeNotFoundError([`${origin}: ${name} (${problem})`]);
  return krserve(path.resolve(name), origin);
}

async function fromRepository(start: string): Promise<string | undefined> {
  for (let folder = start; ; folder = path.dirname(folder)) {
    // A runtime.yaml beside the build tells our repository from any other folder.
    const settings = path.join(folder, "config", "runtime.yaml");
    const isRepository = await access(settings).then(() => true, () => false);
    const file = path.join(folder, BUILT);
    if (isRepository && !(await problemWith(file))) return file;
    if (folder === path.dirname(folder)) return undefined;
  }
}

async function pythonHasModule(environment: NodeJS.ProcessEnv): Promise<string | undefined> {
  try {
    const options = { env: environment, timeout: PYTHON_TIMEOUT_MS };
    await promisify(execFile)("python3", ["-c", HAS_MODULE], options);
    return undefined;
  } catch (error) {
    const missing = (error as NodeJS.ErrnoException).code === "ENOENT";
    return missing ? "python3 is not on PATH" : `no module ${MODULE}`;
  }
}

/**
 * The first of: `command`, $KRSERVE_BINARY, build/release/bin/krserve of the repository that this
 * package lies in, `krserve` on PATH, `python3 -m krserve.runtime`. One that was named is taken or
 * refused; nothing takes its place.
 *
 * @throws {@link RuntimeNotFoundError} with what was tried.
 */
export async function locateRuntime(options: LocateOptions): Promise<RuntimeCommand> {
  const { command, environment } = options;
  if (typeof command === "string") return given(command, "option command", environment);
  if (command) {
    const [program, ...args] = command;
    if (!program) throw new RuntimeNotFoundError(["option command: an empty list"]);
    return { program, args, origin: "option command" };
  }
  const named = environment["KRSERVE_BINARY"];
  if (named) return given(named, "KRSERVE_BINARY", environment);

  const start = options.packageFolder ?? path.dirname(fileURLToPath(import.meta.url));
  const built = await fromRepository(start);
  if (built) return krserve(built, "build folder");
  const installed = await onPath("krserve", environment["PATH"]);
  if (installed) return krserve(installed, "PATH");
  const python = await pythonHasModule(environment);
  if (!python) return { program: "python3", args: ["-m", MODULE], origin: "Python" };
  throw new RuntimeNotFoundError([
    "KRSERVE_BINARY (not set)",
    `${BUILT} in ${start} and the folders above (not there)`,
    "krserve on PATH (not there)",
    `python3 -m ${MODULE} (${python})`,
  ]);
}
