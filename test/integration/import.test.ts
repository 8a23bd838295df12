import { argon2Sync, createHash, randomBytes } from 'node:crypto'
import bcrypt from 'bcryptjs'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { setPolicy } from '../support/people.ts'
import { type Answer, startServer, type TestServer } from '../support/server.ts'
import { snapshot } from '../support/tables.ts'

let server: TestServer
beforeEach(async () => {
  server = await startServer()
})
afterEach(() => server.close())

type Row = Record<string, unknown>
let files = 0
const send = (rows: Row[], more: Row = {}, token?: string): Promise<Answer> =>
  server.call('POST', '/api/v1/imports', {
    body: {
      importId: `file-${files++}`,
      rows: rows.map((row, i) => ({ row: i + 1, name: `t${i}`, owner: 'admin', ...row })),
      ...more,
    },
    ...(token === undefined ? {} : { token }),
  })
const outcomes = ({ body }: Answer) => body.rows.map((row: Row) => row.code ?? row.outcome)
const secret = (head = 'glpat-') => {
  const made = head + randomBytes(10).toString('hex')
  server.remember(made)
  return made
}
const verdictOn = async (token: string) =>
  (await server.call('POST', '/api/v1/tokens/verify', { body: { token } })).body
const opens = async (token: string) => (await server.call('GET', '/api/v1/me', { token })).status
const sha256 = (text: string) => createHash('sha256').update(text)
const argon2 = (text: string) => {
  const salt = randomBytes(16)
  const parameters = { parallelism: 1, tagLength: 32, memory: 64, passes: 2, nonce: salt }
  const tag = argon2Sync('argon2id', { ...parameters, message: Buffer.from(text) })
  const b64 = (bytes: Buffer) => bytes.toString('base64').replace(/=+$/, '')
  return `$argon2id$v=19$m=64,t=2,p=1$${b64(salt)}$${b64(Buffer.from(tag))}`
}

it('shows no more than the beginning of a lookup, and keeps the rest nowhere', async () => {
  const [slow, quick] = [secret(), secret()]
  const rows = [
    { hash: argon2(slow), algorithm: 'argon2', lookup: slow.slice(0, 20) },
    { hash: sha256(quick).digest('hex'), algorithm: 'sha256-hex', lookup: quick.slice(0, 20) },
  ]
  expect(outcomes(await send(rows))).toEqual(['created', 'created'])
  const list = await server.call('GET', '/api/v1/tokens?q=via:import')
  for (const { preview } of list.body.items) expect(preview).toMatch(/^glpat-..…$/)
  const kept = JSON.stringify(await snapshot(server))
  for (const each of [slow, quick]) expect(kept).not.toContain(each.slice(0, 20))
})

it('takes over secrets and hashes of every kind, and their holders go on', async () => {
  const secrets = [secret(), secret('k!'), secret(), secret(), secret('pat_a_'), secret('pat_b_')]
  const [foreign = '', odd = '', hex = '', base64 = '', slow = '', slower = ''] = secrets
  for (const each of secrets) expect(await opens(each)).toBe(401)
  const rows = [
    { secret: foreign },
    { secret: odd },
    { hash: sha256(hex).digest('hex'), algorithm: 'sha256-hex' },
    { hash: sha256(base64).digest('base64'), algorithm: 'sha256-base64' },
    { hash: bcrypt.hashSync(slow, 4), algorithm: 'bcrypt', lookup: slow.slice(0, 8) },
    { hash: argon2(slower), algorithm: 'argon2', lookup: slower.slice(0, 10) },
  ]
  expect(outcomes(await send(rows))).toEqual(rows.map(() => 'created'))
  const hashes = () => server.database.query('select count(*) as n from imported_hash')
  expect(Number((await hashes())[0]?.n)).toBe(2)
  for (const each of secrets) {
    for (const wrong of [`${each}x`, each.slice(0, -1), each.toUpperCase()]) {
      expect(await verdictOn(wrong)).toMatchObject({ active: false })
    }
    expect(await verdictOn(each), each).toMatchObject({ active: true })
    expect(await opens(each)).toBe(200)
  }
  // At its first use each became one of ours.
  expect(Number((await hashes())[0]?.n)).toBe(0)
  const list = await server.call('GET', '/api/v1/tokens?q=via:import')
  expect(list.body.items).toHaveLength(6)
  for (const { preview } of list.body.items) expect(preview).toMatch(/^….{4}$/)
  await server.restart()
  for (const each of secrets) expect(await opens(each)).toBe(200)
  // Rekeyed, revoked, dead.
  const [{ id }] = list.body.items
  expect((await server.call('POST', `/api/v1/tokens/${id}/revoke`)).status).toBe(200)
  const states = await Promise.all(secrets.map(opens))
  expect(states.filter((status) => status === 401)).toHaveLength(1)
  const { items } = (await server.call('GET', '/api/v1/audit?action=token.rekeyed')).body
  expect(items).toHaveLength(4)
})

