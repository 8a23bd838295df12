import { randomBytes } from 'node:crypto'
import { availableParallelism } from 'node:os'
import type { FastifyBaseLogger, FastifyInstance } from 'fastify'
import type { Registry } from 'prom-client'
import { type Journal, openJournal } from './backup/journal.ts'
import type { Places } from './backup/places.ts'
import { bcryptThread } from './bcrypt/bcrypt.ts'
import type { Config } from './config.ts'
import type { Clock } from './core/clock.ts'
import { type Core, createCore } from './core/core.ts'
import { masterKeyFits } from './core/keys/rewrap.ts'
import type { Random } from './core/random.ts'
import type { Secret } from './core/secret.ts'
import type { Store } from './core/store.ts'
import { registerAuthentik } from './dialects/authentik/authentik.ts'
import { authentikErrors } from './dialects/authentik/errors.ts'
import { opalErrors } from './dialects/opal/errors.ts'
import { registerOpal } from './dialects/opal/opal.ts'
import { s7Errors } from './dialects/s7/errors.ts'
import { refreshLanes } from './dialects/s7/routes-self.ts'
import { registerS7 } from './dialects/s7/s7.ts'
import { xmsErrors } from './dialects/xms/errors.ts'
import { validateLane } from './dialects/xms/validate.ts'
import { registerXms } from './dialects/xms/xms.ts'
import { accessJwts } from './http/access-jwt.ts'
import { awaitAcknowledgements, noteCommitted } from './http/acknowledge.ts'
import { registerApi } from './http/api/api.ts'
import { verifyLanes } from './http/api/verify.ts'
import { guard } from './http/auth.ts'
import { watchClock } from './http/clock-metrics.ts'
import { bearerCredential } from './http/credential.ts'
import { onlyWhileCurrent } from './http/current.ts'
import { answerDirectly } from './http/direct.ts'
import { registerDocs } from './http/docs.ts'
import { type ErrorOptions, problemDocument, type ShapeOf } from './http/errors.ts'
import { createHealth, followDraining, type Health, registerHealth } from './http/health.ts'
import { createLane } from './http/lane.ts'
import { createMetrics, measureRequests, registerMetrics } from './http/metrics.ts'
import { measureNodes } from './http/node-metrics.ts'
import { openLane } from './http/open-lane.ts'
import { outgoing } from './http/outgoing.ts'
import { asker, type Overload, refuseOverload, waitedMs } from './http/overload.ts'
import { createServer, securityHeaders } from './http/server.ts'
import { tokenJwts } from './http/token-jwt.ts'
import { registerWellKnown } from './http/well-known.ts'
import { keepWorking } from './job-loop.ts'
import { oauthErrors } from './oauth/errors.ts'
import { introspectionLane } from './oauth/introspect.ts'
import { registerOauth } from './oauth/oauth.ts'
import { isSteady, steadyClock } from './steady-clock.ts'
import { openStore, type Serving } from './store/database.ts'
import { lockSqlite } from './store/sqlite.ts'
import { openSource, openTarget } from './store/transfer/places.ts'
import { VERSION } from './version.ts'

export interface App {
  server: FastifyInstance
  core: Core
  health: Health
  /** Signs how far the audit trail reaches, and logs it, so that a copy leaves this machine. */
  checkpoint(): Promise<void>
  /** Appends what was revoked to the journal beside the database. */
  journal: Journal
  /** Counts anew what ends when and what waits to be delivered, for `/metrics`. */
  refreshFigures(): Promise<void>
  /** Stops answering, writes what is collected, closes the store. */
  close(): Promise<void>
}

export interface Parts {
  masterKey: Secret
  log: FastifyBaseLogger
  clock?: Clock
  random?: Random
  /** Absent: this process is the whole server. */
  worker?: Worker | undefined
}

/** What a server needs to know that is one of several processes behind one port. */
export interface Worker {
  /** Writes to a database file while no other process does. */
  inTurn: NonNullable<Serving['inTurn']>
  /** The time by the clock that all processes go by at the start. */
  nowMs: number
  /** The figures of all processes, given those of this one. */
  gatherMetrics: (registry: Registry) => () => Promise<string>
}

/** Keeps other servers from the database file, for a process that lets workers open it. */
export function holdDatabase({ database }: Config): void {
  if (database.kind === 'sqlite') lockSqlite(database.file)
}

/** The beginnings of the dialects' paths, and the shapes of their errors. */
const SHAPES: [string, ErrorOptions][] = [
  ['/api/auth/', s7Errors],
  ['/api/v3/', authentikErrors],
  ['/oauth2/', oauthErrors],
  ['/v1/tokens', opalErrors],
  ['/v1/', xmsErrors],
]

const shapeOf: ShapeOf = (path) =>
  SHAPES.find(([beginning]) => path.startsWith(beginning))?.[1] ?? problemDocument

