import { createServer, type Server } from 'node:http'
import { type AddressInfo, connect } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import fc from 'fast-check'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { EVERYTHING, makeGroup, makeRole, makeToken } from '../support/people.ts'
import { listen, oneAnswer, sendRaw } from '../support/raw-socket.ts'
import { startServer, type TestServer } from '../support/server.ts'

// The same requests go to one server by two doors: with the lane, and straight into the framework.

let server: TestServer
let ordinary: Server
let doors: { lane: number; ordinary: number }
let secrets: Record<string, string>
let members: { alice: string; bob: string; judge: string }
/** What the client `batch` says who it is by. */
let batch: string

beforeAll(async () => {
  server = await startServer()
  await makeRole(server, 'deployer', ['deploy:read'])
  const alice = await server.makeUser({ username: 'alice', roles: ['deployer'] })
  const bob = await server.makeUser({ username: 'bob', accessLevel: 'READ_ONLY' })
  const judge = await server.makeUser({ username: 'judge', roles: ['verifier'] })
  await makeGroup(server, 'crew', { [alice.id]: 'WRITE' })
  members = { alice: alice.token, bob: bob.token, judge: judge.token }
  secrets = await madeSecrets(alice.id)
  const lane = await listen(server)
  ordinary = createServer(server.app.server.routing)
  ordinary.keepAliveTimeout = server.app.server.server.keepAliveTimeout
  for (const refuse of server.app.server.server.listeners('clientError')) {
    ordinary.on('clientError', refuse as () => void)
  }
  await new Promise<void>((resolve) => ordinary.listen(0, '127.0.0.1', resolve))
  doors = { lane, ordinary: (ordinary.address() as AddressInfo).port }
})
afterAll(async () => {
  await new Promise((resolve) => ordinary.close(resolve))
  await server.close()
})

/** A secret of every kind and state. */
async function madeSecrets(ownerId: string): Promise<Record<string, string>> {
  const make = async (wish: Record<string, unknown>) =>
    makeToken(server, { ownerId, ...EVERYTHING, ...wish })
  const revoked = await make({})
  await server.call('POST', `/api/v1/tokens/${revoked.id}/revoke`)
  const rotated = await make({})
  await server.call('POST', `/api/v1/tokens/${rotated.id}/rotate`, { body: { overlapSeconds: 0 } })
  const expiresAt = new Date(server.clock.now() + 1000).toISOString()
  const expired = await make({ expiresAt })
  server.clock.advance(2000)
  const service = await server.call('POST', '/api/auth/v1/admin/refreshTokens', {
    body: { tokenName: 'billing', groups: [] },
  })
  const xms = await server.call('POST', '/v1/access-tokens/', {
    headers: { 'xms-auth-token': server.adminToken },
    token: null,
    body: { access_token: { name: 'hex', roles: ['admin'] } },
  })
  const client = await server.call('POST', '/api/v1/clients', {
    body: { name: 'batch', grants: ['client_credentials'] },
  })
  const basic = Buffer.from(`${client.body.clientId}:${client.body.secret}`).toString('base64')
  batch = `Basic ${basic}`
  const granted = await server.app.server.inject({
    method: 'POST',
    url: '/oauth2/token',
    headers: {
      authorization: batch,
      'content-type': 'application/x-www-form-urlencoded',
    },
    payload: 'grant_type=client_credentials',
  })
  const known = {
    access: granted.json().access_token as string,
    live: (await make({ name: 'Prüfstand 日本', metadata: { 'a"b': ['\u2028', null] } })).secret,
    narrow: (await makeToken(server, { ownerId, scopes: ['deploy:read'] })).secret,
    bound: (await make({ allowedIps: ['10.0.0.0/8'] })).secret,
    local: (await make({ allowedIps: ['127.0.0.1'] })).secret,
    revoked: revoked.secret,
    rotated: rotated.secret,
    expired: expired.secret,
    service: service.body.refreshToken.token as string,
    jwt: service.body.accessToken.token as string,
    hex: xms.body.access_token.uuid as string,
  }
  for (const secret of Object.values(known)) server.remember(secret)
  return {
    ...known,
    unknown: '0123456789abcdef0123456789abcdef',
    typo: `${known.live.slice(0, -1)}${known.live.endsWith('A') ? 'B' : 'A'}`,
    malformed: 'no such thing',
    empty: '',
    long: 'x'.repeat(513),
    endless: 'x'.repeat(15_001),
  }
}

