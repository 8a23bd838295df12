import { orDash, tableOr } from '../output.ts'
import type { Column } from '../table.ts'
import type { Terminal } from '../terminal.ts'
import { SHORT } from './history.ts'
import type { Finding, Survey } from './survey.ts'

/** What --json prints. */
export function documentOf({ findings, known, unlisted, problems, notes, files, bytes }: Survey) {
  return { findings, known, unlisted, problems, notes, scanned: { files, bytes } }
}

/** The findings for people: where each is and how to recognise it. */
export function describeSurvey(terminal: Terminal, survey: Survey): string {
  const { findings, known, unlisted, problems } = survey
  const empty =
    problems.length === 0 ? 'No secrets found.' : 'No secrets found in what could be read.'
  const lines = [
    tableOr(terminal, {
      rows: findings,
      columns: columnsFor(findings),
      empty,
    }),
    ...(findings.length === 0 ? [] : ['', summaryOf(findings)]),
    ...(unlisted === 0 ? [] : [`${unlisted} more are not listed.`]),
    ...(known === 0 ? [] : [`${known} known to the baseline are left out.`]),
  ]
  return lines.join('\n')
}

function summaryOf(findings: readonly Finding[]): string {
  const secrets = new Set(findings.map(({ sha256 }) => sha256)).size
  const places = findings.length
  const alive = new Set(findings.flatMap(({ alive, sha256 }) => (alive === true ? [sha256] : [])))
  const living = findings.some(({ alive }) => alive !== undefined) ? `, ${alive.size} alive` : ''
  return `${counted(secrets, 'secret')} in ${counted(places, 'place')}${living}.`
}

/** 1 file, 2 files */
export function counted(count: number, what: string): string {
  return `${count} ${what}${count === 1 ? '' : 's'}`
}

function columnsFor(findings: readonly Finding[]): Column<Finding>[] {
  const commit: Column<Finding> = {
    title: 'COMMIT',
    of: ({ git }) => git?.commit?.slice(0, SHORT) ?? '-',
    whole: true,
  }
  const alive: Column<Finding> = { title: 'ALIVE', of: lifeOf, whole: true }
  const token: Column<Finding> = {
    title: 'TOKEN',
    of: ({ tokenId }) => orDash(tokenId),
    whole: true,
  }
  const done: Column<Finding> = { title: 'DONE', of: doneTo, whole: true }
  return [
    { title: 'WHERE', of: ({ path, line, column }) => `${path}:${line}:${column}`, whole: true },
    ...(findings.some(({ git }) => git !== undefined) ? [commit] : []),
    {
      title: 'KIND',
      of: ({ kind, isCandidate }) => (isCandidate ? `${kind} (candidate)` : kind),
      whole: true,
    },
    { title: 'SECRET', of: ({ preview }) => preview, whole: true },
    ...(findings.some(({ alive }) => alive !== undefined) ? [alive] : []),
    ...(findings.some(({ tokenId }) => tokenId !== undefined) ? [token] : []),
    ...(findings.some(({ done }) => done !== undefined) ? [done] : []),
  ]
}

function lifeOf({ alive }: Finding): string {
  if (alive === true) return 'yes'
  return alive === false ? 'no' : 'unknown'
}

const DONE = {
  notify: 'told',
  quarantine: 'quarantined',
  revoke: 'revoked',
  none: 'nothing to stop',
  told: 'reported',
} as const

function doneTo({ done }: Finding): string {
  return done === null || done === undefined ? 'not reported' : DONE[done]
}
