import type { JWKS } from 'oidc-provider'
import type { Keyring } from '../core/keys/keyring.ts'

/** The keyring's signing keys, private parts included, as the engine wants them: current ones first. */
export function signingJwks(keyring: Keyring): JWKS {
  return {
    keys: keyring.oauthKeys().map(({ id, alg, privateKey }) => ({
      ...privateKey.export({ format: 'jwk' }),
      kid: id,
      alg,
      use: 'sig',
    })),
  } as JWKS
}
