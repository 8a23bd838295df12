import { readFileSync } from 'node:fs'
import { setFlagsFromString } from 'node:v8'
import { pino } from 'pino'
import { type App, buildApp, holdDatabase, opensDatabase } from './app.ts'
import { type Config, ConfigError, readConfig } from './config.ts'
import type { Bootstrapped } from './core/bootstrap.ts'
import { CoreError } from './core/errors.ts'
import type { Secret } from './core/secret.ts'
import { cutOff, sendAway } from './http/drain.ts'
import { linesByTurn, patientLog } from './http/log-stream.ts'
import {
  markInstalled,
  masterKeyOf,
  mustNotBeLost,
  prepareDirectories,
  settleKeyFile,
} from './installation.ts'
import { endOnUncaught } from './last-resort.ts'
import { type Supervision, supervise } from './workers/supervisor.ts'
import { workerEnd } from './workers/worker.ts'

/** By how much of what lives in it the heap may grow until it is collected; left to itself, it may quadruple. */
const HEAP_GROWS_PERCENT = 60
const USAGE_FLUSH_MS = 5000
/** Connections that wait to be taken in; beyond them, clients try again only after seconds. */
const BACKLOG = 4096
const PURGE_MS = 3_600_000
const CHECKPOINT_MS = 600_000
const JOURNAL_MS = 2000
const DELIVER_MS = 500
const NOTICES_MS = 10_000
const FIGURES_MS = 300_000

/** Reads the environment; on problems prints all of them and ends with status 2. */
export function configFromEnvironment(): Config {
  try {
    return readConfig({ env: process.env, readFile: (path) => readFileSync(path, 'utf8') })
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error
    process.stderr.write('Mintmark cannot start with this configuration:\n')
    for (const problem of error.problems) process.stderr.write(`  - ${problem}\n`)
    process.exit(2)
  }
}

/** Runs the server until it is told to stop. */
export async function serve(): Promise<void> {
  process.umask(0o077)
  setFlagsFromString(`--heap-growing-percent=${HEAP_GROWS_PERCENT}`)
  const config = configFromEnvironment()
  const worker = workerEnd()
  const key = worker === undefined ? await keyOnDisk(config) : masterKeyOf(config).key
  if (worker === undefined && config.workers > 1) {
    holdDatabase(config)
    announceAddress(await supervise(supervisionOf(config)))
    return
  }
  // One stream for people and machines: JSON lines, so that nothing in a name can forge a line.
  const tell = (sentence: string) => process.stderr.write(sentence)
  process.stdout.on('error', () => undefined)
  const lines = linesByTurn(patientLog(1, tell), { atomic: worker !== undefined })
  process.on('exit', lines.flushSync)
  const base = worker === undefined ? null : { worker: worker.number }
  const log = pino({ level: config.logLevel, base }, lines)
  endOnUncaught(log)
  const app = await buildApp(config, { masterKey: key, log, worker })
  mustNotBeLost(config, { isNew: await app.core.isNew() })
  const first = await app.core.bootstrap(config.bootstrap)
  // Before anything else can fail: the password is told only now.
  if (first !== undefined) announceAdmin(first, config.publicUrl)
  markInstalled(config)
  const timers = keepHouse(app, log, { isFirst: (worker?.number ?? 1) === 1 })
  // Before it listens: whoever sees it listening may stop it at once.
  drainOnSignals(app, { config, timers })
  const address = await app.server.listen({
    host: config.host,
    port: config.port,
    backlog: BACKLOG,
  })
  await app.core.nodes.announce({ address: config.nodeAddress ?? address })
  if (worker === undefined) announceAddress(address)
  else worker.ready(address)
}

/** Makes what a first start needs, and finishes a change of the key that was cut short. */
async function keyOnDisk(config: Config): Promise<Secret> {
  prepareDirectories(config)
  await settleKeyFile(config, (key) => opensDatabase(config, key))
  const { key, madeFile } = masterKeyOf(config)
  if (madeFile !== undefined) announceKeyFile(madeFile)
  return key
}

function supervisionOf({ workers, leaseMs, drainSeconds }: Config): Supervision {
  // Workers end themselves when their time is up; a stopped one does not.
  return { workers, patienceMs: leaseMs, drainMs: drainSeconds * 1000 + 2000 }
}

function announceAddress(address: string): void {
  process.stdout.write(`Mintmark listens on ${address} (API reference: ${address}/docs)\n`)
}

function announceKeyFile(file: string): void {
  process.stdout.write(
    `A new master key was written to ${file}. Back it up apart from the database: one is useless without the other.\n`,
  )
}

