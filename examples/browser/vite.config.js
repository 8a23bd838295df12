const target = process.env.MINTMARK_URL ?? 'http://127.0.0.1:8080'

export default {
  define: { ISSUER: JSON.stringify(target) },
  server: {
    proxy: { '/api/v1/revocations': target, '/.well-known/mintmark/jwks.json': target },
    // The SDK is linked from outside of this folder.
    fs: { allow: ['../..'] },
  },
}
