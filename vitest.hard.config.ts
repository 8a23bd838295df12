import { defineConfig } from 'vitest/config'

/** The long trials (`npm run test:hard`): one at a time, so that each has the machine to itself. */
export default defineConfig({
  test: {
    name: 'hard',
    include: ['test/hard/**/*.test.ts'],
    pool: 'forks',
    fileParallelism: false,
    testTimeout: 60 * 60_000,
    hookTimeout: 5 * 60_000,
  },
})
