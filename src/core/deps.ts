import type { Recorder } from './audit/record.ts'
import type { Clock } from './clock.ts'
import type { NewId, UserId } from './id.ts'
import type { Keyring } from './keys/keyring.ts'
import type { Policy } from './policy/policy.ts'
import type { Random } from './random.ts'
import type { Owner } from './rights.ts'
import type { Repositories, Store } from './store.ts'
import type { UsageCollector } from './tokens/usage.ts'
import type { LateLogins } from './users/late-logins.ts'
import type { PasswordHasher } from './users/password.ts'

/** What the domain's functions work with; made once by `createCore`. */
export interface Deps {
  store: Store
  clock: Clock
  random: Random
  newId: NewId
  keyring: Keyring
  audit: Recorder
  usage: UsageCollector
  passwords: PasswordHasher
  logins: LateLogins
  /** The policy in force now. */
  policy: () => Policy
  /** A user with roles, groups and scopes; inside a transaction, as that transaction sees them. */
  loadOwner: (id: UserId, within?: Repositories) => Promise<Owner | undefined>
}
