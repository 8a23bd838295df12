import { randomBytes } from 'node:crypto'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { setTimeout as sleep } from 'node:timers/promises'
import { type Browser, openBrowser } from './browser.ts'
import { type Dice, dice } from './dice.ts'
import { freePort } from './free-port.ts'
import { inspectFiles } from './inspect.ts'
import { goThrough, lastingRequest, PASSWORD, REDIRECT_URI } from './oauth.ts'
import { type ServerProcess, startProcess } from './process.ts'
import { Cut, rest } from './rest.ts'

const CLIENTS = 4
/** Of what a client does with its family; the rest are refreshes. */
const REVOCATIONS = 0.15
const RACES = 0.15

/** What a trial has seen, so that a test can tell that it tried something. */
export interface OauthKillReport {
  rounds: number
  refreshed: number
  revoked: number
  /** Refreshes whose answer was lost: carried out before the kill, and not. */
  lostThere: number
  lostAbsent: number
  /** Revocations that were cut off, and retried. */
  retried: number
  problems: string[]
}

/** A client and all that it was given under its user's consent. */
interface Client {
  name: string
  clientId: string
  secret: string
  browser: Browser
  dice: Dice
  family: Family | undefined
  /** What was sent and not answered; `dead`: the revocation was answered, and not yet looked at. */
  pending: 'refresh' | 'revoke' | 'dead' | undefined
}

interface Family {
  refresh: string
  /** The access token that came with it. */
  access: string
  spent: string[]
  olderAccess: string[]
}

type Fields = Record<string, string>
type Body = Record<string, unknown>

/**
 * Kills a real server while clients refresh and revoke, again and again, and looks after each restart
 * whether what was answered holds, and whether what was not can be asked for again.
 */
export async function killUnderOauth(trial: {
  rounds: number
  seed: number
  onRound?: (report: OauthKillReport) => void
}): Promise<OauthKillReport> {
  const report: OauthKillReport = {
    rounds: 0,
    refreshed: 0,
    revoked: 0,
    lostThere: 0,
    lostAbsent: 0,
    retried: 0,
    problems: [],
  }
  const luck = dice(trial.seed)
  const dataDir = mkdtempSync(join(tmpdir(), 'mintmark-oauth-kill-'))
  const adminToken = `boot-${randomBytes(30).toString('base64url')}`
  const port = await freePort()
  const issuer = `http://127.0.0.1:${port}`
  const env = {
    MINTMARK_PORT: String(port),
    MINTMARK_PUBLIC_URL: issuer,
    MINTMARK_BOOTSTRAP_TOKEN: adminToken,
    MINTMARK_LOGIN_RATE_LIMIT: '100000',
    // A start takes its time where other tests run, too.
    MINTMARK_REFRESH_GRACE: '60',
  }
  let server: ServerProcess | undefined
  let clients: Client[] = []
  try {
    for (;;) {
      server = await startProcess({ dataDir, env })
      if (clients.length === 0) clients = await setUp({ issuer, adminToken, luck })
      await Promise.all(clients.map((client) => examine(client, { issuer, report })))
      if (report.rounds === trial.rounds || report.problems.length > 0) return report
      await loadUntilKilled(server, { issuer, clients, report, luck })
      report.problems.push(...(await inspectFiles(dataDir)), ...halfDone(dataDir))
      report.rounds++
      trial.onRound?.(report)
    }
  } finally {
    await server?.end('SIGKILL')
    rmSync(dataDir, { recursive: true, force: true })
  }
}

async function setUp(at: { issuer: string; adminToken: string; luck: Dice }): Promise<Client[]> {
  const api = rest(at.issuer, at.adminToken)
  const { body: user } = await api.call('POST', '/users', { body: { username: 'alice' } })
  const { body: reset } = await api.call('POST', `/users/${user.id}/one-time-password`)
  await api.call('POST', '/login', {
    body: { username: 'alice', password: reset.oneTimePassword, newPassword: PASSWORD },
  })
  const clients: Client[] = []
  for (let i = 0; i < CLIENTS; i++) {
    const body = { name: `client ${i}`, redirectUris: [REDIRECT_URI] }
    const { clientId, secret } = (await api.call('POST', '/clients', { body })).body
    clients.push({
      name: body.name,
      clientId,
      secret,
      browser: openBrowser(at.issuer),
      dice: dice(at.luck.number(2 ** 31)),
      family: undefined,
      pending: undefined,
    })
  }
  return clients
}