it('gives a rotated one a secret of our own', async () => {
  const foreign = secret()
  const [{ tokenId }] = (await send([{ secret: foreign }])).body.rows
  const rotate = (id: string) =>
    server.call('POST', `/api/v1/tokens/${id}/rotate`, { body: { overlapSeconds: 0 } })
  const first = await rotate(tokenId)
  expect(first.body.secret).toMatch(/^mm_api_/)
  expect(await opens(first.body.secret)).toBe(200)
  expect(await opens(foreign)).toBe(401)
  const second = await rotate(first.body.id)
  expect(await opens(second.body.secret)).toBe(200)
})

it('keeps nothing that opens anything, nor lets a hash be planted', async () => {
  const [known, slow] = [secret(), secret('pat_c_')]
  const hash = bcrypt.hashSync(slow, 4)
  await send([
    { hash: sha256(known).digest('hex'), algorithm: 'sha256-hex' },
    { hash, algorithm: 'bcrypt', lookup: slow.slice(0, 8) },
  ])
  const loot = (await server.database.loot()).toString('latin1')
  for (const text of [known, sha256(known).digest('hex'), hash, slow]) {
    expect(loot.includes(text)).toBe(false)
  }
  const mine = secret()
  await server.database.tamper(
    `update token set digest = '${sha256(mine).digest('base64url')}' where via = 'import'
      and id = (select min(id) from token where via = 'import')`,
  )
  expect(await opens(mine)).toBe(401)
})

it('what stands for a secret that is not known opens nothing itself', async () => {
  const [known, slow] = [secret(), secret('pat_h_')]
  const hex = sha256(known).digest('hex')
  const { body } = await send([
    { hash: hex, algorithm: 'sha256-hex' },
    { hash: bcrypt.hashSync(slow, 4), algorithm: 'bcrypt', lookup: slow.slice(0, 8) },
  ])
  for (const planted of [`sha256:${hex}`, `import:${body.rows[1].tokenId}`]) {
    expect(await verdictOn(planted)).toMatchObject({ active: false })
    expect(await opens(planted)).toBe(401)
    expect(outcomes(await send([{ secret: planted }]))).toEqual(['invalid_input'])
  }
})

