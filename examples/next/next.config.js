import { fileURLToPath } from 'node:url'

export default {
  // The SDK is TypeScript as it is written, and linked from outside of this folder.
  transpilePackages: ['@mintmark/sdk'],
  turbopack: { root: fileURLToPath(new URL('../..', import.meta.url)) },
}
