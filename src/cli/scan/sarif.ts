import { isAbsolute, sep } from 'node:path'
import { pathToFileURL } from 'node:url'
import { VERSION } from '../../version.ts'
import type { Finding, Survey } from './survey.ts'

const RULES = [
  {
    id: 'mintmark-secret',
    name: 'MintmarkSecret',
    shortDescription: { text: 'A secret of Mintmark, known by its format and its checksum.' },
    help: { text: 'Revoke it and issue another: whoever can read this file can use it.' },
    defaultConfiguration: { level: 'error' },
  },
  {
    id: 'mintmark-candidate',
    name: 'MintmarkCandidate',
    shortDescription: { text: 'Spelled like a secret of XMS (32 hex digits) or S7 (a UUIDv4).' },
    help: { text: 'There is no checksum in it: ask the server with --verify.' },
    defaultConfiguration: { level: 'warning' },
  },
]

/** The findings as SARIF 2.1.0, which code hosts and editors show beside the code. */
export function sarifOf({ findings, problems }: Survey): unknown {
  return {
    $schema: 'https://json.schemastore.org/sarif-2.1.0.json',
    version: '2.1.0',
    runs: [
      {
        tool: { driver: { name: 'mintmark scan', version: VERSION, rules: RULES } },
        columnKind: 'unicodeCodePoints',
        invocations: [
          {
            executionSuccessful: problems.length === 0,
            toolExecutionNotifications: problems.map(({ path, message }) => ({
              level: 'error',
              message: { text: path === null ? message : `${path}: ${message}` },
            })),
          },
        ],
        results: findings.map(resultOf),
      },
    ],
  }
}

function resultOf(finding: Finding) {
  const { kind, isCandidate, preview, sha256, alive, git } = finding
  const ruleIndex = isCandidate ? 1 : 0
  const what = isCandidate ? `What may be a secret, spelled as ${kind}` : `A secret of kind ${kind}`
  const life = alive === true ? ' It is alive.' : alive === false ? ' It is dead.' : ''
  return {
    ruleId: RULES[ruleIndex]?.id,
    ruleIndex,
    level: RULES[ruleIndex]?.defaultConfiguration.level,
    message: { text: `${what}, ${preview}.${life}` },
    locations: [locationOf(finding)],
    partialFingerprints: { 'secretSha256/v1': sha256 },
    properties: { kind, preview, ...(alive === undefined ? {} : { alive }), ...git },
  }
}

function locationOf({ path, line, column, endColumn, git }: Finding) {
  // Commits and tags are no files.
  if (git !== undefined && git.type !== 'blob') {
    return { logicalLocations: [{ fullyQualifiedName: path, kind: git.type }] }
  }
  return {
    physicalLocation: {
      artifactLocation: { uri: uriOf(path) },
      region: { startLine: line, startColumn: column, endLine: line, endColumn },
    },
  }
}

function uriOf(path: string): string {
  if (isAbsolute(path)) return pathToFileURL(path).href
  return path.split(sep).map(encodeURIComponent).join('/')
}
