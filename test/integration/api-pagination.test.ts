import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { makeClient, seedFamily } from '../support/clients.ts'
import { type Call, checkedCall } from '../support/openapi.ts'
import { makeGroup, makeToken } from '../support/people.ts'
import { expectProblem } from '../support/problem.ts'
import { startServer, type TestServer } from '../support/server.ts'

let server: TestServer
let call: Call

// The clock stands still: everything here was made in the same millisecond.
beforeAll(async () => {
  server = await startServer()
  call = await checkedCall(server)
})
afterAll(() => server.close())

interface Page {
  ids: string[]
  nextCursor: string | null
  previousCursor: string | null
}

async function page(path: string, query: string): Promise<Page> {
  const { status, body, text } = await call('GET', `/api/v1/${path}?${query}`)
  expect(status, text).toBe(200)
  const ids = body.items.map((item: { id?: string; sequence?: number }) =>
    String(item.id ?? item.sequence),
  )
  return { ids, nextCursor: body.nextCursor, previousCursor: body.previousCursor }
}

/** Pages from the first to the last. */
async function walk(path: string, limit: number): Promise<Page[]> {
  const pages = [await page(path, `limit=${limit}`)]
  for (let cursor = pages[0]?.nextCursor; cursor != null; cursor = pages.at(-1)?.nextCursor) {
    pages.push(await page(path, `limit=${limit}&cursor=${cursor}`))
  }
  return pages
}

let made = 0
let pair: Promise<{ userId: string; clientId: string }> | undefined
/** A user and a client for grants, made once. */
function granting() {
  pair ??= (async () => ({
    userId: (await server.makeUser({ username: 'granting' })).id,
    clientId: (await makeClient(server)).id,
  }))()
  return pair
}
const lists: Record<string, () => Promise<unknown>> = {
  tokens: () => makeToken(server, {}),
  users: () => server.makeUser({ username: `user-${made++}` }),
  groups: () => makeGroup(server, `group-${made++}`),
  clients: () => makeClient(server),
  grants: async () => seedFamily(server, await granting()),
  audit: () => makeToken(server, {}),
}

describe.each(Object.keys(lists))('the list of %s', (path) => {
  beforeAll(async () => {
    for (let i = 0; i < 7; i++) await lists[path]?.()
  })

  test('comes in pages without gaps or repetitions, and the same way back', async () => {
    const all = (await page(path, 'limit=1000')).ids
    const forward = await walk(path, 3)
    expect(forward.flatMap(({ ids }) => ids)).toEqual(all)
    expect(forward[0]?.previousCursor).toBeNull()
    expect(forward.at(-1)?.nextCursor).toBeNull()

    const back: string[] = []
    let cursor = forward.at(-1)?.previousCursor
    while (cursor != null) {
      const { ids, previousCursor, nextCursor } = await page(path, `limit=3&cursor=${cursor}`)
      back.unshift(...ids)
      expect(nextCursor).not.toBeNull()
      cursor = previousCursor
    }
    expect([...back, ...(forward.at(-1)?.ids ?? [])]).toEqual(all)
  })

  test('holds exactly one page where the limit fits exactly', async () => {
    const all = (await page(path, 'limit=1000')).ids
    const only = await page(path, `limit=${all.length}`)
    expect(only).toEqual({ ids: all, nextCursor: null, previousCursor: null })
  })

  test('loses nothing when something is added between two pages', async () => {
    const before = (await page(path, 'limit=1000')).ids
    const seen: string[] = []
    let cursor: string | null = ''
    while (cursor !== null) {
      const next: Page = await page(path, `limit=3${cursor === '' ? '' : `&cursor=${cursor}`}`)
      seen.push(...next.ids)
      cursor = next.nextCursor
      if (seen.length < 10) await lists[path]?.()
    }
    expect(seen.filter((id) => before.includes(id))).toEqual(before)
    expect(new Set(seen).size).toBe(seen.length)
  })

  test('takes back only its own cursors, unaltered', async () => {
    const { nextCursor } = await page(path, 'limit=1')
    const cursor = nextCursor ?? ''
    for (const other of Object.keys(lists).filter((each) => each !== path)) {
      const answer = await call('GET', `/api/v1/${other}?cursor=${cursor}`)
      expectProblem(answer, 400, 'invalid_input')
    }
    const forged = Buffer.from(cursor, 'base64url')
    const payload = forged.subarray(16).toString().replace('[', '[ ')
    for (const wrong of [
      Buffer.concat([forged.subarray(0, 16), Buffer.from(payload)]).toString('base64url'),
      cursor.slice(0, -2),
      cursor.slice(2),
      `${cursor.slice(0, 4)}AAAA${cursor.slice(8)}`,
      Buffer.alloc(16).toString('base64url'),
    ]) {
      const answer = await call('GET', `/api/v1/${path}?cursor=${wrong}`)
      expectProblem(answer, 400, 'invalid_input')
    }
  })
})
