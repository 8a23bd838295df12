import { type ChildProcess, spawn } from 'node:child_process'
import { fileURLToPath } from 'node:url'

const ENTRY = fileURLToPath(new URL('../../bin/mintmark.mjs', import.meta.url))
const START_TIMEOUT_MS = 15_000

export interface ProcessOptions {
  dataDir: string
  env?: Record<string, string>
  /** Runs the server through another command, such as `strace -f`. */
  wrapper?: string[]
  /** Of another release. */
  entry?: string
}

/** How a process ended: by status or by signal. */
export interface Ended {
  status: number | null
  signal: NodeJS.Signals | null
  /** Both output streams, in the order in which they came. */
  output: string
}

/** A Mintmark server in a process of its own, as an operator runs it. */
export interface ServerProcess {
  url: string
  pid: number
  output(): string
  /** Sends a signal and waits for the end. */
  end(signal: NodeJS.Signals): Promise<Ended>
  /** Sends a signal and returns at once. */
  signal(signal: NodeJS.Signals): void
  ended: Promise<Ended>
}

/** Starts `mintmark serve` on a free port. Rejects with its output when it ends before it listens. */
export async function startProcess(options: ProcessOptions): Promise<ServerProcess> {
  const { child, output, ended } = launch(options)
  const url = await listening(child, { output, ended })
  return {
    url,
    pid: Number(child.pid),
    output,
    ended,
    signal: (signal) => child.kill(signal),
    end(signal) {
      child.kill(signal)
      return ended
    },
  }
}

/** Runs a start that is expected to fail, to its end. */
export async function runToEnd(options: ProcessOptions): Promise<Ended> {
  const { child, ended } = launch(options)
  const timer = setTimeout(() => child.kill('SIGKILL'), START_TIMEOUT_MS)
  const result = await ended
  clearTimeout(timer)
  return result
}

/** Starts the server without waiting for it; for tests that interrupt the start itself. */
export function launch({ dataDir, env = {}, wrapper = [], entry = ENTRY }: ProcessOptions) {
  // The pinned Node runs these tests already, so the server needs no detour to find it.
  const [command = '', ...args] = [...wrapper, process.execPath, entry, 'serve']
  const child = spawn(command, args, {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: {
      PATH: process.env.PATH,
      MINTMARK_DATA_DIR: dataDir,
      MINTMARK_PORT: '0',
      MINTMARK_LOG_LEVEL: 'error',
      ...env,
    },
  })
  let text = ''
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', (chunk: string) => {
      text += chunk
    })
  }
  const ended = new Promise<Ended>((resolve, reject) => {
    child.on('error', reject)
    child.on('close', (status, signal) => resolve({ status, signal, output: text }))
  })
  return { child, output: () => text, ended }
}

async function listening(
  child: ChildProcess,
  { output, ended }: { output: () => string; ended: Promise<Ended> },
): Promise<string> {
  const announced = new Promise<string>((resolve) => {
    child.stdout?.on('data', () => {
      const url = /^Mintmark listens on (\S+)/m.exec(output())?.[1]
      if (url !== undefined) resolve(url)
    })
  })
  const early = ended.then(({ status, signal, output }) => {
    throw new Error(`The server ended early (${status ?? signal}):\n${output}`)
  })
  return Promise.race([announced, early])
}
