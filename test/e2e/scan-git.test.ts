import { execFileSync } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { mkdirSync, rmSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { beforeEach, describe, expect, it } from 'vitest'
import { makeSecret } from '../../src/core/secret.ts'
import { mintmark } from '../support/cli.ts'
import { repository } from '../support/git.ts'
import { temporaryDirectory } from '../support/temporary.ts'

let directory: string
let git: ReturnType<typeof repository>
beforeEach(() => {
  directory = temporaryDirectory()
  git = repository(directory)
})

const ours = (kind = 'api') => makeSecret('mintmark', kind, randomBytes)

function write(path: string, content: string | Buffer): void {
  mkdirSync(dirname(join(directory, path)), { recursive: true })
  writeFileSync(join(directory, path), content)
}

/** Commits everything and returns the commit. */
function commit(message = 'change'): string {
  git('add', '--all')
  git('commit', '--quiet', '--allow-empty', '--message', message)
  return git('rev-parse', 'HEAD')
}

const scan = (...args: string[]) => mintmark(['scan', directory, ...args])

describe('scan --git', () => {
  it('finds a secret that was deleted, and names the commit that brought it', async () => {
    const secret = ours()
    write('README', 'hello\n')
    commit()
    write('config/app.env', `A=1\nTOKEN=${secret}\n`)
    const brought = commit()
    const object = git('rev-parse', 'HEAD:config/app.env')
    git('rm', '--quiet', 'config/app.env')
    commit()

    expect(await scan()).toMatchObject({ status: 0 })
    const ran = await scan('--git', '--json')
    expect(ran).toMatchObject({ status: 1, stderr: '' })
    expect(ran.json().findings).toMatchObject([
      {
        path: 'config/app.env',
        line: 2,
        column: 7,
        kind: 'api',
        git: { object, type: 'blob', commit: brought },
      },
    ])
    const shown = await scan('--git')
    expect(shown.stdout).toMatch(/^WHERE +COMMIT +KIND +SECRET\n/)
    expect(shown.stdout).toContain(`config/app.env:2:7  ${brought.slice(0, 12)}  api`)
    expect(shown.stderr).toMatch(/^Scanned 5 objects, /)
    const inside = await mintmark(['scan', join(directory, 'README'), '--git'])
    expect(inside).toMatchObject({ status: 3 })
  })

  it('reads each blob once, whatever refs, commits and names lead to it', async () => {
    const secret = ours()
    write('a', secret)
    write('copy/of/a', secret)
    const first = commit()
    git('switch', '--quiet', '--create', 'side')
    git('mv', 'a', 'b')
    commit()
    git('switch', '--quiet', 'main')
    write('c', 'c')
    commit()
    git('merge', '--quiet', '--no-edit', 'side')
    git('update-ref', 'refs/hidden/x', 'HEAD')
    const { findings } = (await scan('--git', '--json')).json()
    expect(findings).toMatchObject([{ path: 'a', git: { commit: first } }])
  })

  it('finds what only another branch, a tag, a stash or a message has', async () => {
    const names = ['side', 'stash', 'tagged', 'tag', 'message'] as const
    const secrets = Object.fromEntries(names.map((name) => [name, ours(name)]))
    write('a', 'a')
    commit(`Use ${secrets.message}`)
    git('switch', '--quiet', '--create', 'side')
    write('side', `${secrets.side}`)
    commit()
    git('switch', '--quiet', 'main')
    write('a', `${secrets.stash}`)
    git('stash', '--quiet')
    git('switch', '--quiet', '--detach')
    write('tagged', `${secrets.tagged}`)
    commit()
    git('tag', '--annotate', 'v1', '--message', `Release ${secrets.tag}`)
    git('switch', '--quiet', 'main')
    const { findings } = (await scan('--git', '--json')).json()
    const kinds = findings.map(({ kind, git }: { kind: string; git: { type: string } }) => [
      kind,
      git.type,
    ])
    expect(Object.fromEntries(kinds)).toEqual({
      side: 'blob',
      stash: 'blob',
      tagged: 'blob',
      tag: 'tag',
      message: 'commit',
    })
    const [run] = (await scan('--git', '--sarif')).json().runs
    expect(run.results.map(({ locations }: { locations: object[] }) => locations)).toContainEqual([
      { logicalLocations: [{ fullyQualifiedName: 'tag v1', kind: 'tag' }] },
    ])
  })

  it('reads large blobs and odd names, and heeds --exclude and --baseline', async () => {
    const secrets = [ours(), ours(), ours(), ours()]
    write('large', Buffer.concat([Buffer.alloc(3_000_000, 'a\n'), Buffer.from(`${secrets[0]}`)]))
    write('odd "näme" \t令.txt', `${secrets[1]}`)
    write('vendor/x/y', `${secrets[2]}`)
    write('known', `${secrets[3]}`)
    write('empty', '')
    commit()
    const baseline = join(temporaryDirectory(), 'baseline.json')
    const known = join(directory, 'known')
    await mintmark(['scan', known, '--baseline', baseline, '--write-baseline'])
    const ran = await scan('--git', '--exclude', 'vendor', '--baseline', baseline, '--json')
    expect(ran.json()).toMatchObject({
      findings: [
        { path: 'large', line: 1_500_001, column: 1 },
        { path: 'odd "näme" \t令.txt', line: 1 },
      ],
      known: 1,
      scanned: { files: 5 },
    })
  })

  it('runs nothing that the repository names', async () => {
    const trap = join(temporaryDirectory(), 'ran')
    const script = join(directory, '.git/trap')
    writeFileSync(script, `#!/bin/sh\ntouch ${trap}\n`, { mode: 0o755 })
    write('a', ours())
    write('.gitattributes', '* diff=trap filter=trap\n')
    commit()
    for (const [name, value] of Object.entries({
      'core.fsmonitor': script,
      'core.pager': script,
      'diff.external': script,
      'diff.trap.textconv': script,
      'diff.trap.command': script,
      'filter.trap.smudge': script,
      'gpg.program': script,
      'log.showSignature': 'true',
      'color.ui': 'always',
    })) {
      git('config', name, value)
    }
    write('b', ours())
    git('-c', 'core.fsmonitor=false', 'add', 'b')
    const ran = await scan('--git', '--staged', '--json')
    const { findings } = ran.json()
    expect(findings).toHaveLength(2)
    expect(findings[0].git.commit).toMatch(/^[0-9a-f]{40}$/)
    expect(() => execFileSync('ls', [trap], { stdio: 'ignore' })).toThrow()
  })

  it('tells that a clone is shallow or partial, and fetches nothing', async () => {
    write('a', ours())
    commit()
    git('rm', '--quiet', 'a')
    write('b', 'b')
    commit()
    git('config', 'uploadpack.allowFilter', 'true')
    const origin = pathToFileURL(directory).href
    const clone = (...args: string[]) => {
      const into = join(temporaryDirectory(), 'clone')
      execFileSync('git', ['clone', '--quiet', '--bare', ...args, origin, into])
      return into
    }
    const shallow = await mintmark(['scan', clone('--depth=1'), '--git'])
    expect(shallow).toMatchObject({ status: 0, stderr: expect.stringContaining('shallow') })
    const partial = await mintmark(['scan', clone('--filter=blob:none'), '--git', '--json'])
    expect(partial.status).toBe(3)
    expect(partial.json().problems).toHaveLength(2)
    expect(partial.json().problems[0].message).toMatch(
      /^Object [0-9a-f]{40} is not in this clone\.$/,
    )
  })
})

describe('scan --staged', () => {
  it('reads what the next commit would bring, not what lies about', async () => {
    const [old, staged, later] = [ours(), ours(), ours()]
    write('old', old)
    commit()
    write('new', staged)
    git('add', 'new')
    write('new', later)
    write('untracked', later)
    const ran = await scan('--staged', '--json')
    expect(ran.status).toBe(1)
    expect(ran.json()).toMatchObject({
      findings: [{ path: 'new', git: { type: 'blob', commit: null }, preview: expect.any(String) }],
      scanned: { files: 1 },
    })
    expect(ran.json().findings[0].preview).toBe(`mm_api_…${staged.slice(-4)}`)
    git('commit', '--quiet', '--message', 'change')
    expect(await scan('--staged')).toMatchObject({ status: 0 })
  })

  it('works before the first commit, with deletions, and from a hook', async () => {
    write('a', ours())
    git('add', 'a')
    expect(await scan('--staged')).toMatchObject({ status: 1 })
    git('commit', '--quiet', '--message', 'change')
    git('rm', '--quiet', 'a')
    expect(await scan('--staged')).toMatchObject({ status: 0 })
    git('reset', '--quiet', '--hard')

    const entry = join(import.meta.dirname, '../../bin/mintmark.mjs')
    const hook = `#!/bin/sh\nexec ${process.execPath} ${entry} scan --staged\n`
    writeFileSync(join(directory, '.git/hooks/pre-commit'), hook, { mode: 0o755 })
    write('b', ours())
    git('add', 'b')
    expect(() => git('commit', '--quiet', '--message', 'leak')).toThrow(/mm_api_…/)
    write('b', 'nothing')
    git('add', 'b')
    git('commit', '--quiet', '--message', 'no leak')
  })
})

describe('scan without git', () => {
  it('says that there is no repository, or no git, and ends with 3', async () => {
    const empty = temporaryDirectory()
    const ran = await mintmark(['scan', empty, '--git'], { env: { GIT_CEILING_DIRECTORIES: '/' } })
    expect(ran).toMatchObject({
      status: 3,
      stderr: expect.stringContaining('not a git repository'),
    })
    rmSync(empty, { recursive: true })
    expect((await mintmark(['scan', empty, '--git'])).status).toBe(3)
    expect(await mintmark(['scan', directory, '--git'], { env: { PATH: empty } })).toMatchObject({
      status: 3,
      stderr: expect.stringContaining('There is no program git on the PATH.'),
    })
  })
})
