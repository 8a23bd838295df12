import { execFileSync } from 'node:child_process'
import { generateKeyPairSync, randomBytes } from 'node:crypto'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type Client, createClient, type NewToken } from '@mintmark/sdk'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { COMPILE_CACHE, mintmark, type Ran } from '../support/cli.ts'
import { type ServerProcess, startProcess } from '../support/process.ts'

const dataDir = mkdtempSync(join(tmpdir(), 'mintmark-cli-'))
const adminToken = randomBytes(30).toString('base64url')
const adminPassword = `${randomBytes(12).toString('base64url')} bench lamp`
const secrets = [adminToken, adminPassword]
const uuid = expect.stringMatching(/^[0-9a-f-]{36}$/)
const ours = /^mm_api_[0-9A-Za-z]{49}$/
/** What --json says beside a change that took something away; there is one node. */
const KNOWN = { acknowledged: 1, nodes: 1 }
let server: ServerProcess
/** Sets the stage for a command, and looks behind it. */
let admin: Client

beforeAll(async () => {
  server = await startProcess({
    dataDir,
    env: {
      MINTMARK_BOOTSTRAP_TOKEN: adminToken,
      MINTMARK_BOOTSTRAP_PASSWORD: adminPassword,
      MINTMARK_LOG_LEVEL: 'trace',
      NODE_COMPILE_CACHE: COMPILE_CACHE,
    },
  })
  admin = createClient({ url: server.url, token: adminToken })
})

afterAll(async () => {
  const { output } = await server.end('SIGTERM')
  rmSync(dataDir, { recursive: true, force: true })
  // Told at teardown, so that no command above can leak a secret into the log unseen.
  expect(secrets.filter((secret) => output.includes(secret))).toEqual([])
})

/** A command as the admin. */
function run(line: string, { input = '', token = adminToken } = {}): Promise<Ran> {
  const env = { MINTMARK_URL: server.url, MINTMARK_TOKEN: token }
  return mintmark(line.split(' '), { env, input })
}

/** The same with --json, which must succeed and be one document. */
async function json(line: string, options: { input?: string; token?: string } = {}) {
  const ran = await run(`${line} --json`, options)
  expect(ran).toMatchObject({ status: 0, stderr: '' })
  const document = ran.json()
  for (const secret of [document.secret, document.token, document.oneTimePassword]) {
    if (typeof secret === 'string') secrets.push(secret)
  }
  return document
}

async function makeToken(wish: NewToken) {
  const made = await admin.tokens.create(wish)
  secrets.push(made.secret)
  return made
}

