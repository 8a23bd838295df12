import { type Client, MintmarkError } from '@mintmark/sdk'
import type { Finding, Survey } from './survey.ts'

/** As many as the server takes at a time. */
const BATCH = 100

/**
 * Reports every secret of the survey once, with the place of its first finding, and marks the findings with what
 * came of it, as far as the server says. When the server cannot answer, the survey has a problem.
 */
export async function reportLeaks(client: Client, survey: Survey, source: string): Promise<void> {
  const bySecret = Map.groupBy(survey.findings, ({ sha256 }) => sha256)
  const byPlace = Map.groupBy(bySecret.values(), ([first]) => placeOf(first))
  for (const finding of survey.findings) finding.done = null
  try {
    for (const [url, secrets] of byPlace) {
      for (let i = 0; i < secrets.length; i += BATCH) {
        await report(secrets.slice(i, i + BATCH), url)
      }
    }
  } catch (cause) {
    if (!(cause instanceof MintmarkError)) throw cause
    survey.problems.push({ path: null, message: `Not all were reported: ${cause.detail}` })
  }

  async function report(secrets: Finding[][], url: string): Promise<void> {
    const texts = secrets.map(([first]) => survey.secrets.get(first?.sha256 ?? '') ?? '')
    const { outcomes } = await client.leaks.report({ secrets: texts, source, url })
    for (const [i, findings] of secrets.entries()) {
      const outcome = outcomes?.[i]
      for (const finding of findings) {
        finding.done = outcome?.action ?? 'told'
        if (outcome?.tokenId) finding.tokenId = outcome.tokenId
      }
    }
  }
}

/** Without the line, which changes while the leak is the same. */
function placeOf(finding: Finding | undefined): string {
  return (finding?.path ?? '').slice(0, 2000)
}
