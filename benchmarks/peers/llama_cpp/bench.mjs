// Decode, batched decode and prefill rates of llama.cpp, through its npm package, on the CPU.
//   node bench.mjs MODEL.gguf THREADS PROMPT_TOKENS GEN_TOKENS REPEAT BATCH
// Prints one line of JSON. Run k of every kind comes before run k + 1 of any.
import { getLlama } from 'node-llama-cpp';

const [path, threads, prompt, gen, repeat, batch] = process.argv.slice(2).map((v, i) => (i ? Number(v) : v));
const llama = await getLlama({ gpu: false, build: 'never', logLevel: 'error' });
const model = await llama.loadModel({ modelPath: path });
// A context for one sequence, and one for the batch: a context for many slows a single one down.
const contextOf = (sequences) =>
  model.createContext({ contextSize: prompt + gen + 16, sequences, threads, batchSize: 512 });
const single = (await contextOf(1)).getSequence();
const many = batch > 1 ? await contextOf(batch) : null;
const sequences = Array.from({ length: many ? batch : 0 }, () => many.getSequence());
const tokens = (seed) => Array.from({ length: prompt }, (_, i) => (i * 7919 + seed * 104729) % 150000);

// Milliseconds until the first token and while the others came.
async function generate(sequence, seed) {
  await sequence.clearHistory();
  const start = performance.now();
  let first = 0;
  let count = 0;
  for await (const token of sequence.evaluate(tokens(seed), { temperature: 0, yieldEogToken: true })) {
    void token;
    if (++count === 1) first = performance.now();
    if (count === gen) break;
  }
  return { start, first, end: performance.now() };
}

const result = { decode: [], decode_batch: [], prefill: [] };
await generate(single, 0);
for (let run = 1; run <= repeat; ++run) {
  const one = await generate(single, run);
  result.decode.push(((gen - 1) * 1000) / (one.end - one.first));
  result.prefill.push((prompt * 1000) / (one.first - one.start));
  if (batch > 1) {
    const all = await Promise.all(sequences.map((s, i) => generate(s, run * 100 + i)));
    const first = Math.max(...all.map((t) => t.first));
    const end = Math.max(...all.map((t) => t.end));
    result.decode_batch.push((batch * (gen - 1) * 1000) / (end - first));
  }
}
console.log(JSON.stringify({ threads, prompt, gen, repeat, batch, ...result }));
process.exit(0);
