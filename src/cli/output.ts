import { styleText } from 'node:util'
import { type Column, table } from './table.ts'
import { note, type Terminal } from './terminal.ts'
import { jsonText } from './text.ts'

export interface JsonOption {
  json?: boolean
}

export interface Answer extends JsonOption {
  /** What --json prints. */
  document: unknown
  /** What people read instead. */
  text: () => string
}

/** The answer of a command: exactly one JSON document, or text for people. */
export function answer({ stdout }: Terminal, { json, document, text }: Answer): void {
  stdout.write(`${json === true ? jsonText(document) : text()}\n`)
}

/**
 * Answers with a secret: stdout gets it alone, so that a script takes it as it is; what people
 * should know goes to stderr, around it.
 */
export function answerSecret(
  terminal: Terminal,
  wish: JsonOption & { document: unknown; secret: string; before: string; after: string[] },
): void {
  const { json, document, secret } = wish
  if (json === true) {
    answer(terminal, { json, document, text: () => '' })
    return
  }
  note(terminal, wish.before)
  terminal.stdout.write(`${secret}\n`)
  const [warning = '', ...rest] = wish.after
  note(terminal, styleText('yellow', warning, { stream: terminal.stderr }))
  for (const line of rest) note(terminal, line)
}

/** A table that fits the terminal, or says what to do when there is nothing to show. */
export function tableOr<T>(
  { stdout }: Terminal,
  { rows, columns, empty }: { rows: readonly T[]; columns: readonly Column<T>[]; empty: string },
): string {
  if (rows.length === 0) return empty
  return table(rows, {
    columns,
    width: stdout.isTTY ? stdout.columns : undefined,
    titleStyle: (line) => styleText('bold', line, { stream: stdout }),
  })
}

/** 2030-01-31 */
export function day(instant: string | null): string {
  return instant === null ? 'never' : instant.slice(0, 10)
}

/** 2030-01-31 12:00, in UTC as everything here. */
export function minute(instant: string | null): string {
  return instant === null ? 'never' : instant.slice(0, 16).replace('T', ' ')
}

/** What is missing is a dash, so that no cell is empty by accident. */
export function orDash(text: string | null | undefined): string {
  return text === null || text === undefined || text === '' ? '-' : text
}
