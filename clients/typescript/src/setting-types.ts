// What the generated settings.generated.ts is made of: one Zod type for each type in
// config/schema.json, with the messages that the runtime gives too.
import { z } from "zod";

const MAX_SHOWN = 60;

function shown(value: unknown): string {
  const text = JSON.stringify(value) ?? String(value);
  return text.length > MAX_SHOWN ? `${text.slice(0, MAX_SHOWN)}...` : text;
}

// One message, whatever is wrong with the value.
function expected(what: string): { error: (issue: { input?: unknown }) => string } {
  return { error: ({ input }) => `${shown(input)}: expected ${what}` };
}

export const flag = () => z.boolean(expected("true or false"));

/** `lowMessage` is said first where the value is below `min`. */
export function integer(min: number, max: number, lowMessage = "") {
  const range = expected(`an integer in ${min}..${max}`);
  const low = lowMessage && `${lowMessage}; `;
  return z
    .int(range)
    .min(min, { error: ({ input }) => `${low}${range.error({ input })}` })
    .max(max, range);
}

export function choice<const T extends readonly [string, ...string[]]>(...values: T) {
  return z.enum(values, expected(`one of ${values.join(", ")}`));
}

export function integerChoice<const T extends readonly [number, ...number[]]>(...values: T) {
  return z.literal([...values] as T[number][], expected(`one of ${values.join(", ")}`));
}

export function text(maxBytes: number) {
  return z
    .string(expected("one line of text"))
    .refine((value) => Buffer.byteLength(value) <= maxBytes, `more than ${maxBytes} bytes`)
    .regex(/^[^\u0000-\u001f\u007f]*$/, "has a line break or a control character");
}

export function integerList(min: number, max: number, maxItems: number) {
  const what = expected(`a list of integers in ${min}..${max}`);
  return z.array(z.int(what).min(min, what).max(max, what), what).max(maxItems, {
    error: `more than ${maxItems} items`,
  });
}
