import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { CoreError } from '../errors.ts'
import { parseQuery } from './query.ts'

const filterOf = (text: string) => parseQuery(text).filter
const kind = (...values: string[]) => ({ field: 'kind', values })
const owner = (...values: string[]) => ({ field: 'owner', values })

describe('what is written beside each other narrows, and', () => {
  it.each([
    ['', { all: [] }],
    ['   ', { all: [] }],
    ['owner:alice', owner('alice')],
    ['owner:alice kind:api', { all: [owner('alice'), kind('api')] }],
    ['owner:alice and kind:api', { all: [owner('alice'), kind('api')] }],
    ['owner:alice or kind:api', { any: [owner('alice'), kind('api')] }],
    ['owner:a kind:api or owner:b', { any: [{ all: [owner('a'), kind('api')] }, owner('b')] }],
    ['owner:a (kind:api or owner:b)', { all: [owner('a'), { any: [kind('api'), owner('b')] }] }],
    ['(owner:a)(owner:b)', { all: [owner('a'), owner('b')] }],
    ['-owner:a', { not: owner('a') }],
    ['not owner:a', { not: owner('a') }],
    ['NOT (owner:a OR owner:b)', { not: { any: [owner('a'), owner('b')] } }],
    ['--owner:a', { not: { not: owner('a') } }],
    ['owner:or', owner('or')],
    ['owner:not owner:and', { all: [owner('not'), owner('and')] }],
    ['Owner:alice KIND:API', { all: [owner('alice'), kind('api')] }],
  ])('%j is %j', (text, filter) => expect(filterOf(text)).toEqual(filter))
})

describe('values', () => {
  it.each([
    ['kind:api,service', kind('api', 'service')],
    ['kind:oauth-access', kind('oauth_access')],
    ['access:read_only', { field: 'access', values: ['READ_ONLY'] }],
    ['owner:"alice b"', owner('alice b')],
    ['owner:"a\\"b\\\\c",bob', owner('a"b\\c', 'bob')],
    ['owner:a:b~c', owner('a:b~c')],
    ['owner:-a', owner('-a')],
    ['scope:deploy:prod', { field: 'scope', values: ['deploy:prod'] }],
    ['name:"<b>"', { field: 'name', values: ['<b>'] }],
    [
      'name~ci text~"a b",c',
      {
        all: [
          { field: 'name', contains: ['ci'] },
          { field: 'text', contains: ['a b', 'c'] },
        ],
      },
    ],
    ['agent~curl/8,"Go http"', { field: 'agent', contains: ['curl/8', 'Go http'] }],
    ['ip:10.0.0.0/8,::1', { field: 'ip', values: ['10.0.0.0/8', '::1'] }],
    [
      'id:01900000-0000-7000-8000-00000000000A',
      {
        field: 'id',
        values: ['01900000-0000-7000-8000-00000000000a'],
      },
    ],
  ])('%s', (text, filter) => expect(filterOf(text)).toEqual(filter))
})

const day = (text: string) => Date.parse(`${text}T00:00:00Z`)

describe('times', () => {
  it.each([
    ['used:never', [{ never: true }]],
    ['used:>90d', [{ comparison: '>', seconds: 90 * 86_400 }]],
    ['expires:<=2w', [{ comparison: '<=', seconds: 14 * 86_400 }]],
    ['used:>90d,never', [{ comparison: '>', seconds: 90 * 86_400 }, { never: true }]],
    ['created:2026-01', [{ during: { fromMs: day('2026-01-01'), untilMs: day('2026-02-01') } }]],
    ['created:2026-12', [{ during: { fromMs: day('2026-12-01'), untilMs: day('2027-01-01') } }]],
    ['created:2028-02-29', [{ during: { fromMs: day('2028-02-29'), untilMs: day('2028-03-01') } }]],
    ['created:>2026-01-01', [{ during: { fromMs: day('2026-01-02') } }]],
    ['created:>=2026-01-01', [{ during: { fromMs: day('2026-01-01') } }]],
    ['created:<2026-01-01', [{ during: { untilMs: day('2026-01-01') } }]],
    ['created:<=2026-01-01', [{ during: { untilMs: day('2026-01-02') } }]],
    ['revoked:>2026-01-01T12:00:00Z', [{ during: { fromMs: day('2026-01-01') + 43_200_001 } }]],
    [
      'revoked:<2026-01-01T12:00:00+02:00',
      [{ during: { untilMs: day('2026-01-01') + 36_000_000 } }],
    ],
  ])('%s', (text, times) => expect(filterOf(text)).toMatchObject({ times }))
})

describe('sorting', () => {
  it.each([
    ['sort:created', { by: 'created', descending: false }],
    ['sort:-expires', { by: 'expires', descending: true }],
    ['kind:api sort:used', { by: 'used', descending: false }],
    ['sort:name kind:api', { by: 'name', descending: false }],
    ['kind:api or kind:service sort:name', { by: 'name', descending: false }],
    ['kind:api', undefined],
  ])('%s', (text, order) => expect(parseQuery(text).order).toEqual(order))
})

