import type { Caller } from '../../src/core/caller.ts'
import { CoreError, type ErrorCode } from '../../src/core/errors.ts'
import type { Mode } from '../../src/core/groups/group.ts'
import type { GroupId, TokenId } from '../../src/core/id.ts'
import type { RowWish } from '../../src/core/imports/import.ts'
import { nameOf } from '../../src/core/revocations/feed.ts'
import type { Rights } from '../../src/core/rights.ts'
import type { Limits } from '../../src/core/tokens/token.ts'
import type { Verdict } from '../../src/core/tokens/verdict.ts'
import { accessJwts } from '../../src/http/access-jwt.ts'
import { verdictOn } from '../../src/http/auth.ts'
import { tokenJwts } from '../../src/http/token-jwt.ts'
import { ORIGIN, type TestCore } from './core.ts'
import type { Dice } from './dice.ts'

/** What a random history did, so that a test can tell that it did something. */
export type WalkFigures = Record<string, number>

/** A way in which a credential comes of another one; a new one is added to `WAYS` and walked from then on. */
type Way = (run: Run, by: Credential) => Promise<Credential>

interface Credential {
  name: string
  way: string
  secret: string
  /** Of a signed one: the token behind it. */
  tokenId: TokenId
  madeBy: Credential | undefined
  /** Ends with its maker, and loses what the maker loses. */
  hangsOnMaker: boolean
  signed?: { position: number; names: string[]; rights: Rights; expiresAtMs: number }
}

interface Run {
  t: TestCore
  dice: Dice
  figures: WalkFigures
  userId: string
  /** What the owner holds, by our own bookkeeping. */
  roles: Set<string>
  modes: Map<string, Mode>
  active: boolean
  credentials: Credential[]
  groups: readonly string[]
  judge(secret: string): Promise<Verdict>
}

const ISSUER = 'https://tokens.example.com'
const WALK_ROLES: Record<string, string[]> = {
  reader: ['read:a', 'read:b'],
  writer: ['write:a'],
  foreign: ['foreign'],
}
const MODES: Mode[] = ['READ', 'WRITE', 'ADMIN']
const RANGES = ['192.0.2.0/24', '192.0.0.0/8', '192.0.2.7/32', '10.0.0.0/8']

/** Makes what all histories share. */
export async function prepareWalks(t: TestCore): Promise<string[]> {
  await t.write((w) => w.updatePolicy({ caller: t.admin, edit: { usersMayCreateTokens: true } }))
  for (const [name, scopes] of Object.entries(WALK_ROLES)) {
    await t.write((w) => w.createRole({ caller: t.admin, role: { name, description: '', scopes } }))
  }
  const groups = [await t.makeGroup('crew'), await t.makeGroup('guild')]
  return groups.map(({ id }) => id)
}

/**
 * One random history of one user: credentials make credentials while the user's rights come and go. After
 * every step no credential is beyond its maker or its owner. Throws with the seed's history otherwise.
 */
export async function walkRights(
  t: TestCore,
  {
    dice,
    steps,
    groups,
    figures,
  }: { dice: Dice; steps: number; groups: string[]; figures: WalkFigures },
): Promise<void> {
  const { keyring, clock } = t.core
  const signing = tokenJwts({ keyring, clock, issuer: ISSUER })
  const jwts = accessJwts({ keyring, clock, issuer: ISSUER, tokenJwts: signing })
  const n = (figures.runs ?? 0) + 1
  figures.runs = n
  const user = await t.makeUser({ username: `walker ${n}`, roles: ['reader', 'writer'] })
  const run: Run = {
    t,
    dice,
    figures,
    userId: user.id,
    roles: new Set(['reader', 'writer']),
    modes: new Map(),
    active: true,
    credentials: [],
    groups,
    judge: async (secret) => verdictOn(secret, { core: t.core, jwts, demand: { ip: ORIGIN.ip } }),
  }
  const issued = await t.issue(user, { name: `root ${n}`, expires: clock.now() + 60_000 })
  run.credentials.push({
    name: 'root',
    way: 'admin',
    secret: issued.secret.reveal(),
    tokenId: issued.token.id,
    madeBy: undefined,
    hangsOnMaker: false,
  })
  const history: string[] = []
  for (let step = 0; step < steps; step++) {
    history.push(await takeStep(run))
    const fault = await findFault(run)
    if (fault !== undefined) throw new Error(`${fault}\n${history.join('\n')}`)
  }
  const fault = await findOfflineFault(run)
  if (fault !== undefined) throw new Error(`${fault}\n${history.join('\n')}`)
}

