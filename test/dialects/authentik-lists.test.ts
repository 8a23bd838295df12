import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { Client } from '../../src/core/clients/client.ts'
import { startServer, type TestServer } from '../support/server.ts'
import { base, FAMILIES, type Stage, stage } from './authentik-stage.ts'
import { checked } from './checked.ts'

let server: TestServer
let at: Stage
let second: Client
/** pk → what it is, in the order of creation. */
let given: { pk: number; provider: number; user: number; expires: number; revoked: boolean }[]
const ak = checked(() => server, 'authentik')

const CHOICE = 'Select a valid choice. That choice is not one of the available choices.'
const list = (query = '', token = server.adminToken) =>
  ak('GET', `${base}/refresh_tokens/${query}`, { token })
const pksOf = (answer: { body: { results: { pk: number }[] } }) =>
  answer.body.results.map(({ pk }) => pk)
const sorted = (by: (a: (typeof given)[number], b: (typeof given)[number]) => number) =>
  [...given].sort(by).map(({ pk }) => pk)

beforeAll(async () => {
  server = await startServer()
  at = await stage(server)
  second = await at.seed.client({ name: 'Second' })
  given = []
  for (let i = 0; i < 12; i++) {
    const client = i % 3 === 0 ? second : at.app
    const owner = i % 2 === 0 ? at.alice : at.bob
    // Some end at the same instant.
    const ttlMs = 1_000_000 + ((i * 7) % 4) * 60_000
    const token = await at.give({ kind: 'oauth_refresh', ownerId: owner.id, client, ttlMs })
    if (i % 5 === 0) await at.seed.spend(token.id as never)
    given.push({
      pk: token.pk,
      provider: client.serial,
      user: owner.pk,
      expires: ttlMs,
      revoked: i % 5 === 0,
    })
  }
})
afterAll(() => server.close())

describe('the order', () => {
  it('is by provider and expiry, then by pk', async () => {
    const expected = sorted(
      (a, b) => a.provider - b.provider || a.expires - b.expires || a.pk - b.pk,
    )
    expect(pksOf(await list())).toEqual(expected)
    expect(pksOf(await list('?ordering=scope,nonsense'))).toEqual(expected)
  })

  it.each([
    ['pk', (a, b) => a.pk - b.pk],
    ['-id', (a, b) => b.pk - a.pk],
    ['expires', (a, b) => a.expires - b.expires || a.pk - b.pk],
    ['-expires', (a, b) => b.expires - a.expires || a.pk - b.pk],
    ['user,-expires', (a, b) => a.user - b.user || b.expires - a.expires || a.pk - b.pk],
    ['-provider,-pk', (a, b) => b.provider - a.provider || b.pk - a.pk],
    ['-revoked', (a, b) => Number(b.revoked) - Number(a.revoked) || a.pk - b.pk],
    ['is_expired,-pk', (a, b) => b.pk - a.pk],
  ] satisfies [string, Parameters<typeof sorted>[0]][])('by %s', async (ordering, by) => {
    expect(pksOf(await list(`?ordering=${ordering}`))).toEqual(sorted(by))
    expect(pksOf(await list(`?ordering=${encodeURIComponent(ordering)}`))).toEqual(sorted(by))
  })

  it('puts what does not end last, or first when turned round', async () => {
    const { pk } = await at.give({ kind: 'oauth_access', ttlMs: null })
    const ending = await at.give({ kind: 'oauth_access', ttlMs: 1000 })
    const order = async (ordering: string) =>
      pksOf(await ak('GET', `${base}/access_tokens/?ordering=${ordering}`))
    expect(await order('expires')).toEqual([ending.pk, pk])
    expect(await order('-expires')).toEqual([pk, ending.pk])
    expect(await order('provider,expires')).toEqual([ending.pk, pk])
  })
})

describe('pages', () => {
  it('cover all rows once, with numbers that fit', async () => {
    const all = pksOf(await list())
    const seen: number[] = []
    for (let page = 1; page <= 3; page++) {
      const answer = await list(`?page=${page}&page_size=5`)
      expect(answer.body.pagination).toEqual({
        next: page === 3 ? 0 : page + 1,
        previous: page - 1,
        count: 12,
        current: page,
        total_pages: 3,
        start_index: page * 5 - 4,
        end_index: Math.min(page * 5, 12),
      })
      seen.push(...pksOf(answer))
    }
    expect(seen).toEqual(all)
    expect((await list('?page=last&page_size=5')).body.pagination.current).toBe(3)
    expect(pksOf(await list('?page=&page_size='))).toEqual(all)
  })

  it('have at most 1000 rows, and 100 unless told otherwise', async () => {
    for (const size of ['0', '-1', 'x', '1.5', '%20', '1000', '5000']) {
      expect((await list(`?page_size=${size}`)).body.pagination.total_pages).toBe(1)
    }
    expect((await list('?page_size=%205%20')).body.pagination.total_pages).toBe(3)
  })

  it.each(['0', '-1', '4', '99', 'x', '1.5', 'Last', '%00', '9'.repeat(30)])(
    'there is no page %s',
    async (page) => {
      expect(await list(`?page_size=5&page=${page}`)).toMatchObject({
        status: 404,
        body: { detail: 'Invalid page.' },
      })
    },
  )

  it('of nothing are one empty page', async () => {
    const answer = await ak('GET', `${base}/authorization_codes/`)
    expect(answer.body).toEqual({
      pagination: {
        next: 0,
        previous: 0,
        count: 0,
        current: 1,
        total_pages: 1,
        start_index: 0,
        end_index: 0,
      },
      results: [],
    })
    expect((await ak('GET', `${base}/authorization_codes/?page=1`)).status).toBe(200)
    expect((await ak('GET', `${base}/authorization_codes/?page=last`)).status).toBe(200)
    expect((await ak('GET', `${base}/authorization_codes/?page=2`)).status).toBe(404)
  })
})

