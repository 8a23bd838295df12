import { execFileSync, spawn } from 'node:child_process'
import { cpSync, mkdirSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { expect, it, onTestFinished } from 'vitest'
import { dockerStages, imageEnvironment, repositoryPath } from '../support/deploy.ts'
import { rest } from '../support/rest.ts'
import { temporaryDirectory } from '../support/temporary.ts'

const TOKEN = 'a-token-of-the-first-admin-for-tests'
const START_MS = 60_000

/** Carries out what the Dockerfile's first stage copies and installs, in a directory of its own. */
function laidOut(): string {
  const app = temporaryDirectory()
  for (const { word, rest } of dockerStages()[0] ?? []) {
    if (word === 'COPY') {
      const [to = '', ...from] = rest.split(' ').toReversed()
      for (const path of from)
        copy(path, join(app, to.endsWith('/') ? join(to, path.split('/').at(-1) ?? '') : to))
    }
    if (word === 'RUN' && rest.startsWith('npm')) {
      const [, ...args] = rest.split(' ')
      execFileSync('npm', args, { cwd: app, stdio: 'pipe' })
    }
  }
  return app
}

/** As .dockerignore lets it: what npm installs into the sources stays out. */
function copy(from: string, to: string): void {
  mkdirSync(dirname(to), { recursive: true })
  const filter = (path: string) =>
    !/node_modules|\.test\.ts$/.test(path.slice(repositoryPath('').length))
  cpSync(repositoryPath(from), to, { recursive: true, filter })
}

it('what the image is made of starts, is ready, and verifies a token', {
  timeout: 300_000,
}, async () => {
  const app = laidOut()
  const data = temporaryDirectory()
  const env = {
    ...imageEnvironment(),
    PATH: process.env.PATH ?? '',
    MINTMARK_HOST: '127.0.0.1',
    MINTMARK_PORT: '0',
    MINTMARK_DATA_DIR: join(data, 'mintmark'),
    SQLITE_TMPDIR: data,
    MINTMARK_BOOTSTRAP_TOKEN: TOKEN,
  }
  const child = spawn(process.execPath, [join(app, 'bin/mintmark.mjs'), 'serve'], { env, cwd: app })
  onTestFinished(() => {
    child.kill('SIGKILL')
  })
  let output = ''
  child.stderr.setEncoding('utf8').on('data', (text) => {
    output += text
  })
  const url = await new Promise<string>((resolve, reject) => {
    setTimeout(() => reject(new Error(`Not up in time:\n${output}`)), START_MS).unref()
    child.on('close', () => reject(new Error(output)))
    child.stdout.setEncoding('utf8').on('data', (text) => {
      output += text
      const listens = /^Mintmark listens on (\S+)/m.exec(output)?.[1]
      if (listens !== undefined) resolve(listens)
    })
  })
  execFileSync(process.execPath, [join(app, 'bin/health.mjs')], {
    env: { ...env, MINTMARK_PORT: new URL(url).port },
  })
  const api = rest(url, TOKEN)
  const { body } = await api.call('POST', '/tokens', { body: { name: 'ci' } })
  expect(await api.isActive(body.secret)).toBe(true)
  child.kill('SIGTERM')
  expect(await new Promise((resolve) => child.on('close', resolve))).toBe(0)
})
