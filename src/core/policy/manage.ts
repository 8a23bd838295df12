import { mustBeAllowed } from '../access.ts'
import type { Caller } from '../caller.ts'
import type { Deps } from '../deps.ts'
import { CoreError } from '../errors.ts'
import type { Repositories } from '../store.ts'
import { DEFAULT_POLICY, type Policy } from './policy.ts'

/** Inclusive bounds of each number, in its own unit. */
const BOUNDS: Partial<Record<keyof Policy, [number, number]>> = {
  sessionTtlSeconds: [60, 30 * 86_400],
  sessionIdleSeconds: [60, 30 * 86_400],
  defaultTokenTtlSeconds: [1, 36_600 * 86_400],
  maxTokenTtlSeconds: [1, 36_600 * 86_400],
  lockoutAttempts: [1, 100],
  lockoutSeconds: [1, 30 * 86_400],
  passwordTtlSeconds: [3600, 3650 * 86_400],
  retentionSeconds: [0, 3650 * 86_400],
}

/** The limits that there need not be. */
const OPTIONAL: ReadonlySet<string> = new Set<keyof Policy>([
  'defaultTokenTtlSeconds',
  'maxTokenTtlSeconds',
  'passwordTtlSeconds',
])

/** `null` takes an optional limit away. */
export type PolicyEdit = { [K in keyof Policy]?: Policy[K] | null }

/** Throws `forbidden`, `invalid_input`. */
export async function updatePolicy(
  deps: Deps,
  tx: Repositories,
  { caller, edit }: { caller: Caller; edit: PolicyEdit },
): Promise<Policy> {
  mustBeAllowed(caller.principal, 'policy.manage', { what: undefined, policy: deps.policy() })
  // As this transaction sees it: the policy in force may lack an edit that has just been committed.
  const before: Policy = { ...DEFAULT_POLICY, ...(await tx.policy.load()) }
  const after = merged(before, edit)
  await tx.policy.save(after, deps.clock.now())
  await tx.changes.append({ subject: 'policy', id: 'policy' })
  await deps.audit(tx, caller, {
    action: 'policy.updated',
    subjectType: 'policy',
    subjectId: 'policy',
    before: { ...before },
    after: { ...after },
  })
  return after
}

function merged(before: Policy, edit: PolicyEdit): Policy {
  const values = Object.entries(edit)
    .filter(([, value]) => value !== undefined)
    .map(([name, value]) => [name, value ?? undefined])
  const after = { ...before, ...Object.fromEntries(values) } as Policy
  for (const [name, value] of Object.entries(after)) {
    if (value === undefined && !OPTIONAL.has(name)) {
      throw new CoreError('invalid_input', `${name} cannot be taken away.`)
    }
  }
  for (const [name, [least, most]] of Object.entries(BOUNDS)) {
    const value = after[name as keyof Policy]
    if (
      typeof value === 'number' &&
      (!Number.isSafeInteger(value) || value < least || value > most)
    ) {
      throw new CoreError(
        'invalid_input',
        `${name} must be a whole number from ${least} to ${most}.`,
      )
    }
  }
  return after
}
