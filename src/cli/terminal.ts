/** Where a command reads and writes: the process's own streams and environment. */
export interface Terminal {
  env: Record<string, string | undefined>
  stdin: NodeJS.ReadStream
  stdout: NodeJS.WriteStream
  stderr: NodeJS.WriteStream
  /** Epoch milliseconds, for times like `30d`. */
  now(): number
}

/** For people, beside the answer: it goes to stderr, so that `$(mintmark …)` takes the answer alone. */
export function note(terminal: Terminal, text: string): void {
  terminal.stderr.write(`${text}\n`)
}
