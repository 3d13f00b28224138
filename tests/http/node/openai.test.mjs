// The official npm client, unchanged, against the server at KRSERVE_URL; run by test_node_client.py.
import assert from "node:assert/strict";
import { test } from "node:test";

import OpenAI from "openai";

const client = new OpenAI({
  baseURL: `${process.env.KRSERVE_URL}/v1`,
  apiKey: "none",
  maxRetries: 0,
});
const messages = [{ role: "user", content: "What is 17 + 25?" }];
const request = { model: "tiny", messages, temperature: 0 };

test("a chat answer has the sum", async () => {
  const answer = await client.chat.completions.create(request);
  assert.match(answer.choices[0].message.content, /42/);
  assert.equal(answer.choices[0].finish_reason, "stop");
  assert.ok(answer.usage.total_tokens > 0);
});

test("a stream gives the same text, and the usage when asked", async () => {
  const stream = await client.chat.completions.create({
    ...request,
    stream: true,
    stream_options: { include_usage: true },
  });
  let text = "";
  let usage = null;
  for await (const chunk of stream) {
    text += chunk.choices[0]?.delta?.content ?? "";
    usage = chunk.usage ?? usage;
  }
  assert.match(text, /42/);
  assert.ok(usage.completion_tokens > 0);
});

test("the stream helper collects the final message", async () => {
  const runner = client.chat.completions.stream(request);
  const final = await runner.finalChatCompletion();
  assert.match(final.choices[0].message.content, /42/);
});

test("an aborted stream ends on the client without an error on the server", async () => {
  const stream = await client.chat.completions.create({
    ...request,
    messages: [{ role: "user", content: "Tell me a story." }],
    max_tokens: 500,
    ignore_eos: true,
    stream: true,
  });
  for await (const chunk of stream) {
    assert.ok(chunk.id);
    break;
  }
  const health = await fetch(`${process.env.KRSERVE_URL}/health`);
  assert.equal(health.status, 200);
});

test("text completions and models work", async () => {
  const answer = await client.completions.create({ model: "tiny", prompt: "Once", max_tokens: 4 });
  assert.ok(answer.choices[0].text.length > 0);
  const models = await client.models.list();
  assert.deepEqual(models.data.map((model) => model.id), ["tiny"]);
});

test("errors become the client's exceptions", async () => {
  await assert.rejects(
    client.chat.completions.create({ ...request, temperature: 3 }),
    (error) => error instanceof OpenAI.BadRequestError && error.param === "temperature",
  );
  await assert.rejects(
    client.chat.completions.create({ ...request, model: "gpt-4" }),
    (error) => error instanceof OpenAI.NotFoundError && error.code === "model_not_found",
  );
});
