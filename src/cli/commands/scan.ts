import type { Client } from '@mintmark/sdk'
import { type Command, InvalidArgumentError, Option } from 'commander'
import { leaf, repeated } from '../command.ts'
import { connect } from '../connect.ts'
import { CliError, failureOf, REFUSED, wrongUsage } from '../failure.ts'
import { answer, type JsonOption } from '../output.ts'
import { bytesText, createProgress, type Done } from '../progress.ts'
import { markAlive } from '../scan/alive.ts'
import { readBaseline, readBaselineIfAny, writeBaseline } from '../scan/baseline.ts'
import { type Excluder, excluder } from '../scan/exclude.ts'
import { bytesIn, scanFiles } from '../scan/files.ts'
import { objectsIn, scanHistory, scanStaged } from '../scan/history.ts'
import type { Candidate } from '../scan/matches.ts'
import { counted, describeSurvey, documentOf } from '../scan/report.ts'
import { reportLeaks } from '../scan/report-leaks.ts'
import { sarifOf } from '../scan/sarif.ts'
import { createSurveyor, type Survey, type Surveyor } from '../scan/survey.ts'
import { note, type Terminal } from '../terminal.ts'
import { visible } from '../text.ts'

interface ScanOptions extends JsonOption {
  git?: boolean
  staged?: boolean
  also?: Candidate[]
  exclude?: string[]
  baseline?: string
  writeBaseline?: boolean
  verify?: boolean
  report?: boolean
  source?: string
  sarif?: boolean
}

const FOUND = 1
const INCOMPLETE = 3
const STDIN = '-'

export function scanCommand(program: Command, terminal: Terminal): void {
  leaf(program, 'scan', {
    summary: 'Find leaked secrets in files, git history or stdin',
    details:
      'Secrets of Mintmark are known by their format and checksum, so nothing is sent anywhere, no server is needed, and what is found is no coincidence. Directories are read with all that is in them, binary and ignored files too, but for `.git` and links. A secret is never printed, only where it is. Ends with status 0 when there is none, with 1 when one was found, with 2 on wrong usage, and with 3 when none was found but something could not be read.',
    examples: [
      'mintmark scan .',
      'mintmark scan --git --baseline .mintmark-baseline.json',
      'mintmark scan --staged',
      'mintmark scan --git --report --source web.git',
      'kubectl logs deploy/web | mintmark scan -',
      "mintmark scan . --exclude node_modules --exclude 'docs/**/*.pdf' --sarif > scan.sarif",
    ],
  })
    .argument(
      '[path...]',
      'files and directories; - for stdin; with --git or --staged: . by default',
    )
    .option('--git', 'instead of files: everything ever committed to the repositories around them')
    .option('--staged', 'instead of files: what is staged there for the next commit')
    .option(
      '--also <formats>',
      'hex, uuid or both: also what is spelled like a secret of XMS or S7, which have no checksum',
      candidates,
    )
    .option('--exclude <glob>', 'leave out files and directories of this name or path', repeated)
    .option('--baseline <file>', 'leave out the secrets that this file knows')
    .option('--write-baseline', 'add what was found to the baseline, and end with status 0')
    .option('--verify', 'ask the server of MINTMARK_URL which of them are alive')
    .option('--report', 'report them as leaked, so that the server stops them as the policy says')
    .option(
      '--source <text>',
      'with --report: what found them, such as a repository (default: scan)',
    )
    .addOption(new Option('--sarif', 'print SARIF 2.1.0').conflicts('json'))
    .action(async (paths: string[], options: ScanOptions) => {
      try {
        process.exitCode = await scan(terminal, { paths: targets(paths, options), options })
      } catch (cause) {
        throw unlikeFound(cause)
      }
    })
}

/** `hex,uuid` */
function candidates(text: string): Candidate[] {
  const formats = text.split(',')
  const known = formats.filter((format) => format === 'hex' || format === 'uuid')
  if (known.length === formats.length) return known
  throw new InvalidArgumentError('Say hex, uuid, or hex,uuid.')
}

function targets(paths: string[], options: ScanOptions): string[] {
  const { baseline, writeBaseline } = options
  if (writeBaseline === true && baseline === undefined) {
    throw wrongUsage('--write-baseline needs the name of the file: --baseline <file>.')
  }
  if (isGit(options) && paths.includes(STDIN)) throw wrongUsage('There is no repository on stdin.')
  if (options.source !== undefined && options.report !== true) {
    throw wrongUsage('--source is for --report.')
  }
  if (paths.length > 0) return paths
  if (isGit(options)) return ['.']
  throw wrongUsage('Say what to scan: a path, or - for stdin.')
}

