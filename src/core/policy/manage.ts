import { mustBeAllowed } from '../access.ts'
import type { Caller } from '../caller.ts'
import type { Deps } from '../deps.ts'
import { CoreError, notFound } from '../errors.ts'
import { addressTest } from '../ip.ts'
import { ADMIN_ROLE } from '../roles/role.ts'
import type { Repositories } from '../store.ts'
import { nameKey } from '../text.ts'
import { MAX_OVERLAP_SECONDS } from '../tokens/overlap.ts'
import { DEFAULT_POLICY, type Policy } from './policy.ts'
import { restrained, restraintOf } from './restraint.ts'
import { checkRules, type TokenRule } from './rule.ts'

/** Inclusive bounds of each number, in its own unit. */
const BOUNDS: Partial<Record<keyof Policy, [number, number]>> = {
  sessionTtlSeconds: [60, 30 * 86_400],
  sessionIdleSeconds: [60, 30 * 86_400],
  defaultTokenTtlSeconds: [1, 36_600 * 86_400],
  maxTokenTtlSeconds: [1, 36_600 * 86_400],
  rotationOverlapSeconds: [0, MAX_OVERLAP_SECONDS],
  lockoutAttempts: [1, 100],
  lockoutSeconds: [1, 30 * 86_400],
  passwordTtlSeconds: [3600, 3650 * 86_400],
  retentionSeconds: [0, 3650 * 86_400],
  useMinutesSeconds: [3600, 30 * 86_400],
  useHoursSeconds: [86_400, 730 * 86_400],
  useDaysSeconds: [86_400, 3650 * 86_400],
}

/** The limits that there need not be. */
const OPTIONAL: ReadonlySet<string> = new Set<keyof Policy>([
  'defaultTokenTtlSeconds',
  'maxTokenTtlSeconds',
  'passwordTtlSeconds',
])

/** `null` takes an optional limit away. */
export type PolicyEdit = { [K in keyof Policy]?: Policy[K] | null }

/** Throws `forbidden`, `invalid_input`, `conflict` when it would shut its maker out. */
export async function updatePolicy(
  deps: Deps,
  tx: Repositories,
  { caller, edit }: { caller: Caller; edit: PolicyEdit },
): Promise<Policy> {
  mustBeAllowed(caller.principal, 'policy.manage', { what: undefined, policy: deps.policy() })
  // As this transaction sees it: the policy in force may lack an edit that has just been committed.
  const before: Policy = { ...DEFAULT_POLICY, ...(await tx.policy.load()) }
  const after = await mergedPolicy(tx, before, edit)
  await mustNotShutOut(tx, after, { caller, nowMs: deps.clock.now() })
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

/** Puts a rule in the place of that of the same name, or at the end. Throws what `updatePolicy` throws. */
export async function setTokenRule(
  deps: Deps,
  tx: Repositories,
  { caller, rule }: { caller: Caller; rule: TokenRule },
): Promise<Policy> {
  mustBeAllowed(caller.principal, 'policy.manage', { what: undefined, policy: deps.policy() })
  const { tokenRules = [] } = await tx.policy.load()
  const isIt = isNamed(rule.name)
  const edited = tokenRules.some(isIt)
    ? tokenRules.map((each) => (isIt(each) ? rule : each))
    : [...tokenRules, rule]
  return updatePolicy(deps, tx, { caller, edit: { tokenRules: edited } })
}

/** Throws `not_found`, and what `updatePolicy` throws. */
export async function removeTokenRule(
  deps: Deps,
  tx: Repositories,
  { caller, name }: { caller: Caller; name: string },
): Promise<Policy> {
  mustBeAllowed(caller.principal, 'policy.manage', { what: undefined, policy: deps.policy() })
  const { tokenRules = [] } = await tx.policy.load()
  const left = tokenRules.filter((rule) => !isNamed(name)(rule))
  if (left.length === tokenRules.length) throw notFound('rule')
  return updatePolicy(deps, tx, { caller, edit: { tokenRules: left } })
}

function isNamed(name: string): (rule: TokenRule) => boolean {
  const key = nameKey(name)
  return (rule) => nameKey(rule.name) === key
}

/** The policy after an edit, which is checked. Throws `invalid_input`, `conflict` when `before` is not clear. */
export async function mergedPolicy(
  from: Pick<Repositories, 'groups'>,
  before: Policy,
  edit: PolicyEdit,
): Promise<Policy> {
  mustBeUnderstood(before)
  const after = merged(before, edit)
  if (edit.tokenRules === undefined) return after
  const tokenRules = checkRules(after.tokenRules)
  for (const { name, groups } of tokenRules) {
    for (const id of groups ?? []) {
      if ((await from.groups.byId(id)) !== undefined) continue
      throw new CoreError('invalid_input', `The rule "${name}" names a group that does not exist.`)
    }
  }
  return { ...after, tokenRules }
}

/** Whoever changes what he has not understood takes it out. */
function mustBeUnderstood({ tokenRules }: Policy): void {
  const rule = tokenRules.find(({ isUnclear }) => isUnclear)
  if (rule === undefined) return
  throw new CoreError(
    'conflict',
    `Only servers of a newer release of Mintmark understand the rule "${rule.name}" of the policy. Look at the policy and change it there, or upgrade this server.`,
  )
}

/** Refuses a policy under which its maker could not take it back with the token at hand. */
async function mustNotShutOut(
  tx: Repositories,
  policy: Policy,
  { caller: { principal, origin }, nowMs }: { caller: Caller; nowMs: number },
): Promise<void> {
  const token = await tx.tokens.glance(principal.token.id)
  const restraint = token && (await restraintOf(policy, tx, token))
  if (token === undefined || restraint === undefined) return
  const held = restrained(token, restraint)
  const { roles, allowedIps } = held.limits
  const isTooOld = held.expiresAtMs !== undefined && held.expiresAtMs <= nowMs
  const isElsewhere = allowedIps !== null && !addressTest(allowedIps)(origin.ip ?? '')
  const isNoAdmin = roles !== null && !roles.includes(ADMIN_ROLE)
  if (!isTooOld && !isElsewhere && !isNoAdmin) return
  throw new CoreError(
    'conflict',
    'This policy would shut out the token that it is asked for with. Log in, and change it from there, or leave yourself a way in.',
  )
}

const MAX_NOTICES = 10
const NOTICE_BOUNDS = [60, 3650 * 86_400] as const

/** The longest first, each once. Throws `invalid_input`. */
function checkNotices(seconds: readonly number[]): number[] {
  const [least, most] = NOTICE_BOUNDS
  const isGood = (each: number) => Number.isSafeInteger(each) && each >= least && each <= most
  if (seconds.length > MAX_NOTICES || !seconds.every(isGood)) {
    throw new CoreError(
      'invalid_input',
      `noticeSeconds must be at most ${MAX_NOTICES} whole numbers from ${least} to ${most}.`,
    )
  }
  return [...new Set(seconds)].sort((a, b) => b - a)
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
  const noticeSeconds = checkNotices(after.noticeSeconds)
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
  return { ...after, noticeSeconds }
}