function announceAdmin({ admin, oneTimePassword }: Bootstrapped, url: string): void {
  if (oneTimePassword === undefined) {
    process.stdout.write(`The first admin "${admin.username}" was made with the given password.\n`)
    return
  }
  process.stdout.write(
    [
      '',
      `  First admin:        ${admin.username}`,
      `  One-time password:  ${oneTimePassword.reveal()}`,
      '',
      '  It is shown only now and works once, within a day. Log in, which asks for one of your own, of 15 characters or more:',
      `    export MINTMARK_URL=${url} MINTMARK_TOKEN="$(npx mintmark login ${admin.username})"`,
      '  or without the command line:',
      `    curl ${url}/api/v1/login -H 'content-type: application/json' \\`,
      `      -d '{"username":"${admin.username}","password":"<one-time password>","newPassword":"<your own>"}'`,
      '',
      '',
    ].join('\n'),
  )
}

/** Of several processes behind a port, the first does what one of them has to. */
function keepHouse(
  app: App,
  log: pino.Logger,
  { isFirst }: { isFirst: boolean },
): NodeJS.Timeout[] {
  app
    .refreshFigures()
    .catch((err: unknown) => log.error({ err }, 'What ends when could not be counted'))
  const regularly = (task: () => Promise<unknown>, ms: number, failure: string) =>
    setInterval(() => {
      task().catch((err: unknown) => log.error({ err }, failure))
    }, ms)
  // What each process collects, and what each is asked for.
  const own = [
    regularly(
      () => app.core.flushUsage(USAGE_FLUSH_MS),
      USAGE_FLUSH_MS,
      'Last-used times could not be written',
    ),
    regularly(app.refreshFigures, FIGURES_MS, 'What ends when could not be counted'),
  ]
  if (!isFirst) return own
  return [
    ...own,
    regularly(alone(app.core.purge), PURGE_MS, 'Ended tokens could not be purged'),
    regularly(app.journal.catchUp, JOURNAL_MS, 'The journal of revocations could not be written'),
    regularly(app.core.deliverer.run, DELIVER_MS, 'Events could not be delivered'),
    regularly(alone(app.core.giveNotices), NOTICES_MS, 'Notices of ends could not be given'),
    regularly(app.checkpoint, CHECKPOINT_MS, 'The audit trail could not be signed'),
  ]
}

/** Not begun anew while it is under way: when there is much to do, it takes longer than a round. */
function alone(task: () => Promise<unknown>): () => Promise<void> {
  let isUnderWay = false
  return async () => {
    if (isUnderWay) return
    isUnderWay = true
    try {
      await task()
    } finally {
      isUnderWay = false
    }
  }
}

/**
 * Readiness goes first, clients are sent away, requests under way finish, then the store closes. A
 * second signal forces.
 */
function drainOnSignals(app: App, parts: { config: Config; timers: NodeJS.Timeout[] }): void {
  let drainingSinceMs: number | undefined
  const drain = async () => {
    const nowMs = performance.now()
    // A terminal's Ctrl-C reaches us twice, once through the wrapper that started us.
    if (drainingSinceMs !== undefined && nowMs - drainingSinceMs > 500) process.exit(1)
    if (drainingSinceMs !== undefined) return
    drainingSinceMs = nowMs
    for (const timer of parts.timers) clearInterval(timer)
    setTimeout(() => process.exit(1), parts.config.drainSeconds * 1000).unref()
    try {
      app.health.draining = true
      // Only for people who look; a database that is away must not hold up the end.
      app.core.nodes.announce({ draining: true }).catch(() => undefined)
      await sendAway(app.server.server, { maxMs: (parts.config.drainSeconds * 1000) / 2 })
      const closed = app.close()
      await cutOff(app.server.server, () => app.health.underWay > 0)
      await closed
      process.exit(0)
    } catch (error) {
      process.stderr.write(`The shutdown failed: ${String(error)}\n`)
      process.exit(1)
    }
  }
  process.on('SIGTERM', () => void drain())
  process.on('SIGINT', () => void drain())
}

/** Says what is wrong in a line and ends with status 1. */
export function exitWith(error: unknown): never {
  const message = error instanceof CoreError ? error.message : String(error)
  const inUse = (error as { code?: unknown } | null)?.code === 'EADDRINUSE'
  process.stderr.write(
    inUse ? `${message}\nAnother process uses the port. Set MINTMARK_PORT.\n` : `${message}\n`,
  )
  process.exit(1)
}
