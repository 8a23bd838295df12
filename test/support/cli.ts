import { spawn } from 'node:child_process'
import { fileURLToPath } from 'node:url'

const ENTRY = fileURLToPath(new URL('../../bin/mintmark.mjs', import.meta.url))
/** Halves the start of each of the many processes; where others cannot plant code for us. */
export const COMPILE_CACHE = fileURLToPath(
  new URL('../../node_modules/.cache/cli-tests', import.meta.url),
)

export interface Ran {
  status: number | null
  stdout: string
  stderr: string
  /** Stdout as one JSON document. */
  // Tests look into documents of every shape; the SDK's types are tested elsewhere.
  // biome-ignore lint/suspicious/noExplicitAny: see above
  json(): any
}

/** Runs a command line as a person would, in a process of its own, without a terminal. */
export async function mintmark(
  args: string[],
  { env = {}, input = '' }: { env?: Record<string, string>; input?: string } = {},
): Promise<Ran> {
  const child = spawn(process.execPath, [ENTRY, ...args], {
    env: { PATH: process.env.PATH, NODE_COMPILE_CACHE: COMPILE_CACHE, ...env },
  })
  const text = { stdout: '', stderr: '' }
  for (const name of ['stdout', 'stderr'] as const) {
    child[name].setEncoding('utf8').on('data', (chunk: string) => {
      text[name] += chunk
    })
  }
  // A command that reads no input may have ended before we write it.
  child.stdin.on('error', () => {})
  child.stdin.end(input)
  const status = await new Promise<number | null>((resolve, reject) => {
    child.on('error', reject)
    child.on('close', resolve)
  })
  return {
    status,
    ...text,
    json() {
      // What went wrong is worth more than that it was not JSON.
      if (text.stdout === '') throw new Error(`Status ${status}, no output: ${text.stderr}`)
      return JSON.parse(text.stdout)
    },
  }
}
