import type { Caller } from '../caller.ts'
import type { Deps } from '../deps.ts'
import { CoreError } from '../errors.ts'

/** A wish that the policy stood against. */
export interface Violation {
  caller: Caller
  /** Its name; `policy`: the policy's own setting. */
  rule: string
  message: string
}

/** What a refused wish violated, if it was the policy that refused it. */
export function violationIn(caller: Caller, error: unknown): Violation | undefined {
  if (!(error instanceof CoreError) || error.code !== 'beyond_policy') return undefined
  const { rule } = error.detail ?? {}
  return { caller, rule: typeof rule === 'string' ? rule : 'policy', message: error.message }
}

/** Tells of a wish that was refused; in a transaction of its own, because that of the wish is undone. */
export async function recordViolation(
  { store, audit }: Pick<Deps, 'store' | 'audit'>,
  { caller, rule, message }: Violation,
): Promise<void> {
  await store.transaction((tx) =>
    audit(tx, caller, {
      action: 'token.policy_violated',
      subjectType: 'policy',
      subjectId: 'policy',
      after: { rule, message },
    }),
  )
}
