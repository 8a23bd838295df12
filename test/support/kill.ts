import { randomBytes } from 'node:crypto'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { type Dice, dice } from './dice.ts'
import { inspectFiles, sweep } from './inspect.ts'
import { type Attempt, type Ledger, nextAttempt } from './ledger.ts'
import { type ServerProcess, startProcess } from './process.ts'
import { Cut, type Rest, rest } from './rest.ts'

const CLIENTS = 8
/** Rounds on one data directory before a new one; bounds what each round has to check. */
const ROUNDS_PER_LIFE = 25
/** How often a client looks at a verdict between two changes. */
const LOOKS = 0.3

/** What a trial has seen, so that a test can tell that it tried something. */
export interface KillReport {
  rounds: number
  /** Acknowledged changes by kind. */
  acknowledged: Record<string, number>
  /** Changes cut off by the kill that turned out to be there, and to be absent. */
  cutThere: number
  cutAbsent: number
  problems: string[]
}

export interface KillTrial {
  rounds: number
  seed: number
  /** Called after each round. */
  onRound?: (report: KillReport) => void
  /** Damages the files after the last round; for testing that the checks would notice. */
  tamper?: (dataDir: string, ledger: Ledger) => void
}

/**
 * Kills a real server at a random moment under load, again and again, and compares what it finds
 * after each restart with what was acknowledged. Ends with the first round that has problems.
 */
export async function killRepeatedly(trial: KillTrial): Promise<KillReport> {
  const report = { rounds: 0, acknowledged: {}, cutThere: 0, cutAbsent: 0, problems: [] }
  for (let first = 0; first < trial.rounds; first += ROUNDS_PER_LIFE) {
    const rounds = Math.min(ROUNDS_PER_LIFE, trial.rounds - first)
    await live({ ...trial, rounds }, { report, dice: dice(trial.seed + first) })
    if (report.problems.length > 0) break
  }
  return report
}

interface Client {
  ledger: Ledger
  dice: Dice
  newName: () => string
  /** What was sent and not acknowledged. */
  pending: Attempt | undefined
}

/** Some rounds on one data directory, and a last look at what they left. */
async function live(trial: KillTrial, run: { report: KillReport; dice: Dice }): Promise<void> {
  const { report } = run
  const dataDir = mkdtempSync(join(tmpdir(), 'mintmark-kill-'))
  const token = `boot-${randomBytes(30).toString('base64url')}`
  const clients = Array.from({ length: CLIENTS }, (_, i) => makeClient(i, run.dice))
  let server: ServerProcess | undefined

  /** A start on what the last kill left, and then whatever is done, until the next kill. */
  async function round(work: (server: ServerProcess) => unknown): Promise<void> {
    server = await startProcess({ dataDir, env: { MINTMARK_BOOTSTRAP_TOKEN: token } })
    report.problems.push(...(await examine(rest(server.url, token), { clients, report })))
    await work(server)
    await server.end('SIGKILL')
    report.problems.push(...(await inspectFiles(dataDir)))
  }

  try {
    for (let done = 0; done < trial.rounds && report.problems.length === 0; done++) {
      await round((server) => loadUntilKilled(server, { clients, token, report, dice: run.dice }))
      report.rounds++
      trial.onRound?.(report)
    }
    const lastLook = () => round(() => undefined)
    if (report.problems.length === 0) await lastLook()
    if (trial.tamper === undefined || report.problems.length > 0) return
    trial.tamper(dataDir, merged(clients.map(({ ledger }) => ledger)))
    await lastLook()
  } finally {
    await server?.end('SIGKILL')
    rmSync(dataDir, { recursive: true, force: true })
  }
}

function makeClient(index: number, parent: Dice): Client {
  let made = 0
  return {
    ledger: { users: [], tokens: [] },
    dice: dice(parent.number(2 ** 31)),
    newName: () => `c${index}-${++made}-`,
    pending: undefined,
  }
}

function merged(ledgers: Ledger[]): Ledger {
  return {
    users: ledgers.flatMap(({ users }) => users),
    tokens: ledgers.flatMap(({ tokens }) => tokens),
  }
}

/** Clears up what was cut off, then asks for everything. */
async function examine(
  api: Rest,
  { clients, report }: { clients: Client[]; report: KillReport },
): Promise<string[]> {
  const problems: string[] = []
  for (const client of clients) {
    try {
      const there = await client.pending?.settle(api)
      if (there === true) report.cutThere++
      if (there === false) report.cutAbsent++
      client.pending = undefined
    } catch (error) {
      problems.push(`${client.pending?.what}: ${(error as Error).message}`)
    }
  }
  const ledger = merged(clients.map(({ ledger }) => ledger))
  return [...problems, ...(await sweep(api, ledger))]
}

/** Lets all clients work until the server is killed: after a while, or upon the nth acknowledgement. */
async function loadUntilKilled(
  server: ServerProcess,
  {
    clients,
    token,
    report,
    dice,
  }: { clients: Client[]; token: string; report: KillReport; dice: Dice },
): Promise<void> {
  const killAfterMs = 20 + dice.number(900)
  const killAfterAcknowledged = dice.chance(0.5) ? 1 + dice.number(150) : Number.POSITIVE_INFINITY
  let acknowledged = 0
  const onAcknowledged = (what: string) => {
    report.acknowledged[what] = (report.acknowledged[what] ?? 0) + 1
    if (++acknowledged >= killAfterAcknowledged) server.signal('SIGKILL')
  }
  const api = rest(server.url, token)
  const work = Promise.all(clients.map((client) => workUntilCut(api, client, onAcknowledged)))
  const timer = sleep(killAfterMs).then(() => server.signal('SIGKILL'))
  try {
    await work
  } catch (error) {
    report.problems.push((error as Error).message)
  }
  await timer
  await server.ended
}

async function workUntilCut(
  api: Rest,
  client: Client,
  onAcknowledged: (what: string) => void,
): Promise<void> {
  try {
    for (;;) {
      client.pending = nextAttempt(client)
      await client.pending?.send(api)
      if (client.pending !== undefined) onAcknowledged(client.pending.what)
      client.pending = undefined
      if (client.dice.chance(LOOKS)) await look(api, client)
    }
  } catch (error) {
    if (!(error instanceof Cut)) throw error
  }
}

/** Verdicts under load: they fill the cache, which must never be behind what was acknowledged. */
async function look(api: Rest, { ledger, dice }: Client): Promise<void> {
  const token = dice.pick(ledger.tokens)
  if (token === undefined) return
  const expected = token.state === 'active' && token.owner.state === 'active'
  if ((await api.isActive(token.secret)) === expected) return
  throw new Error(`Under load, ${token.id} (${token.state}) was judged ${!expected}.`)
}
