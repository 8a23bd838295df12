import { type Client, MintmarkError, type Verdict } from '@mintmark/sdk'
import type { Finding, Survey } from './survey.ts'

const QUESTIONS_AT_ONCE = 4

/** Refusals of tokens that nobody can use any more; every other one is about who asks, and for what. */
const DEAD = new Set([
  'malformed',
  'unknown',
  'revoked',
  'superseded',
  'expired',
  'quarantined',
  'idle',
  'owner_disabled',
])

/** Secrets of OAuth clients are no tokens: the server would not know them. */
const NOT_ASKED = new Set(['client'])

/**
 * Asks the server which of the findings are alive and marks them, each secret once. When the server
 * cannot answer, the rest stays unmarked and the survey has a problem.
 */
export async function markAlive(client: Client, survey: Survey): Promise<void> {
  const byDigest = Map.groupBy(
    survey.findings.filter(({ kind }) => !NOT_ASKED.has(kind)),
    ({ sha256 }) => sha256,
  )
  for (const finding of survey.findings) finding.alive = null
  const open = [...byDigest]
  try {
    await Promise.all(Array.from({ length: QUESTIONS_AT_ONCE }, askAll))
  } catch (cause) {
    if (!(cause instanceof MintmarkError)) throw cause
    survey.problems.push({ path: null, message: `The server was not asked: ${cause.detail}` })
  }

  async function askAll(): Promise<void> {
    for (let next = open.pop(); next !== undefined; next = open.pop()) await ask(...next)
  }

  async function ask(sha256: string, findings: Finding[]): Promise<void> {
    const token = survey.secrets.get(sha256) ?? ''
    const verdict = await client.tokens.verify({ token })
    for (const finding of findings) {
      finding.alive = lifeOf(verdict)
      if (verdict.active) finding.tokenId = verdict.tokenId
    }
  }
}

/** Null: the server does not tell the holder of our token why it says no. */
function lifeOf(verdict: Verdict): boolean | null {
  if (verdict.active) return true
  return verdict.reason === undefined ? null : !DEAD.has(verdict.reason)
}
