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

/**
 * The answer of a command: exactly one JSON document, or text for people. Where a change has taken
 * something away, both say how many nodes have applied it.
 */
export function answer(terminal: Terminal, { json, document, text }: Answer): void {
  const { stdout, acknowledgement } = terminal
  if (json === true) {
    const whole =
      acknowledgement === undefined ? document : Object.assign({}, document, acknowledgement)
    stdout.write(`${jsonText(whole)}\n`)
    return
  }
  stdout.write(`${text()}\n`)
  noteAcknowledgement(terminal)
}

function noteAcknowledgement(terminal: Terminal): void {
  const { acknowledged, nodes } = terminal.acknowledgement ?? { acknowledged: 1, nodes: 1 }
  // One node alone has nobody to wait for.
  if (nodes === 1) return
  const late = acknowledged < nodes ? ' The others follow, or stop answering by themselves.' : ''
  note(terminal, `Acknowledged by ${acknowledged} of ${nodes} nodes.${late}`)
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
  noteAcknowledgement(terminal)
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