/** Throws `Cut` when there was no whole answer. */
async function ask(
  { clientId, secret }: Client,
  url: string,
  fields: Fields,
): Promise<{ status: number; body: Body }> {
  const pair = Buffer.from(`${clientId}:${secret}`).toString('base64')
  try {
    const response = await fetch(url, {
      method: 'POST',
      headers: { authorization: `Basic ${pair}` },
      body: new URLSearchParams(fields),
    })
    const text = await response.text()
    return { status: response.status, body: text === '' ? {} : JSON.parse(text) }
  } catch (error) {
    throw new Cut('The connection was cut.', { cause: error })
  }
}

const refresh = (client: Client, issuer: string, token: string) =>
  ask(client, `${issuer}/oauth2/token`, { grant_type: 'refresh_token', refresh_token: token })

const revoke = (client: Client, issuer: string, token: string) =>
  ask(client, `${issuer}/oauth2/revoke`, { token })

async function isActive(client: Client, issuer: string, token: string): Promise<boolean> {
  return (await ask(client, `${issuer}/oauth2/introspect`, { token })).body.active === true
}

async function loadUntilKilled(
  server: ServerProcess,
  trial: { issuer: string; clients: Client[]; report: OauthKillReport; luck: Dice },
): Promise<void> {
  const { issuer, clients, report, luck } = trial
  const everybodySignedIn = Promise.withResolvers<void>()
  let missing = clients.length
  const onSignedIn = () => {
    if (--missing === 0) everybodySignedIn.resolve()
  }
  const work = clients.map(async (client) => {
    try {
      if (client.family === undefined) await signIn(client, issuer)
      onSignedIn()
      for (;;) await act(client, { issuer, report })
    } catch (error) {
      onSignedIn()
      if (!(error instanceof Cut)) report.problems.push(`${client.name}: ${String(error)}`)
    }
  })
  await everybodySignedIn.promise
  await sleep(20 + luck.number(700))
  server.signal('SIGKILL')
  await server.ended
  await Promise.all(work)
}

/** Through the forms, for the user to consent; remembers nothing when it is cut off. */
async function signIn(client: Client, issuer: string): Promise<void> {
  const { query, verifier } = lastingRequest(client.clientId)
  const page = await uncut(async () =>
    goThrough(client.browser, await client.browser.open(`${issuer}/oauth2/authorize?${query}`)),
  )
  const { status, body } = await ask(client, `${issuer}/oauth2/token`, {
    grant_type: 'authorization_code',
    code: page.url.searchParams.get('code') ?? '',
    redirect_uri: REDIRECT_URI,
    code_verifier: verifier,
  })
  if (status !== 200) throw new Error(`No tokens: ${status} ${JSON.stringify(body)}`)
  client.family = { ...tokensOf(body), spent: [], olderAccess: [] }
}

async function uncut<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work()
  } catch (error) {
    // What `fetch` throws for every connection that broke.
    if (error instanceof TypeError) throw new Cut('The connection was cut.', { cause: error })
    throw error
  }
}

function tokensOf({ access_token, refresh_token }: Body): { access: string; refresh: string } {
  return { access: String(access_token), refresh: String(refresh_token) }
}

async function act(
  client: Client,
  { issuer, report }: { issuer: string; report: OauthKillReport },
): Promise<void> {
  if (client.family === undefined) return signIn(client, issuer)
  const { family } = client
  const choice = client.dice.number(100) / 100
  if (choice < REVOCATIONS + RACES) {
    client.pending = 'revoke'
    const [revoked] = await settled([
      revoke(client, issuer, family.refresh),
      choice < RACES ? refresh(client, issuer, family.refresh).then(keep(family)) : undefined,
    ])
    if (revoked?.status !== 200) throw new Error(`Revoking was answered ${revoked?.status}.`)
    client.pending = 'dead'
    report.revoked++
    await mustBeDead(client, { issuer, report }, 'after its revocation')
    client.pending = undefined
    client.family = undefined
    return
  }
  client.pending = 'refresh'
  const { status, body } = await refresh(client, issuer, family.refresh)
  if (status !== 200) throw new Error(`Refreshing was answered ${status}.`)
  keep(family)({ status, body })
  client.pending = undefined
  report.refreshed++
}

