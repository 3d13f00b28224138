import { readFileSync, writeFileSync } from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";

import { expect, test } from "vitest";

import { type Schema, settingsModule } from "../scripts/settings-module.js";

const FOLDER = fileURLToPath(new URL("..", import.meta.url));
const SCHEMA_FILE = path.join(FOLDER, "..", "..", "config", "schema.json");
const MODULE_FILE = path.join(FOLDER, "src", "settings.generated.ts");
const schema: Schema = JSON.parse(readFileSync(SCHEMA_FILE, "utf8"));

// After a change of config/schema.json: npm run generate
test("src/settings.generated.ts is what config/schema.json gives", () => {
  const text = settingsModule(schema);
  if (process.env["KR_REGENERATE"]) writeFileSync(MODULE_FILE, text);
  expect(readFileSync(MODULE_FILE, "utf8")).toBe(text);
});

// The value of the field inside the nesting of its path.
function nested(field: string, value: unknown): object {
  return field.split(".").reduceRight<unknown>((inner, key) => ({ [key]: inner }), value) as object;
}

// Imported here: the module cannot be loaded before the test above has written it.
test("every field takes its default and its limits, and not what is beyond", async () => {
  const { settingFields, settingsSchema } = await import("../src/settings.js");
  const takes = (field: string, value: unknown): boolean =>
    settingsSchema.safeParse(nested(field, value)).success;
  expect(settingFields.map((field) => field.path)).toEqual(schema.fields.map(({ path }) => path));
  for (const { path, default: value, min, max, choices, type } of schema.fields) {
    expect(takes(path, value), path).toBe(true);
    expect(takes(path, { not: "this" }), path).toBe(false);
    for (const choice of choices ?? []) expect(takes(path, choice), path).toBe(true);
    if (choices) expect(takes(path, "none of them"), path).toBe(false);
    if (min === undefined || max === undefined) continue;
    const wrap = (number: number): unknown => (type === "integer_list" ? [number] : number);
    for (const inside of [min, max]) expect(takes(path, wrap(inside)), path).toBe(true);
    for (const outside of [min - 1, max + 1]) expect(takes(path, wrap(outside)), path).toBe(false);
  }
});
