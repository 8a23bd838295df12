import { closeSync, constants, fstatSync, openSync, readdirSync, readSync, statSync } from 'node:fs'
import { join, sep } from 'node:path'
import type { Excluder } from './exclude.ts'
import type { Surveyor } from './survey.ts'

const PIECE_BYTES = 1 << 20
const piece = Buffer.allocUnsafe(PIECE_BYTES)
/** Never waits for the other end of a pipe that stands where a file was a moment ago. */
const OPEN_FLAGS = constants.O_RDONLY | (constants.O_NONBLOCK ?? 0)
const NO_FOLLOW = constants.O_NOFOLLOW ?? 0

/** What stops a walk at one place; the walk goes on behind it. */
type Report = (path: string, cause: unknown) => void

/** Scans the files that `root` is or holds. A link is followed when it is `root` itself, never below. */
export function scanFiles(
  root: string,
  { surveyor, excludes }: { surveyor: Surveyor; excludes: Excluder },
): void {
  const report: Report = (path, cause) => surveyor.problem(path, cause)
  for (const path of filesIn(root, { excludes, report })) {
    try {
      scanFile(path, { surveyor, follow: path === root })
    } catch (cause) {
      report(path, cause)
    }
  }
}

/** How many bytes `scanFiles` would read, for the progress bar. */
export function bytesIn(root: string, excludes: Excluder): number {
  let bytes = 0
  for (const path of filesIn(root, { excludes, report: () => {} })) {
    bytes += sizeOf(path)
  }
  return bytes
}

function sizeOf(path: string): number {
  try {
    return statSync(path).size
  } catch {
    // The scan will say so.
    return 0
  }
}

/** The regular files, in the order of their names, without `.git` and what is excluded. */
function* filesIn(
  root: string,
  { excludes, report }: { excludes: Excluder; report: Report },
): Generator<string> {
  const isDirectory = isDirectoryOr(root, report)
  if (isDirectory === undefined) return
  if (!isDirectory) {
    if (!excludes(root.replaceAll(sep, '/'))) yield root
    return
  }
  /** Directories below `root` that are still to be read, the next one last. */
  const open = ['']
  for (let below = open.pop(); below !== undefined; below = open.pop()) {
    const directories: string[] = []
    for (const entry of entriesOf(join(root, below), report)) {
      const path = below === '' ? entry.name : `${below}/${entry.name}`
      if (excludes(path)) continue
      if (entry.isFile()) yield join(root, path)
      else if (entry.isDirectory() && entry.name !== '.git') directories.push(path)
    }
    open.push(...directories.reverse())
  }
}

/** Undefined: there is nothing to scan, which was reported. */
function isDirectoryOr(root: string, report: Report): boolean | undefined {
  try {
    const stat = statSync(root)
    if (stat.isDirectory()) return true
    if (stat.isFile()) return false
    report(root, 'This is no file. To scan a pipe, say: mintmark scan - <that')
  } catch (cause) {
    report(root, cause)
  }
  return undefined
}

function entriesOf(directory: string, report: Report) {
  try {
    const entries = readdirSync(directory, { withFileTypes: true })
    return entries.sort((a, b) => (a.name < b.name ? -1 : 1))
  } catch (cause) {
    report(directory.endsWith(sep) ? directory : directory + sep, cause)
    return []
  }
}

function scanFile(path: string, { surveyor, follow }: { surveyor: Surveyor; follow: boolean }) {
  const file = openSync(path, OPEN_FLAGS | (follow ? 0 : NO_FOLLOW))
  try {
    if (!fstatSync(file).isFile()) return
    const text = surveyor.open({ path })
    try {
      for (;;) {
        const length = readSync(file, piece, 0, PIECE_BYTES, null)
        if (length === 0) break
        text.push(piece.subarray(0, length))
      }
    } finally {
      // Also when the disk fails half way: what was read is judged to its end.
      text.end()
    }
  } finally {
    closeSync(file)
  }
}
