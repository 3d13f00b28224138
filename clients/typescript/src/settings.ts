// Settings of the runtime: checked here by the schema of config/runtime.yaml, before anything starts.
import type { z } from "zod";

import { ConfigValidationError, type SettingProblem } from "./errors.js";
import { settingFields, settingsSchema } from "./settings.generated.js";
import { type DeepSpelled, toSnake } from "./spelling.js";

export { settingFields, settingsSchema };

/** Settings as in config/runtime.yaml, any part of them. */
export type Settings = z.infer<typeof settingsSchema>;

/** Dotted path of a setting: "engine.device". */
export type SettingPath = (typeof settingFields)[number]["path"];

type AtPath<T, Path> = Path extends `${infer Head}.${infer Rest}`
  ? Head extends keyof T
    ? AtPath<NonNullable<T[Head]>, Rest>
    : never
  : Path extends keyof T
    ? NonNullable<T[Path]>
    : never;

/** The value type of the setting at a dotted path. */
export type SettingValue<Path extends SettingPath> = AtPath<Settings, Path>;

/**
 * Settings as they may be given: nested or by dotted path, with the YAML's names or in camelCase:
 * `{engine: {kv_type: "f16"}}`, `{engine: {kvType: "f16"}}`, `{"engine.kv_type": "f16"}`.
 */
export type SettingsInput = DeepSpelled<Settings> & {
  readonly [Path in SettingPath]?: SettingValue<Path> | undefined;
};

type Nested = { [key: string]: unknown };

const isNested = (value: unknown): value is Nested =>
  typeof value === "object" && value !== null && !Array.isArray(value);

// Without a prototype, so that "__proto__" is a key like any other: unknown.
const emptyNested = (): Nested => Object.create(null) as Nested;

// `at` is the path of `target`; a setting that comes twice, in two spellings, is a problem.
function put(target: Nested, source: Nested, at: string, problems: SettingProblem[]): void {
  for (const [key, value] of Object.entries(source)) {
    if (value === undefined) continue;
    const [first = "", ...rest] = key.split(".").map(toSnake);
    const path = at ? `${at}.${first}` : first;
    const inner = rest.length > 0 ? { [rest.join(".")]: value } : value;
    if (isNested(inner)) {
      const child = target[first] ?? emptyNested();
      if (isNested(child)) {
        target[first] = child;
        put(child, inner, path, problems);
        continue;
      }
    }
    if (Object.hasOwn(target, first)) problems.push({ path, message: "is given twice" });
    target[first] = inner;
  }
}

function keysOf(section: string): string {
  const prefix = section && `${section}.`;
  const keys = settingFields
    .filter(({ path }) => path.startsWith(prefix))
    .map(({ path }) => path.slice(prefix.length).split(".")[0]);
  return [...new Set(keys)].join(", ");
}

function problemsOf(error: z.ZodError): SettingProblem[] {
  return error.issues.flatMap((issue) => {
    const path = issue.path.join(".");
    if (issue.code !== "unrecognized_keys") return [{ path, message: issue.message }];
    return issue.keys.map((key) => ({
      path: path ? `${path}.${key}` : key,
      message: `unknown setting; ${path || "the top level"} has ${keysOf(path)}`,
    }));
  });
}

/**
 * The settings with the YAML's names, nested.
 *
 * @throws {@link ConfigValidationError} with every problem: unknown keys, types, ranges.
 */
export function parseSettings(input: SettingsInput | Readonly<Record<string, unknown>>): Settings {
  const nested = emptyNested();
  const problems: SettingProblem[] = [];
  put(nested, input as Nested, "", problems);
  const parsed = settingsSchema.safeParse(nested);
  if (!parsed.success) problems.push(...problemsOf(parsed.error));
  if (problems.length > 0 || !parsed.success) throw new ConfigValidationError(problems);
  return parsed.data;
}

function valueAt(settings: Settings, path: string): unknown {
  return path.split(".").reduce<unknown>((at, key) => (at as Nested | undefined)?.[key], settings);
}

type Given = { readonly field: (typeof settingFields)[number]; readonly value: unknown };

function given(settings: Settings): Given[] {
  return settingFields
    .map((field) => ({ field, value: valueAt(settings, field.path) }))
    .filter(({ value }) => value !== undefined);
}

/** @internal Dotted path to value. */
export function flatSettings(settings: Settings): Partial<Record<SettingPath, unknown>> {
  return Object.fromEntries(given(settings).map(({ field, value }) => [field.path, value]));
}

/** @internal What gives the settings to a new runtime. */
export interface SettingArguments {
  readonly flags: string[];
  /** Secrets: a command line is shown to every user of the machine. */
  readonly environment: Record<string, string>;
}

/** @internal */
export function settingArguments(settings: Settings): SettingArguments {
  const flags: string[] = [];
  const environment: Record<string, string> = {};
  for (const { field, value } of given(settings)) {
    const written = Array.isArray(value) ? `[${value.join(", ")}]` : String(value);
    if (field.secret) environment[field.environment] = written;
    else flags.push("--set", `${field.path}=${written}`);
  }
  return { flags, environment };
}
