import { execFileSync } from 'node:child_process'
import { createHash, randomBytes } from 'node:crypto'
import { mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { Ajv } from 'ajv'
import ajvFormats from 'ajv-formats'
import { beforeEach, describe, expect, it } from 'vitest'
import { makeSecret } from '../../src/core/secret.ts'
import { mintmark } from '../support/cli.ts'
import { temporaryDirectory } from '../support/temporary.ts'

let directory: string
beforeEach(() => {
  directory = temporaryDirectory()
})

const ours = (kind = 'api') => makeSecret('mintmark', kind, randomBytes)
const sha256Of = (secret: string) => createHash('sha256').update(secret).digest('hex')

function write(path: string, content: string | Buffer): string {
  const file = join(directory, path)
  mkdirSync(dirname(file), { recursive: true })
  writeFileSync(file, content)
  return file
}

const scan = (...args: string[]) => mintmark(['scan', ...args])

describe('scan of files', () => {
  it('says where each secret is, never what it is, and ends with 1', async () => {
    const [api, session] = [ours(), ours('session')]
    write('a.txt', `nothing\n  token = "${api}"\n`)
    write('deep/er/b.bin', Buffer.concat([randomBytes(5000), Buffer.from(`\n${session}`)]))
    const ran = await scan(directory)
    expect(ran.status).toBe(1)
    expect(ran.stdout).toMatch(/^WHERE +KIND +SECRET\n/)
    expect(ran.stdout).toContain(`${join(directory, 'a.txt')}:2:12`)
    expect(ran.stdout).toMatch(new RegExp(`session +mm_session_…${session.slice(-4)}\n`))
    expect(ran.stdout).toContain('2 secrets in 2 places.')
    expect(ran.stderr).toMatch(/^Scanned 2 files, 5\.\d kB\.\n$/)

    const json = await scan(directory, '--json')
    expect(json).toMatchObject({ status: 1, stderr: '' })
    expect(json.json()).toEqual({
      findings: [
        {
          path: join(directory, 'a.txt'),
          line: 2,
          column: 12,
          endColumn: 12 + api.length,
          kind: 'api',
          isCandidate: false,
          preview: `mm_api_…${api.slice(-4)}`,
          sha256: sha256Of(api),
        },
        expect.objectContaining({ path: join(directory, 'deep/er/b.bin'), kind: 'session' }),
      ],
      known: 0,
      unlisted: 0,
      problems: [],
      notes: [],
      scanned: { files: 2, bytes: expect.any(Number) },
    })
    const sarif = await scan(directory, '--sarif')
    for (const { stdout, stderr } of [ran, json, sarif]) {
      for (const secret of [api, session]) expect(stdout + stderr).not.toContain(secret.slice(15))
    }
  })

  it('ends with 0 where there is none', async () => {
    write('a.txt', 'mm_api_ but no more\n')
    write('empty', '')
    expect(await scan(directory)).toMatchObject({ status: 0, stdout: 'No secrets found.\n' })
  })

  it('finds secrets in a file of many megabytes, at borders of what is read at once', async () => {
    const secrets = Array.from({ length: 200 }, () => ours())
    const megabyte = 1 << 20
    const content = Buffer.alloc(4 * megabyte, `${'.'.repeat(63)}\n`)
    for (const [i, secret] of secrets.entries()) {
      // Around the ends of the first three pieces.
      const at = (1 + (i % 3)) * megabyte - 4000 + Math.floor(i / 3) * 120
      content.write(`${secret} `, at)
    }
    const file = write('large.log', content)
    const found: { sha256: string }[] = (await scan(file, '--json')).json().findings
    expect(found.map(({ sha256 }) => sha256).sort()).toEqual(secrets.map(sha256Of).sort())
  })

  it('reads stdin', async () => {
    const secret = ours()
    const ran = await mintmark(['scan', '-', '--json'], { input: `\n\n ${secret}` })
    expect(ran.status).toBe(1)
    expect(ran.json().findings).toMatchObject([{ path: 'stdin', line: 3, column: 2 }])
    expect((await mintmark(['scan', '-'], { input: 'nothing' })).status).toBe(0)
  })

  it('leaves out .git, links and what is no file, and takes what git ignores', async () => {
    const secret = ours()
    write('.gitignore', '.env\n')
    const outside = temporaryDirectory()
    writeFileSync(join(outside, 'target'), secret)
    write('tree/.git/config', secret)
    write('tree/.env', secret)
    symlinkSync(outside, join(directory, 'tree/linked'))
    symlinkSync(join(outside, 'target'), join(directory, 'tree/link'))
    symlinkSync('.', join(directory, 'tree/loop'))
    execFileSync('mkfifo', [join(directory, 'tree/pipe')])
    const ran = await scan(join(directory, 'tree'), '--json')
    expect(ran.json()).toMatchObject({
      findings: [{ path: join(directory, 'tree/.env') }],
      scanned: { files: 1 },
    })
    // What is named is meant.
    expect((await scan(join(directory, 'tree/link'))).status).toBe(1)
  })

  it('leaves out what --exclude says', async () => {
    const secret = ours()
    for (const path of ['keep/a', 'node_modules/x/b', 'docs/a/b.md', 'docs/c.txt', 'd.pdf']) {
      write(path, secret)
    }
    const excludes = ['node_modules', '*.pdf', 'docs/**/*.md'].flatMap((glob) => [
      '--exclude',
      glob,
    ])
    const { findings } = (await scan(directory, '--json', ...excludes)).json()
    expect(findings).toMatchObject([
      { path: join(directory, 'docs/c.txt') },
      { path: join(directory, 'keep/a') },
    ])
  })

  it('reports candidates as such, when asked', async () => {
    const [hex, uuid] = [
      makeSecret('hex', 'api', randomBytes),
      makeSecret('uuid', 'service', randomBytes),
    ]
    const file = write('a', `${hex} ${uuid}`)
    expect((await scan(file)).status).toBe(0)
    expect((await scan(file, '--also', 'uuid', '--json')).json().findings).toMatchObject([
      { kind: 'uuid', isCandidate: true, preview: `…${uuid.slice(-4)}` },
    ])
    const shown = await scan(file, '--also', 'hex,uuid')
    expect(shown).toMatchObject({ status: 1, stdout: expect.stringContaining('hex (candidate)') })
  })
})

describe('scan that cannot read everything', () => {
  it('says so, goes on, and ends with 3', async () => {
    const file = write('a', 'nothing')
    const [gone, loop, pipe] = ['gone', 'loop', 'pipe'].map((name) => join(directory, name))
    symlinkSync('loop', String(loop))
    execFileSync('mkfifo', [String(pipe)])
    const ran = await scan(String(gone), String(loop), String(pipe), file)
    expect(ran).toMatchObject({ status: 3, stdout: 'No secrets found in what could be read.\n' })
    expect(ran.stderr).toContain(`Could not read ${gone}: ENOENT: no such file or directory\n`)
    expect(ran.stderr).toContain(`Could not read ${loop}: ELOOP`)
    expect(ran.stderr).toContain(`Could not read ${pipe}: This is no file.`)
    expect(ran.stderr).toContain('Scanned 1 file')

    const { problems } = (await scan(String(gone), '--json')).json()
    expect(problems).toEqual([{ path: gone, message: 'ENOENT: no such file or directory' }])
  })

  it('says so of a file in a directory, too', async () => {
    // A name that is not UTF-8 cannot be opened by the name that Node reads: true for root, too.
    const name = Buffer.concat([Buffer.from(`${directory}/a-`), Buffer.from([0xff])])
    writeFileSync(name, ours())
    write('b', 'nothing')
    expect(await scan(directory)).toMatchObject({ status: 3 })
  })

  it('ends with 1 nevertheless when it found one', async () => {
    const file = write('a', ours())
    const ran = await scan(join(directory, 'gone'), file)
    expect(ran).toMatchObject({ status: 1, stderr: expect.stringContaining('Could not read') })
  })
})

describe('scan with a baseline', () => {
  it('leaves out what it knows, and adds to it', async () => {
    const [old, other] = [ours(), ours()]
    const file = write('a', `${old}\n${old}\n`)
    const baseline = join(directory, 'baseline.json')
    const written = await scan(file, '--baseline', baseline, '--write-baseline')
    expect(written).toMatchObject({ status: 0, stderr: expect.stringContaining(baseline) })
    expect(JSON.parse(readFileSync(baseline, 'utf8'))).toEqual({
      about: expect.any(String),
      sha256: [sha256Of(old)],
    })
    expect(await scan(file, '--baseline', baseline)).toMatchObject({
      status: 0,
      stdout: 'No secrets found.\n2 known to the baseline are left out.\n',
    })

    write('b', `${old} ${other}`)
    const next = await scan(directory, '--baseline', baseline, '--json')
    expect(next.status).toBe(1)
    expect(next.json()).toMatchObject({ findings: [{ sha256: sha256Of(other) }], known: 3 })
    await scan(join(directory, 'b'), '--baseline', baseline, '--write-baseline')
    expect(JSON.parse(readFileSync(baseline, 'utf8')).sha256).toEqual(
      [sha256Of(old), sha256Of(other)].sort(),
    )
  })

  it('refuses a baseline that is missing or is none', async () => {
    const file = write('a', ours())
    const broken = write('broken.json', '{"sha256":["mm_api_x"]}')
    const text = write('text', 'x')
    for (const baseline of [join(directory, 'gone'), broken, text, directory]) {
      expect(await scan(file, '--baseline', baseline)).toMatchObject({ status: 2, stdout: '' })
    }
    expect((await scan(file, '--baseline', broken, '--write-baseline')).status).toBe(2)
    const nowhere = join(directory, 'no/such/directory')
    expect((await scan(file, '--baseline', nowhere, '--write-baseline')).status).toBe(3)
  })
})

describe('scan, wrongly used', () => {
  it.each([
    [[]],
    [['.', '--also', 'md5']],
    [['.', '--json', '--sarif']],
    [['.', '--write-baseline']],
    [['-', '--git']],
    [['.', '--show-secrets']],
  ])('%j ends with 2', async (args) => {
    expect(await scan(...args)).toMatchObject({ status: 2, stdout: '' })
  })
})

describe('scan --sarif', () => {
  const text = { type: 'object', required: ['text'], properties: { text: { type: 'string' } } }
  const level = { enum: ['none', 'note', 'warning', 'error'] }
  const whole = { type: 'integer', minimum: 1 }
  /** What SARIF 2.1.0 asks of the parts that we write, and nothing but these. */
  const schema = {
    type: 'object',
    additionalProperties: false,
    required: ['version', 'runs'],
    properties: {
      $schema: { type: 'string', format: 'uri' },
      version: { const: '2.1.0' },
      runs: { type: 'array', items: { $ref: '#/definitions/run' } },
    },
    definitions: {
      run: {
        type: 'object',
        additionalProperties: false,
        required: ['tool', 'results'],
        properties: {
          tool: {
            type: 'object',
            required: ['driver'],
            properties: {
              driver: {
                type: 'object',
                additionalProperties: false,
                required: ['name'],
                properties: {
                  name: { type: 'string' },
                  version: { type: 'string' },
                  rules: {
                    type: 'array',
                    uniqueItems: true,
                    items: { $ref: '#/definitions/rule' },
                  },
                },
              },
            },
          },
          columnKind: { enum: ['utf16CodeUnits', 'unicodeCodePoints'] },
          invocations: {
            type: 'array',
            items: {
              type: 'object',
              additionalProperties: false,
              required: ['executionSuccessful'],
              properties: {
                executionSuccessful: { type: 'boolean' },
                toolExecutionNotifications: {
                  type: 'array',
                  items: {
                    type: 'object',
                    additionalProperties: false,
                    required: ['message'],
                    properties: { level, message: text },
                  },
                },
              },
            },
          },
          results: { type: 'array', items: { $ref: '#/definitions/result' } },
        },
      },
      rule: {
        type: 'object',
        additionalProperties: false,
        required: ['id'],
        properties: {
          id: { type: 'string' },
          name: { type: 'string' },
          shortDescription: text,
          help: text,
          defaultConfiguration: { type: 'object', properties: { level } },
        },
      },
      result: {
        type: 'object',
        additionalProperties: false,
        required: ['message', 'locations'],
        properties: {
          ruleId: { type: 'string' },
          ruleIndex: { type: 'integer', minimum: 0 },
          level,
          message: text,
          partialFingerprints: { type: 'object', additionalProperties: { type: 'string' } },
          properties: { type: 'object' },
          locations: {
            type: 'array',
            items: {
              type: 'object',
              additionalProperties: false,
              properties: {
                physicalLocation: {
                  type: 'object',
                  additionalProperties: false,
                  required: ['artifactLocation'],
                  properties: {
                    artifactLocation: {
                      type: 'object',
                      additionalProperties: false,
                      properties: { uri: { type: 'string', format: 'uri-reference' } },
                    },
                    region: {
                      type: 'object',
                      additionalProperties: false,
                      properties: {
                        startLine: whole,
                        startColumn: whole,
                        endLine: whole,
                        endColumn: whole,
                      },
                    },
                  },
                },
                logicalLocations: {
                  type: 'array',
                  items: {
                    type: 'object',
                    additionalProperties: false,
                    properties: {
                      fullyQualifiedName: { type: 'string' },
                      kind: { type: 'string' },
                    },
                  },
                },
              },
            },
          },
        },
      },
    },
  }

  it('is SARIF 2.1.0, with rules, places and what could not be read', async () => {
    const secret = ours()
    const file = write('a b/ü#.txt', `\n😀 ${secret} ${makeSecret('hex', 'api', randomBytes)}`)
    const gone = join(directory, 'gone')
    const ran = await scan(directory, gone, '--also', 'hex', '--sarif')
    expect(ran).toMatchObject({ status: 1, stderr: expect.stringContaining('Could not read') })
    const document = ran.json()
    const ajv = new Ajv({ strict: false })
    ajvFormats.default(ajv)
    expect(ajv.validate(schema, document), JSON.stringify(ajv.errors)).toBe(true)

    const [{ tool, results, invocations }] = document.runs
    expect(invocations).toMatchObject([{ executionSuccessful: false }])
    const [first, second] = results
    expect(tool.driver.rules[first.ruleIndex].id).toBe(first.ruleId)
    expect(first).toMatchObject({ level: 'error', message: { text: expect.stringContaining('…') } })
    expect(second).toMatchObject({ ruleId: 'mintmark-candidate', level: 'warning' })
    expect(first.partialFingerprints).toEqual({ 'secretSha256/v1': sha256Of(secret) })
    const { artifactLocation, region } = first.locations[0].physicalLocation
    expect(new URL(artifactLocation.uri).pathname).toBe(
      file.split('/').map(encodeURIComponent).join('/'),
    )
    expect(region).toEqual({
      startLine: 2,
      startColumn: 3,
      endLine: 2,
      endColumn: 3 + secret.length,
    })
  })

  it('is a document, too, when nothing was found', async () => {
    write('a', 'nothing')
    const ran = await scan(directory, '--sarif')
    expect(ran).toMatchObject({ status: 0, stderr: '' })
    expect(ran.json().runs[0].results).toEqual([])
  })
})