it('the same again makes nothing twice, whatever it is called', async () => {
  const [one, two] = [secret(), secret('pat_d_')]
  const rows = [
    { secret: one },
    { hash: bcrypt.hashSync(two, 4), algorithm: 'bcrypt', lookup: 'pat_d_', externalId: 'x-1' },
  ]
  const first = await send(rows, { importId: 'same' })
  const again = await send(rows, { importId: 'same' })
  expect(outcomes(again)).toEqual(['exists', 'exists'])
  expect(again.body.rows.map((row: Row) => row.tokenId)).toEqual(
    first.body.rows.map((row: Row) => row.tokenId),
  )
  expect(await opens(two)).toBe(200)
  expect(outcomes(await send(rows))).toEqual(['exists', 'exists'])
  const asHash = { hash: sha256(one).digest('hex'), algorithm: 'sha256-hex' }
  expect(outcomes(await send([asHash]))).toEqual(['exists'])
  const progress = await server.call('GET', '/api/v1/imports/same')
  expect(progress.body).toEqual({ importId: 'same', tokens: 2 })
  // A revoked token that was purged does not come back with its file.
  await server.call('DELETE', `/api/v1/tokens/${first.body.rows[0].tokenId}`)
  await setPolicy(server, { retentionSeconds: 0 })
  server.clock.advance(1000)
  await server.app.core.purge()
  expect(outcomes(await send(rows))).toEqual(['exists', 'exists'])
  expect(await opens(one)).toBe(401)
})

it('a dry run says the same and leaves nothing behind', async () => {
  const rows = [
    { secret: secret(), owner: 'robot', groups: [{ group: 'ops', mode: 'WRITE' }] },
    { secret: 'short' },
  ]
  const options = { createOwners: 'service', createGroups: true }
  const before = await server.database.query('select count(*) as n from audit')
  const dry = await send(rows, { ...options, dryRun: true })
  expect(outcomes(dry)).toEqual(['created', 'invalid_input'])
  expect(await server.database.query('select count(*) as n from audit')).toEqual(before)
  expect(await opens(String(rows[0]?.secret))).toBe(401)
  const real = await send(rows, options)
  expect(outcomes(real)).toEqual(['created', 'invalid_input'])
  const { body } = await server.call('GET', `/api/v1/tokens/${real.body.rows[0].tokenId}`)
  expect(body).toMatchObject({ owner: { username: 'robot' }, via: 'import' })
  expect(body.groups).toMatchObject([{ name: 'ops', mode: 'WRITE' }])
})

it('gives nobody more than owner, importer and policy allow', async () => {
  await server.call('POST', '/api/v1/roles', { body: { name: 'ops', scopes: ['deploy'] } })
  await server.call('POST', '/api/v1/groups', { body: { name: 'vault' } })
  await server.makeUser({ username: 'alice' })
  await setPolicy(server, { maxTokenTtlSeconds: 86_400 })
  const far = new Date(server.clock.now() + 30 * 86_400_000).toISOString()
  const alice = (row: Row) => ({ owner: 'alice', secret: secret(), ...row })
  const options = { createOwners: 'service', createGroups: true }
  const sent = await send(
    [
      alice({ roles: ['ops'] }),
      alice({ scopes: ['deploy'] }),
      alice({ groups: [{ group: 'vault', mode: 'READ' }] }),
      alice({ expiresAt: far }),
      alice({ expiresAt: new Date(server.clock.now() - 1000).toISOString() }),
      alice({ owner: 'new-one', roles: ['ops'] }),
      alice({ roles: null, groups: null, scopes: null, accessLevel: 'FULL_ACCESS' }),
      alice({ allowedIps: ['nowhere'] }),
      alice({ createdAt: far }),
      alice({ secret: 'a'.repeat(40) }),
      alice({ hash: 'x', secret: undefined, algorithm: 'bcrypt', lookup: 'pat_x_' }),
      alice({ hash: sha256('x').digest('hex'), secret: undefined }),
    ],
    options,
  )
  expect(outcomes(sent)).toEqual([
    'beyond_rights',
    'beyond_rights',
    'beyond_rights',
    'beyond_policy',
    'token_not_active',
    'beyond_rights',
    'created',
    'invalid_input',
    'invalid_input',
    'invalid_input',
    'invalid_input',
    'invalid_input',
  ])
  const users = await server.call('GET', '/api/v1/users?limit=100')
  expect(users.body.items.map((user: Row) => user.username)).not.toContain('new-one')
  expect(outcomes(await send([{ owner: 'nobody', secret: secret() }]))).toEqual(['not_found'])
})

