import type { Acknowledgement } from '@mintmark/sdk'

/** Where a command reads and writes: the process's own streams and environment. */
export interface Terminal {
  env: Record<string, string | undefined>
  stdin: NodeJS.ReadStream
  stdout: NodeJS.WriteStream
  stderr: NodeJS.WriteStream
  /** Epoch milliseconds, for times like `30d`. */
  now(): number
  /** Of the last change that took something away; see `answer`. */
  acknowledgement?: Acknowledgement
}

/** For people, beside the answer: it goes to stderr, so that `$(mintmark …)` takes the answer alone. */
export function note(terminal: Terminal, text: string): void {
  terminal.stderr.write(`${text}\n`)
}
