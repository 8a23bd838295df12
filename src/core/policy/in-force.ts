import type { Store } from '../store.ts'
import { DEFAULT_POLICY, type Policy } from './policy.ts'

/** The policy as this node knows it. */
export interface PolicyInForce {
  now: () => Policy
  /** Called once a changed policy is in force, before the call that changed it returns. */
  onChange(listener: () => void): void
}

/** Follows the policy; whatever node changes it. */
export async function policyInForce(
  store: Pick<Store, 'policy' | 'onChange'>,
): Promise<PolicyInForce> {
  const listeners: (() => void)[] = []
  const read = async () => ({ ...DEFAULT_POLICY, ...(await store.policy.load()) })
  let policy: Policy = DEFAULT_POLICY
  let reading: Promise<void> = Promise.resolve()

  async function follow(): Promise<void> {
    policy = await read()
    for (const listener of listeners) listener()
  }

  // Listening comes first: a change elsewhere must not fall between the first reading and it.
  store.onChange((changes) => {
    if (!changes.some(({ subject }) => subject === 'policy')) return
    // One after the other, so that the last one read is the newest.
    reading = reading.then(follow, follow)
    return reading
  })
  reading = follow()
  await reading
  return {
    now: () => policy,
    onChange: (listener) => {
      listeners.push(listener)
    },
  }
}
