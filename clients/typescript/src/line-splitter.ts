// Cuts a byte stream into lines. Not node:readline, which also splits at U+2028, U+2029 and lone
// carriage returns: the first two may stand unescaped in JSON.

const LINE_FEED = 0x0a;

/** Bytes in, whole lines out; UTF-8 is decoded a line at a time, so a chunk may end anywhere. */
export class LineSplitter {
  readonly #maxBytes: number;
  readonly #decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
  #parts: Uint8Array[] = [];
  #bytes = 0;

  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes;
  }

  /** Throws RangeError for a line above the limit and TypeError for one that is not UTF-8. */
  *push(chunk: Uint8Array): Generator<string> {
    let start = 0;
    for (let end = chunk.indexOf(LINE_FEED); end >= 0; end = chunk.indexOf(LINE_FEED, start)) {
      this.#keep(chunk.subarray(start, end));
      start = end + 1;
      yield this.#take();
    }
    this.#keep(chunk.subarray(start));
  }

  /** What came after the last line feed; cut off in the middle, it need not be whole UTF-8. */
  rest(): string {
    return Buffer.concat(this.#parts).toString("utf8");
  }

  #keep(part: Uint8Array): void {
    if (part.length === 0) return;
    this.#bytes += part.length;
    if (this.#bytes > this.#maxBytes) {
      throw new RangeError(`a line has more than ${this.#maxBytes} bytes`);
    }
    this.#parts.push(part);
  }

  #take(): string {
    const line = this.#parts.length === 1 ? this.#parts[0] : Buffer.concat(this.#parts);
    this.#parts = [];
    this.#bytes = 0;
    return this.#decoder.decode(line);
  }
}
