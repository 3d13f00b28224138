// Names in two spellings: what goes in may be camelCase or the protocol's snake_case.

type Camel<Text extends string> = Text extends `${infer Head}_${infer Rest}`
  ? `${Head}${Capitalize<Camel<Rest>>}`
  : Text;

/** `T`, all of it optional, with its names in snake_case or in camelCase. */
export type Spelled<T> = {
  readonly [Key in keyof T as Key | Camel<Key & string>]?: T[Key] | undefined;
};

type DeepValue<T> = T extends readonly unknown[] ? T : T extends object ? DeepSpelled<T> : T;

/** The same on every level. */
export type DeepSpelled<T> = {
  readonly [Key in keyof T as Key | Camel<Key & string>]?: DeepValue<T[Key]> | undefined;
};

/** "maxTokens" becomes "max_tokens"; snake_case stays as it is. */
export function toSnake(name: string): string {
  return name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
}

/**
 * A copy of `params` with its own names in snake_case, deeper ones untouched.
 *
 * @throws TypeError for a name that is given in both spellings.
 */
export function snakeParams(params: object): Record<string, unknown> {
  const out: Record<string, unknown> = {};
  for (const [key, value] of Object.entries(params)) {
    if (value === undefined) continue;
    const name = toSnake(key);
    if (Object.hasOwn(out, name)) throw new TypeError(`${name} is given twice`);
    out[name] = value;
  }
  return out;
}