/** What differs between any two answers. */
function comparable(text: string): string {
  return text
    .replace(/\r\nDate: [^\r]+/, '')
    .replace(/[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}/g, '<id>')
}

async function answerOf(port: number, bytes: Buffer): Promise<string> {
  return comparable((await sendRaw(port, bytes, oneAnswer)).text)
}

interface Figures {
  verdicts: Record<string, number>
  requests: Record<string, number>
  lines: object[]
}

async function figures(): Promise<Figures> {
  const text = await server.app.server.inject('/metrics').then(({ body }) => body)
  const count = (pattern: RegExp) =>
    Object.fromEntries([...text.matchAll(pattern)].map(([, key, value]) => [key, Number(value)]))
  return {
    verdicts: count(/^mintmark_verdicts_total\{(.+)\} (\d+)$/gm),
    requests: count(/^mintmark_http_request_duration_seconds_count\{(.+)\} (\d+)$/gm),
    lines: server.logLines().map((line) => {
      const { time: _, reqId, milliseconds, ...rest } = JSON.parse(line)
      return { ...rest, hasId: typeof reqId, took: typeof milliseconds }
    }),
  }
}

/** What `work` adds to the figures and to the log. */
async function added(work: () => Promise<unknown>): Promise<Figures> {
  const before = await figures()
  await work()
  const after = await figures()
  const more = (now: Record<string, number>, then: Record<string, number>) =>
    Object.fromEntries(
      Object.entries(now)
        .filter(([key]) => !key.includes('/metrics'))
        .map(([key, value]) => [key, value - (then[key] ?? 0)])
        .filter(([, value]) => value !== 0),
    )
  return {
    verdicts: more(after.verdicts, before.verdicts),
    requests: more(after.requests, before.requests),
    lines: after.lines
      .slice(before.lines.length)
      .filter((line) => !JSON.stringify(line).includes('/metrics')),
  }
}

/** The lane writes what all its lines share before what differs. */
function overtook(line: string): boolean {
  return line.indexOf('"route"') < line.indexOf('"reqId"')
}

interface Wish {
  method: string
  target: string
  version: string
  headers: [string, string][]
  body: Buffer
}

function bytesOf({ method, target, version, headers, body }: Wish): Buffer {
  const lines = headers.map(([name, value]) => `${name}: ${value}`)
  const head = [`${method} ${target} HTTP/${version}`, 'Host: localhost', ...lines, '', '']
  return Buffer.concat([Buffer.from(head.join('\r\n'), 'latin1'), body])
}

const oneOf = <T>(...values: T[]) => fc.constantFrom(...values)
/** Usually the first; now and then any other. */
const mostly = <T>(usual: T, ...others: T[]) =>
  fc.oneof({ weight: 3, arbitrary: fc.constant(usual) }, { weight: 1, arbitrary: oneOf(...others) })

const asker = () =>
  mostly(
    server.adminToken,
    members.alice,
    members.bob,
    members.judge,
    ...Object.values(secrets).filter((secret) => secret.length < 3000),
  )
const subject = () => oneOf(...Object.values(secrets), server.adminToken, members.bob)

const authorization = (): fc.Arbitrary<[string, string][]> =>
  fc
    .tuple(mostly('Authorization', 'authorization', 'AUTHORIZATION', 'X-Nothing'), asker())
    .chain(([name, secret]) =>
      mostly<[string, string][]>(
        [[name, `Bearer ${secret}`]],
        [[name, `bearer ${secret}`]],
        [[name, `Bearer  ${secret}`]],
        [[name, `Basic ${secret}`]],
        [[name, secret]],
        [
          [name, `Bearer ${secret}`],
          ['authorization', `Bearer ${secret}`],
        ],
        [],
      ),
    )