/** For this command status 1 says that something was found, and nothing else may. */
function unlikeFound(cause: unknown): unknown {
  const { exitStatus, error } = failureOf(cause)
  return exitStatus === REFUSED ? new CliError(error.code, error.message, INCOMPLETE) : cause
}

async function scan(
  terminal: Terminal,
  { paths, options }: { paths: string[]; options: ScanOptions },
): Promise<number> {
  // Before the long work, so that what is missing is told at once.
  const asks = options.verify === true || options.report === true
  const client = asks ? connect(terminal) : undefined
  const survey = await surveyOf(terminal, { paths, options, client })
  const { baseline } = options
  if (baseline !== undefined && options.writeBaseline === true) {
    const found = survey.findings.map(({ sha256 }) => sha256)
    writeBaseline(baseline, new Set([...readBaselineIfAny(baseline), ...found]))
    note(terminal, `Wrote ${baseline}, which now knows what was found.`)
  }
  return report(terminal, { survey, options })
}

async function surveyOf(
  terminal: Terminal,
  { paths, options, client }: { paths: string[]; options: ScanOptions; client: Client | undefined },
): Promise<Survey> {
  const excludes = excluder(options.exclude ?? [])
  const baseline = baselineOf(options)
  const progress = createProgress(terminal, {
    total: terminal.stderr.isTTY ? await totalOf(terminal, { paths, options, excludes }) : {},
    what: isGit(options) ? 'objects' : 'files',
  })
  const { also = [] } = options
  const surveyor = createSurveyor({ also, baseline, onProgress: progress.show })
  try {
    for (const path of paths) await scanPath(path, { terminal, options, excludes, surveyor })
  } finally {
    progress.clear()
  }
  if (client === undefined) return surveyor.survey
  if (options.verify === true) await markAlive(client, surveyor.survey)
  if (options.report === true) {
    await reportLeaks(client, surveyor.survey, options.source ?? 'scan')
  }
  return surveyor.survey
}

function baselineOf({ baseline, writeBaseline }: ScanOptions): ReadonlySet<string> {
  if (baseline === undefined) return new Set()
  return writeBaseline === true ? readBaselineIfAny(baseline) : readBaseline(baseline)
}

async function scanPath(
  path: string,
  {
    terminal,
    options,
    excludes,
    surveyor,
  }: { terminal: Terminal; options: ScanOptions; excludes: Excluder; surveyor: Surveyor },
): Promise<void> {
  const { env } = terminal
  try {
    if (options.git === true) await scanHistory(path, { surveyor, excludes, env })
    if (options.staged === true) await scanStaged(path, { surveyor, excludes, env })
    if (isGit(options)) return
    if (path === STDIN) await scanStdin(terminal, surveyor)
    else scanFiles(path, { surveyor, excludes })
  } catch (cause) {
    surveyor.problem(path, cause)
  }
}

async function scanStdin({ stdin }: Terminal, surveyor: Surveyor): Promise<void> {
  const text = surveyor.open({ path: 'stdin' })
  for await (const piece of stdin) text.push(piece)
  text.end()
}

/** What the progress bar counts to; a walk without reading, which costs little beside the scan. */
async function totalOf(
  { env }: Terminal,
  { paths, options, excludes }: { paths: string[]; options: ScanOptions; excludes: Excluder },
): Promise<Partial<Done>> {
  if (options.staged === true || paths.includes(STDIN)) return {}
  if (options.git !== true) {
    return { bytes: paths.reduce((sum, path) => sum + bytesIn(path, excludes), 0) }
  }
  const counts = await Promise.all(paths.map((path) => objectsIn(path, env).catch(() => 0)))
  return { files: counts.reduce((sum, count) => sum + count, 0) }
}

function report(
  terminal: Terminal,
  { survey, options }: { survey: Survey; options: ScanOptions },
): number {
  const { json = false, sarif = false } = options
  if (!json) tellProblems(terminal, survey)
  answer(terminal, {
    json: json || sarif,
    document: sarif ? sarifOf(survey) : documentOf(survey),
    text: () => describeSurvey(terminal, survey),
  })
  if (!json && !sarif) {
    const what = counted(survey.files, isGit(options) ? 'object' : 'file')
    note(terminal, `Scanned ${what}, ${bytesText(survey.bytes)}.`)
  }
  const found = survey.findings.length > 0 && options.writeBaseline !== true
  if (found) return FOUND
  return survey.problems.length > 0 ? INCOMPLETE : 0
}

function tellProblems(terminal: Terminal, { problems, notes }: Survey): void {
  for (const { path, message } of problems) {
    note(terminal, visible(path === null ? message : `Could not read ${path}: ${message}`))
  }
  for (const text of notes) note(terminal, visible(text))
}

/** Whether repositories are scanned, not files. */
function isGit({ git, staged }: ScanOptions): boolean {
  return git === true || staged === true
}