describe('token', () => {
  it('create prints the secret alone to stdout, and to people that it is shown once', async () => {
    const { status, stdout, stderr } = await run('token create ci')
    secrets.push(stdout.trim())
    expect(status).toBe(0)
    expect(stdout.trim()).toMatch(ours)
    expect(stderr).toContain('Made the token "ci" of admin')
    expect(stderr).toContain('shown only now')
    expect(stderr).toContain('mintmark token verify')

    const verified = await run('token verify', { input: stdout })
    expect(verified).toMatchObject({ status: 0, stdout: expect.stringContaining('active   yes') })
  })

  it('list, count, stats and export take one query', async () => {
    const { id: ownerId } = await admin.users.create({ username: 'alice-queried' })
    for (const name of ['b', 'a', '=1']) await makeToken({ ownerId, name })
    const names = async (line: string) =>
      (await json(line)).items.map(({ name }: { name: string }) => name)
    const query = 'owner:alice-queried state:active'
    expect(await names(`token list ${query} --sort name`)).toEqual(['=1', 'a', 'b'])
    expect(await names(`token list ${query} --sort=-name --limit 1 --all`)).toEqual([
      'b',
      'a',
      '=1',
    ])
    expect(await run(`token count ${query}`)).toMatchObject({ status: 0, stdout: '3\n' })
    expect(await json(`token stats ${query} --by owner`)).toMatchObject({
      figures: [{ value: 'alice-queried', id: ownerId, count: 3 }],
    })
    expect((await run(`token stats ${query} --by client`)).stdout).toContain('(no client)')
    const ends = await run(`token stats ${query} --by expires`)
    expect(ends.stdout).toMatch(/^EXPIRES +TOKENS\n\d{4}-\d\d +3 +█{24}\n$/)
    const csv = await run(`token export ${query} --sort name`)
    expect(csv).toMatchObject({ status: 0, stderr: '' })
    expect(csv.stdout.split('\r\n')).toHaveLength(5)
    expect(csv.stdout).toContain(",'=1,")
    const lines = (await run(`token export ${query} --format jsonl`)).stdout.trimEnd().split('\n')
    expect(lines.map((line) => JSON.parse(line).owner.id)).toEqual([ownerId, ownerId, ownerId])
    expect(await run('token count owner:alice state:dead')).toMatchObject({
      status: 1,
      stderr: expect.stringMatching(
        /column 19: state is active, .*\n {2}owner:alice state:dead\n {20}\^\n$/,
      ),
    })
    const stumbled = await run('token revoke --query state:dead --json')
    expect(JSON.parse(stumbled.stderr)).toMatchObject({
      error: { code: 'invalid_input', column: 7, message: expect.stringMatching(/^column 7: /) },
    })
    expect(await run('token list --sort size')).toMatchObject({ status: 2 })
  })

  it('create takes every limit', async () => {
    await admin.roles.create({ name: 'deployer', scopes: ['deploy'] })
    const alice = await admin.users.create({ username: 'alice-limited', roles: ['deployer'] })
    const group = await admin.groups.create({ name: 'limited' })
    await admin.groups.setMember(group.id, alice.id, 'WRITE')
    const flags = [
      '--owner alice-limited --kind service --access-level full-access --description night',
      '--role deployer --group limited:READ --scope deploy --allowed-ip 10.0.0.0/8 --expires 12h',
      '--metadata {"team":"web"}',
    ]
    const made = await json(`token create nightly ${flags.join(' ')}`)
    expect(made).toMatchObject({
      kind: 'service',
      owner: { username: 'alice-limited' },
      accessLevel: 'FULL_ACCESS',
      description: 'night',
      roles: ['deployer'],
      groups: [{ name: 'limited', mode: 'READ' }],
      scopes: ['deploy'],
      allowedIps: ['10.0.0.0/8'],
      metadata: { team: 'web' },
    })
    const hours = (Date.parse(made.expiresAt) - Date.parse(made.createdAt)) / 3_600_000
    expect(hours).toBeCloseTo(12, 1)
    const wide = await json(
      'token create wide --all-roles --all-groups --all-scopes --expires never',
    )
    expect(wide).toMatchObject({ roles: null, groups: null, scopes: null, expiresAt: null })
  })

  it('list filters, pages and shows tables', async () => {
    for (const name of ['row-1', 'row-2', 'row-3']) await makeToken({ name })
    const first = await json('token list --text row- --limit 2')
    expect(first).toMatchObject({ items: { length: 2 }, nextCursor: expect.any(String) })
    const [rest, all] = await Promise.all([
      json(`token list --text row- --limit 2 --cursor ${first.nextCursor}`),
      json('token list --text row- --limit 2 --all'),
    ])
    expect(rest).toMatchObject({ items: { length: 1 }, nextCursor: null })
    expect(all.items).toEqual([...first.items, ...rest.items])

    const filters = '--owner admin --creator admin --kind api --state active --text row-'
    const shown = await run(`token list ${filters} --limit 2`)
    const [titles, ...rows] = shown.stdout.trimEnd().split('\n')
    expect(titles).toMatch(/^ID {36}NAME +OWNER +STATE +EXPIRES +KIND +ACCESS +LAST USED$/)
    expect(rows).toHaveLength(2)
    expect(shown.stderr).toContain('There are more')
    const empty = await run('token list --text nothing-has-this-name')
    expect(empty).toMatchObject({
      status: 0,
      stdout: 'No tokens match. Make one: mintmark token create <name>\n',
    })
  })

  it('show, update, rotate and revoke act on one token', async () => {
    const { id, secret } = await makeToken({ name: 'life' })
    expect((await run(`token show ${id}`)).stdout).toMatch(/^id +[0-9a-f-]{36}\nname +life\n/)
    expect(await json(`token update ${id} --name living --description x`)).toMatchObject({
      name: 'living',
      description: 'x',
    })
    const next = await json(`token rotate ${id} --overlap 0s --expires 2099-01-31T12:00:00Z`)
    expect(next).toMatchObject({ name: 'living', expiresAt: '2099-01-31T12:00:00.000Z' })
    expect(await admin.tokens.verify({ token: secret })).toMatchObject({ active: false })
    const revoked = await run(`token revoke ${next.id} --reason leaked`)
    expect(revoked).toMatchObject({ status: 0, stdout: expect.stringContaining(next.id) })
    expect((await admin.tokens.get(next.id)).revokeReason).toBe('leaked')
  })

  it('verify takes the secret from stdin, an environment variable or an argument', async () => {
    const { secret } = await makeToken({ name: 'probe', scopes: ['deploy'] })
    const env = { MINTMARK_URL: server.url, MINTMARK_TOKEN: adminToken, PROBE: secret }
    for (const args of [['--env', 'PROBE'], ['--scope', 'deploy', secret], ['-']]) {
      const ran = await mintmark(['token', 'verify', ...args, '--json'], { env, input: secret })
      expect(ran.json()).toMatchObject({ active: true, name: 'probe' })
    }
    const refused = await run(`token verify --scope rollback --ip 10.0.0.1`, { input: secret })
    expect(refused).toMatchObject({ status: 1, stdout: 'Not active: scope_missing.\n' })
    expect(await run('token verify')).toMatchObject({
      status: 2,
      stderr: expect.stringContaining('Paste one when asked, or pipe it in.'),
    })
    const unset = await run('token verify --env NOT_SET')
    expect(unset.stderr).toContain('variable NOT_SET is not set here. Export it')
    const audience = 'https://deploy.example.com'
    const { jwt } = await createClient({ url: server.url, token: secret }).tokens.sign({ audience })
    secrets.push(jwt)
    expect((await run(`token verify --audience ${audience}`, { input: jwt })).status).toBe(0)
    expect(
      (await run('token verify --audience https://x.example.com', { input: jwt })).status,
    ).toBe(1)
  })

  it('explain says check by check why a token is good or not, by its secret or its id', async () => {
    const { id, secret } = await makeToken({ name: 'why', scopes: ['deploy'] })
    const good = await run('token explain --scope deploy', { input: secret })
    expect(good).toMatchObject({ status: 0, stderr: '' })
    expect(good.stdout).toMatch(/^Active\.\n\n✓ format +It is written like .*\n✓ checksum /)
    expect(good.stdout).toMatch(/\n– role +No role was asked for\.\n✓ scope /)
    expect(good.stdout).toContain(`why (${id})`)
    expect(good.stdout).toMatch(/\nends +\d{4}-.*, because it expires\n$/)
    expect(good.stdout).not.toContain(secret)

    const refused = await run(`token explain --id ${id} --scope rollback`)
    expect(refused.status).toBe(1)
    expect(refused.stdout).toMatch(/^Not active: scope_missing\.\n/)
    expect(refused.stdout).toMatch(/\n✗ scope +Its owner may have the scope "rollback"/)
    expect(await json(`token explain --id ${id}`)).toMatchObject({
      active: true,
      explanation: { token: { id }, end: { because: 'expiry' } },
    })

    const stranger = await run('token explain', { input: 'nonsense', token: secret })
    expect(stranger).toMatchObject({
      status: 1,
      stdout: 'Not active.\nOnly admins and the owner of the token hear more.\n',
    })
    expect((await run('token explain')).status).toBe(2)
    expect((await run(`token explain --id ${id} ${secret}`)).status).toBe(2)
  })

  it('self is the token in use', async () => {
    const { id, secret } = await makeToken({ name: 'own' })
    expect((await json('token show self', { token: secret })).id).toBe(id)
    expect((await json('token tree self', { token: secret })).token.id).toBe(id)
    expect(await json('token use self', { token: secret })).toMatchObject({
      uses: expect.any(Number),
    })
    const why = await json('token explain --id self', { token: secret })
    expect(why.explanation.token.id).toBe(id)
    expect(await json('token revoke self', { token: secret })).toMatchObject({
      revoked: [id],
      nodes: 1,
    })
    expect(await run('token show self', { token: secret })).toMatchObject({
      status: 1,
      stderr: expect.stringContaining('mintmark login'),
    })
  })
})

