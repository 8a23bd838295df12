import { setTimeout as sleep } from 'node:timers/promises'
import { type Dice, dice } from './dice.ts'
import type { Creation, Found, History, Operation, Revocation, Rotation } from './history.ts'
import {
  type Cluster,
  type Fault,
  LEASE_SECONDS,
  SKEW_MS,
  startCluster,
} from './history-cluster.ts'

const CLIENTS = 10
/** Clients choose among so many of the latest tokens, so that they meet. */
const RECENT = 24
/** How often a change is tried on a token that was not changed yet. */
const FRESH = 0.8
const OVERLAPS_SECONDS = [0, 0, 1, 2]
/** A question that takes longer hangs; a change may wait for the nodes on top of the database's limits. */
const PATIENCE_MS = 20_000
const BATCH = 100
/** How long a node may refuse after everything was restarted. */
const RECOVERY_MS = 10_000

export interface HistoryTrial {
  seed: number
  seconds: number
  /** What happens to each node, again and again. */
  faults: readonly Fault[]
  /** Whether one node breaks its promise on purpose. */
  deaf?: boolean
  /** How often the database is killed under the load. */
  databaseKills?: number
}

export interface HistoryReport {
  history: History
  /** How often each fault struck. */
  strikes: Record<string, number>
  /** Answers by operation, and what else was answered, by status. */
  counts: Record<string, number>
  /** What hung. */
  hung: string[]
}

/** A token whose secret is known. */
interface Held {
  id: string
  secret: string
  /** Whether it was revoked or rotated; changes that are refused teach little. */
  isSpent: boolean
}

interface Answer {
  status: number
  // biome-ignore lint/suspicious/noExplicitAny: answers of every shape
  body: any
  acknowledged: boolean
}

/** Unknown changes, to be asked for again in the end with the same key. */
type Settle = (node: number) => Promise<boolean>

interface Run {
  cluster: Cluster
  operations: Operation[]
  held: Held[]
  unsettled: Settle[]
  report: Pick<HistoryReport, 'counts' | 'strikes' | 'hung'>
  isOver(): boolean
}

/** Lets ten clients work on three nodes while faults strike, restarts everything, and looks at it all. */
export async function recordHistory(trial: HistoryTrial): Promise<HistoryReport> {
  const cluster = await startCluster({ deaf: trial.deaf ?? false })
  const endMs = performance.now() + trial.seconds * 1000
  const run: Run = {
    cluster,
    operations: [],
    held: [],
    unsettled: [],
    report: { strikes: {}, counts: {}, hung: [] },
    isOver: () => performance.now() > endMs,
  }
  try {
    const parent = dice(trial.seed)
    const seeded = () => dice(parent.number(2 ** 31))
    const nemeses = cluster.nodes.map((_, node) => torment(run, { node, dice: seeded(), ...trial }))
    const clients = Array.from({ length: CLIENTS }, (_, i) =>
      work(run, { client: i, dice: seeded() }),
    )
    const kills = killDatabase(run, trial, seeded())
    await Promise.all([...nemeses, ...clients, kills])
    await cluster.restart()
    for (const settle of run.unsettled) await insist('A change', () => settle(0))
    await sweep(run)
    const found = await listAll(run)
    const leaseMs = LEASE_SECONDS * 1000
    const skewMs = trial.faults.includes('step') ? SKEW_MS : CLOCK_READING_MS
    return { history: { operations: run.operations, found, leaseMs, skewMs }, ...run.report }
  } finally {
    await cluster.close()
  }
}

/** The wall clock is read in whole milliseconds, and adjusted by and by. */
const CLOCK_READING_MS = 20

async function torment(
  { cluster, report, isOver }: Run,
  { node, dice, faults }: { node: number; dice: Dice; faults: readonly Fault[] },
): Promise<void> {
  while (!isOver() && faults.length > 0) {
    await sleep(500 + dice.number(4000))
    const fault = dice.pick(faults)
    if (fault === undefined || isOver()) return
    add(report.strikes, fault)
    await cluster.nodes[node]?.strike(fault, dice)
  }
}

async function killDatabase(
  { cluster, report }: Run,
  { databaseKills = 0, seconds }: HistoryTrial,
  dice: Dice,
): Promise<void> {
  const everyMs = (seconds * 1000) / databaseKills
  for (let i = 0; i < databaseKills; i++) {
    await sleep(everyMs * 0.6 + dice.number(everyMs * 0.4))
    await cluster.postgres.end('SIGKILL')
    await cluster.postgres.start()
    add(report.strikes, 'kill the database')
  }
}

