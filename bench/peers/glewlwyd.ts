/**
 * Introspection by Glewlwyd, as its Debian package ships it: SQLite, log at INFO. Access tokens are
 * signed by HMAC, the cheapest that it has to check.
 */
import { execFileSync, spawn } from 'node:child_process'
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { form } from '../scenarios.ts'
import { endsWithUs, freePort, type Peer, subjectOf, untilAnswers } from '../subjects.ts'

const CLIENT = 'bench'
const SECRET = 'bench-client-secret-of-some-length'
const BASIC = `Basic ${Buffer.from(`${CLIENT}:${SECRET}`).toString('base64')}`
const PLUGIN = 'oidc'
const ACCESS_TOKENS = 100

/** What the schema in the package makes. */
const ADMIN = { username: 'admin', password: 'password' }

/** Glewlwyd with live access tokens; undefined: it is not installed. */
export async function startGlewlwyd(): Promise<Peer | undefined> {
  const root = process.env.MINTMARK_BENCH_GLEWLWYD ?? '/'
  const program = join(root, 'usr/bin/glewlwyd')
  if (!existsSync(program)) return undefined
  const env = { ...process.env, ...librariesIn(root) }
  const dir = mkdtempSync(join(tmpdir(), 'glewlwyd-bench-'))
  const port = await freePort()
  const config = join(dir, 'glewlwyd.conf')
  writeFileSync(config, configOf({ root, port, database: makeDatabase(root, dir) }))
  const child = endsWithUs(spawn(program, ['-c', config], { env, stdio: 'ignore' }))
  const url = `http://127.0.0.1:${port}`
  await untilAnswers(child, `${url}/config`)
  await setUp(url)
  const requests: string[] = []
  for (let i = 0; i < ACCESS_TOKENS; i++) requests.push(introspection(await makeToken(url)))
  const subject = subjectOf('glewlwyd', { child, port })
  return {
    ...subject,
    requests,
    version: versionOf(program, env),
    async stop() {
      await subject.stop()
      rmSync(dir, { recursive: true, force: true })
    },
  }
}

/** A package that was only unpacked brings its libraries with it. */
function librariesIn(root: string): NodeJS.ProcessEnv {
  if (root === '/') return {}
  const lib = join(root, 'usr/lib')
  const folders = readdirSync(lib).filter((name) => name.endsWith('-linux-gnu'))
  return { LD_LIBRARY_PATH: folders.map((name) => join(lib, name)).join(':') }
}

function versionOf(program: string, env: NodeJS.ProcessEnv): string {
  return execFileSync(program, ['--version'], { env, encoding: 'utf8' }).trim()
}

function makeDatabase(root: string, dir: string): string {
  const file = join(dir, 'glewlwyd.db')
  const database = new DatabaseSync(file)
  const schema = join(root, 'usr/share/dbconfig-common/data/glewlwyd/install/sqlite3')
  database.exec(readFileSync(schema, 'utf8'))
  database.close()
  return file
}

function configOf({ root, port, database }: { root: string; port: number; database: string }) {
  const modules = join(root, 'usr/lib/glewlwyd')
  return `port=${port}
bind_address="127.0.0.1"
external_url="http://127.0.0.1:${port}"
login_url="login.html"
api_prefix="api"
log_mode="file"
log_level="INFO"
log_file="/dev/null"
cookie_secure=0
session_key="GLEWLWYD2_SESSION_ID"
admin_scope="g_admin"
profile_scope="g_profile"
user_module_path="${modules}/user"
client_module_path="${modules}/client"
user_auth_scheme_module_path="${modules}/scheme"
plugin_module_path="${modules}/plugin"
hash_algorithm="SHA512"
database = { type = "sqlite3"; path = "${database}"; };
`
}

/**
 * A plugin that answers introspection, and a client that may ask it. The client has a secret, which is
 * kept as it is: a password would be hashed anew for each question, for some 20 ms.
 */
async function setUp(url: string): Promise<void> {
  const login = await send(`${url}/api/auth/`, ADMIN)
  const cookie = login.headers
    .getSetCookie()
    .map((text) => text.split(';')[0])
    .join('; ')
  await send(`${url}/api/scope/`, { name: CLIENT, password_required: false, scheme: {} }, cookie)
  const plugin = {
    module: 'oidc',
    name: PLUGIN,
    display_name: PLUGIN,
    enabled: true,
    parameters: {
      iss: url,
      'jwt-type': 'sha',
      'jwt-key-size': '256',
      key: 'bench-signing-key-of-32-characters-or-more',
      'code-duration': 600,
      'refresh-token-duration': 86_400,
      'access-token-duration': 86_400,
      'allow-non-oidc': true,
      'auth-type-client-enabled': true,
      'auth-type-code-enabled': false,
      'auth-type-implicit-enabled': false,
      'auth-type-password-enabled': false,
      'auth-type-refresh-enabled': false,
      'introspection-revocation-allowed': true,
      'introspection-revocation-allow-target-client': true,
    },
  }
  await send(`${url}/api/mod/plugin/`, plugin, cookie)
  const client = {
    client_id: CLIENT,
    client_secret: SECRET,
    confidential: true,
    enabled: true,
    authorization_type: ['client_credentials'],
    token_endpoint_auth_method: ['client_secret_basic'],
    scope: [CLIENT],
  }
  await send(`${url}/api/client/`, client, cookie)
}

async function send(url: string, body: object, cookie = ''): Promise<Response> {
  const response = await fetch(url, {
    method: 'POST',
    headers: { 'content-type': 'application/json', cookie },
    body: JSON.stringify(body),
  })
  const text = await response.text()
  if (!response.ok) throw new Error(`${url} answered ${response.status}: ${text}`)
  return response
}

async function makeToken(url: string): Promise<string> {
  const response = await fetch(`${url}/api/${PLUGIN}/token`, {
    method: 'POST',
    headers: { authorization: BASIC },
    body: new URLSearchParams({ grant_type: 'client_credentials', scope: CLIENT }),
  })
  const { access_token: token } = (await response.json()) as { access_token?: string }
  if (token === undefined) throw new Error(`Glewlwyd gave no token: ${response.status}`)
  return token
}

function introspection(token: string): string {
  return form(`/api/${PLUGIN}/introspect`, { authorization: BASIC, body: `token=${token}` })
}
