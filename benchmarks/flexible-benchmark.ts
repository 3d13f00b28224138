// Asks a model a set of questions through the TypeScript Engine and writes how fast it answered.
import { Engine, type SettingsInput, type Statistics } from "../clients/typescript/src/index.js";
import { Measurement } from "./flexible/measure.js";
import { type Options, parseOptions, USAGE, UsageError } from "./flexible/options.js";
import { readQuestions, take } from "./flexible/questions.js";
import { isAnswer, resultOf, type Setting, summaryText, writeResult } from "./flexible/result.js";

const EXIT_FAILURE = 1;
const EXIT_USAGE = 2;
const EXIT_INTERRUPTED = 130;
const SECOND_SIGNAL_MS = 1000;

const shown = process.stderr.isTTY;

function tell(text: string): void {
  if (shown) process.stderr.write(`\r${text}\x1b[K`);
}

// A stage that begins: a line of its own where nothing is redrawn, as in a log.
function begin(stage: string): void {
  if (shown) tell(stage);
  else console.error(stage);
}

function clear(): void {
  if (shown) process.stderr.write("\r\x1b[K");
}

// Some models have no chat template: their questions go as they are.
async function hasTemplate(engine: Engine): Promise<boolean> {
  try {
    await engine.tokenize({ messages: [{ role: "user", content: "Hello" }] });
    return true;
  } catch {
    await engine.tokenize("Hello"); // what is wrong with that is thrown
    return false;
  }
}

async function statistics(engine: Engine, reset: boolean): Promise<Statistics | null> {
  try {
    return await engine.statistics({ reset });
  } catch {
    return null; // interrupted: what was measured is worth more than this
  }
}

async function benchmark(engine: Engine, options: Options, stop: AbortSignal): Promise<number> {
  const questions = take(await readQuestions(options.questionSet), options.questions);
  const runtime = await engine.start();
  const model = await engine.loadModel(options.model, {
    signal: stop,
    onProgress: ({ fraction, what }) => tell(`${Math.round(fraction * 100)} % ${what}`),
  });
  const template = await hasTemplate(engine);
  const { config } = await engine.getConfig();
  const measurement = new Measurement(engine, options, template, stop);
  begin("warming up");
  await measurement.warmUp(questions);
  await statistics(engine, true); // counters and averages are of the measured questions alone
  const before = await statistics(engine, false);
  begin(`measuring ${questions.length * options.repeat} answers`);
  let failure: unknown;
  try {
    await measurement.run(questions, (done, all) => tell(`${done} of ${all}`));
  } catch (error) {
    failure = error;
  }
  clear();
  const setting: Setting = {
    options,
    questions: questions.length,
    template,
    version: runtime.version,
    command: runtime.command,
    model,
    config,
    before,
    after: await statistics(engine, false),
  };
  const { measured } = measurement;
  console.log(summaryText(setting, measured));
  if (options.output !== undefined) {
    await writeResult(options.output, resultOf(setting, measured));
    console.log(`written: ${options.output}`);
  }
  if (failure !== undefined) throw failure;
  return measured.results.every(isAnswer) ? 0 : EXIT_FAILURE;
}

async function main(): Promise<number> {
  const options = parseOptions(process.argv.slice(2));
  if (!options) {
    console.log(USAGE);
    return 0;
  }
  const stop = new AbortController();
  let first = 0;
  process.on("SIGINT", () => {
    // One Ctrl-C may arrive twice: from the terminal, and from tsx, which passes it on.
    if (stop.signal.aborted && performance.now() - first > SECOND_SIGNAL_MS) {
      process.exit(EXIT_INTERRUPTED);
    }
    first ||= performance.now();
    stop.abort();
  });
  const engine = new Engine({
    command: options.krserve,
    config: options.settings as SettingsInput,
    configFile: options.config,
    preset: options.preset,
    restart: false, // a new runtime's counters and caches would be others
  });
  engine.on("log", ({ line, level }) => {
    if (level === "error" || level === "warn" || level === undefined) console.error(line);
  });
  try {
    const status = await benchmark(engine, options, stop.signal);
    return stop.signal.aborted ? EXIT_INTERRUPTED : status;
  } catch (error) {
    if (stop.signal.aborted) return EXIT_INTERRUPTED;
    throw error;
  } finally {
    await engine.stop({ drainTimeoutS: stop.signal.aborted ? 0 : 30 });
  }
}

try {
  process.exitCode = await main();
} catch (error) {
  clear();
  console.error(`flexible-benchmark: ${(error as Error).message}`);
  process.exitCode = error instanceof UsageError ? EXIT_USAGE : EXIT_FAILURE;
}
