import { hash } from 'node:crypto'
import type { LeakReceipt } from '@mintmark/sdk'
import { createFinder, type Finder, type Hit } from './finder.ts'
import type { Candidate } from './matches.ts'

/** Where a text came from. */
export interface Source {
  /** A file's path; for a commit or tag, what people call it. */
  path: string
  git?: GitObject
}

export interface GitObject {
  object: string
  type: 'blob' | 'commit' | 'tag'
  /** The oldest commit that has it; null: not committed yet, or not looked for. */
  commit: string | null
}

/** What the server did with the token of a secret that was reported. */
export type LeakOutcome = NonNullable<LeakReceipt['outcomes']>[number]['action']

/** A secret that was found, without the secret. */
export interface Finding extends Source {
  line: number
  column: number
  /** The column after its last character. */
  endColumn: number
  kind: string
  isCandidate: boolean
  preview: string
  /** SHA-256 of the secret in hex: what baselines know it by. */
  sha256: string
  /** Undefined: not asked; null: the server does not say. */
  alive?: boolean | null
  /** Whose secret it is, where the server says. */
  tokenId?: string
  /**
   * What came of the report. Undefined: not reported; null: that failed; `told`: reported, and the server
   * keeps to itself what it did.
   */
  done?: LeakOutcome | 'told' | null
}

/** What could not be done, so that "none found" is not the whole truth. */
export interface Problem {
  path: string | null
  message: string
}

/** Everything that a scan has seen. */
export interface Survey {
  findings: Finding[]
  /** Found, but in the baseline. */
  known: number
  /** Found beyond the most that are listed. */
  unlisted: number
  problems: Problem[]
  /** What people should know about what was scanned. */
  notes: string[]
  /** Files, or objects of git. */
  files: number
  bytes: number
  /** The secrets of the findings by their digests; kept for asking the server, never printed. */
  secrets: Map<string, string>
}

/** Takes texts in, one at a time. */
export interface Surveyor {
  /** Starts on the next text. */
  open(source: Source): Finder
  problem(path: string | null, cause: unknown): void
  note(text: string): void
  survey: Survey
}

/** A file full of secrets must not fill the memory. */
const MOST_FINDINGS = 10_000

export function createSurveyor({
  also,
  baseline,
  onProgress,
}: {
  also: readonly Candidate[]
  /** Digests of secrets to leave out. */
  baseline: ReadonlySet<string>
  onProgress: (survey: Survey) => void
}): Surveyor {
  const survey: Survey = {
    findings: [],
    known: 0,
    unlisted: 0,
    problems: [],
    notes: [],
    files: 0,
    bytes: 0,
    secrets: new Map(),
  }

  function take(source: Source, { secret, ...hit }: Hit): void {
    const sha256 = hash('sha256', secret)
    if (baseline.has(sha256)) {
      survey.known++
      return
    }
    if (survey.findings.length === MOST_FINDINGS) {
      survey.unlisted++
      return
    }
    survey.secrets.set(sha256, secret)
    const endColumn = hit.column + secret.length
    survey.findings.push({ ...source, ...hit, endColumn, preview: previewOf(secret), sha256 })
  }

  return {
    survey,
    open(source) {
      const finder = createFinder({ also, onHit: (hit) => take(source, hit) })
      return {
        push(piece) {
          finder.push(piece)
          survey.bytes += piece.length
          onProgress(survey)
        },
        end() {
          finder.end()
          survey.files++
          onProgress(survey)
        },
      }
    },
    problem(path, cause) {
      const message = cause instanceof Error ? cause.message : String(cause)
      // Node adds the call and the path, which stands before it already.
      survey.problems.push({ path, message: message.replace(/, [a-z]+ '.*'$/s, '') })
    },
    note(text) {
      survey.notes.push(text)
    },
  }
}

/** As the inventory shows it: enough to recognise a secret, useless to guess it. */
function previewOf(secret: string): string {
  const head = secret.startsWith('mm_') ? secret.slice(0, secret.lastIndexOf('_') + 1) : ''
  return `${head}…${secret.slice(-4)}`
}