async function takeStep(run: Run): Promise<string> {
  const { dice, t, figures } = run
  if (dice.chance(0.25)) return changeOwner(run)
  if (dice.chance(0.05)) {
    t.clock.advance(dice.number(20_000))
    return 'wait'
  }
  const by = dice.pick(run.credentials)
  const way = dice.pick(Object.keys(WAYS))
  if (by === undefined || way === undefined) return 'nothing'
  try {
    const made = await WAYS[way]?.(run, by)
    if (made !== undefined) run.credentials.push(made)
    figures[way] = (figures[way] ?? 0) + 1
    return `${by.name} → ${way} ${made?.name}`
  } catch (error) {
    if (!(error instanceof CoreError)) throw error
    figures[error.code] = (figures[error.code] ?? 0) + 1
    return `${by.name} → ${way}: ${error.code}`
  }
}

async function callerOf({ judge }: Run, { secret }: Credential): Promise<Caller> {
  const verdict = await judge(secret)
  if (!verdict.active) throw new CoreError('unauthenticated', 'Dead.')
  return { principal: verdict.principal, origin: ORIGIN }
}

/** Often within, often beyond. */
function wishOf({ dice, groups }: Run): Partial<Limits> {
  const some = <T>(list: readonly T[]) => list.filter(() => dice.chance(0.4))
  const maybe = <T>(name: string, value: () => T) => (dice.chance(0.4) ? { [name]: value() } : {})
  return {
    ...maybe('accessLevel', () => (dice.chance(0.8) ? 'FULL_ACCESS' : 'READ_ONLY')),
    ...maybe('roles', () => some([...Object.keys(WALK_ROLES), 'admin'])),
    ...maybe('scopes', () => some([...Object.values(WALK_ROLES).flat(), '*'].slice(0, 4))),
    ...maybe('groups', () =>
      some(groups).map((id) => ({ id: id as GroupId, mode: dice.pick(MODES) ?? 'READ' })),
    ),
    ...maybe('allowedIps', () => some(RANGES).concat('192.0.2.0/24')),
  }
}

