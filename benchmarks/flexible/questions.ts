// Question sets: benchmarks/questions/NAME.json, taken in turn from each category.
import { readFile } from "node:fs/promises";
import path from "node:path";
import { fileURLToPath } from "node:url";

import { UsageError } from "./options.js";

const FOLDER = fileURLToPath(new URL("../questions", import.meta.url));

export interface Question {
  /** "science-07": the same question in every run. */
  readonly id: string;
  readonly category: string;
  readonly text: string;
}

function checked(content: unknown, file: string): [string, string[]][] {
  const categories = (content as { categories?: unknown } | null)?.categories;
  const wrong = new UsageError(`${file}: give {"categories": {"name": ["question", ...], ...}}`);
  if (typeof categories !== "object" || categories === null) throw wrong;
  const entries = Object.entries(categories as Record<string, unknown>);
  const isList = (list: unknown): list is string[] =>
    Array.isArray(list) && list.length > 0 && list.every((q) => typeof q === "string" && q !== "");
  if (entries.length === 0 || !entries.every(([, list]) => isList(list))) throw wrong;
  return entries as [string, string[]][];
}

/** All questions of a set in their fixed order. `name` is a set of the folder, or a file. */
export async function readQuestions(name: string): Promise<Question[]> {
  const file = /^[\w-]+$/.test(name) ? path.join(FOLDER, `${name}.json`) : name;
  let text;
  try {
    text = await readFile(file, "utf8");
  } catch (error) {
    throw new UsageError(`--question-set ${name}: ${(error as Error).message}`);
  }
  let content: unknown;
  try {
    content = JSON.parse(text);
  } catch (error) {
    throw new UsageError(`${file} is not JSON: ${(error as Error).message}`);
  }
  const categories = checked(content, file);
  const longest = Math.max(...categories.map(([, list]) => list.length));
  const questions: Question[] = [];
  for (let at = 0; at < longest; at++) {
    for (const [category, list] of categories) {
      const question = list[at];
      if (question === undefined) continue;
      const id = `${category}-${String(at + 1).padStart(2, "0")}`;
      questions.push({ id, category, text: question });
    }
  }
  return questions;
}

/** The first `count`; beyond the set's end it begins again, under the same ids. */
export function take(questions: readonly Question[], count: number | undefined): Question[] {
  const length = count ?? questions.length;
  return Array.from({ length }, (_, at) => questions[at % questions.length] as Question);
}