/** As an OAuth client says who it is (RFC 6749, section 2.3.1). */
const clientAuthorization = (): fc.Arbitrary<[string, string][]> =>
  mostly<[string, string][]>(
    [['Authorization', batch]],
    [['authorization', batch.replace('Basic', 'basic')]],
    [['authorization', `${batch}=`]],
    [['authorization', `Basic ${Buffer.from('batch:none').toString('base64')}`]],
    [['authorization', `Basic ${Buffer.from('no colon').toString('base64')}`]],
    [
      ['authorization', batch],
      ['Authorization', batch],
    ],
    [
      ['authorization', batch],
      ['cookie', 'session=x'],
    ],
  )

const contentType = (): fc.Arbitrary<[string, string][]> =>
  mostly<[string, string][]>(
    [['Content-Type', 'application/json']],
    [['content-type', 'application/json; charset=utf-8']],
    [['content-type', 'Application/JSON;charset=UTF-8']],
    [['content-type', 'application/json; charset=latin1']],
    [['content-type', 'text/plain']],
    [['content-type', 'application/jsonx']],
    [
      ['content-type', 'application/json'],
      ['content-type', 'text/plain'],
    ],
    [],
  )

const further = (): fc.Arbitrary<[string, string][]> =>
  mostly<[string, string][]>(
    [],
    [['Accept', '*/*']],
    [['User-Agent', 'curl/8']],
    [['Cookie', `XMS_AUTH_TOKEN=${server.adminToken}`]],
    [['X-Forwarded-For', '10.1.2.3']],
    [['X-Request-Id', 'mine']],
    [['Content-Encoding', 'gzip']],
    [['Connection', 'close']],
    [['Xms-Auth-Token', members.bob]],
    [['Origin', 'https://example.com']],
    [['Idempotency-Key', 'again and again']],
    [
      ['x'.repeat(64), 'long'],
      ["a!#$%&'*+.^_|~", 'odd'],
    ],
  )

const demand = (): fc.Arbitrary<Record<string, unknown>> =>
  mostly<Record<string, unknown>>(
    {},
    { role: 'deployer' },
    { role: 'nobody' },
    { role: 'x'.repeat(64) },
    { role: null },
    { scope: 'deploy:read' },
    { scope: 'deploy:write' },
    { scope: '𝒳'.repeat(100) },
    { group: 'crew' },
    { group: 'crew', mode: 'WRITE' },
    { group: 'crew', mode: 'ADMIN' },
    { group: 'crew', mode: 'OWNER' },
    { mode: 'READ' },
    { ip: '10.1.2.3' },
    { ip: '::ffff:10.1.2.3' },
    { ip: 'nowhere' },
    { ip: '' },
    { admin: true },
    { kinds: ['api'] },
    { audience: 'https://example.com' },
    { ignoresBinding: 'true' },
  )