const add = (counts: Record<string, number>, name: string) => {
  counts[name] = (counts[name] ?? 0) + 1
}

async function work(run: Run, { client, dice }: { client: number; dice: Dice }): Promise<void> {
  const { cluster, held } = run
  const running = () => [...cluster.nodes.keys()].filter((node) => cluster.nodes[node]?.url)
  const anyNode = () => dice.pick(running()) ?? 0
  for (let made = 0; !run.isOver(); ) {
    await sleep(dice.number(20))
    // What is asked of nobody says nothing.
    if (running().length === 0) continue
    const choice = dice.number(100)
    const wantsFresh = choice < 24 && dice.chance(FRESH)
    const token = dice.pick(held.filter(({ isSpent }) => !(isSpent && wantsFresh)).slice(-RECENT))
    if (token === undefined || choice < 8) {
      await create(run, { node: anyNode(), name: `c${client}-${++made}` })
    } else if (choice < 16) {
      const overlapSeconds = dice.pick(OVERLAPS_SECONDS) ?? 0
      const key = `rotate-${client}-${++made}`
      const wish = { token, overlapSeconds, key }
      if (await rotate(run, { node: anyNode(), wish })) await askAll(run, token)
    } else if (choice < 24) {
      if (await revoke(run, { node: anyNode(), token })) await askAll(run, token)
    } else {
      await verify(run, { node: anyNode(), token, strong: dice.chance(0.1) })
    }
  }
}

async function create(run: Run, { node, name }: { node: number; name: string }): Promise<void> {
  const operation: Creation = { what: 'create', name, token: undefined, ...begun(node) }
  run.operations.push(operation)
  const attempt = async (at: number) => {
    const answer = await ask(run, at, ['POST', '/tokens', { name }, `create-${name}`])
    if (answer?.status !== 201) return false
    end(operation)
    operation.token = answer.body.id
    run.held.push({ id: answer.body.id, secret: answer.body.secret, isSpent: false })
    return true
  }
  if (!(await attempt(node))) run.unsettled.push(attempt)
}

interface RotationOrder {
  token: Held
  overlapSeconds: number
  key: string
}

async function rotate(
  run: Run,
  { node, wish: { token, overlapSeconds, key } }: { node: number; wish: RotationOrder },
): Promise<boolean> {
  const operation: Rotation = {
    what: 'rotate',
    token: token.id,
    successor: undefined,
    overlapMs: overlapSeconds * 1000,
    acknowledged: false,
    ...begun(node),
  }
  run.operations.push(operation)
  const attempt = async (at: number) => {
    const path = `/tokens/${token.id}/rotate`
    const answer = await ask(run, at, ['POST', path, { overlapSeconds }, key])
    if (answer !== undefined && isRefusal(answer)) withdraw(run, operation)
    if (answer?.status !== 200) return answer !== undefined && isRefusal(answer)
    end(operation)
    operation.successor = answer.body.id
    token.isSpent = true
    operation.acknowledged = answer.acknowledged
    run.held.push({ id: answer.body.id, secret: answer.body.secret, isSpent: false })
    return true
  }
  if (!(await attempt(node))) run.unsettled.push(attempt)
  return operation.acknowledged
}

async function revoke(run: Run, { node, token }: { node: number; token: Held }): Promise<boolean> {
  const operation: Revocation = {
    what: 'revoke',
    token: token.id,
    acknowledged: false,
    ...begun(node),
  }
  run.operations.push(operation)
  const answer = await ask(run, node, ['POST', `/tokens/${token.id}/revoke`, {}])
  if (answer !== undefined && isRefusal(answer)) withdraw(run, operation)
  if (answer?.status !== 200) return false
  end(operation)
  token.isSpent = true
  operation.acknowledged = answer.acknowledged
  return operation.acknowledged
}

async function verify(
  run: Run,
  { node, token, strong }: { node: number; token: Held; strong: boolean },
): Promise<void> {
  const span = begun(node)
  const path = `/tokens/verify${strong ? '?consistency=strong' : ''}`
  const answer = await ask(run, node, ['POST', path, { token: token.secret }])
  if (answer?.status !== 200) return
  const { active } = answer.body
  run.operations.push({ what: 'verify', token: token.id, active, strong, ...span, endedMs: now() })
}

