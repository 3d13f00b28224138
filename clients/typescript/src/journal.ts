// What a runtime was told that must outlive it: settings and models, in their order.
import type { SettingPath } from "./settings.js";

export type SettingValues = Readonly<Partial<Record<SettingPath, unknown>>>;

export type JournalEntry =
  | { readonly method: "set_config"; readonly values: SettingValues }
  | {
      readonly method: "load_model";
      readonly name: string;
      readonly params: Readonly<Record<string, unknown>>;
    };

export class Journal {
  #entries: JournalEntry[] = [];

  get entries(): readonly JournalEntry[] {
    return this.#entries;
  }

  set(values: SettingValues): void {
    const last = this.#entries.at(-1);
    if (last?.method !== "set_config") this.#entries.push({ method: "set_config", values });
    else this.#entries.splice(-1, 1, { ...last, values: { ...last.values, ...values } });
  }

  loaded(name: string, params: Readonly<Record<string, unknown>>): void {
    this.#entries.push({ method: "load_model", name, params: { ...params, name } });
  }

  /** Without a name: the only one there is. */
  unloaded(name: string | undefined): void {
    this.#entries = this.#entries.filter(
      (entry) => entry.method !== "load_model" || (name !== undefined && entry.name !== name),
    );
  }

  clear(): void {
    this.#entries = [];
  }
}