describe('a mistake is told with its column and the way out', () => {
  it.each([
    ['ownr:alice', 1, 'there is no such field. The fields are access, agent, client,'],
    ['kind:api ownr:alice', 10, 'there is no such field'],
    ['ci', 1, 'this is no filter. Write field:value, or text~"…" for any text.'],
    ['"ci"', 1, 'this is no filter'],
    ['größe:x', 1, 'this is no filter'],
    ['owner:Größe kind:oauth', 18, 'kind is api, service, session,'],
    ['owner:🔑 kind:oauth', 14, 'kind is api'],
    ['kind:api,oauth', 10, 'kind is api'],
    ['state:dead', 7, 'state is active, quarantined, expired, revoked, superseded.'],
    ['owner:', 7, 'a value for owner is wanted here'],
    ['owner: alice', 7, 'a value for owner is wanted here, without a space before it.'],
    ['owner:alice,', 13, 'a value for owner is wanted here'],
    ['owner:""', 9, 'a value for owner is wanted here'],
    ['owner:"alice', 7, 'this " is never closed.'],
    ['owner:"a\\b"', 9, 'behind \\ there can be " or \\ only.'],
    ['owner:a"b"', 8, 'a space is wanted here.'],
    ['owner:>a', 7, 'owner cannot be compared. Leave out the >, or quote it.'],
    ['owner~ali', 6, '~ is for text, name and agent.'],
    ['text:ci', 5, 'Write text~"…".'],
    ['agent:curl', 6, 'agent is looked for in parts. Write agent~"…".'],
    ['used:90d', 6, 'used takes <30d, >=12h'],
    ['used:>90', 6, 'used takes <30d'],
    ['used:>never', 6, 'used takes <30d'],
    ['used:> 90d', 7, 'a value for used is wanted here'],
    ['created:2026-02-30', 9, 'created takes'],
    ['created:2026-13', 9, 'created takes'],
    ['created:2026-01-01T25:00:00Z', 9, 'created takes'],
    ['ip:10.0.0', 4, 'ip is an address or a range like 10.0.0.0/8.'],
    ['id:alice', 4, 'id is the id of a token.'],
    ['(kind:api', 1, 'this ( is never closed. Add a ).'],
    ['kind:api)', 9, 'this ) closes nothing. Remove it.'],
    ['()', 2, 'a filter like owner:alice is wanted here.'],
    ['or kind:api', 1, 'a filter like owner:alice is wanted here.'],
    ['kind:api or', 12, 'a filter like owner:alice is wanted here.'],
    ['kind:api or sort:name', 22, 'a filter like owner:alice is wanted here.'],
    ['kind:api and', 13, 'a filter is wanted after "and".'],
    ['kind:api not', 13, 'a filter is wanted after "not".'],
    ['kind:api -', 11, 'a filter is wanted after "not".'],
    ['sort:owner', 6, 'say sort:created, sort:-created, and the same with used, expires, name.'],
    ['sort:', 6, 'say sort:created'],
    ['sort:name sort:used', 11, 'there is a sort already. Keep one of them.'],
    ['(kind:api sort:name)', 11, 'sort is for the whole query.'],
    ['-sort:name', 2, 'sort cannot be negated'],
  ])('%j', (text, column, sentence) => {
    const message = expect.stringContaining(sentence)
    expect(() => parseQuery(text)).toThrow(
      expect.objectContaining({ code: 'invalid_input', column, message }),
    )
    expect(() => parseQuery(text)).toThrow(`column ${column}: `)
  })

  it('also where a query is beyond all bounds', () => {
    const wrong = expect.objectContaining({ code: 'invalid_input' })
    expect(() => parseQuery('('.repeat(1000))).toThrow(wrong)
    expect(() => parseQuery('-'.repeat(1900))).toThrow(wrong)
    expect(() => parseQuery(`kind:${'api,'.repeat(300)}api`)).toThrow(wrong)
    expect(() => parseQuery(`name:${'a'.repeat(256)}`)).toThrow(wrong)
    expect(() => parseQuery(' '.repeat(2001))).toThrow(wrong)
    expect(() => parseQuery('name:"a\u0000b"')).toThrow(wrong)
    expect(() => parseQuery('name:\ud800')).toThrow(wrong)
  })

  it('and nothing else ever happens, whatever is written', () => {
    const pieces = fc.constantFrom(
      ...[
        'owner:',
        'kind:',
        'api',
        'used:',
        'text~',
        '"',
        '\\',
        '(',
        ')',
        '-',
        ' ',
        ',',
        '<',
        '>=',
      ],
      ...[
        '90d',
        'or',
        'not',
        'and',
        'sort:',
        'name',
        ':',
        '~',
        '2026-01-01',
        'ip:10.0.0.0/8',
        '\t',
      ],
    )
    const texts = fc.oneof(
      fc.string({ unit: 'binary' }),
      fc.array(pieces).map((all) => all.join('')),
    )
    fc.assert(
      fc.property(texts, (text) => {
        try {
          parseQuery(text)
        } catch (error) {
          if (!(error instanceof CoreError) || error.code !== 'invalid_input') throw error
          // A character that cannot be stored is told without a place.
          if (error.column === undefined) return
          expect(error.column).toBeGreaterThanOrEqual(1)
          expect(error.column).toBeLessThanOrEqual([...text].length + 1)
        }
      }),
      { numRuns: 5000 },
    )
  })
})
