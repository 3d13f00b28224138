// A runtime of the protocol that does what the prompt of a generate, the path of a model or a
// variable says, so that every fault comes at an exact place.
//
//   FAKE_AT_START   crash: ends with 9 before it answers; hang: never answers
//   FAKE_AT_RESTART crash: the same from the second start on; needs FAKE_STATE
//   FAKE_AT_STOP    hang: answers shutdown and stays; silence: does not answer it
//   FAKE_LOADING    so many times health says "loading"
//   FAKE_FRAME_MB   the runtime's rpc.max_frame_mb
//   FAKE_STATE      a file that counts the starts
//   FAKE_RECORD     a file that gets argv, some of the environment, and every request, a line each
import { spawn } from "node:child_process";
import { appendFileSync, closeSync, readFileSync } from "node:fs";

const env = process.env;
const models = new Map();
const running = new Map(); // id of a generate that waits for its cancel -> what it has made

function starts() {
  if (!env.FAKE_STATE) return 1;
  appendFileSync(env.FAKE_STATE, "x");
  return readFileSync(env.FAKE_STATE, "utf8").length;
}

const record = (value) => {
  if (env.FAKE_RECORD) appendFileSync(env.FAKE_RECORD, `${JSON.stringify(value)}\n`);
};
const write = (frame) => process.stdout.write(`${JSON.stringify(frame)}\n`);
const answer = (id, result) => write({ jsonrpc: "2.0", id, result });
const refuse = (id, code, message, data) =>
  write({ jsonrpc: "2.0", id, error: { code, message, data } });
const notify = (method, params) => write({ jsonrpc: "2.0", method, params });
const chunk = (request, index, text, tokens = [index]) =>
  notify("generate_chunk", { request, index, text, tokens });

function result(text, finish_reason = "stop") {
  const timings = { queue_ms: 0, prefill_ms: 1, decode_ms: 2, ttft_ms: 1, total_ms: 3 };
  const count = [...text].length;
  return {
    text,
    tokens: [...text].map((_, index) => index),
    finish_reason,
    usage: { prompt_tokens: 1, completion_tokens: count, cached_tokens: 0, total_tokens: 1 + count },
    timings: { ...timings, tokens_per_second: 1000 },
  };
}

function crash(code, ...lines) {
  for (const line of lines) process.stderr.write(`${line}\n`);
  process.exit(code);
}

const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

// A byte at a time, each given to the pipe before the next.
async function trickle(frames) {
  for (const byte of Buffer.from(frames.map((frame) => `${JSON.stringify(frame)}\n`).join(""))) {
    await new Promise((resolve) => process.stdout.write(Buffer.of(byte), resolve));
    await new Promise(setImmediate);
  }
}

const prompts = {
  "three chunks": (id) => {
    for (const [index, text] of ["one ", "two ", "three"].entries()) chunk(id, index, text);
    answer(id, result("one two three"));
  },
  "wait for cancel": (id) => {
    chunk(id, 0, "begun");
    running.set(id, "begun");
  },
  "say nothing": () => {},
  "crash after two chunks": (id) => {
    chunk(id, 0, "one ");
    chunk(id, 1, "two ");
    crash(3, "2026-01-01T00:00:00.000 [ERROR] [device.wait] the device is lost", "last words");
  },
  "crash inside a frame": (id) => {
    chunk(id, 0, "one ");
    process.stdout.write(`{"jsonrpc":"2.0","id":${id},"res`, () => process.exit(4));
  },
  "die by a signal": () => process.kill(process.pid, "SIGABRT"),
  "close stdout": () => closeSync(1),
  "close stdin": (id) => {
    process.stdin.destroy();
    closeSync(0); // Node itself leaves the first three descriptors open
    setInterval(() => {}, 1000);
    answer(id, result("closed"));
  },
  "leave a child with the pipes": () => {
    spawn("sleep", ["5"], { stdio: "inherit" });
    crash(7);
  },
  garbage: (id) => {
    chunk(id, 0, "one ");
    process.stdout.write("Traceback (most recent call last):\n");
  },
  "not utf-8": () => process.stdout.write(Buffer.from([0x22, 0xff, 0x22, 0x0a])),
  "valid json, no frame": () => process.stdout.write("42\n"),
  trickle: (id) =>
    trickle([
      { jsonrpc: "2.0", method: "generate_chunk", params: { request: id, index: 0, text: "žü日🙂\u2028x", tokens: [1, 2] } },
      { jsonrpc: "2.0", id, result: result("žü日🙂\u2028x") },
    ]),
  "unknown notification": (id) => {
    notify("weather", { degrees: 21 });
    chunk(id, 0, "still here");
    answer(id, result("still here"));
  },
  "batch of answers": (id) => {
    const part = { request: id, index: 0, text: "hi", tokens: [1] };
    const frames = [
      { jsonrpc: "2.0", method: "generate_chunk", params: part },
      { jsonrpc: "2.0", id, result: result("hi") },
    ];
    process.stdout.write(`${JSON.stringify(frames)}\n`);
  },
  "thousand chunks": (id) => {
    for (let index = 0; index < 1000; index++) chunk(id, index, `${index} `, [index]);
    answer(id, result(Array.from({ length: 1000 }, (_, index) => `${index} `).join("")));
  },
  "wrong chunk": (id) => {
    notify("generate_chunk", { request: id, index: 0, text: 7, tokens: [] });
    running.set(id, "");
  },
  "wrong result": (id) => answer(id, { text: "no more than this" }),
  "answer twice": (id) => {
    answer(id, result("first"));
    answer(id, result("second"));
  },
  "ask the client": (id) => {
    write({ jsonrpc: "2.0", id: "r1", method: "confirm", params: {} });
    chunk(id, 0, "asked");
    answer(id, result("asked"));
  },
};