/** Every way from one credential to the next. */
const WAYS: Record<string, Way> = {
  async create(run, by) {
    const caller = await callerOf(run, by)
    const limits: Limits = {
      accessLevel: 'FULL_ACCESS',
      roles: null,
      groups: null,
      scopes: null,
      allowedIps: null,
      ...wishOf(run),
    }
    const expires = run.dice.chance(0.5) ? 'never' : run.t.clock.now() + run.dice.number(90_000)
    const wish = { kind: 'api' as const, name: nameIn(run), limits, expires } as const
    const made = await run.t.write((w) => w.issueToken({ caller, wish, via: 'api' }))
    return credential(run, 'create', { by, made, hangsOnMaker: false })
  },
  async child(run, by) {
    const caller = await callerOf(run, by)
    const ends = run.dice.chance(0.5)
      ? {}
      : { expiresAtMs: run.t.clock.now() + 1000 + run.dice.number(90_000) }
    const wish = { limits: wishOf(run), ...ends }
    const made = await run.t.write((w) => w.issueChild({ caller, wish, via: 'api' }))
    return credential(run, 'child', { by, made, hangsOnMaker: true })
  },
  async rotate(run, by) {
    const caller = await callerOf(run, by)
    const target = run.dice.pick(run.credentials.filter(({ signed }) => signed === undefined)) ?? by
    const wish = {
      id: target.tokenId,
      ...(run.dice.chance(0.5) ? { expires: 'never' as const } : {}),
    }
    const made = await run.t.write((w) => w.rotateToken({ caller, wish, via: 'api' }))
    // Bound by whoever rotated it and learns its secret, and by what the old one hung on.
    const successor = credential(run, 'rotate', { by, made, hangsOnMaker: false })
    return target.hangsOnMaker
      ? { ...successor, madeBy: target.madeBy, hangsOnMaker: true }
      : successor
  },
  async update(run, by) {
    const caller = await callerOf(run, by)
    const edit = { description: `seen ${run.dice.number(9)}` }
    await run.t.write((w) => w.updateToken({ caller, id: by.tokenId, edit }))
    return by
  },
  async exchange(run, by) {
    const caller = await callerOf(run, by)
    const signed = await run.t.core.sign(caller, {
      audience: ISSUER,
      ttlSeconds: 1 + run.dice.number(60),
      limits: wishOf(run),
    })
    const { keyring, clock } = run.t.core
    const jwt = await tokenJwts({ keyring, clock, issuer: ISSUER }).sign(signed)
    if (jwt === undefined) throw new Error('Too long.')
    const groupIds = [...signed.rights.groups.keys()]
    return {
      name: nameIn(run),
      way: 'exchange',
      secret: jwt,
      tokenId: by.tokenId,
      madeBy: by,
      hangsOnMaker: true,
      signed: {
        position: signed.position,
        names: [...signed.chain, signed.subject.id, ...groupIds].map(nameOf),
        rights: signed.rights,
        expiresAtMs: signed.expiresAtMs,
      },
    }
  },
  /** An administrator takes a secret of the owner's over, now and then one that is a token's already. */
  async import(run, by) {
    const { dice, t, figures } = run
    const isTaken = by.signed === undefined && dice.chance(0.2)
    const name = nameIn(run)
    const secret = isTaken ? by.secret : `of-another-system-${name}`
    const { groups, ...limits } = wishOf(run)
    const ends = [undefined, null, t.clock.now() + 1000 + dice.number(90_000)]
    const expiresAtMs = dice.pick(ends)
    const row = {
      row: 1,
      secret,
      name,
      owner: `walker ${figures.runs}`,
      kind: dice.chance(0.8) ? ('api' as const) : ('service' as const),
      ...(limits as Partial<RowWish>),
      ...(groups ? { groups: groups.map(({ id, mode }) => ({ group: id, mode })) } : {}),
      ...(expiresAtMs === undefined ? {} : { expiresAtMs }),
    }
    const wish = { importId: name, dryRun: false, createOwners: undefined, createGroups: false }
    const [verdict] = await t.core.importTokens({ caller: t.admin, wish: { ...wish, rows: [row] } })
    if (verdict?.code !== undefined) throw new CoreError(verdict.code as ErrorCode, 'Refused.')
    if (isTaken) {
      if (verdict?.outcome !== 'exists') throw new Error(`${by.name} is a second token now.`)
      return by
    }
    if (verdict?.tokenId === undefined) throw new Error('Nothing was imported.')
    if ((await run.judge(secret)).active) figures.imported = (figures.imported ?? 0) + 1
    return {
      name,
      way: 'import',
      secret,
      tokenId: verdict.tokenId,
      madeBy: undefined,
      hangsOnMaker: false,
    }
  },
  async revoke(run, by) {
    const caller = await callerOf(run, by)
    if (run.dice.chance(0.6)) return by
    await run.t.write((w) => w.revokeSelf({ caller, reason: '' }))
    return by
  },
}

function nameIn(run: Run): string {
  return `${run.figures.runs}.${run.credentials.length}.${run.dice.number(1e9)}`
}

function credential(
  run: Run,
  way: string,
  from: {
    by: Credential
    made: { secret: { reveal(): string }; token: { id: TokenId } }
    hangsOnMaker: boolean
  },
): Credential {
  return {
    name: nameIn(run),
    way,
    secret: from.made.secret.reveal(),
    tokenId: from.made.token.id,
    madeBy: from.by,
    hangsOnMaker: from.hangsOnMaker,
  }
}

async function changeOwner(run: Run): Promise<string> {
  const { t, dice } = run
  const caller = t.admin
  const id = run.userId as never
  const kind = dice.number(10)
  if (kind < 4) {
    run.roles = new Set(Object.keys(WALK_ROLES).filter(() => dice.chance(0.6)))
    await t.write((w) => w.updateUser({ caller, id, edit: { roles: [...run.roles] } }))
    return `roles ${[...run.roles]}`
  }
  if (kind < 9) {
    const groupId = (dice.pick(run.groups) ?? '') as GroupId
    const mode = dice.pick([...MODES, undefined])
    if (mode !== undefined) {
      await t.write((w) => w.setMembership({ caller, wish: { groupId, userId: id, mode } }))
      run.modes.set(groupId, mode)
    } else if (run.modes.delete(groupId)) {
      await t.write((w) => w.removeMembership({ caller, groupId, userId: id }))
    }
    return `mode ${mode}`
  }
  run.active = !run.active
  await t.write((w) => w.updateUser({ caller, id, edit: { active: run.active } }))
  return `active ${run.active}`
}

