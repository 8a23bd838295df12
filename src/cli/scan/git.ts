import { type ChildProcessWithoutNullStreams, spawn } from 'node:child_process'
import { once } from 'node:events'
import type { Readable } from 'node:stream'

/** What git itself could not do, in its own words. */
class GitError extends Error {
  override name = 'GitError'
}

/**
 * Nothing in a repository may make git change it, run a program, or fetch what a partial clone lacks
 * (git before 2.44 only heeds the empty list of allowed transports); objects count as they are, not
 * as something else replaced them.
 */
const ARGUMENTS = ['--no-optional-locks', '--no-replace-objects', '-c', 'core.fsmonitor=false']
const ENVIRONMENT = { GIT_NO_LAZY_FETCH: '1', GIT_ALLOW_PROTOCOL: '', GIT_TERMINAL_PROMPT: '0' }

export interface Git {
  /** All that git prints. Throws a GitError. */
  read(...args: string[]): Promise<string>
  /** What git prints, as it comes, cut at each `end`. Throws a GitError. */
  parts(end: '\n' | '\0', ...args: string[]): AsyncGenerator<string>
  /** A git to talk with: its streams, and `done`, which rejects with a GitError. */
  talk(...args: string[]): { child: ChildProcessWithoutNullStreams; done: Promise<void> }
}

/** Git in the repository that `directory` is in. Throws a GitError: there is no git, or no repository. */
export async function openGit(
  directory: string,
  env: Record<string, string | undefined>,
): Promise<Git> {
  function talk(...args: string[]) {
    const child = spawn('git', [...ARGUMENTS, '-C', directory, ...args], {
      env: { ...env, ...ENVIRONMENT, LC_ALL: 'C' },
    })
    // A child that ends early leaves us writing to nobody; its status tells why.
    child.stdin.on('error', () => {})
    return { child, done: ended(child) }
  }

  async function* parts(end: string, ...args: string[]): AsyncGenerator<string> {
    const { child, done } = talk(...args)
    child.stdin.end()
    // Heard now, or a failure before the last line would be nobody's.
    done.catch(() => {})
    try {
      yield* partsOf(child.stdout, end)
      await done
    } finally {
      child.kill()
    }
  }

  async function read(...args: string[]): Promise<string> {
    const { child, done } = talk(...args)
    child.stdin.end()
    const [text] = await Promise.all([textOf(child.stdout), done])
    return text
  }

  await read('rev-parse', '--git-dir')
  return { read, parts, talk }
}

async function ended(child: ChildProcessWithoutNullStreams): Promise<void> {
  const complaint = textOf(child.stderr)
  const [status] = await closed(child)
  const said = (await complaint).trim()
  if (status !== 0) throw new GitError(`git says: ${said || `nothing, and ended with ${status}`}`)
}

async function closed(child: ChildProcessWithoutNullStreams): Promise<unknown[]> {
  try {
    return await once(child, 'close')
  } catch (cause) {
    const isMissing = cause instanceof Error && 'code' in cause && cause.code === 'ENOENT'
    if (!isMissing) throw cause
    throw new GitError('There is no program git on the PATH. Install git to scan what it keeps.')
  }
}

async function textOf(stream: Readable): Promise<string> {
  const pieces: Buffer[] = []
  for await (const piece of stream) pieces.push(piece)
  return Buffer.concat(pieces).toString()
}

async function* partsOf(stream: Readable, end: string): AsyncGenerator<string> {
  let rest = ''
  for await (const piece of stream.setEncoding('utf8')) {
    const parts = (rest + piece).split(end)
    rest = parts.pop() ?? ''
    yield* parts
  }
  if (rest !== '') yield rest
}