/** The same value in the spellings that JSON allows, and in some that it does not. */
const spelled = (value: Record<string, unknown>): fc.Arbitrary<Buffer> => {
  const json = JSON.stringify(value)
  return mostly(
    Buffer.from(json),
    Buffer.from(json.replaceAll('":', '": ').replaceAll(',"', ', "')),
    Buffer.from(JSON.stringify(value, undefined, 2)),
    Buffer.from(`\u{feff}${json}`),
    Buffer.from(` ${json}\n`),
    Buffer.from(json.replace('token', '\\u0074oken')),
    Buffer.from(json.replace('{', '{"token":"other",')),
    Buffer.from(json.replace('{', '{"__proto__":{},')),
    Buffer.from(json.replace('{', '{"constructor":{"prototype":{}},')),
    Buffer.from(json.replace('{', '{"toString":"a",')),
    Buffer.from(json.slice(0, -1)),
    Buffer.from(`[${json}]`),
    Buffer.from(json.replace('}', '}}')),
    Buffer.concat([Buffer.from(json.slice(0, -2)), Buffer.from([0xff, 0xc3]), Buffer.from('"}')]),
    Buffer.from('null'),
    Buffer.from('"text"'),
    Buffer.alloc(0),
    Buffer.from(`{"token":"${'x'.repeat(66_000)}"}`),
    Buffer.from(json.replace(/"token":"[^"]*"/, '"token":7')),
  )
}

const framed = (
  wish: Omit<Wish, 'headers'>,
  headers: [string, string][],
  chunked: boolean,
): Wish => {
  if (!chunked) {
    const length = ['Content-Length', String(wish.body.length)] as [string, string]
    return { ...wish, headers: [...headers, length] }
  }
  const size = wish.body.length.toString(16)
  const chunk = wish.body.length === 0 ? '' : `${size}\r\n${wish.body.toString('latin1')}\r\n`
  const body = Buffer.from(`${chunk}0\r\n\r\n`, 'latin1')
  return { ...wish, body, headers: [...headers, ['Transfer-Encoding', 'chunked']] }
}

const version = () => mostly('1.1', '1.0')

const verifyWish = (): fc.Arbitrary<Wish> =>
  fc
    .tuple(
      mostly('POST', 'GET', 'PUT'),
      mostly(
        '/api/v1/tokens/verify',
        '/api/v1/tokens/verify?',
        '/api/v1/tokens/verify?token=x',
        '/api/v1/tokens/verify/',
        '/api/v1/tokens/%76erify',
        '/api/v1/tokens/Verify',
        '//api/v1/tokens/verify',
      ),
      version(),
      authorization(),
      contentType(),
      further(),
      fc.tuple(subject(), demand()).chain(([token, more]) => spelled({ token, ...more })),
      mostly(false, true),
    )
    .map(([method, target, version, auth, type, more, body, chunked]) =>
      framed({ method, target, version, body }, [...auth, ...type, ...more], chunked),
    )

const batchWish = (): fc.Arbitrary<Wish> => {
  const question = fc.oneof(
    subject(),
    fc.tuple(subject(), demand()).map(([token, more]) => ({ token, ...more })),
  )
  const some = (maxLength: number) => fc.array(question, { minLength: 1, maxLength })
  const secret = mostly(secrets.live, secrets.revoked, secrets.hex, secrets.unknown)
  const questions = fc.oneof(
    { weight: 4, arbitrary: fc.array(secret, { minLength: 1, maxLength: 8 }) },
    { weight: 4, arbitrary: some(3) },
    mostly<unknown[]>(Array(100).fill('x'), Array(101).fill('x'), [], [null], [[]], [7]),
  )
  return fc
    .tuple(
      authorization(),
      questions.chain((questions) => spelled({ questions })),
    )
    .map(([auth, body]) =>
      framed(
        { method: 'POST', target: '/api/v1/tokens/verify:batch', version: '1.1', body },
        [...auth, ['Content-Type', 'application/json']],
        false,
      ),
    )
}

const validateQuery = (): fc.Arbitrary<string> =>
  fc
    .tuple(subject(), asker())
    .chain(([subject, asker]) =>
      mostly(
        `?subject_access_token=${encodeURIComponent(subject)}`,
        `?subject_access_token=${encodeURIComponent(subject)}&token=${encodeURIComponent(asker)}`,
        `?token=${encodeURIComponent(asker)}&subject_access_token=${encodeURIComponent(subject)}`,
        `?token=${asker.slice(0, 9)}&subject_access_token=${subject.slice(0, 99)}&token=x`,
        `?subject_access_token=${encodeURIComponent(subject)}&subject_access_token=x`,
        `?subject_access_token=${encodeURIComponent(subject)}&other=1`,
        `?subject_access_token=%6d${encodeURIComponent(subject.slice(1))}`,
        '?subject_access_token=',
        '',
      ),
    )

const xmsCredential = (): fc.Arbitrary<[string, string][]> =>
  fc
    .tuple(mostly('Xms-Auth-Token', 'xms-auth-token', 'Authorization'), asker())
    .chain(([name, secret]) =>
      mostly<[string, string][]>(
        [[name, secret]],
        [[name, `Bearer ${secret}`]],
        [[name, `bearer ${secret}`]],
        [
          [name, secret],
          [name, secret],
        ],
        [
          [name, secret],
          ['Authorization', `Bearer ${secret}`],
        ],
        [],
      ),
    )

const validateWish = (): fc.Arbitrary<Wish> =>
  fc
    .tuple(
      mostly('POST', 'GET'),
      validateQuery(),
      version(),
      xmsCredential(),
      contentType(),
      further(),
      mostly(Buffer.alloc(0), Buffer.from('{}'), Buffer.from('{')),
      mostly(false, true),
    )
    .map(([method, query, version, auth, type, more, body, chunked]) =>
      framed(
        { method, target: `/v1/access-tokens:validate${query}`, version, body },
        [...auth, ...type, ...more],
        chunked,
      ),
    )

const formType = (): fc.Arbitrary<[string, string][]> =>
  mostly<[string, string][]>(
    [['Content-Type', 'application/x-www-form-urlencoded']],
    [['content-type', 'application/x-www-form-urlencoded;charset=UTF-8']],
    [['content-type', 'application/x-www-form-urlencoded; charset=latin1']],
    [['content-type', 'application/json']],
    [],
  )

const spelledForm = (token: string): fc.Arbitrary<Buffer> => {
  const encoded = encodeURIComponent(token)
  return mostly(
    `token=${encoded}`,
    `token=${encoded}&token_type_hint=access_token`,
    `token=${encoded}&token_type_hint=Access%20token`,
    `token_type_hint=refresh_token&token=${encoded}`,
    `token=${encoded}&ip=10.1.2.3`,
    `token=${encoded}&ip=127.0.0.1`,
    `token=${encoded}&token=${encoded}`,
    `token=${encoded}&token_type_hint=a&token_type_hint=b`,
    `token=${encoded}&client_id=nobody&client_secret=none`,
    `token=%6d${encodeURIComponent(token.slice(1))}`,
    `token=+${encoded}`,
    'token=',
    '',
    JSON.stringify({ token }),
  ).map((text) => Buffer.from(text))
}

const introspectionWish = (): fc.Arbitrary<Wish> =>
  fc
    .tuple(
      mostly('POST', 'GET'),
      mostly('/oauth2/introspect', '/oauth2/introspect?token=x', '/oauth2/introspect/'),
      version(),
      fc.oneof(authorization(), clientAuthorization()),
      formType(),
      further(),
      subject().chain(spelledForm),
      mostly(false, true),
    )
    .map(([method, target, version, auth, type, more, body, chunked]) =>
      framed({ method, target, version, body }, [...auth, ...type, ...more], chunked),
    )

const refreshWish = (): fc.Arbitrary<Wish> =>
  fc
    .tuple(
      mostly('POST', 'GET'),
      mostly('/api/auth/v1/refresh', '/api/auth/v2/refresh', '/api/auth/v1/refresh?a=b'),
      version(),
      mostly(
        secrets.service,
        ...Object.values(secrets).filter(({ length }) => length < 3000),
        'None',
      ),
      mostly('Authorization', 'authorization', 'X-Nothing'),
      further(),
      mostly(Buffer.alloc(0), Buffer.from('{}')),
      mostly(false, true),
    )
    .map(([method, target, version, secret, name, more, body, chunked]) =>
      framed({ method, target, version, body }, [[name, `Bearer ${secret}`], ...more], chunked),
    )

describe.each([
  ['verify', verifyWish],
  ['refresh', refreshWish],
  ['introspect', introspectionWish],
  ['verify:batch', batchWish],
  ['validate', validateWish],
])('%s', (_, wish) => {
  test('any request gets the same bytes by both doors, and is counted and logged alike', {
    timeout: 120_000,
  }, async () => {
    // What is cached is the same for both doors, whichever is asked first.
    const requests = fc.sample(fc.tuple(wish(), fc.boolean()), 400)
    const figuresOf: Record<string, Figures> = {}
    const answers: Record<string, string[]> = { lane: [], ordinary: [] }
    for (const door of ['lane', 'ordinary'] as const) {
      figuresOf[door] = await added(async () => {
        for (const [each, cold] of requests) {
          if (cold) server.app.core.verifier.clear()
          answers[door]?.push(await answerOf(doors[door], bytesOf(each)))
        }
      })
    }
    for (const [i, [each]] of requests.entries()) {
      expect(answers.lane?.[i], bytesOf(each).toString('latin1').slice(0, 2000)).toBe(
        answers.ordinary?.[i],
      )
    }
    expect(figuresOf.lane?.verdicts).toEqual(figuresOf.ordinary?.verdicts)
    expect(figuresOf.lane?.requests).toEqual(figuresOf.ordinary?.requests)
    const access = (lines: object[] = []) => lines.filter((line) => 'route' in line)
    expect(access(figuresOf.lane?.lines)).toEqual(access(figuresOf.ordinary?.lines))
  })
})

const plain = (secret: string, more: [string, string][] = []) => {
  const body = Buffer.from(JSON.stringify({ token: secret }))
  return bytesOf({
    method: 'POST',
    target: '/api/v1/tokens/verify',
    version: '1.1',
    headers: [
      ['Authorization', `Bearer ${server.adminToken}`],
      ['Content-Type', 'application/json'],
      ['Content-Length', String(body.length)],
      ...more,
    ],
    body,
  })
}

const introspecting = (which: string, authorization: string) => {
  const body = Buffer.from(`token=${secrets[which]}`)
  const headers: [string, string][] = [
    ['Authorization', authorization],
    ['Content-Type', 'application/x-www-form-urlencoded'],
    ['Content-Length', String(body.length)],
  ]
  return bytesOf({ method: 'POST', target: '/oauth2/introspect', version: '1.1', headers, body })
}

describe('a plain request', () => {
  beforeEach(async () => {
    // Whoever asks is known before.
    await answerOf(doors.ordinary, plain(secrets.live ?? ''))
  })
  const linesAfter = async (work: () => Promise<unknown>) => {
    const before = server.logLines().length
    await work()
    return server.logLines().slice(before)
  }

  test.each(['live', 'revoked', 'unknown', 'malformed'])(
    'about a %s token overtakes',
    async (which) => {
      const lines = await linesAfter(() => answerOf(doors.lane, plain(secrets[which] ?? '')))
      expect(lines.map(overtook)).toEqual([true])
    },
  )

  test.each([
    ['live', true],
    ['access', true],
    ['unknown', true],
    ['jwt', false],
  ])('for introspection of a %s token overtakes: %s', async (which, overtakes) => {
    const lines = await linesAfter(() =>
      answerOf(doors.lane, introspecting(which, `Bearer ${server.adminToken}`)),
    )
    expect(lines.map(overtook)).toEqual([overtakes])
  })

  test.each([
    ['access', true],
    // Which is none of its business; the answer takes a look at its service account.
    ['live', true],
    ['unknown', true],
    ['jwt', false],
  ])('for introspection of a %s token by a client overtakes: %s', async (which, overtakes) => {
    await answerOf(doors.ordinary, introspecting('access', batch))
    const lines = await linesAfter(() => answerOf(doors.lane, introspecting(which, batch)))
    expect(lines.map(overtook)).toEqual([overtakes])
  })

  test('for an access token of a service overtakes, and names its source', async () => {
    const bytes = bytesOf({
      method: 'POST',
      target: '/api/auth/v1/refresh',
      version: '1.1',
      headers: [['Authorization', `Bearer ${secrets.service}`]],
      body: Buffer.alloc(0),
    })
    const lines = await linesAfter(async () => {
      const text = await answerOf(doors.lane, bytes)
      expect(text).toMatch(/"token":"eyJ[^"]+","expiresAt":"/)
    })
    expect(lines.map(overtook)).toEqual([true])
    expect(JSON.parse(lines[0] ?? '')).toMatchObject({ actorId: expect.any(String) })
  })

  test('of a client is refused as soon as its secret is replaced or it is disabled', async () => {
    const made = await server.call('POST', '/api/v1/clients', {
      body: { name: 'resource', grants: ['client_credentials'] },
    })
    const { id, clientId } = made.body
    const basic = (secret: string) =>
      `Basic ${Buffer.from(`${clientId}:${secret}`).toString('base64')}`
    const asks = async (secret: string) => {
      const text = await answerOf(doors.lane, introspecting('unknown', basic(secret)))
      expect(text).toBe(await answerOf(doors.ordinary, introspecting('unknown', basic(secret))))
      return Number(text.split(' ')[1])
    }
    expect([await asks(made.body.secret), await asks(made.body.secret)]).toEqual([200, 200])
    const replaced = await server.call('POST', `/api/v1/clients/${id}/secret`, {})
    const { secret } = replaced.body
    expect([await asks(made.body.secret), await asks(secret), await asks(secret)]).toEqual([
      401, 200, 200,
    ])
    await server.call('PATCH', `/api/v1/clients/${id}`, { body: { active: false } })
    expect(await asks(secret)).toBe(401)
  })

  test('whose body comes after its head overtakes, too', async () => {
    const bytes = plain(secrets.live ?? '')
    const cut = bytes.indexOf('\r\n\r\n') + 4
    const lines = await linesAfter(async () => {
      const text = await inPieces([bytes.subarray(0, cut), bytes.subarray(cut)])
      expect(comparable(text)).toBe(await answerOf(doors.ordinary, bytes))
    })
    expect(lines.map(overtook)).toEqual([true, false])
  })

  test('whose body comes in pieces is answered by the framework', async () => {
    const bytes = plain(secrets.live ?? '')
    const cut = bytes.indexOf('\r\n\r\n') + 14
    const text = await inPieces([bytes.subarray(0, cut), bytes.subarray(cut)])
    expect(comparable(text)).toBe(await answerOf(doors.ordinary, bytes))
  })

  test('that is given up before its body is under way no longer', async () => {
    const bytes = plain(secrets.live ?? '')
    await inPieces([bytes.subarray(0, bytes.indexOf('\r\n\r\n') + 4)], { giveUp: true })
    await expect.poll(() => server.app.health.underWay).toBe(0)
  })

  test('is answered in turn when several come at once on one connection', async () => {
    const some = [secrets.live, secrets.revoked, secrets.unknown, secrets.jwt, secrets.live]
    const bytes = Buffer.concat(some.map((secret) => plain(secret ?? '')))
    const { text } = await sendRaw(
      doors.lane,
      bytes,
      (text) => text.split('"active"').length === some.length + 1,
    )
    const verdicts = [...text.matchAll(/"active":(true|false)/g)].map(([, verdict]) => verdict)
    expect(verdicts).toEqual(['true', 'false', 'false', 'true', 'true'])
  })

  test('hears of a revocation at once', async () => {
    const { id, secret } = await makeToken(server, {})
    expect(await answerOf(doors.lane, plain(secret))).toContain('"active":true')
    await server.call('POST', `/api/v1/tokens/${id}/revoke`)
    expect(await answerOf(doors.lane, plain(secret))).toContain('"reason":"revoked"')
  })

  test('of an asker who is revoked between head and body is refused', async () => {
    const { id, secret } = await makeToken(server, {})
    const bytes = plain(secret).toString('latin1').replace(server.adminToken, secret)
    expect(await answerOf(doors.lane, Buffer.from(bytes))).toContain('"active":true')
    const cut = bytes.indexOf('\r\n\r\n') + 4
    const text = await inPieces(
      [bytes.slice(0, cut), bytes.slice(cut)].map((s) => Buffer.from(s)),
      {
        between: () => server.call('POST', `/api/v1/tokens/${id}/revoke`),
      },
    )
    expect(text).toMatch(/^HTTP\/1\.1 401 /)
  })

  test('counts as one use of each token', async () => {
    const { id, secret } = await makeToken(server, {})
    const uses = async () => (await server.call('GET', `/api/v1/tokens/${id}`)).body.useCount
    const before = await uses()
    await answerOf(doors.lane, plain(secret))
    await answerOf(doors.ordinary, plain(secret))
    expect(await uses()).toBe(before + 2)
  })
})

