import { execFileSync } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { createClient } from '../../sdk/src/index.ts'
import { startProcess } from '../support/process.ts'

/**
 * Runs clients that others published, in their own languages, against a real server. Needs python3
 * with venv and a package index; `.ci/run` runs it, `npm test` does not.
 */
const OPAL_CLIENT = 'opal-security==1.0.8'

const folder = mkdtempSync(join(tmpdir(), 'mintmark-clients-'))
const adminToken = randomBytes(24).toString('base64url')
const server = await startProcess({
  dataDir: join(folder, 'data'),
  env: { MINTMARK_BOOTSTRAP_TOKEN: adminToken },
})
try {
  const admin = createClient({ url: server.url, token: adminToken })
  const alice = await admin.users.create({ username: 'alice' })
  const own = await admin.tokens.create({ name: "alice's", ownerId: alice.id })
  await admin.tokens.create({ name: 'another' })

  const python = join(folder, 'venv', 'bin', 'python')
  execFileSync('python3', ['-m', 'venv', join(folder, 'venv')], { stdio: 'inherit' })
  execFileSync(python, ['-m', 'pip', 'install', '--quiet', OPAL_CLIENT], { stdio: 'inherit' })
  execFileSync(python, [fileURLToPath(new URL('./opal.py', import.meta.url))], {
    stdio: 'inherit',
    env: { OPAL_HOST: `${server.url}/v1`, ADMIN_TOKEN: adminToken, USER_TOKEN: own.secret },
  })
} finally {
  await server.end('SIGTERM')
  rmSync(folder, { recursive: true, force: true })
}