describe('user, group and role', () => {
  it('user create, show, update, list, delete, by name or id', async () => {
    const made = await json('user create bob --email bob@example.org --display-name Bob')
    expect(made).toMatchObject({ id: uuid, username: 'bob', email: 'bob@example.org' })
    expect((await run(`user show ${made.id}`)).stdout).toMatch(/username +bob\n/)
    expect(await json('user update bob --disable')).toMatchObject({ active: false })
    expect(await json('user list --disabled')).toMatchObject({ items: [{ username: 'bob' }] })
    expect(await json('user update bob --enable --global-role admin')).toMatchObject({
      active: true,
      globalRole: 'ADMIN',
    })
    expect((await run('user list')).stdout).toMatch(/^ID +USERNAME +ROLE +ACTIVE/)
    expect((await run('user delete bob')).status).toBe(2)
    expect(await json('user delete bob --yes')).toEqual({ deleted: made.id, ...KNOWN })
    expect(await run('user show bob')).toMatchObject({
      status: 1,
      stderr: 'There is no user "bob". See: mintmark user list\n',
    })
  })

  it('group create, fill, show, update, empty, delete', async () => {
    await admin.users.create({ username: 'alice-member' })
    await json('group create builders --description releases')
    await json('group add-member Builders alice-member admin')
    const shown = await run('group show builders')
    expect(shown.stdout).toMatch(/alice-member +ADMIN/)
    await json('group remove-member builders alice-member')
    expect(await json('group update builders --name makers')).toMatchObject({ name: 'makers' })
    expect(await json('group list --text makers')).toMatchObject({ items: [{ name: 'makers' }] })
    expect((await run('group show makers')).stdout).toContain('No members.')
    expect((await run('group delete makers --yes')).status).toBe(0)
    expect((await admin.groups.list({ text: 'makers' })).items).toEqual([])
  })

  it('role create, update, list, delete', async () => {
    await json('role create auditor --scope read --scope export')
    expect(await json('role update auditor --no-scopes')).toMatchObject({ scopes: [] })
    expect((await run('role list')).stdout).toMatch(/^NAME +SCOPES +DESCRIPTION\n/)
    expect(await json('role delete auditor --yes')).toEqual({ deleted: 'auditor', ...KNOWN })
  })
})

