import { defineConfig } from 'vitest/config'

export default defineConfig({
  test: {
    // Tests start servers, children and databases: a process each keeps them out of each other's way.
    pool: 'forks',
    maxWorkers: 2,
    testTimeout: 20_000,
    hookTimeout: 20_000,
    projects: [
      {
        extends: true,
        test: { name: 'unit', include: ['src/**/*.test.ts', 'sdk/**/*.test.ts'] },
      },
      {
        extends: true,
        test: {
          name: 'integration',
          include: ['test/**/*.test.ts'],
          exclude: ['test/hard/**'],
        },
      },
    ],
  },
})
