export { type CachedOptions, type CachedVerifier, cachedVerifier } from './cached-verifier.ts'
export { type Client, createClient } from './client.ts'
export { MintmarkError } from './error.ts'
export type * from './event-types.ts'
export { type GoodVerdict, type GuardOptions, type Verifier, verdictOf } from './guard.ts'
export { holdsGroup, holdsRole, holdsScope } from './held-rights.ts'
export type { Acknowledgement, CallOptions, ChangeOptions, ClientOptions } from './http.ts'
export type * from './import-types.ts'
export type * from './job-types.ts'
export type * from './oauth-types.ts'
export {
  type OfflineActive,
  type OfflineOptions,
  type OfflineReason,
  type OfflineVerdict,
  type OfflineVerifier,
  offlineVerifier,
} from './offline.ts'
export type { OnceOptions } from './once.ts'
export type * from './people-types.ts'
export type { PolicyTestOptions } from './policy.ts'
export type * from './policy-types.ts'
export { secretKind } from './secret-format.ts'
export type * from './session-types.ts'
export type * from './token-types.ts'
export type * from './types.ts'