describe('client and grant', () => {
  it('client create prints the secret alone, and takes everything that can be said', async () => {
    const made = await run('client create ci --client-id ci-runner --grant client_credentials')
    secrets.push(made.stdout.trim())
    expect(made.status).toBe(0)
    expect(made.stdout.trim()).toMatch(/^mm_client_[0-9A-Za-z]{49}$/)
    expect(made.stderr).toContain('Made the client "ci", client id ci-runner.')
    expect(made.stderr).toContain('shown only now')
    const flags = [
      '--redirect-uri https://app.example.com/a --redirect-uri https://app.example.com/b',
      '--post-logout-redirect-uri https://app.example.com/bye',
      '--grant authorization_code --grant refresh-token --grant device_code --grant token_exchange',
      '--scope openid --scope deploy --resource https://api.example.com/',
      '--serves https://ci.example.com/ --code-ttl seconds=30 --access-token-ttl minutes=5',
      '--refresh-token-ttl days=7 --subject-mode user-uuid --no-pkce',
      '--application-name Portal --application-slug the-portal',
    ]
    expect(await json(`client create portal --client-id portal ${flags.join(' ')}`)).toMatchObject({
      id: uuid,
      clientId: 'portal',
      redirectUris: ['https://app.example.com/a', 'https://app.example.com/b'],
      postLogoutRedirectUris: ['https://app.example.com/bye'],
      grants: [
        'authorization_code',
        'refresh_token',
        'urn:ietf:params:oauth:grant-type:device_code',
        'urn:ietf:params:oauth:grant-type:token-exchange',
      ],
      scopes: ['openid', 'deploy'],
      resources: ['https://api.example.com/'],
      serves: ['https://ci.example.com/'],
      codeTtl: 'seconds=30',
      accessTokenTtl: 'minutes=5',
      refreshTokenTtl: 'days=7',
      subjectMode: 'user_uuid',
      requirePkce: false,
      applicationName: 'Portal',
      applicationSlug: 'the-portal',
      secret: expect.stringMatching(/^mm_client_/),
    })
    const shown = await run('client show portal')
    expect(shown.stdout).toMatch(
      /grants +authorization_code, refresh_token, device_code, token_exc/,
    )
    expect((await run('client create tv --grant implicit')).status).toBe(2)
  })

  it('a public client and one with keys have no secret to print', async () => {
    const open = await run('client create tv --type public --grant device_code')
    expect(open).toMatchObject({ status: 0, stderr: '' })
    expect(open.stdout).toMatch(/authenticates +no\n/)

    const { publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
    const file = join(dataDir, 'keys.json')
    writeFileSync(file, JSON.stringify({ keys: [publicKey.export({ format: 'jwk' })] }))
    const signing = await json(`client create s --grant client_credentials --jwks ${file}`)
    expect(signing).toMatchObject({ secret: null, jwks: { keys: [{ kty: 'EC' }] } })
    for (const wrong of [join(dataDir, 'nothing.json'), dataDir]) {
      const line = `client create s --grant client_credentials --jwks ${wrong}`
      expect((await run(line)).status).toBe(2)
    }
  })

  it('client update, secret, list and delete', async () => {
    const made = await json(
      'client create changing --client-id changing --redirect-uri https://a.example.com/',
    )
    const flags = '--name changed --no-scopes --redirect-uri https://b.example.com/ --pkce'
    expect(await json(`client update changing ${flags}`)).toMatchObject({
      name: 'changed',
      scopes: [],
      redirectUris: ['https://b.example.com/'],
      resources: [],
      requirePkce: true,
    })
    expect((await run('client update changing')).status).toBe(2)
    expect((await run('client update changing --enable --disable')).status).toBe(2)
    const next = await run('client secret changing')
    secrets.push(next.stdout.trim())
    expect(next.stdout.trim()).toMatch(/^mm_client_[0-9A-Za-z]{49}$/)

    expect((await run('client update changing --disable')).status).toBe(2)
    expect(await json('client update changing --disable --yes')).toMatchObject({ active: false })
    expect(await json('client list --disabled')).toMatchObject({ items: [{ id: made.id }] })
    expect((await run('client list --text changed')).stdout).toMatch(
      /^CLIENT ID +NAME +TYPE +ACTIVE/,
    )
    expect((await run('client delete changing')).status).toBe(2)
    expect(await json('client delete changing --yes')).toEqual({ deleted: made.id, ...KNOWN })
    expect(await run('client show changing')).toMatchObject({
      status: 1,
      stderr: 'There is no such client. See: mintmark client list\n',
    })
  })

  it('grant list and withdraw', async () => {
    expect((await run('grant list --user admin --client ci-runner')).stdout).toBe(
      'No grants match.\n',
    )
    expect(await json('grant list --ended')).toMatchObject({ items: [], nextCursor: null })
    expect((await run('grant withdraw mine')).status).toBe(2)
    expect(await run('grant withdraw 00000000-0000-7000-8000-000000000000')).toMatchObject({
      status: 1,
      stderr: 'There is no such grant. See: mintmark grant list\n',
    })
  })
})

describe('policy and audit', () => {
  it('policy set takes durations and says what there is', async () => {
    const set = await json('policy set maxTokenTtlSeconds=90d passwordExpirationWarning=true')
    expect(set).toMatchObject({ maxTokenTtlSeconds: 7_776_000, passwordExpirationWarning: true })
    expect((await run('policy show')).stdout).toMatch(/maxTokenTtlSeconds +7776000 \(90 days\)/)
    expect(await json('policy set maxTokenTtlSeconds=none')).toMatchObject({
      maxTokenTtlSeconds: null,
    })
    expect(await run('policy set maxTokens=1')).toMatchObject({
      status: 2,
      stderr: expect.stringContaining('maxTokenTtlSeconds'),
    })
  })

  it('audit list tells who did what', async () => {
    const filters = '--actor admin --action policy.updated --subject-type policy --from 1h'
    const { items } = await json(`audit list ${filters}`)
    expect(items[0]).toMatchObject({ actorName: 'admin', via: 'api' })
    expect(await json('audit checkpoints')).toMatchObject({ items: expect.any(Array) })
    expect((await run('audit list --limit 3')).stdout).toMatch(/^NO +AT +ACTION +ACTOR +SUBJECT/)
  })
})

describe('login', () => {
  it('a one-time password is replaced in the same step; logout ends the session', async () => {
    await admin.users.create({ username: 'alice' })
    const { oneTimePassword } = await json('user reset-password alice')
    const chosen = `${randomBytes(12).toString('base64url')} quarry mosaic`
    secrets.push(chosen)

    const stuck = await run('login alice --password-stdin', { input: oneTimePassword })
    expect(stuck).toMatchObject({ status: 1, stdout: '' })
    expect(stuck.stderr).toContain('second line')
    const input = `${oneTimePassword}\n${chosen}\n`
    const session = await run('login alice --password-stdin', { input })
    const token = session.stdout.trim()
    secrets.push(token)
    expect(session).toMatchObject({ status: 0, stderr: expect.stringContaining('MINTMARK_TOKEN') })

    expect((await run('whoami', { token })).stdout).toMatch(/^user +alice \(/)
    expect(await json('logout', { token })).toEqual({ loggedOut: true, ...KNOWN })
    const again = await json('login alice --password-stdin', { input: chosen })
    expect(again).toMatchObject({ token: expect.stringMatching(/^mm_session_/) })

    const next = `${randomBytes(12).toString('base64url')} otter marble`
    secrets.push(next)
    const change = (input: string) =>
      run('password --password-stdin', { token: again.token, input })
    expect((await change(`${chosen}\n`)).status).toBe(2)
    expect((await change(`${chosen}\nshort\n`)).stderr).toContain('at least 15 characters')
    expect(await change(`${chosen}\n${next}\n`)).toMatchObject({
      status: 0,
      stdout: 'Your password is changed. Your other logins have ended.\n',
    })
    expect((await run('login alice --password-stdin', { input: chosen })).status).toBe(1)
    expect((await json('login alice --password-stdin', { input: next })).token).toMatch(/^mm_/)
  })

  it('a wrong password is refused in a sentence', async () => {
    const ran = await run('login alice --password-stdin', { input: 'not the password' })
    expect(ran).toMatchObject({ status: 1, stdout: '' })
    expect(ran.stderr).toBe('The name or the password is wrong.\n')
  })
})

describe('import', () => {
  it('gathers what it refuses by the reason, and says which options would let it in', async () => {
    const file = join(dataDir, 'old.jsonl')
    const rows = [1, 2, 3].map((i) => ({
      name: `old ${i}`,
      owner: 'carol',
      secret: `legacy-${randomBytes(18).toString('hex')}`,
      ...(i === 3 ? { owner: 'admin', groups: 'crew:READ' } : {}),
    }))
    secrets.push(...rows.map(({ secret }) => secret))
    writeFileSync(file, rows.map((row) => JSON.stringify(row)).join('\n'))
    const refused = await run(`import ${file} --dry-run`)
    expect(refused.status).toBe(1)
    expect(refused.stdout).toMatch(
      /^0 would be made, .*\nROWS +FIRST +WHY\n2 +1 +There is no user "carol"\..*\n1 +3 +There is no group/,
    )
    expect(refused.stderr).toBe(
      'What is missing is made with --create-owners service --create-groups.\n',
    )
    const options = '--create-owners service --create-groups'
    expect(await run(`import ${file} ${options}`)).toMatchObject({
      status: 0,
      stdout: '3 made, 0 there already, 0 refused, of 3 rows.\n',
      stderr: '',
    })
  })
})

describe('overview and completion', () => {
  it('overview says what there is and names a command for whatever needs a look', async () => {
    const { id } = await makeToken({ name: 'to look at', expiresAt: null })
    await admin.tokens.quarantine(id)
    const { tokens, use, attention } = await json('overview')
    expect(tokens.states).toMatchObject({ active: expect.any(Number), quarantined: 1 })
    expect(use).toMatchObject({ uses: expect.any(Number), points: expect.any(Array) })
    expect(attention[0]).toEqual({
      count: 1,
      what: 'tokens, quarantined',
      command: "mintmark token list 'state:quarantined'",
    })
    const shown = await run('overview')
    expect(shown.stdout).toMatch(/^tokens +\d+ active, 1 quarantined/)
    expect(shown.stdout).toMatch(/\nLOOK AT +COUNT +WITH\ntokens, quarantined +1 +mintmark token/)
    await admin.tokens.revoke(id)

    const alice = await admin.users.create({ username: 'alice-looking' })
    const { secret } = await makeToken({ name: 'own', ownerId: alice.id })
    expect(await run('overview', { token: secret })).toMatchObject({
      status: 0,
      stdout: expect.stringMatching(/^tokens +1 active\n[\s\S]*Nothing to look at\.\n$/),
    })
  })

  it('completion knows commands and options', async () => {
    const { stdout } = await run('completion bash')
    const file = join(dataDir, 'completion.sh')
    writeFileSync(file, stdout)
    const completed = (...words: string[]) => {
      const line = ['mintmark', ...words].map((word) => `'${word}'`).join(' ')
      const script = `. ${file}; COMP_WORDS=(${line}); COMP_CWORD=${words.length}; _mintmark; echo "\${COMPREPLY[*]}"`
      return execFileSync('bash', ['-c', script], { encoding: 'utf8' }).trim().split(' ')
    }
    expect(completed('tok')).toEqual(['token'])
    expect(completed('token', 're')).toEqual(['release', 'revoke'])
    expect(completed('policy', 'rule', '')).toEqual(['list', 'set', 'remove'])
    expect(completed('token', 'list', 'owner:alice', '--so')).toEqual(['--sort'])
    expect((await run('completion tcsh')).status).toBe(2)
  })
})

describe('errors', () => {
  it('wrong usage ends with 2, names the help, and is JSON under --json', async () => {
    const lines = ['token creat x', 'token create', 'token create x --expires soon', 'user']
    for (const ran of await Promise.all(lines.map((line) => run(line)))) {
      expect(ran).toMatchObject({ status: 2, stdout: '' })
    }
    const { stderr } = await run('token create x --role a --all-roles')
    expect(stderr).toContain('See: mintmark token create --help')
    const ran = await run('token show not-an-id --json')
    expect(ran).toMatchObject({ status: 2, stdout: '' })
    expect(JSON.parse(ran.stderr)).toMatchObject({ error: { code: 'wrong_usage' } })
  })

  it('a refusal ends with 1 and carries the request id', async () => {
    const ran = await run('token show 00000000-0000-7000-8000-000000000000 --json')
    expect(ran).toMatchObject({ status: 1, stdout: '' })
    expect(JSON.parse(ran.stderr)).toEqual({
      error: { code: 'not_found', message: expect.any(String), status: 404, requestId: uuid },
    })
  })

  it('a refusal leads on, and does not speak of bodies and parameters', async () => {
    const { secret } = await makeToken({ name: 'plain' })
    expect(await run('user list', { token: secret })).toMatchObject({
      status: 1,
      stderr: expect.stringMatching(/needs an administrator\. .*mintmark whoami\n$/),
    })
    expect((await run('role update gone --no-scopes')).stderr).toContain('See: mintmark role list')
    expect((await run('policy set leakAction=bite')).stderr).toMatch(/^leakAction must be one of/)
    expect((await run('login alice --password-stdin')).stderr).toContain('first line of stdin')
    expect((await run('token jwt --audience x --ttl 16m')).stderr).toContain('from 1s to 15m')
  })

  it('a missing token or server says what to do', async () => {
    const url = server.url
    expect(await mintmark(['token', 'list'], { env: { MINTMARK_URL: url } })).toMatchObject({
      status: 1,
      stderr: expect.stringContaining('Set MINTMARK_TOKEN'),
    })
    const env = { MINTMARK_URL: 'http://127.0.0.1:1', MINTMARK_TOKEN: adminToken }
    expect(await mintmark(['role', 'create', 'x'], { env })).toMatchObject({
      status: 1,
      stderr: expect.stringContaining('Is the server running?'),
    })
  })

  it('the token may come from a file', async () => {
    const file = join(dataDir, 'token')
    writeFileSync(file, `${adminToken}\n`)
    const env = { MINTMARK_URL: server.url, MINTMARK_TOKEN_FILE: file }
    expect((await mintmark(['whoami'], { env })).status).toBe(0)
    const both = { ...env, MINTMARK_TOKEN: adminToken }
    expect((await mintmark(['whoami'], { env: both })).status).toBe(2)
  })
})