describe('filters', () => {
  it('by user, by provider, by both', async () => {
    const of = (fits: (each: (typeof given)[number]) => boolean) =>
      given
        .filter(fits)
        .map(({ pk }) => pk)
        .sort()
    const pks = async (query: string) => pksOf(await list(`${query}&ordering=pk`)).sort()
    expect(await pks(`?user=${at.bob.pk}`)).toEqual(of(({ user }) => user === at.bob.pk))
    expect(await pks(`?provider=${second.serial}`)).toEqual(
      of(({ provider }) => provider === second.serial),
    )
    expect(await pks(`?user=${at.bob.pk}&provider=${second.serial}`)).toEqual(
      of(({ user, provider }) => user === at.bob.pk && provider === second.serial),
    )
    expect(await pks(`?user=${at.admin.pk}`)).toEqual([])
    expect(await pks('?user=&provider=')).toHaveLength(12)
  })

  it.each(['999999', '0', '-1', 'x', '1.5', 'null', '2147483648', '%00'])(
    'that name no row are refused: %s',
    async (value) => {
      expect(await list(`?user=${value}`)).toMatchObject({
        status: 400,
        body: { user: [CHOICE] },
      })
      expect(await list(`?provider=${value}`)).toMatchObject({
        status: 400,
        body: { provider: [CHOICE] },
      })
      const both = await list(`?provider=${value}&user=${value}&page=99`)
      expect(both.status).toBe(400)
      expect(both.body).toEqual({ user: [CHOICE], provider: [CHOICE] })
      expect(both.headers['content-type']).toBe('application/json')
    },
  )

  it('take the last of repeated parameters', async () => {
    const answer = await list(`?user=x&user=${at.bob.pk}&page_size=3&page_size=2&page=9&page=1`)
    expect(answer.status).toBe(200)
    expect(answer.body.pagination.total_pages).toBe(3)
    expect((await list(`?user=${at.bob.pk}&user=x`)).status).toBe(400)
    const order = await list('?ordering=pk&ordering=-pk')
    expect(pksOf(order)).toEqual(sorted((a, b) => b.pk - a.pk))
  })

  it('ignore a search and whatever is not known', async () => {
    const all = pksOf(await list())
    for (const query of [
      '?search=no+such+thing',
      '?search=a%20b',
      '?search=%00',
      '?client_id=x&limit=1&offset=5&__proto__=1&user__id=9',
      '?',
    ]) {
      expect(pksOf(await list(query))).toEqual(all)
    }
  })

  it('are read as the official clients send them', async () => {
    for (const search of ['a%20b', 'a+b']) {
      const query = `?ordering=-expires&page=1&page_size=20&provider=${second.serial}&search=${search}&user=${at.alice.pk}`
      const answer = await list(query)
      expect(answer.body.pagination.count).toBe(2)
    }
  })
})

describe('people who are no administrators', () => {
  it('see their own tokens and nobody else’s', async () => {
    for (const [{ pk, token }, other] of [
      [at.alice, at.bob],
      [at.bob, at.alice],
    ] as const) {
      const answer = await list('', token)
      expect(answer.body.pagination.count).toBe(6)
      expect(
        new Set(answer.body.results.map((each: { user: { pk: number } }) => each.user.pk)),
      ).toEqual(new Set([pk]))
      expect(answer.text).not.toContain(other.id)
      expect((await list(`?user=${pk}`, token)).body.pagination.count).toBe(6)
    }
  })

  it('find nothing of others: an empty page, the same as for nobody', async () => {
    const others = await list(`?user=${at.bob.pk}`, at.alice.token)
    const nobody = await list('?user=999999', at.alice.token)
    expect(others).toMatchObject({ status: 200, body: { results: [] } })
    expect(nobody.body).toEqual(others.body)
    const { serial } = await at.seed.client()
    const unused = await list(`?provider=${serial}`, at.alice.token)
    expect((await list('?provider=999999', at.alice.token)).body).toEqual(unused.body)
    expect(unused.body).toEqual(others.body)
    expect((await list(`?user=${at.bob.pk}&page=2`, at.alice.token)).status).toBe(404)
    expect((await list('?user=x', at.alice.token)).status).toBe(400)
    const mine = await list(`?provider=${second.serial}`, at.alice.token)
    expect(mine.body.pagination.count).toBe(2)
  })

  it.each(FAMILIES)('cannot tell others’ $path from none', async ({ path, kind }) => {
    const { pk } = await at.give({ kind, ownerId: at.bob.id })
    for (const [method, rest] of [
      ['GET', ''],
      ['DELETE', ''],
      ['GET', 'used_by/'],
    ] as const) {
      const ask = (id: number) =>
        ak(method, `${base}/${path}/${id}/${rest}`, { token: at.alice.token })
      const answer = await ask(pk)
      expect(answer.status).toBe(404)
      expect(answer.body).toEqual((await ask(999_999)).body)
    }
    expect((await ak('GET', `${base}/${path}/${pk}/`, { token: at.bob.token })).status).toBe(200)
  })
})