/** All of them are over before the first error is thrown, so that none is forgotten. */
async function settled<T>(work: (Promise<T> | undefined)[]): Promise<(T | undefined)[]> {
  const results = await Promise.allSettled(work)
  return results.map((result) => {
    if (result.status === 'rejected') throw result.reason
    return result.value
  })
}

/** Takes over what a refresh has given out, if it has. */
function keep(family: Family) {
  return (answer: { status: number; body: Body }) => {
    if (answer.status !== 200) return answer
    family.spent.push(family.refresh)
    family.olderAccess.push(family.access)
    Object.assign(family, tokensOf(answer.body))
    return answer
  }
}

/** Asks again for what was cut off, then looks at everything. */
async function examine(
  client: Client,
  run: { issuer: string; report: OauthKillReport },
): Promise<void> {
  const { issuer, report } = run
  const { family, pending } = client
  client.pending = undefined
  if (family === undefined) {
    // What came of a sign-in that was cut off hangs on the login that this browser has.
    client.browser = openBrowser(issuer)
    return
  }
  if (pending === 'revoke') {
    const { status } = await revoke(client, issuer, family.refresh)
    if (status !== 200) report.problems.push(`${client.name}: the retry was answered ${status}`)
    report.retried++
  }
  if (pending === 'revoke' || pending === 'dead') {
    await mustBeDead(client, run, 'after the restart')
    client.family = undefined
    return
  }
  if (pending === 'refresh') await repeat(client, run)
  for (const token of family.spent) {
    if (await isActive(client, issuer, token)) report.problems.push(`${client.name}: spent, active`)
  }
  for (const token of [family.refresh, family.access, ...family.olderAccess]) {
    if (await isActive(client, issuer, token)) continue
    report.problems.push(`${client.name}: what was given out does not work after ${pending}`)
  }
}

/** A refresh whose answer was lost is answered, once and for all. */
async function repeat(
  client: Client,
  { issuer, report }: { issuer: string; report: OauthKillReport },
): Promise<void> {
  const { family } = client
  if (family === undefined) return
  const before = family.refresh
  const wasAbsent = await isActive(client, issuer, before)
  const first = await refresh(client, issuer, before)
  const second = await refresh(client, issuer, before)
  if (first.status !== 200 || JSON.stringify(first) !== JSON.stringify(second)) {
    report.problems.push(
      `${client.name}: a lost refresh (carried out: ${!wasAbsent}) was answered ${first.status}, then ${second.status}`,
    )
    return
  }
  keep(family)(first)
  report[wasAbsent ? 'lostAbsent' : 'lostThere']++
}

async function mustBeDead(
  client: Client,
  { issuer, report }: { issuer: string; report: OauthKillReport },
  when: string,
): Promise<void> {
  const { family } = client
  if (family === undefined) return
  const all = [family.refresh, family.access, ...family.spent, ...family.olderAccess]
  const active = await Promise.all(all.map((token) => isActive(client, issuer, token)))
  const alive = active.filter(Boolean).length
  if (alive > 0) report.problems.push(`${client.name}: ${alive} of ${all.length} alive ${when}`)
}

/** Rows that no whole transaction leaves. */
const HALVES: Record<string, string> = {
  'alive under a withdrawn grant': `select token.id from token
    join "grant" on "grant".id = token.family_id
    where "grant".revoked_at_ms is not null and token.revoked_at_ms is null`,
  'a code that was spent for nothing': `select id from token as code
    where kind = 'oauth_code' and superseded_at_ms is not null and not exists (select 1 from token
      where token.family_id = code.family_id and token.kind = 'oauth_refresh')`,
}

function halfDone(dataDir: string): string[] {
  const db = new DatabaseSync(join(dataDir, 'mintmark.db'), { readOnly: true })
  try {
    return Object.entries(HALVES).flatMap(([what, sql]) =>
      db
        .prepare(sql)
        .all()
        .map(({ id }) => `${what}: ${id}`),
    )
  } finally {
    db.close()
  }
}
