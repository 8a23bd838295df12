import { type CompiledQuery, DummyDriver, Kysely, PostgresDialect, sql } from 'kysely'
import { beforeEach, expect, it } from 'vitest'
import type { Db } from './engine.ts'
import { endWith, type Transact, transactions } from './postgres-transaction.ts'

/** What was sent and is not answered yet, in order. */
let sent: { text: string; answer: (error?: Error) => void }[]
let db: Db
let transact: Transact

beforeEach(() => {
  sent = []
  const dialect = new Recorded({ pool: async () => Promise.reject(new Error('There is none.')) })
  db = new Kysely({ dialect })
  transact = transactions(db, dialect)
})

/** PostgreSQL as far as it is spoken to. */
class Recorded extends PostgresDialect {
  override createDriver() {
    const driver = new DummyDriver()
    driver.acquireConnection = async () => ({
      executeQuery: ({ sql: text }: CompiledQuery) =>
        new Promise((resolve, reject) => {
          const command = text === 'commit' ? 'COMMIT' : ''
          const answer = (error?: Error) =>
            error === undefined ? resolve({ rows: [{ command }] as never[] }) : reject(error)
          sent.push({ text, answer })
        }),
      async *streamQuery() {},
    })
    return driver
  }
}

const ask = (tx: Db, text: string) => sql.raw(text).execute(tx)
const settled = () => new Promise((resolve) => setImmediate(resolve))
/** Takes what waits for an answer, once it was sent. */
async function heard() {
  await settled()
  return sent.splice(0)
}
const textsOf = (queries: { text: string }[]) => queries.map(({ text }) => text)

async function answered() {
  const queries = await heard()
  for (const { answer } of queries) answer()
  return textsOf(queries)
}

it('sends questions with its beginning, what was asked together at once, and the last with the commit', async () => {
  const done = transact(async (tx) => {
    await Promise.all([ask(tx, 'select 1'), ask(tx, 'select 2')])
    await Promise.all([ask(tx, 'update 3'), ask(tx, 'update 4')])
    endWith(tx, sql`insert 5`.compile(tx))
    return 'result'
  })
  expect(await answered()).toEqual(['begin', 'select 1', 'select 2'])
  expect(await answered()).toEqual(['update 3', 'update 4'])
  expect(await answered()).toEqual(['insert 5', 'commit'])
  expect(await done).toBe('result')
})

it('sends nothing that changes something before it has begun, nor what is asked after that', async () => {
  const done = transact((tx) =>
    Promise.all(['select 1', 'update 2', 'select 3'].map((text) => ask(tx, text))),
  )
  const refused = expect(done).rejects.toThrow('no beginning')
  const [begin, question] = await heard()
  expect([begin?.text, question?.text]).toEqual(['begin', 'select 1'])
  begin?.answer(new Error('no beginning'))
  question?.answer()
  expect(await answered()).toEqual(['rollback'])
  await refused
})

it('that did not begin is not committed, whatever its questions were answered', async () => {
  const done = transact((tx) => ask(tx, 'select 1').catch(() => 'no matter'))
  const refused = expect(done).rejects.toThrow('no beginning')
  const [begin, question] = await heard()
  begin?.answer(new Error('no beginning'))
  question?.answer()
  expect(await answered()).toEqual(['rollback'])
  await refused
})

it('tells why it failed, not what failed because of that', async () => {
  const done = transact(async (tx) => {
    const [, second] = await Promise.allSettled([ask(tx, 'select 1'), ask(tx, 'select 2')])
    if (second.status === 'rejected') throw second.reason
  })
  const refused = expect(done).rejects.toThrow('the reason')
  const [begin, first, second] = await heard()
  begin?.answer()
  first?.answer(new Error('the reason'))
  second?.answer(new Error('aborted'))
  expect(await answered()).toEqual(['rollback'])
  await refused
})

it.each([
  ['the last statement', 'full', undefined, 'full'],
  ['the commit', undefined, 'unknown', 'unknown'],
  ['both, since the connection was lost,', 'lost', 'unknown', 'unknown'],
])('fails with %s', async (_, ofLast, ofCommit, told) => {
  const done = transact(async (tx) => endWith(tx, sql`insert 1`.compile(tx)))
  const refused = expect(done).rejects.toThrow(told)
  expect(await answered()).toEqual(['begin'])
  const [last, commit] = await heard()
  last?.answer(ofLast === undefined ? undefined : new Error(ofLast))
  commit?.answer(ofCommit === undefined ? undefined : new Error(ofCommit))
  expect(await answered()).toEqual(['rollback'])
  await refused
})

it('answers nobody who comes when it is over', async () => {
  let kept: Db | undefined
  const done = transact(async (tx) => {
    kept = tx
  })
  expect(await answered()).toEqual(['begin'])
  expect(await answered()).toEqual(['commit'])
  await done
  await expect(ask(kept as Db, 'select 1')).rejects.toThrow('over')
})
