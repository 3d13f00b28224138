// Writes src/settings.generated.ts from config/schema.json, which `krserve config --schema` prints.

export interface SchemaField {
  path: string;
  type: "boolean" | "integer" | "string" | "integer_list";
  default: boolean | number | string | number[];
  doc: string;
  environment: string;
  min?: number;
  max?: number;
  choices?: (number | string)[];
  max_bytes?: number;
  max_items?: number;
  low_message?: string;
  secret?: boolean;
}

export interface Schema {
  sections: { path: string; doc: string }[];
  fields: SchemaField[];
}

const HEAD = `// Generated from config/schema.json, the table of settings in src/config/schema.cpp; \`npm run
// generate\` writes it anew.
import { z } from "zod";

import { choice, flag, integer, integerChoice, integerList, text } from "./setting-types.js";
`;

const parentOf = (path: string): string => path.slice(0, Math.max(path.lastIndexOf("."), 0));
const leafOf = (path: string): string => path.slice(path.lastIndexOf(".") + 1);
const quoted = (value: unknown): string => JSON.stringify(value).replaceAll(",", ", ");

function zodOf(field: SchemaField): string {
  const list = (field.choices ?? []).map(quoted).join(", ");
  switch (field.type) {
    case "boolean":
      return "flag()";
    case "integer": {
      if (field.choices) return `integerChoice(${list})`;
      const low = field.low_message ? `, ${JSON.stringify(field.low_message)}` : "";
      return `integer(${field.min}, ${field.max}${low})`;
    }
    case "string":
      return field.choices ? `choice(${list})` : `text(${field.max_bytes})`;
    case "integer_list":
      return `integerList(${field.min}, ${field.max}, ${field.max_items})`;
  }
}

function objectLines(schema: Schema, section: string, indent: string): string {
  let out = "";
  for (const field of schema.fields.filter(({ path }) => parentOf(path) === section)) {
    out += `${indent}/** ${field.doc}. Default: ${quoted(field.default)}. */\n`;
    out += `${indent}${leafOf(field.path)}: ${zodOf(field)}.optional(),\n`;
  }
  for (const child of schema.sections.filter(({ path }) => parentOf(path) === section)) {
    const inner = objectLines(schema, child.path, `${indent}  `);
    out += `${indent}/** ${child.doc}. */\n`;
    out += `${indent}${leafOf(child.path)}: z\n${indent}  .strictObject({\n`;
    out += `${inner.replaceAll(/^/gm, "  ").replace(/ +$/, "")}${indent}  })\n${indent}  .optional(),\n`;
  }
  return out;
}

function fieldLine(field: SchemaField): string {
  const { path, environment, doc, secret = false } = field;
  return `  { path: ${quoted(path)}, environment: ${quoted(environment)}, secret: ${secret}, default: ${quoted(field.default)}, doc: ${JSON.stringify(doc)} },\n`;
}

export function settingsModule(schema: Schema): string {
  return `${HEAD}
/** Settings as in config/runtime.yaml, any part of them. Sizes in MB are MiB. */
export const settingsSchema = z.strictObject({
${objectLines(schema, "", "  ")}});

/** Every setting, in the order of config/runtime.yaml. */
export const settingFields = [
${schema.fields.map(fieldLine).join("")}] as const;
`;
}
