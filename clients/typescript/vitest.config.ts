import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    include: ["tests/**/*.test.ts"],
    maxWorkers: 2,
    // Above the slowest wait of the real runtime on a loaded machine; nothing asserts a time.
    testTimeout: 60_000,
    hookTimeout: 120_000,
  },
});
