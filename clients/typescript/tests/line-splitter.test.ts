import { expect, test } from "vitest";

import { LineSplitter } from "../src/line-splitter.js";

const LINES = ['{"a":"žü日🙂"}', '"\u2028 and \u2029 and \r are no line ends"', "", "7"];
const BYTES = Buffer.from(LINES.map((line) => `${line}\n`).join(""));

test("lines come out whole wherever the bytes are cut in two", () => {
  for (let cut = 0; cut <= BYTES.length; cut++) {
    const lines = new LineSplitter(1000);
    const found = [...lines.push(BYTES.subarray(0, cut)), ...lines.push(BYTES.subarray(cut))];
    expect(found, `cut at ${cut}`).toEqual(LINES);
    expect(lines.rest()).toBe("");
  }
});

test("lines come out whole when every byte comes alone", () => {
  const lines = new LineSplitter(1000);
  expect([...BYTES].flatMap((byte) => [...lines.push(Uint8Array.of(byte))])).toEqual(LINES);
});

test("an unfinished line is kept apart", () => {
  const lines = new LineSplitter(1000);
  expect([...lines.push(Buffer.from("one\ntw"))]).toEqual(["one"]);
  expect(lines.rest()).toBe("tw");
});

test("a line may have as many bytes as the limit, and no more", () => {
  const lines = new LineSplitter(4);
  expect([...lines.push(Buffer.from("1234\n12"))]).toEqual(["1234"]);
  expect(() => [...lines.push(Buffer.from("345\n"))]).toThrow(RangeError);
});

test("bytes that are not UTF-8 are refused, after the lines before them", () => {
  const found = new LineSplitter(100).push(Buffer.from([0x31, 0x0a, 0xff, 0x0a]));
  expect(found.next().value).toBe("1");
  expect(() => found.next()).toThrow(TypeError);
});