it('leaves nothing behind of a row that is refused, however late', async () => {
  const far = new Date(server.clock.now() + 30 * 86_400_000).toISOString()
  await setPolicy(server, { maxTokenTtlSeconds: 86_400 })
  const groups = [{ group: 'fresh', mode: 'READ' }]
  const options = { createOwners: 'person', createGroups: true }
  const audited = () =>
    server.database.query("select count(*) as n from audit where action like '%.created'")
  const before = await audited()
  const late = [
    { owner: 'stray', groups, secret: secret(), expiresAt: far },
    { owner: 'stray', groups, secret: secret(), allowedIps: ['nowhere'] },
  ]
  expect(outcomes(await send(late, options))).toEqual(['beyond_policy', 'invalid_input'])
  expect(await audited()).toEqual(before)
  for (const table of ['import_made', 'membership']) {
    expect(await server.database.query(`select * from ${table}`)).toEqual([])
  }
  const users = async () =>
    (await server.call('GET', '/api/v1/users?limit=100')).body.items.map(
      (user: Row) => user.username,
    )
  expect(await users()).not.toContain('stray')
  // The good rows around it stand, with all of theirs.
  const good = { owner: 'stray', groups, secret: secret() }
  const mixed = await send([...late, good, ...late], options)
  expect(outcomes(mixed).filter((outcome: string) => outcome === 'created')).toHaveLength(1)
  expect(await users()).toContain('stray')
  expect(await opens(good.secret)).toBe(200)
  expect((await server.app.core.verifyAudit()).intact).toBe(true)
})

it('of imports at once that bring the same, one makes it and the others find it', async () => {
  for (let round = 0; round < 5; round++) {
    const rows = [
      { secret: secret(), owner: `robot ${round}`, groups: [{ group: `g${round}`, mode: 'READ' }] },
      { hash: sha256(secret()).digest('hex'), algorithm: 'sha256-hex' },
    ].map((row, i) => ({ ...row, name: `t${round}-${i}` }))
    const options = { createOwners: 'service', createGroups: true }
    const answers = await Promise.all(
      [rows, [...rows].reverse(), rows].map((each) => send(each, options)),
    )
    expect(answers.map(({ status }) => status)).toEqual([200, 200, 200])
    expect(answers.flatMap(outcomes).sort()).toEqual([
      ...Array.from({ length: 2 }, () => 'created'),
      ...Array.from({ length: 4 }, () => 'exists'),
    ])
  }
})

it('is for administrators with FULL_ACCESS alone', async () => {
  const alice = await server.makeUser({ username: 'alice' })
  const reader = await server.makeUser({
    username: 'reader',
    globalRole: 'ADMIN',
    accessLevel: 'READ_ONLY',
  })
  for (const { token } of [alice, reader]) {
    expect((await send([{ secret: secret() }], {}, token)).status).toBe(403)
    expect((await server.call('GET', '/api/v1/imports/x', { token })).status).toBe(403)
  }
  const twice = [{ secret: secret() }, { secret: secret() }].map((row) => ({ ...row, row: 1 }))
  expect((await send(twice)).status).toBe(400)
  expect((await send([{ secret: secret() }], { importId: '../x' })).status).toBe(400)
})

it('bounds what guessing costs', async () => {
  const real = secret('pat_z_')
  await send([{ hash: bcrypt.hashSync(real, 4), algorithm: 'bcrypt', lookup: 'pat_z_' }])
  const statuses = []
  for (let i = 0; i < 15; i++) statuses.push(await opens(secret('pat_z_')))
  expect(statuses.filter((status) => status === 401)).toHaveLength(10)
  expect(statuses.at(-1)).toBe(429)
  // Other beginnings cost nothing, and are not held up.
  expect(await opens(secret('other_'))).toBe(401)
  server.clock.advance(60_000)
  expect(await opens(real)).toBe(200)
})