describe('where proxies are trusted', () => {
  let trusting: TestServer
  let port: number
  let secret: string
  beforeAll(async () => {
    trusting = await startServer({ MINTMARK_TRUSTED_PROXIES: '127.0.0.1/32,10.9.0.0/16' })
    port = await listen(trusting)
    const made = await makeToken(trusting, { allowedIps: ['10.1.2.3', '2001:db8::/32'] })
    secret = made.secret
    // Whoever asks is known before.
    await ask([['X-Forwarded-For', '10.1.2.3']])
  })
  afterAll(() => trusting.close())

  const ask = (headers: [string, string][]) => {
    const bytes = plain(trusting.adminToken, headers).toString('latin1')
    return sendRaw(
      port,
      Buffer.from(bytes.replace(`Bearer ${server.adminToken}`, `Bearer ${secret}`)),
      oneAnswer,
    )
  }

  test.each<[string, [string, string][], boolean]>([
    ['none', [], false],
    ['the client', [['X-Forwarded-For', '10.1.2.3']], true],
    ['the client by IPv6', [['X-Forwarded-For', '2001:db8::7']], true],
    ['another client', [['X-Forwarded-For', '10.1.2.4']], false],
    ['the client before a trusted proxy', [['X-Forwarded-For', '10.1.2.3, 10.9.0.1']], true],
    ['the client before a stranger', [['X-Forwarded-For', '10.1.2.3, 10.8.0.1']], false],
    [
      'the client in two headers',
      [
        ['X-Forwarded-For', '10.1.2.3'],
        ['x-forwarded-for', '10.9.0.1'],
      ],
      true,
    ],
    ['what is no address', [['X-Forwarded-For', '10.1.2.3:443']], false],
    ['nothing', [['X-Forwarded-For', '']], false],
    [
      'host and protocol, too',
      [
        ['X-Forwarded-For', '10.1.2.3'],
        ['X-Forwarded-Proto', 'https'],
        ['X-Forwarded-Host', 'tokens.example.com'],
      ],
      true,
    ],
  ])('and they forward %s, that is whose address counts', async (_, headers, isGood) => {
    const { text } = await ask(headers)
    expect(text.startsWith(isGood ? 'HTTP/1.1 200 ' : 'HTTP/1.1 401 ')).toBe(true)
    // A refusal is the framework's.
    expect(overtook(trusting.logLines().at(-1) ?? '')).toBe(isGood)
  })
})

/** Sends pieces in turns of their own, so that the server reads them apart. */
async function inPieces(
  pieces: Buffer[],
  { giveUp = false, between }: { giveUp?: boolean; between?: () => Promise<unknown> } = {},
): Promise<string> {
  const socket = connect({ port: doors.lane, host: '127.0.0.1', noDelay: true })
  let text = ''
  socket.on('data', (chunk) => {
    text += chunk.toString('latin1')
  })
  for (const piece of pieces) {
    socket.write(piece)
    await sleep(30)
    await between?.()
  }
  if (giveUp) {
    socket.destroy()
    return text
  }
  await expect.poll(() => oneAnswer(text)).toBe(true)
  socket.destroy()
  return text
}
