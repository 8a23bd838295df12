import fc from 'fast-check'
import { addressTest } from '../../src/core/ip.ts'
import { nameKey } from '../../src/core/text.ts'
import type { Dice } from './dice.ts'
import { keyOfName, type TokenRow } from './token-rows.ts'

/** A plain model of the query language: what is written, and which tokens it means. */
export interface Asked {
  text: string
  fits: (token: TokenRow) => boolean
}

export const NOW_MS = Date.UTC(2030, 5, 15, 12)
const DAY_MS = 86_400_000

/** Ids that look like ours, and sort as they please. */
const idOf = (n: number, block: string) =>
  `01900000-0000-7${block}-8000-${n.toString(16).padStart(12, '0')}`

const PEOPLE = ['alice', 'bob', 'ops-bot'] as const
const CREWS = ['ops', 'dev', 'Größe'] as const
const CLIENTS = ['grafana', 'portal'] as const
export const users = PEOPLE.map((username, i) => ({ id: idOf(i, '001'), username }))
export const groups = CREWS.map((name, i) => ({ id: idOf(i, '002'), name }))
export const clients = CLIENTS.map((clientId, i) => ({ id: idOf(i, '003'), clientId }))

const KINDS = ['api', 'service', 'session', 'oauth_code', 'oauth_access', 'oauth_refresh']
const VIAS = ['api', 's7', 'xms', 'opal', 'authentik', 'oauth', 'cli', 'bootstrap']
const WORDS = ['ci', 'Build CI', '100%', 'a_b', 'Größe', 'GRÖSSE', 'nightly "x"', 'back\\slash']
const LABELS = ['read', 'write', 'deploy:prod', 'Admin']
const ADDRESSES = [
  '10.0.0.1',
  '10.255.255.255',
  '11.0.0.0',
  '192.0.2.7',
  '::ffff:10.1.2.3',
  '2001:db8::1',
  '2001:db9::',
  '::1',
]
const AGENTS = ['curl/8.5.0', 'CI Build_bot/1', 'Mozilla/5.0 (100%)', 'Größe']
const RANGES = ['10.0.0.0/8', '10.0.0.1', '0.0.0.0/0', '192.0.2.4/30', '2001:db8::/32', '::1']

/** Many tokens on few instants, so that every comparison meets its own boundary. */
export function randomTokens(count: number, { number, pick, chance }: Dice): TokenRow[] {
  const instant = () => NOW_MS + (number(200) - 180) * DAY_MS + number(3) - 1
  const maybe = <T>(probability: number, value: () => T) =>
    chance(probability) ? value() : undefined
  const some = <T>(list: readonly T[]) => (chance(0.3) ? null : list.filter(() => chance(0.3)))
  const one = <T>(list: readonly T[]) => pick(list) as T
  const taken = new Set<string>()
  const rows: TokenRow[] = []
  for (let i = 0; i < count; i++) {
    const id = idOf(i * 7919, '100')
    const kind = one(KINDS)
    const row: TokenRow = {
      id,
      kind,
      ownerId: one(users).id,
      creatorId: one(users).id,
      clientId: maybe(0.3, () => one(clients).id),
      via: one(VIAS),
      accessLevel: one(['READ_ONLY', 'FULL_ACCESS']),
      name: maybe(0.8, () => (chance(0.5) ? one(WORDS) : `${one(WORDS)} ${i}`)),
      description: chance(0.5) ? '' : `${one(WORDS)} and ${one(WORDS)}`,
      familyId: chance(0.7) || i === 0 ? id : (rows[number(i)]?.familyId ?? id),
      parentId: maybe(0.2, () => idOf(number(count) * 7919, '100')),
      roles: some(LABELS),
      scopes: some(LABELS),
      groups: some(groups.map((group) => group.id)),
      createdAtMs: instant(),
      usedAtMs: maybe(0.6, instant),
      ip: maybe(0.6, () => one(ADDRESSES)),
      agent: maybe(0.6, () => one(AGENTS)),
      expiresAtMs: maybe(0.6, () => instant() + 90 * DAY_MS),
      revokedAtMs: maybe(0.25, instant),
      supersededAtMs: maybe(0.25, instant),
      quarantinedAtMs: maybe(0.25, instant),
    }
    const name = `${row.ownerId} ${keyOfName(row)}`
    const isLive = row.revokedAtMs === undefined && row.supersededAtMs === undefined
    if (isLive && taken.has(name)) row.name = undefined
    if (isLive) taken.add(name)
    rows.push(row)
  }
  return rows
}