/** What is wrong now; undefined: nothing. */
async function findFault(run: Run): Promise<string | undefined> {
  const verdicts = new Map<Credential, Verdict>()
  for (const each of new Set(run.credentials)) verdicts.set(each, await run.judge(each.secret))
  for (const [each, verdict] of verdicts) {
    if (!verdict.active) continue
    const what = `${each.name} (${each.way})`
    const { rights, token } = verdict.principal
    if (!run.active) return `${what} is alive though its owner is not`
    const beyondOwner = beyond(rights, {
      accessLevel: 'FULL_ACCESS',
      admin: false,
      roles: run.roles,
      scopes: new Set([...run.roles].flatMap((role) => WALK_ROLES[role] ?? [])),
      modes: run.modes,
    })
    if (beyondOwner !== undefined) return `${what} is beyond its owner: ${beyondOwner}`
    const maker = each.madeBy
    const made = maker && verdicts.get(maker)
    if (maker === undefined || made === undefined) continue
    if (!made.active) {
      if (each.hangsOnMaker && made.reason !== 'superseded') return `${what} outlives its maker`
      continue
    }
    const { principal } = made
    const beyondMaker = beyond(rights, { ...principal.rights, modes: modesOf(principal.rights) })
    if (beyondMaker !== undefined) return `${what} is beyond its maker: ${beyondMaker}`
    const makersEndMs = principal.token.expiresAtMs
    const endMs = token.expiresAtMs ?? Number.POSITIVE_INFINITY
    if (makersEndMs !== undefined && endMs > makersEndMs) return `${what} ends after its maker`
  }
  return undefined
}

/** A signed token that the feed has not ended must be no more than its token is now. */
async function findOfflineFault(run: Run): Promise<string | undefined> {
  const all = [...new Set(run.credentials)].filter(({ signed }) => signed !== undefined)
  if (all.length === 0) return undefined
  const { ended, everything } = await run.t.core.revocations.read(undefined)
  for (const { signed, tokenId, name } of all) {
    if (signed === undefined || signed.expiresAtMs <= run.t.clock.now()) continue
    const isEnded =
      signed.position < everything ||
      signed.names.some((each) => signed.position < (ended.get(each) ?? 0))
    run.figures.offline = (run.figures.offline ?? 0) + 1
    if (isEnded) continue
    const now = await run.t.core.verifier.verifyById(tokenId, { ip: ORIGIN.ip })
    if (!now.active) return `${name} is good offline though its token is ${now.reason}`
    const { rights } = now.principal
    const over = beyond(signed.rights, { ...rights, modes: modesOf(rights) })
    if (over !== undefined) return `${name} is more offline than its token is: ${over}`
  }
  return undefined
}

function modesOf({ groups }: Rights): Map<string, Mode> {
  return new Map([...groups.values()].map(({ id, mode }) => [id, mode]))
}

function beyond(
  rights: Rights,
  bound: Pick<Rights, 'accessLevel' | 'admin' | 'roles' | 'scopes'> & { modes: Map<string, Mode> },
): string | undefined {
  if (rights.accessLevel === 'FULL_ACCESS' && bound.accessLevel === 'READ_ONLY') return 'writes'
  if (rights.admin && !bound.admin) return 'admin'
  for (const role of rights.roles) if (!bound.roles.has(role)) return role
  if (bound.scopes !== 'all') {
    if (rights.scopes === 'all') return 'every scope'
    for (const scope of rights.scopes) if (!bound.scopes.has(scope)) return scope
  }
  for (const { id, mode } of rights.groups.values()) {
    const held = bound.modes.get(id)
    if (held === undefined || MODES.indexOf(held) < MODES.indexOf(mode)) return `${mode} in ${id}`
  }
  return undefined
}