/** Opens the domain over its store: what the server and the offline commands share. */
export async function openCore(
  config: Config,
  {
    masterKey,
    clock = steadyClock(),
    random = randomBytes,
    serving,
    waitedMs,
  }: Omit<Parts, 'log'> & { serving?: Serving; waitedMs?: () => number },
): Promise<{ core: Core; store: Store }> {
  const store = await openStore(config.database, clock, serving)
  try {
    const { maxCachedTokens, workers } = config
    const sender = outgoing({ allowed: config.webhookAllow, allowHttp: config.webhookHttp })
    const core = await createCore({
      store,
      clock,
      random,
      masterKey,
      cores: availableParallelism() / workers,
      maxCachedTokens,
      waitedMs,
      sender,
      bcrypt: bcryptThread(),
    })
    return { core, store }
  } catch (error) {
    await store.close()
    throw error
  }
}

/** Whether a master key opens the database, which no server may be using. */
export async function opensDatabase(config: Config, masterKey: Secret): Promise<boolean> {
  const store = await openStore(config.database, steadyClock())
  try {
    return await masterKeyFits(store, { masterKey, random: randomBytes })
  } finally {
    await store.close()
  }
}

/** Whole installations, for backup, restore and move. */
export const places: Places = { openSource, openTarget, openCore }

/** Brings the database to this release, and does no more; tells what takes long. Throws like `openCore`. */
export async function migrateDatabase(
  config: Config,
  onMigrating: (news: string) => void,
): Promise<void> {
  const store = await openStore(config.database, steadyClock(), { onMigrating })
  await store.close()
}

/** The wiring: one screen that main and every test use. */
export async function buildApp(config: Config, parts: Parts): Promise<App> {
  const card = { version: VERSION, leaseMs: config.leaseMs }
  const { worker, clock = steadyClock({ notBeforeMs: worker?.nowMs }) } = parts
  let overload: Overload | undefined
  const serving = {
    card,
    onCommitted: noteCommitted,
    inTurn: worker?.inTurn,
    onMigrating: (news: string) => parts.log.info(news),
    asker,
    isStrained: () => overload?.isStanding() === true,
    onTurnedAway: () => overload?.refused(asker()?.isVital ? 'vital' : 'write', 'queue'),
  }
  const { core, store } = await openCore(config, { ...parts, clock, serving, waitedMs })
  const server = await createServer(config, { log: parts.log, shapeOf })
  const health = createHealth(core)
  const metrics = createMetrics(core)
  const { keyring } = core
  const issuer = config.publicUrl
  const signing = tokenJwts({ keyring, clock, issuer })
  const jwts = accessJwts({ keyring, clock, issuer, tokenJwts: signing })
  const jobs = keepWorking(core.worker({ stopwatch: () => performance.now() }), parts.log)
  const shared = { core, jwts, tokenJwts: signing, config, metrics, health, jobs }

  overload = refuseOverload(server, { config, metrics, health, log: parts.log, shapeOf })
  followDraining(server, health)
  onlyWhileCurrent(server, core)
  awaitAcknowledgements(server, shared)
  const stopNodes = measureNodes(metrics, { core, log: parts.log })
  const stopWatch = isSteady(clock) ? watchClock(metrics, { clock, log: parts.log }) : () => {}
  const meter = measureRequests(server, metrics)
  registerHealth(server, health)
  await server.register(async (scope) => {
    guard(scope, { core, jwts, credential: bearerCredential, via: 'api' })
    registerMetrics(scope, metrics, {
      public: config.metricsPublic,
      gather: worker?.gatherMetrics(metrics.registry),
    })
  })
  registerWellKnown(server, signing)
  await registerDocs(server, { publicUrl: config.publicUrl, version: VERSION })
  await server.register(async (scope) => registerApi(scope, shared), { prefix: '/api/v1' })
  await server.register(async (scope) => registerOauth(scope, shared))
  await registerS7(server, shared)
  await server.register(async (scope) => registerXms(scope, shared), { prefix: '/v1' })
  await server.register(async (scope) => registerOpal(scope, shared), { prefix: '/v1' })
  await server.register(async (scope) => registerAuthentik(scope, shared), { prefix: '/api/v3' })
  const lane = createLane({
    routes: [
      ...verifyLanes(shared),
      introspectionLane({ ...shared, issuer: config.publicUrl }),
      validateLane(shared),
      ...refreshLanes(shared),
    ],
    verifier: core.verifier,
    health,
    meter,
    log: parts.log,
    headers: await securityHeaders(config),
    trustedProxies: config.trustedProxies,
  })
  const past = openLane(server, { lane, health })
  const room = overload.openRoom({ isFor: lane.isFor, past })
  answerDirectly(server.server, { lane, health, room, maxRequests: config.maxRequests })

  const checkpoint = async () => {
    const made = await core.checkpoint()
    if (made !== undefined) parts.log.info({ checkpoint: made }, 'Audit checkpoint')
  }

  const { revocationJournal: journalFile } = config
  const journal: Journal =
    journalFile === undefined ? { catchUp: async () => {} } : openJournal(journalFile, core)

  return {
    server,
    core,
    health,
    checkpoint,
    journal,
    refreshFigures: async () => metrics.show(await core.eventFigures()),
    async close() {
      health.draining = true
      stopWatch()
      stopNodes()
      await server.close()
      await jobs.stop()
      await core.deliverer.stop()
      await core.flushUsage()
      await checkpoint()
      await journal.catchUp()
      await store.close()
      overload.stop()
    },
  }
}