const askAll = (run: Run, token: Held) =>
  Promise.all(run.cluster.nodes.map((_, node) => verify(run, { node, token, strong: false })))

/** In the end, every secret on every node. */
async function sweep(run: Run): Promise<void> {
  for (let from = 0; from < run.held.length; from += BATCH) {
    const tokens = run.held.slice(from, from + BATCH)
    const questions = tokens.map(({ secret }) => secret)
    for (const node of run.cluster.nodes.keys()) {
      const { span, answer } = await insist('The last look', async () => {
        const span = begun(node)
        const answer = await ask(run, node, ['POST', '/tokens/verify:batch', { questions }])
        return answer?.status === 200 && { span: { ...span, endedMs: now() }, answer }
      })
      for (const [i, { id }] of tokens.entries()) {
        const { active } = answer.body.answers[i]
        run.operations.push({ what: 'verify', token: id, active, strong: false, ...span })
      }
    }
  }
}

/** Again and again, because a node may still be busy with its start; throws when that helps nothing. */
async function insist<T>(what: string, attempt: () => Promise<T | false>): Promise<T> {
  const endMs = now() + RECOVERY_MS
  for (;;) {
    const done = await attempt()
    if (done !== false) return done
    if (now() > endMs) throw new Error(`${what} was not answered after the restart.`)
    await sleep(200)
  }
}

async function listAll(run: Run): Promise<Found[]> {
  const found: Found[] = []
  for (let cursor: string | null = ''; cursor !== null; ) {
    const query = `?limit=1000${cursor && `&cursor=${cursor}`}`
    const answer: Answer = await insist('The list', async () => {
      const answer = await ask(run, 0, ['GET', `/tokens${query}`])
      return answer?.status === 200 && answer
    })
    for (const { id, familyId, name, revokedAt, supersededBy } of answer.body.items) {
      // The first administrator's own is none of the clients'.
      if (!/^c\d+-\d+$/.test(name ?? '')) continue
      const revoked = revokedAt !== null
      found.push({ id, familyId, name, revoked, supersededBy: supersededBy ?? undefined })
    }
    cursor = answer.body.nextCursor
  }
  return found
}

const now = () => performance.now()
const begun = (node: number) => ({ node, beganMs: now(), endedMs: Number.POSITIVE_INFINITY })

function end(operation: Operation): void {
  operation.endedMs = now()
}

/** Refused by a rule, not for want of a database: then nothing has happened, and nothing will. */
const isRefusal = ({ status }: Answer) => status >= 400 && status < 500

function withdraw({ operations }: Run, operation: Operation): void {
  operations.splice(operations.indexOf(operation), 1)
}

type Request = [method: string, path: string, body?: unknown, idempotencyKey?: string]

/** Undefined: the connection was cut, or there is nobody to ask. */
async function ask(
  { cluster, report }: Run,
  node: number,
  [method, path, body, idempotencyKey]: Request,
): Promise<Answer | undefined> {
  const url = cluster.nodes[node]?.url
  if (url === undefined) return undefined
  const beganMs = now()
  try {
    const response = await fetch(`${url}/api/v1${path}`, {
      method,
      headers: {
        authorization: `Bearer ${cluster.token}`,
        ...(body === undefined ? {} : { 'content-type': 'application/json' }),
        ...(idempotencyKey === undefined ? {} : { 'idempotency-key': idempotencyKey }),
      },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      signal: AbortSignal.timeout(PATIENCE_MS),
    })
    const answer = await response.json()
    add(
      report.counts,
      `${method} ${path.replace(/[0-9a-f-]{36}/, ':id').replace(/\?.*/, '')} ${response.status}`,
    )
    const told = response.headers.get('mintmark-acknowledged')
    const [acknowledged, nodes] = (told ?? '0/1').split('/')
    return { status: response.status, body: answer, acknowledged: acknowledged === nodes }
  } catch (error) {
    if ((error as Error).name === 'TimeoutError') report.hung.push(`${method} ${path}`)
    add(report.counts, 'cut')
    return undefined
  } finally {
    if (now() - beganMs > PATIENCE_MS / 2) add(report.counts, 'slow')
  }
}