function generate(id, params) {
  const code = /^error (-\d+)$/.exec(params.prompt ?? "");
  if (code) {
    const data = { kind: "of the test", param: "top_p", loaded: ["m"], methods: ["health"] };
    return refuse(id, Number(code[1]), `[test.error] ${code[1]}`, data);
  }
  const behaviour = prompts[params.prompt];
  if (!behaviour) return refuse(id, -32602, `no behaviour ${params.prompt}`, { param: "prompt" });
  return behaviour(id);
}

function loadModel(id, params) {
  const { model, name = model, config } = params;
  if (model === "damaged") return refuse(id, -32002, "damaged", { kind: "model_not_loadable" });
  if (model === "works once" && started > 1) {
    return refuse(id, -32002, "gone", { kind: "model_not_loadable" });
  }
  if (model === "crash at reload" && started > 1) return crash(6, "crashed while it loaded");
  for (const fraction of [0, 1]) notify("load_progress", { request: id, model, fraction, what: "weights" });
  const info = { name, path: model, architecture: "fake", context_length: 64, vocab_size: 10 };
  const sizes = { weight_bytes: 1, kv_cache_bytes: 2, load_ms: 0.5, device: "fake", device_name: "f" };
  models.set(name, { ...info, ...sizes, config });
  return answer(id, { model: models.get(name) });
}

function unloadModel(id, { model }) {
  if (model === "crash") crash(8);
  if (model !== undefined && !models.has(model)) {
    return refuse(id, -32001, "not loaded", { loaded: [...models.keys()] });
  }
  if (model === undefined) models.clear();
  else models.delete(model);
  return answer(id, {});
}

function cancel(id, { request }) {
  const text = running.get(request);
  running.delete(request);
  if (text !== undefined) answer(request, result(text, "cancelled"));
  answer(id, { cancelled: text !== undefined });
}

async function shutdown(id) {
  if (env.FAKE_AT_STOP === "silence") return;
  answer(id, { drained: running.size === 0 });
  if (env.FAKE_AT_STOP === "hang") await sleep(3_600_000);
  process.exit(0);
}

const methods = {
  health: (id) =>
    answer(id, { status: loading-- > 0 ? "loading" : "idle", models: [], version: `start ${started}`, pid: process.pid, uptime_s: 0 }),
  get_config: (id, { path }) =>
    path === "rpc.max_frame_mb" && env.FAKE_FRAME_MB
      ? answer(id, { config: { rpc: { max_frame_mb: Number(env.FAKE_FRAME_MB) } }, origins: {} })
      : refuse(id, -32602, `unknown key ${path}`, { param: "path" }),
  set_config: (id, { values }) =>
    answer(id, {
      changed: Object.keys(values),
      effective: Object.fromEntries(Object.keys(values).map((path) => [path, "now"])),
    }),
  load_model: loadModel,
  unload_model: unloadModel,
  list_models: (id) => answer(id, { models: [...models.values()] }),
  generate,
  cancel,
  tokenize: (id, { text }) => answer(id, { tokens: [...text].map((c) => c.codePointAt(0)), count: text.length }),
  detokenize: (id, { tokens }) => answer(id, { text: String.fromCodePoint(...tokens) }),
  shutdown,
};

const started = starts();
let loading = Number(env.FAKE_LOADING ?? 0);
record({ argv: process.argv.slice(2), key: env.KRSERVE_SERVER_API_KEY ?? null, cwd: process.cwd() });
if (env.FAKE_AT_START === "crash") crash(9, "no such device");
if (env.FAKE_AT_RESTART === "crash" && started > 1) crash(5, "again");

let rest = "";
process.stdin.setEncoding("utf8");
process.stdin.on("data", (data) => {
  const lines = (rest + data).split("\n");
  rest = lines.pop();
  for (const line of lines) {
    const { id, method, params, error } = JSON.parse(line);
    record({ method, params, ...(error && { error }) });
    if (env.FAKE_AT_START !== "hang" && method) methods[method](id, params);
  }
});
process.stdin.on("end", () => process.exit(0));
process.stderr.write("2026-01-01T00:00:00.000 [INFO] fake runtime is up\n");
