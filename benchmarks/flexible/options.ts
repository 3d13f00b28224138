// The command line of flexible-benchmark.
import { parseArgs } from "node:util";

export const USAGE = `Asks a model questions and writes how fast it answered.

    npx tsx benchmarks/flexible-benchmark.ts --model MODEL [options]

  --model MODEL         a directory, tiny, or a Hugging Face id (required)
  --questions N         how many; more than the set has begins it again (default: the whole set)
  --question-set NAME   general, long-prompts, or a file of that form (default: general)
  --output FILE         the result as JSON; its folder is made (default: no file)
  --config FILE         configuration file (default: config/runtime.yaml)
  --preset NAME         all-on, realtime, batch or debug
  --set PATH=VALUE      any setting; may be repeated
  --device DEVICE       auto, cpu, cuda or metal
  --max-tokens N        tokens per answer at most (default: 64)
  --ignore-eos          answers of exactly --max-tokens
  --temperature T       0 is greedy (default: 0)
  --seed N              seed of sampling, of every question (default: 0)
  --concurrency N       questions asked at the same time (default: 1)
  --warmup N            questions asked before measuring (default: 3)
  --repeat N            times all questions are asked (default: 1)
  --krserve PATH        the program (default: build/release/bin/krserve, or krserve on PATH)

Exit status: 0, 1 when questions failed, 2 for a wrong command line, 130 after Ctrl-C (what was
measured until then is written).
`;

export interface Options {
  readonly model: string;
  readonly questions: number | undefined;
  readonly questionSet: string;
  readonly output: string | undefined;
  readonly config: string | undefined;
  readonly preset: string | undefined;
  readonly settings: Readonly<Record<string, unknown>>;
  readonly maxTokens: number;
  readonly ignoreEos: boolean;
  readonly temperature: number;
  readonly seed: number;
  readonly concurrency: number;
  readonly warmup: number;
  readonly repeat: number;
  readonly krserve: string | undefined;
}

export class UsageError extends Error {}

function whole(name: string, text: string, least: number): number {
  const value = Number(text);
  if (!/^\d+$/.test(text) || !Number.isSafeInteger(value) || value < least) {
    throw new UsageError(`--${name} ${text}: give a whole number, ${least} or more`);
  }
  return value;
}

function fraction(name: string, text: string): number {
  const value = Number(text);
  if (text.trim() === "" || !Number.isFinite(value) || value < 0) {
    throw new UsageError(`--${name} ${text}: give a number, 0 or more`);
  }
  return value;
}

// A value as in YAML: true, 3, [1, 2], or text.
function scalar(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}

/** "a.b=3" by its path; the last of two for one path counts. */
function assigned(assignments: readonly string[]): Record<string, unknown> {
  const settings: Record<string, unknown> = {};
  for (const assignment of assignments) {
    const equals = assignment.indexOf("=");
    if (equals < 1) throw new UsageError(`--set ${assignment}: give PATH=VALUE`);
    settings[assignment.slice(0, equals)] = scalar(assignment.slice(equals + 1));
  }
  return settings;
}

const text = { type: "string" } as const;
const flag = { type: "boolean" } as const;

/** undefined: --help was asked for. */
export function parseOptions(args: readonly string[]): Options | undefined {
  let values;
  try {
    ({ values } = parseArgs({
      args: [...args],
      options: {
        model: { ...text, short: "m" },
        questions: text,
        "question-set": { ...text, default: "general" },
        output: { ...text, short: "o" },
        config: text,
        preset: text,
        set: { ...text, multiple: true, default: [] },
        device: text,
        "max-tokens": { ...text, default: "64" },
        "ignore-eos": { ...flag, default: false },
        temperature: { ...text, default: "0" },
        seed: { ...text, default: "0" },
        concurrency: { ...text, default: "1" },
        warmup: { ...text, default: "3" },
        repeat: { ...text, default: "1" },
        krserve: text,
        help: { ...flag, short: "h", default: false },
      },
    }));
  } catch (error) {
    throw new UsageError((error as Error).message);
  }
  if (values.help) return undefined;
  if (!values.model) throw new UsageError("--model is missing: a directory, tiny, or owner/name");
  const settings = [...values.set];
  if (values.device !== undefined) settings.push(`engine.device=${values.device}`);
  return {
    model: values.model,
    questions: values.questions === undefined ? undefined : whole("questions", values.questions, 1),
    questionSet: values["question-set"],
    output: values.output,
    config: values.config,
    preset: values.preset,
    settings: assigned(settings),
    maxTokens: whole("max-tokens", values["max-tokens"], 1),
    ignoreEos: values["ignore-eos"],
    temperature: fraction("temperature", values.temperature),
    seed: whole("seed", values.seed, 0),
    concurrency: whole("concurrency", values.concurrency, 1),
    warmup: whole("warmup", values.warmup, 0),
    repeat: whole("repeat", values.repeat, 1),
    krserve: values.krserve,
  };
}