function stateOf(row: TokenRow): string {
  if (row.revokedAtMs !== undefined) return 'revoked'
  if (row.supersededAtMs !== undefined && row.supersededAtMs <= NOW_MS) return 'superseded'
  if (row.expiresAtMs !== undefined && row.expiresAtMs <= NOW_MS) return 'expired'
  return row.quarantinedAtMs === undefined ? 'active' : 'quarantined'
}

const monthOf = (atMs: number) => new Date(atMs).toISOString().slice(0, 7)

/** What the values of a field are in the language; undefined: it has none, or is not limited. */
export const VALUES: Record<string, (row: TokenRow) => (string | undefined)[]> = {
  kind: (row) => [row.kind],
  state: (row) => [stateOf(row)],
  owner: (row) => [row.ownerId],
  group: (row) => row.groups ?? [undefined],
  client: (row) => [row.clientId],
  role: (row) => row.roles ?? [undefined],
  scope: (row) => row.scopes ?? [undefined],
  via: (row) => [row.via],
  month: (row) => [monthOf(row.createdAtMs)],
  expires: (row) => [row.expiresAtMs === undefined ? undefined : monthOf(row.expiresAtMs)],
}

const quoted = (text: string) =>
  /^[^\s()",<>\\]+$/.test(text) ? text : `"${text.replace(/["\\]/g, '\\$&')}"`

/** `field:a,b`, where one of the values must be meant. */
function words(
  field: string,
  values: readonly string[],
  has: (row: TokenRow, value: string) => boolean,
) {
  return fc.uniqueArray(fc.constantFrom(...values), { minLength: 1, maxLength: 3 }).map(
    (chosen): Asked => ({
      text: `${field}:${chosen.map(quoted).join(',')}`,
      fits: (row) => chosen.some((value) => has(row, value)),
    }),
  )
}

const someIds = Array.from({ length: 20 }, (_, i) => idOf(i * 7919, '100'))
const idBy = (list: readonly { id: string; name: string }[], name: string) =>
  list.find((each) => each.id === name || nameKey(each.name) === nameKey(name))?.id
const people = users.map(({ id, username }) => ({ id, name: username }))
const apps = clients.map(({ id, clientId }) => ({ id, name: clientId }))

const exact = fc.oneof(
  words('kind', KINDS, (row, value) => row.kind === value),
  words('via', VIAS, (row, value) => row.via === value),
  words('access', ['read_only', 'FULL-ACCESS'], (row, value) =>
    value === 'read_only' ? row.accessLevel === 'READ_ONLY' : row.accessLevel === 'FULL_ACCESS',
  ),
  words(
    'state',
    ['active', 'quarantined', 'expired', 'revoked', 'superseded'],
    (row, v) => stateOf(row) === v,
  ),
  words(
    'owner',
    [...PEOPLE, 'ALICE', 'nobody', users[1]?.id ?? ''],
    (row, value) => row.ownerId === idBy(people, value),
  ),
  words('creator', [...PEOPLE, 'nobody'], (row, value) => row.creatorId === idBy(people, value)),
  words(
    'client',
    [...CLIENTS, 'nothing'],
    (row, value) => row.clientId !== undefined && row.clientId === idBy(apps, value),
  ),
  words('group', [...CREWS, 'OPS', 'nowhere'], (row, value) =>
    (row.groups ?? []).includes(idBy(groups, value) ?? '-'),
  ),
  words('role', [...LABELS, 'none'], (row, value) => (row.roles ?? []).includes(value)),
  words('scope', [...LABELS, 'none'], (row, value) => (row.scopes ?? []).includes(value)),
  words('id', someIds, (row, value) => row.id === value),
  words('family', someIds, (row, value) => row.familyId === value),
  words('parent', someIds, (row, value) => row.parentId === value),
  words('name', [...WORDS, 'ci 3', 'BUILD ci'], (row, value) => keyOfName(row) === nameKey(value)),
  words('ip', RANGES, (row, value) => {
    const range = value.includes('/') ? value : `${value}/${value.includes(':') ? 128 : 32}`
    return row.ip !== undefined && addressTest([range])(row.ip)
  }),
)

const lowerAscii = (text: string) => text.replace(/[A-Z]/g, (letter) => letter.toLowerCase())

const holds = (text: string | undefined, part: string) =>
  text !== undefined && lowerAscii(text).includes(lowerAscii(part))

const PARTS: Record<string, (row: TokenRow, part: string) => boolean> = {
  name: (row, part) => keyOfName(row)?.includes(nameKey(part)) === true,
  text: (row, part) => PARTS.name?.(row, part) === true || holds(row.description, part),
  agent: (row, part) => holds(row.agent, part),
}

const parts = fc
  .tuple(
    fc.constantFrom(...Object.keys(PARTS)),
    fc.constantFrom('ci', 'CI', '0%', '_', 'SSE', 'ö', '\\'),
  )
  .map(
    ([field, part]): Asked => ({
      text: `${field}~${quoted(part)}`,
      fits: (row) => PARTS[field]?.(row, part) === true,
    }),
  )

const TIMES: Record<string, (row: TokenRow) => number | undefined> = {
  created: (row) => row.createdAtMs,
  used: (row) => row.usedAtMs,
  expires: (row) => row.expiresAtMs,
  revoked: (row) => row.revokedAtMs,
  superseded: (row) => row.supersededAtMs,
}

type Test = (ms: number | undefined) => boolean
interface Time {
  text: string
  of: (field: string) => Test
}

const compare: Record<string, (a: number, b: number) => boolean> = {
  '<': (a, b) => a < b,
  '<=': (a, b) => a <= b,
  '>': (a, b) => a > b,
  '>=': (a, b) => a >= b,
}
const comparisons = fc.constantFrom('<', '<=', '>', '>=')

const distances = fc.tuple(comparisons, fc.integer({ min: 0, max: 120 })).map(
  ([comparison, days]): Time => ({
    text: `${comparison}${days % 7 === 0 ? `${days / 7}w` : `${days}d`}`,
    of: (field) => (ms) => {
      if (ms === undefined) return false
      const distance = field === 'expires' ? ms - NOW_MS : NOW_MS - ms
      if (field === 'expires' && distance <= 0) return false
      return compare[comparison]?.(distance, days * DAY_MS) === true
    },
  }),
)

const calendar = fc
  .tuple(fc.constantFrom('', '<', '<=', '>', '>='), fc.integer({ min: -180, max: 110 }), fc.nat(2))
  .map(([comparison, days, precision]): Time => {
    const text = new Date(NOW_MS + days * DAY_MS).toISOString()
    const written = [text.slice(0, 7), text.slice(0, 10), text][precision] ?? text
    const digits = written.length
    // What the calendar says of both sides, cut to what was written.
    const side = (ms: number) => new Date(ms).toISOString().slice(0, digits)
    const fits: Record<string, (a: string) => boolean> = {
      '': (a) => a === written,
      '<': (a) => a < written,
      '<=': (a) => a <= written,
      '>': (a) => a > written,
      '>=': (a) => a >= written,
    }
    return {
      text: `${comparison}${written}`,
      of: () => (ms) => ms !== undefined && fits[comparison]?.(side(ms)) === true,
    }
  })

const never = fc.constant<Time>({ text: 'never', of: () => (ms) => ms === undefined })

const times = fc
  .tuple(
    fc.constantFrom(...Object.keys(TIMES)),
    fc.array(fc.oneof(distances, calendar, never), { minLength: 1, maxLength: 2 }),
  )
  .map(([field, chosen]): Asked => {
    const tests = chosen.map((time) => time.of(field))
    return {
      text: `${field}:${chosen.map(({ text }) => text).join(',')}`,
      fits: (row) => tests.some((test) => test(TIMES[field]?.(row))),
    }
  })

const terms = fc.oneof({ weight: 4, arbitrary: exact }, parts, { weight: 2, arbitrary: times })

/** Any expression, each with parentheses where they are needed. */
export const queries: fc.Arbitrary<Asked> = fc.letrec<{ query: Asked }>((tie) => {
  const several = fc.array(tie('query'), { minLength: 2, maxLength: 3 })
  return {
    query: fc.oneof(
      { maxDepth: 3, depthIdentifier: 'query' },
      { weight: 3, arbitrary: terms },
      {
        weight: 2,
        arbitrary: fc.tuple(several, fc.constantFrom(' ', ' and ', '  AND ')).map(
          ([list, between]): Asked => ({
            text: list.map(({ text }) => `(${text})`).join(between),
            fits: (row) => list.every(({ fits }) => fits(row)),
          }),
        ),
      },
      {
        weight: 1,
        arbitrary: several.map(
          (list): Asked => ({
            text: list.map(({ text }) => `(${text})`).join(' or '),
            fits: (row) => list.some(({ fits }) => fits(row)),
          }),
        ),
      },
      {
        weight: 1,
        arbitrary: fc.tuple(tie('query'), fc.constantFrom('-', 'not ', 'NOT')).map(
          ([{ text, fits }, not]): Asked => ({
            text: `${not}(${text})`,
            fits: (row) => !fits(row),
          }),
        ),
      },
    ),
  }
}).query

/** Without parentheses: `a b or c -d` is `(a and b) or (c and not d)`. */
export const flatQueries: fc.Arbitrary<Asked> = fc
  .array(fc.array(fc.tuple(terms, fc.boolean()), { minLength: 1, maxLength: 3 }), {
    minLength: 1,
    maxLength: 3,
  })
  .map((branches) => ({
    text: branches
      .map((branch) => branch.map(([{ text }, isNot]) => `${isNot ? '-' : ''}${text}`).join(' '))
      .join(' OR '),
    fits: (row) =>
      branches.some((branch) => branch.every(([{ fits }, isNot]) => fits(row) !== isNot)),
  }))

export interface Sorted {
  text: string
  compare: (a: TokenRow, b: TokenRow) => number
}

const SORT_KEYS: Record<string, (row: TokenRow) => number | Buffer> = {
  created: (row) => row.createdAtMs,
  used: (row) => row.usedAtMs ?? Number.NEGATIVE_INFINITY,
  expires: (row) => row.expiresAtMs ?? Number.POSITIVE_INFINITY,
  name: (row) => Buffer.from(keyOfName(row) ?? ''),
}

function ascending(keyOf: (row: TokenRow) => number | Buffer) {
  return (a: TokenRow, b: TokenRow): number => {
    const [x, y] = [keyOf(a), keyOf(b)]
    const order =
      typeof x === 'number' || typeof y === 'number'
        ? Number(x > y) - Number(x < y)
        : Buffer.compare(x, y)
    return order === 0 ? (a.id < b.id ? -1 : 1) : order
  }
}

export const sorts: fc.Arbitrary<Sorted> = fc
  .tuple(fc.constantFrom(...Object.keys(SORT_KEYS)), fc.boolean())
  .map(([field, descending]) => {
    const forth = ascending(SORT_KEYS[field] ?? (() => 0))
    return {
      text: `sort:${descending ? '-' : ''}${field}`,
      compare: descending ? (a, b) => forth(b, a) : forth,
    }
  })
