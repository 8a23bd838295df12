import { readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { CliError, wrongUsage } from '../failure.ts'

const ABOUT = 'What `mintmark scan --baseline` leaves out: the SHA-256 of each secret.'
const DIGEST = /^[0-9a-f]{64}$/

/** The digests in a baseline file. Throws wrong usage: it cannot be read, or is none. */
export function readBaseline(file: string): Set<string> {
  const { sha256 } = documentOf(file)
  const isList = Array.isArray(sha256) && sha256.every((digest) => DIGEST.test(String(digest)))
  if (isList) return new Set(sha256.map(String))
  throw wrongUsage(`${file} is no baseline. Make one: mintmark scan --write-baseline …`)
}

/** The same for a file that is about to be written and need not exist yet. */
export function readBaselineIfAny(file: string): Set<string> {
  try {
    readFileSync(file)
  } catch (cause) {
    const isNew = cause instanceof Error && 'code' in cause && cause.code === 'ENOENT'
    if (isNew) return new Set()
  }
  return readBaseline(file)
}

/** Replaces a baseline file, whole or not at all. Throws a CliError. */
export function writeBaseline(file: string, digests: Iterable<string>): void {
  // Sorted and one per line, so that a review sees what came and went.
  const text = JSON.stringify({ about: ABOUT, sha256: [...digests].sort() }, undefined, 2)
  const next = `${file}.${process.pid}.tmp`
  try {
    writeFileSync(next, `${text}\n`, { flag: 'wx' })
    renameSync(next, file)
  } catch (cause) {
    rmSync(next, { force: true })
    throw new CliError('not_written', `The baseline cannot be written: ${messageOf(cause)}`)
  }
}

function documentOf(file: string): { sha256?: unknown } {
  try {
    return Object(JSON.parse(readFileSync(file, 'utf8')))
  } catch (cause) {
    throw wrongUsage(
      `The baseline cannot be read: ${messageOf(cause)}. Make one with --write-baseline.`,
    )
  }
}

function messageOf(cause: unknown): string {
  return cause instanceof Error ? cause.message : String(cause)
}
