import { randomBytes } from 'node:crypto'
import { DatabaseSync } from 'node:sqlite'
import * as client from 'openid-client'
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest'
import { selfTest } from '../../src/oauth/self-test.ts'
import { DATABASE } from '../support/database.ts'
import { type OauthServer, redeem, signIn, startOauth } from '../support/oauth.ts'
import { ask, codeFor } from '../support/oauth-steps.ts'
import { runToEnd, startProcess } from '../support/process.ts'
import { startServer, type TestServer } from '../support/server.ts'
import { temporaryDirectory } from '../support/temporary.ts'

describe('the engine is not started (bar 89)', () => {
  let server: TestServer
  beforeAll(async () => {
    server = await startServer()
  })
  afterAll(() => server.close())

  /** A trigger that swallows a statement, or undoes it; in the language of either database. */
  const broken = (event: 'before insert' | 'before update' | 'before delete' | 'after update') => {
    const undo = 'update oauth_record set consumed_at_ms = null where digest = new.digest'
    const isAfter = event === 'after update'
    if (DATABASE === 'sqlite') {
      return `create trigger broken ${event} on oauth_record ${
        isAfter ? 'when new.consumed_at_ms is not null' : ''
      } begin ${isAfter ? undo : 'select raise(ignore)'}; end`
    }
    return `create or replace function break() returns trigger language plpgsql
        as $$ begin ${isAfter ? `${undo};` : ''} return null; end $$;
      create trigger broken ${event} on oauth_record for each row
        ${isAfter ? 'when (new.consumed_at_ms is not null)' : ''} execute function break()`
  }
  const mend = `drop trigger broken${DATABASE === 'sqlite' ? '' : ' on oauth_record'}`

  it.each([
    ['what is used once could not be marked as used', 'before update'],
    ['what is stored once is not stored', 'before insert'],
    ['what was removed would stay', 'before delete'],
    ['what was used would be unused again', 'after update'],
  ] as const)('over a store where %s', async (_, event) => {
    await server.database.tamper(broken(event))
    await expect(selfTest(server.app.core)).rejects.toMatchObject({ code: 'not_configured' })
    await server.database.tamper(mend)
    await selfTest(server.app.core)
  })
})

describe('nothing of the engine that is meant for development is in use', () => {
  // A process of its own opens a file of its own, whatever the others are on.
  it.runIf(DATABASE === 'sqlite')(
    'it says so of nothing, and a store that breaks its word ends the process',
    {
      timeout: 60_000,
    },
    async () => {
      const dataDir = temporaryDirectory()
      const env = { MINTMARK_BOOTSTRAP_TOKEN: `boot-${randomBytes(30).toString('base64url')}` }
      const running = await startProcess({ dataDir, env })
      const jwks = await (await fetch(`${running.url}/oauth2/jwks`)).text()
      const page = await fetch(`${running.url}/interaction/x`)
      const { output } = await running.end('SIGTERM')
      expect(output).not.toBe('')
      expect(output).not.toMatch(/oidc-provider|WARNING|NOTICE|development|quick start/i)
      // The keys that the engine brings along are everybody's.
      expect(jwks).not.toContain('keystore-CHANGE-ME')
      expect(page.status).toBe(404)

      const db = new DatabaseSync(`${dataDir}/mintmark.db`)
      db.exec('create trigger broken before update on oauth_record begin select raise(ignore); end')
      db.close()
      const ended = await runToEnd({ dataDir, env })
      expect(ended.status).not.toBe(0)
      expect(ended.output).toContain('single use')
    },
  )

  it('two installations sign with different keys', async () => {
    const [one, two] = [await startOauth(), await startOauth()]
    onTestFinished(async () => {
      await one.close()
      await two.close()
    })
    const kids = async ({ issuer }: OauthServer) => {
      const { keys } = (await (await fetch(`${issuer}/oauth2/jwks`)).json()) as {
        keys: { kid: string }[]
      }
      return keys.map(({ kid }) => kid)
    }
    const all = [...(await kids(one)), ...(await kids(two))]
    expect(new Set(all).size).toBe(all.length)
  })
})

describe('a restart', () => {
  it('forgets nothing: logins, codes, grants and tokens are in the store', async () => {
    const oauth = await startOauth()
    onTestFinished(() => oauth.close())
    await oauth.makePerson('alice')
    const app = await oauth.register()
    const browser = oauth.browser()
    const tokens = await signIn(oauth, app, { browser })
    const { request, callback } = await codeFor(oauth, app, { browser })
    const half = oauth.browser()
    const { page } = await ask(half, app)

    await oauth.server.restart()
    const { hostname: host, port } = new URL(oauth.issuer)
    await oauth.server.app.server.listen({ host, port: Number(port) })

    expect((await redeem(oauth, app, { request, callback })).access_token).toBeDefined()
    const next = await client.refreshTokenGrant(app.config, tokens.refresh_token ?? '')
    expect(next.access_token).toBeDefined()
    const silent = await ask(browser, app, { prompt: 'none' })
    expect(silent.page.url.searchParams.has('code')).toBe(true)
    const form = await half.open(page.url)
    expect(form.text).toContain('name="password"')
  })
})
